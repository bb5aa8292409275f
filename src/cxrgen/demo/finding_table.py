"""Where each true finding is lost on its way into a report: seen, nearly said, said, sayable.

Four numbers a finding, on split test of synthetic studies. How well a linear reader tells it from the vision encoder's
features (area under the ROC curve); how likely the model finds the first token of the sentence that states it, where
the report so far is the true one; the F1 of the greedy reports; and the F1 when of eight samples the one that agrees
best with the truth is kept. A finding that is seen and unlikely is lost in the writer; one whose best of eight is far
above its greedy reports is a matter of choosing, or of learning from rewards.
Run: python -m cxrgen.demo.finding_table MODEL PREPARED FINDINGS.csv
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from cxrgen.core.errors import InputError
from cxrgen.core.progress import track
from cxrgen.core.records import Conversation, Study, read_studies
from cxrgen.demo.tower_probe import linear_probe_scores, read_set
from cxrgen.evaluate.pairs import read_truth
from cxrgen.generate.decoding.reports import write_reports
from cxrgen.generate.decoding.sampling import make_sampler
from cxrgen.generate.samples import sampled
from cxrgen.metrics import measure
from cxrgen.metrics.rewards import finding_f1
from cxrgen.model.checkpoint import Checkpoint, open_checkpoint
from cxrgen.model.families import family_of
from cxrgen.model.label_reader import open_label_reader
from cxrgen.phantom.findings import NAMES, as_row
from cxrgen.phantom.parser import parse
from cxrgen.text.prompts import priors_by_rule, study_conversation
from cxrgen.text.sentences import sentence_ends
from cxrgen.train.dpo import token_log_probabilities
from cxrgen.train.positive_weights import tokens_before

SAMPLES, TEMPERATURE = 8, 0.7
COLUMNS = ("AUC", "P(first token)", "greedy F1", f"best of {SAMPLES} F1")
_AT_ONCE, _LONGEST = 64, 256

Table = dict[str, dict[str, float]]  # name of a finding -> column -> value, NaN where no test study has it


def finding_table(model: Path, prepared: Path, truth: Path) -> Table:
    """The four numbers of every finding. Raises InputError for a study without truth."""
    checkpoint = open_checkpoint(model)
    studies = [study for study in read_studies(prepared, "test") if study.report]
    rows = read_truth(truth, [study.study_id for study in studies])
    asked = _conversations(checkpoint, prepared, studies)
    auc = linear_probe_scores(read_set(model, prepared), truth)["both"]["linear_probe_auc"]
    said = stated_probabilities(checkpoint, asked, prepared)
    greedy = _written(checkpoint, asked, prepared)
    table: Table = {}
    best = best_reports(_written(checkpoint, sampled(asked, SAMPLES), prepared, TEMPERATURE), rows)
    f1 = {name: _f1(reports, rows) for name, reports in (("greedy", greedy), ("best", best))}
    for name in NAMES:
        mean = float(np.mean(said[name])) if said[name] else float("nan")
        values = (auc.get(f"finding_auc_{name}", float("nan")), mean, f1["greedy"][name], f1["best"][name])
        table[name] = dict(zip(COLUMNS, values))
    return table


def _conversations(checkpoint: Checkpoint, prepared: Path, studies: Sequence[Study]) -> list[Conversation]:
    rule = checkpoint.format.asks
    priors = priors_by_rule(read_studies(prepared), rule)
    if checkpoint.label_reader:
        studies = open_label_reader(checkpoint.label_reader).with_labels(studies, rule, prepared)
    return [study_conversation(study, rule, priors.get(study.study_id)) for study in studies]


def stated_probabilities(checkpoint: Checkpoint, asked: Sequence[Conversation], folder: Path) -> dict[str, list[float]]:
    """Of each finding: in every reference that states it, the probability of that sentence's first token."""
    family = family_of(checkpoint)
    collator = family.collator(folder)
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    checkpoint.model.eval()
    for each in track(asked, "probabilities of the references", len(asked)):
        sample = family.encode(each, folder)
        with torch.no_grad():
            logps = token_log_probabilities(checkpoint.model, collator([sample]))[0][0].exp().tolist()
        begin = tokens_before(0, sample, each, family, folder)
        for start, names in stating_sentences(each.turns[-1].text):
            place = tokens_before(start, sample, each, family, folder) - begin
            for name in names:
                found[name].append(logps[place])
    return found


def stating_sentences(report: str) -> Iterator[tuple[int, list[str]]]:
    """Where each sentence that states findings begins, and which it states."""
    ends = sentence_ends(report)
    for start, end in zip([0, *ends], ends):
        row = as_row(parse(report[start:end]))
        if names := [name for name in NAMES if row[name] == "1"]:
            yield start, names


def best_reports(reports: Sequence[str], rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Of each study's samples, which stand together, the first of those that agree best with its findings."""
    each = len(reports) // len(rows)
    values = finding_f1(reports, [""] * len(reports), [row for row in rows for _ in range(each)])
    chosen = np.array(values).reshape(len(rows), each).argmax(axis=1)
    return [reports[number * each + int(place)] for number, place in enumerate(chosen)]


def _written(
    checkpoint: Checkpoint, asked: Sequence[Conversation], folder: Path, temperature: float = 0.0
) -> list[str]:
    written = write_reports(checkpoint, asked, folder, _AT_ONCE, _LONGEST, make_sampler(temperature))
    reports = dict(track(written, "writing reports", len(asked)))
    return [reports[number].report for number in range(len(asked))]


def _f1(reports: Sequence[str], rows: Sequence[Mapping[str, str]]) -> dict[str, float]:
    result = measure("findings", list(reports), [""] * len(reports), truth=rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = result.aggregate(result.counts.sum(axis=0))
    return {name: float(values[f"finding_f1_{name}"]) for name in NAMES}


def shown(table: Table) -> str:
    """The findings as rows, from what is seen best to what is seen least."""
    width = max(map(len, table))
    lines = [" " * width + "".join(f"  {column:>14}" for column in COLUMNS)]
    for name, values in sorted(table.items(), key=lambda item: -np.nan_to_num(item[1]["AUC"])):
        lines.append(f"{name:<{width}}" + "".join(f"  {values[column]:>14.3f}" for column in COLUMNS))
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cxrgen.demo.finding_table", description=__doc__)
    parser.add_argument("model", type=Path, help="checkpoint folder")
    parser.add_argument("prepared", type=Path, help="prepared set with splits train and test")
    parser.add_argument("truth", type=Path, help="findings.csv of the phantoms")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    options = parser.parse_args(words)
    try:
        table = finding_table(options.model, options.prepared, options.truth)
    except InputError as error:
        print(f"finding_table: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(table, indent=2) if options.json else shown(table))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
