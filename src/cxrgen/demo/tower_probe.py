"""How much of each true finding can be read from a trained vision encoder's features: what a linear reader gets.

A linear reader (`cxrgen.phantom.linear_probe`) is fitted on the training images' features and the table of true
findings, and read on the test images. A report writer that scores below it loses what its encoder has seen; one that
scores above knows more than its images tell. It sees no text. Its F1 alone misleads where a finding is common: to say
"present" of every study without looking has an F1 too. So beside it stand that blind F1, what the reader has over it,
the F1 at threshold 0.5, and the area under the ROC curve, which is 0.5 for whoever does not see the finding.
Run: python -m cxrgen.demo.tower_probe MODEL PREPARED FINDINGS.csv
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrgen.core.errors import InputError
from cxrgen.core.records import FRONTAL, LATERAL, Prediction, Study, read_studies
from cxrgen.core.tables import find_column, read_csv
from cxrgen.generate.baselines import Rows
from cxrgen.generate.image_features import nearest_by_rows, study_features
from cxrgen.model.checkpoint import open_checkpoint
from cxrgen.phantom.findings import NAMES, NINE
from cxrgen.phantom.linear_probe import auroc, best_f1, probe

VIEW_SETS = {"frontal": (FRONTAL,), "lateral": (LATERAL,), "both": (FRONTAL, LATERAL)}
_FEW = 50  # studies below which the valid split sets no thresholds


Limits = dict[str, dict[str, float]]  # name of a limit -> name of a score -> value, as `cxrgen evaluate` takes them


@dataclass(frozen=True)
class ReadSet:
    """A prepared set's studies of each split, and of each view the features (N, T, C) that a vision encoder gives."""

    studies: Mapping[str, Sequence[Study]]
    features: Mapping[str, Mapping[str, Rows]]


def read_set(model: Path, prepared: Path) -> ReadSet:
    """Read all images once. Raises InputError for a set without the splits train and test."""
    checkpoint = open_checkpoint(model)
    studies = {split: read_studies(prepared, split) for split in ("train", "valid", "test")}
    if not studies["train"] or not studies["test"]:
        raise InputError(f"{prepared}: the probe needs studies in the splits train and test")
    return ReadSet(
        studies,
        {
            view: {split: study_features(checkpoint, each, prepared, view) for split, each in studies.items()}
            for view in (FRONTAL, LATERAL)
        },
    )


def linear_probe_scores(read: ReadSet, truth: Path) -> dict[str, Limits]:
    """View set -> limits on split test of the reader fitted on split train; see `linear_limits`.

    Raises InputError for a study without truth or a table without a finding's column.
    """
    labels = {split: _labels(truth, [study.study_id for study in each]) for split, each in read.studies.items()}
    scores = {}
    for views, kinds in VIEW_SETS.items():
        joined = {
            split: np.concatenate([read.features[kind][split].reshape(len(each), -1) for kind in kinds], axis=1)
            for split, each in read.studies.items()
        }
        scores[views] = linear_limits(joined, labels)
    return scores


def nearest_reports(read: ReadSet) -> list[Prediction]:
    """The baseline `nearest` by these features: for each test study a training report."""
    train_rows, test_rows = (
        {kind: of[split].mean(axis=1) for kind, of in read.features.items()} for split in ("train", "test")
    )
    return nearest_by_rows(train_rows, test_rows, read.studies["train"], read.studies["test"])


