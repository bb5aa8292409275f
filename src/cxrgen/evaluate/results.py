"""A score folder: scores.json for programs, per_study.parquet with every study's own values and counts.

per_study.csv has the same values without the counts, for spreadsheets.

No report text is in either; the page beside them is the only file that holds some. The counts are kept so that two
folders can be compared later patient by patient, without scoring again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrgen.core import __version__
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import replacing, write_csv, write_json
from cxrgen.core.tables import read_json
from cxrgen.evaluate.scores import Score, Scores
from cxrgen.evaluate.suites import Board
from cxrgen.evaluate.verdicts import against_baseline
from cxrgen.metrics import Better, MetricResult, measure_nothing, metric_of

SCHEMA_VERSION = 2
_BETTER_OF_SCHEMA_1: dict[str, Better] = {"up": "higher", "down": "lower", "one": "nearer_to_1"}


def document(
    scores: Scores,
    baselines: Mapping[str, Scores],
    left_out: Mapping[str, tuple[str, ...]],
    notes: tuple[str, ...] = (),
    inputs: Mapping[str, Any] | None = None,
    boards: Mapping[str, Board] | None = None,
) -> dict[str, Any]:
    """The content of scores.json; values that are undefined become null."""
    return {
        "schema": SCHEMA_VERSION,
        "cxrgen": __version__,
        "n": scores.n,
        "patients": scores.patients,
        "signature": scores.signature(),
        "left_out": {kind: list(names) for kind, names in left_out.items()},
        "notes": list(notes),
        "inputs": dict(inputs or {}),
        "metrics": {
            name: {**_numbers(score), "better": score.better, "signature": score.signature, **_against(score)}
            for name, score in scores.metrics.items()
        },
        "baselines": {
            name: {score: _numbers(value) for score, value in of.metrics.items()} for name, of in baselines.items()
        },
        **{name: asdict(total) for name, total in scores.totals(baselines).items()},
        **{name: asdict(row) for name, row in (boards or {}).items()},
    }


def _numbers(score: Score) -> dict[str, Any]:
    return {
        "value": score.value if math.isfinite(score.value) else None,
        "ci95": list(score.interval) if score.interval else None,
        **({"no_interval": score.no_interval} if score.no_interval else {}),
    }


def _against(score: Score) -> dict[str, Any]:
    if score.against is None:
        return {}
    content = asdict(score.against)
    ends = content.pop("interval")
    content |= {"ci95": list(ends) if ends else None, "verdict": against_baseline(score, score.against)}
    return {"against_baseline": content}


def write_results(folder: Path, scores: Scores, subjects: tuple[str, ...], content: Mapping[str, Any]) -> None:
    """Write scores.json and per_study.parquet, each atomically; the same scores give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {"study_id": pa.array(scores.study_ids, pa.string())}
    columns["subject_id"] = pa.array(subjects, pa.string())
    for name, values in scores.per_study.items():
        columns[name] = pa.array(np.broadcast_to(values, scores.n), pa.float64(), from_pandas=True)  # NaN becomes null
    for name, result in scores.measured.items():
        width = result.counts.shape[1]
        flat = pa.array(np.ascontiguousarray(result.counts, dtype=np.float64).reshape(-1))
        columns[f"counts.{name}"] = pa.FixedSizeListArray.from_arrays(flat, width)
    table = pa.table(columns).replace_schema_metadata({"cxrgen_schema": str(SCHEMA_VERSION)})
    with replacing(folder / "per_study.parquet") as temporary:
        pq.write_table(table, temporary, compression="zstd")
        temporary.chmod(0o600)
    _write_csv(folder / "per_study.csv", scores, subjects)
    write_json(folder / "scores.json", content, private=True)  # it lists ids of studies that were left out


def _write_csv(path: Path, scores: Scores, subjects: tuple[str, ...]) -> None:
    columns = [np.broadcast_to(values, scores.n).tolist() for values in scores.per_study.values()]
    cells = ([f"{value:.6g}" if math.isfinite(value) else "" for value in values] for values in zip(*columns))
    rows = ([study, subject, *row] for study, subject, row in zip(scores.study_ids, subjects, cells))
    write_csv(path, ("study_id", "subject_id", *scores.per_study), rows, private=True)


@dataclass(frozen=True)
class Results:
    """A score folder read back: `measured` holds the counts of each metric module in the order of `study_ids`."""

    folder: Path
    content: dict[str, Any]  # scores.json
    study_ids: tuple[str, ...]
    subjects: tuple[str, ...]
    measured: dict[str, MetricResult]

    def among(self, study_ids: Sequence[str]) -> Results:
        """The same results for these studies only, in this order."""
        row_of = {name: i for i, name in enumerate(self.study_ids)}
        rows = [row_of[name] for name in study_ids]
        measured = {name: replace(metric, counts=metric.counts[rows]) for name, metric in self.measured.items()}
        subjects = tuple(self.subjects[row] for row in rows)
        return replace(self, study_ids=tuple(study_ids), subjects=subjects, measured=measured)


def read_results(folder: Path) -> Results:
    """Read what `write_results` wrote; raises InputError for another folder or an unknown schema version.

    A scores.json of schema 1 is given as one of schema 2. How counts become values is asked of the metric itself, by
    measuring no texts; a metric that no longer exists, or has other counts by now, is an InputError, because old counts
    would silently mean something else.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    scores, studies = folder / "scores.json", folder / "per_study.parquet"
    for file in (scores, studies):
        if not file.is_file():
            raise InputError(f"{file}: no such file; make the folder with `cxrgen evaluate --out {folder}`")
    content = read_json(scores)
    if not isinstance(content, dict) or content.get("schema") not in (1, SCHEMA_VERSION):
        raise InputError(f"{scores}: not a scores.json of schema {SCHEMA_VERSION}; score again with `cxrgen evaluate`")
    try:
        table = pq.read_table(studies)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{studies}: not a Parquet file ({type(error).__name__}); score again") from None
    measured = {}
    for column in table.column_names:
        if column.startswith("counts."):
            name = column.removeprefix("counts.")
            counts = np.array(table[column].to_pylist(), dtype=np.float64).reshape(table.num_rows, -1)
            measured[name] = replace(_uncounted(name, counts.shape[1], folder), counts=counts)
    ids, subjects = (tuple(table[name].to_pylist()) for name in ("study_id", "subject_id"))
    return Results(folder, upgraded(content), ids, subjects, measured)


def upgraded(content: Mapping[str, Any]) -> dict[str, Any]:
    """A scores.json of schema 1 or 2 as one of schema 2."""
    if content["schema"] == SCHEMA_VERSION:
        return dict(content)
    new = {key: value for key, value in content.items() if key != "floors"}
    metrics = {name: dict(score) for name, score in content["metrics"].items()}
    for score in metrics.values():
        score["better"] = _BETTER_OF_SCHEMA_1[score.pop("direction")]
    return {**new, "schema": SCHEMA_VERSION, "metrics": metrics, "baselines": content["floors"]}


def _uncounted(name: str, width: int, folder: Path) -> MetricResult:
    """A metric's result without studies, if it has as many counts as the folder holds."""
    try:
        measured = measure_nothing(metric_of(name))
    except UsageError:
        raise InputError(f"{folder}: no metric {name!r} in this version; score again with `cxrgen evaluate`") from None
    if measured.counts.shape[1:] != (width,):
        raise InputError(f"{folder}: {name!r} was counted by another version; score again with `cxrgen evaluate`")
    return measured
