"""predictions.jsonl: several reports of each study, a line a study, which `cxrgen choose` and training choose from.

A line is {"study_id", "samples", "log_probabilities"}: the reports in the order of their numbers, and of each the mean
log-probability of a token by the model itself. The file holds report text, so only its owner may read it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError
from cxrgen.core.files import write_csv, write_text
from cxrgen.core.tables import read_json

FILE_NAME = "predictions.jsonl"
WAYS = ("consensus", "likeliest")  # to choose
DEFAULT_UTILITY = "bleu_4"
UTILITY_HELP = f"a score, rule, sum, or a mix as in rule+2*rouge_l (default: {DEFAULT_UTILITY})"
_DIGITS = 4  # of probabilities; further ones depend on the batch that a report was written in


@dataclass(frozen=True)
class Candidates:
    """Several reports of one study; `log_probabilities` are the mean over each one's tokens, None where unknown."""

    study_id: str
    reports: tuple[str, ...]
    log_probabilities: tuple[float | None, ...]


@dataclass(frozen=True)
class Chosen:
    """The report that was chosen for a study, and how sure the choice is, from 0 to 1."""

    study_id: str
    report: str
    confidence: float


def write_chosen(path: Path, studies: Iterable[Chosen]) -> None:
    """pred.csv with a column `confidence`, readable by its owner only."""
    rows = [(each.study_id, each.report, f"{each.confidence:.{_DIGITS}f}") for each in studies]
    write_csv(path, ("study_id", "report", "confidence"), rows, private=True)


def write_candidates(path: Path, studies: Iterable[Candidates]) -> None:
    """Write predictions.jsonl atomically, readable by its owner only."""
    lines = [
        json.dumps(
            {
                "study_id": each.study_id,
                "samples": each.reports,
                "log_probabilities": [None if p is None else round(p, _DIGITS) for p in each.log_probabilities],
            },
            ensure_ascii=False,
        )
        for each in studies
    ]
    write_text(path, "".join(f"{line}\n" for line in lines), private=True)


def read_candidates(path: Path) -> list[Candidates]:
    """The studies of predictions.jsonl. Raises InputError naming the line of what is no such study, or comes twice."""
    found: dict[str, Candidates] = {}
    records = read_json(path)
    for number, record in enumerate(records if isinstance(records, list) else [records], 1):
        study = _study(record)
        if study is None:
            raise InputError(
                f'{path}: line {number}: needs "study_id" and "samples", a list of texts; '
                "make the file with `cxrgen generate --samples N`"
            )
        if study.study_id in found:
            raise InputError(f"{path}: line {number}: its study came before; keep one line a study", study.study_id)
        found[study.study_id] = study
    if not found:
        raise InputError(f"{path}: no study in it; make the file with `cxrgen generate --samples N`")
    return list(found.values())


def _study(record: Any) -> Candidates | None:
    """The study of a line, or None for anything else."""
    if not isinstance(record, dict):
        return None
    name, reports = record.get("study_id"), record.get("samples")
    if not (isinstance(name, str) and isinstance(reports, list) and reports):
        return None
    means = record.get("log_probabilities") or [None] * len(reports)
    known = isinstance(means, list) and all(mean is None or isinstance(mean, (int, float)) for mean in means)
    if not (known and len(means) == len(reports) and all(isinstance(report, str) for report in reports)):
        return None
    return Candidates(name, tuple(reports), tuple(means))


def pooled(files: Sequence[Path]) -> list[Candidates]:
    """The candidates of several files put together, study by study, in the order of the first file.

    Raises InputError when the files are not about the same studies.
    """
    first, *others = [read_candidates(path) for path in files]
    for path, other in zip(files[1:], others):
        names, wanted = {each.study_id for each in other}, {each.study_id for each in first}
        if names != wanted:
            raise InputError(
                f"{path}: {len(wanted - names)} studies of {files[0]} are missing and {len(names - wanted)} are not "
                "in it; give files about the same studies"
            )
    by_name = [{each.study_id: each for each in other} for other in others]
    return [_joined([study, *(of[study.study_id] for of in by_name)]) for study in first]


def _joined(parts: Sequence[Candidates]) -> Candidates:
    reports = tuple(report for part in parts for report in part.reports)
    return Candidates(parts[0].study_id, reports, tuple(mean for part in parts for mean in part.log_probabilities))