def linear_limits(features: Mapping[str, NDArray[np.float64]], labels: Mapping[str, NDArray[np.bool_]]) -> Limits:
    """What the reader scores, from features (N, D) and presence (N, findings) of the splits train, valid and test.

    `linear_probe` is F1 at each finding's best threshold on split valid, or on train where valid is small;
    `linear_probe_at_half` F1 at 0.5; `blind` the F1 of "present" for every study; `linear_probe_over_blind` the first
    less the third; `linear_probe_auc` the area under the ROC curve. Findings that no test study has are left out.
    """
    tuning = "valid" if len(labels["valid"]) >= _FEW else "train"
    asked = np.concatenate([features[tuning], features["test"]])
    scores = probe(features["train"], labels["train"].astype(np.float64), asked)
    tuned, tested = scores[: len(features[tuning])], scores[len(features[tuning]) :]
    found: dict[str, dict[str, float]] = {}
    for column, name in enumerate(NAMES):
        there = labels["test"][:, column]
        if there.any():
            _, limit = best_f1(tuned[:, column], labels[tuning][:, column])
            f1, at_half, blind = (_f1(tested[:, column] >= least, there) for least in (limit, 0.5, -np.inf))
            auc = auroc(tested[:, column], there)
            found[name] = {"": f1, "_at_half": at_half, "_over_blind": f1 - blind, "_auc": auc, "blind": blind}
    limits: Limits = {}
    for kind in ("", "_at_half", "blind", "_over_blind", "_auc"):
        values = {name: of[kind] for name, of in found.items()}
        key = kind if kind == "blind" else f"linear_probe{kind}"
        limits[key] = {f"finding_{'auc' if kind == '_auc' else 'f1'}_{name}": value for name, value in values.items()}
        if kind in ("", "_at_half"):
            limits[key] |= {"finding_f1_macro": float(np.mean(list(values.values())))}
            limits[key] |= {"finding_f1_macro_9": float(np.mean([values[name] for name in NINE if name in values]))}
    return limits


def limits_table(limits: Mapping[str, Mapping[str, float]]) -> str:
    """The findings as rows, from what is seen best to what is seen least."""
    columns = (
        *(("AUC", "linear_probe_auc"), ("F1", "linear_probe"), ("F1 at .5", "linear_probe_at_half")),
        *(("blind F1", "blind"), ("F1 over blind", "linear_probe_over_blind")),
    )
    names = sorted(
        (key.removeprefix("finding_f1_") for key in limits["blind"]),
        key=lambda name: (-limits["linear_probe_auc"][f"finding_auc_{name}"], name),
    )
    width = max(map(len, names))
    lines = [f"{'linear probe':<{width}}" + "".join(f"  {title:>13}" for title, _ in columns)]
    for name in names:
        values = (limits[key][f"finding_{'auc' if key.endswith('auc') else 'f1'}_{name}"] for _, key in columns)
        lines.append(f"{name:<{width}}" + "".join(f"  {value:>13.3f}" for value in values))
    return "\n".join(lines)


def _f1(said: NDArray[np.bool_], there: NDArray[np.bool_]) -> float:
    return float(2 * (said & there).sum() / (said.sum() + there.sum()))


def _labels(truth: Path, study_ids: Sequence[str]) -> NDArray[np.bool_]:
    """Presence (N, findings) of the studies, from findings.csv."""
    table = read_csv(truth)
    for name in ("study_id", *NAMES):
        find_column(table, name)
    rows = {row.cells["study_id"]: row.cells for row in table.rows}
    missing = [name for name in study_ids if name not in rows]
    if missing:
        raise InputError(f"{truth}: no truth for {len(missing)} studies, the first of them {missing[0]}")
    present = [[rows[study_id][name] == "1" for name in NAMES] for study_id in study_ids]
    return np.array(present, dtype=np.bool_).reshape(len(study_ids), len(NAMES))


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cxrgen.demo.tower_probe", description=__doc__)
    parser.add_argument("model", type=Path, help="checkpoint folder")
    parser.add_argument("prepared", type=Path, help="prepared set with splits train and test")
    parser.add_argument("truth", type=Path, help="findings.csv of the phantoms")
    options = parser.parse_args(words)
    try:
        scores = linear_probe_scores(read_set(options.model, options.prepared), options.truth)
        print(json.dumps(scores, indent=2, sort_keys=True))
    except InputError as error:
        print(f"tower_probe: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
