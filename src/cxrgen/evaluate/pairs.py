"""Predictions and references as two CSVs, joined by study id.

Cells are text and stay as they are: ids keep their leading zeros, and "None", "N/A" or "NaN" are words a model wrote.
Ids that do not match one to one are an error by default, because a model without reports for hard cases looks better
than it is; `allow_missing` turns them into a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType

from cxrgen.core.errors import InputError
from cxrgen.core.tables import CsvTable, find_column, read_csv, read_json

_NO_VALUE_WORDS = frozenset({"none", "n/a", "na", "nan", "null", "#n/a"})
_ID_COLUMNS = ("study_id", "id")
_LISTED = 5  # ids named in one line; the whole list goes into scores.json


@dataclass(frozen=True)
class Pairs:
    """N studies in the order of the reference file. `left_out` maps missing, extra and doubled to their ids."""

    study_ids: tuple[str, ...]
    hypotheses: tuple[str, ...]
    references: tuple[str, ...]
    subjects: tuple[str, ...] | None = None  # from a subject_id column of the reference file
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_pairs(predictions: Path, references: Path, allow_missing: bool = False) -> Pairs:
    """Join two CSVs with the columns study_id and report; the order of their rows may differ.

    Raises InputError for wrong columns, an empty id, no common id, and, unless `allow_missing`, for ids that are
    missing from the predictions, extra in them, or doubled in either file. A doubled id is left out altogether.
    """
    predicted, doubled_predictions, notes = _read(predictions)
    referenced, doubled_references, more_notes = _read(references)
    doubled = doubled_predictions | doubled_references
    left_out = {
        "missing": tuple(name for name in referenced if name not in predicted and name not in doubled),
        "extra": tuple(name for name in predicted if name not in referenced and name not in doubled),
        "doubled": tuple(sorted(doubled)),
    }
    kept = tuple(name for name in referenced if name in predicted and name not in doubled)
    hint = _hint(left_out["missing"], left_out["extra"])
    if any(left_out.values()) and not allow_missing:
        raise InputError(
            f"{predictions} does not match {references} one to one: {listed(left_out)}{hint}; "
            "complete the file, or score the rest with --allow-missing"
        )
    if not kept:
        raise InputError(f"{predictions} and {references} have no study id in common ({listed(left_out)}){hint}")
    subjects = tuple(referenced[name][1] for name in kept)
    pairs = Pairs(
        kept,
        tuple(predicted[name][0] for name in kept),
        tuple(referenced[name][0] for name in kept),
        subjects if all(subjects) else None,
        left_out,
    )
    return Pairs(**{**vars(pairs), "notes": (*notes, *more_notes, *_remarks(pairs))})


def read_reports(path: Path, study_ids: Sequence[str]) -> list[str]:
    """The reports of a baseline's CSV in the order of `study_ids`; more ids are ignored, missing ones an InputError."""
    reports, doubled, _ = _read(path)
    missing = tuple(name for name in study_ids if name not in reports)
    if missing or doubled.intersection(study_ids):
        problems = {"missing": missing, "doubled": tuple(sorted(doubled.intersection(study_ids)))}
        raise InputError(f"{path}: every scored study is needed once; {listed(problems)}")
    return [reports[name][0] for name in study_ids]


def read_truth(path: Path, study_ids: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a findings.csv in the order of `study_ids`; raises InputError for a missing or doubled one."""
    table = read_csv(path)
    column = find_column(table, "study_id", "id")
    rows: dict[str, dict[str, str]] = {}
    for row in table.rows:
        name = row.cells[str(column)].strip()
        if name in rows:
            raise InputError(f"{row.row_ref}: study {name!r} is given twice; keep one row a study")
        rows[name] = row.cells
    missing = tuple(name for name in study_ids if name not in rows)
    if missing:
        raise InputError(f"{path}: no truth for some scored studies; {listed({'missing': missing})}")
    return [rows[name] for name in study_ids]


def read_limits(path: Path) -> dict[str, dict[str, float]]:
    """Upper limits of scores, by name of the limit and of the score: {"optimum": {"finding_f1_macro": 1.0}, ...}.

    Values of null are ignored. Raises InputError for a file of another shape.
    """
    content = read_json(path)
    limits: dict[str, dict[str, float]] = {}
    for name, values in content.items() if isinstance(content, dict) else [("", None)]:
        if not isinstance(values, dict) or not all(isinstance(v, (int, float, NoneType)) for v in values.values()):
            raise InputError(f'{path}: limits are written as {{"name": {{"score": value}}}}')
        limits[name] = {score: float(value) for score, value in values.items() if value is not None}
    return limits


def listed(problems: Mapping[str, Sequence[str]]) -> str:
    """ "2 missing (0007, 0012), 1 doubled (0003)": counts and the first few ids of each kind."""
    parts = []
    for kind, names in problems.items():
        if names:
            more = ", ..." if len(names) > _LISTED else ""
            parts.append(f"{len(names)} {kind} ({', '.join(names[:_LISTED])}{more})")
    return ", ".join(parts) or "nothing left out"


def _hint(missing: Iterable[str], extra: Iterable[str]) -> str:
    """What to do where ids of both files are the same but for what a program did to them; else empty."""
    bare = [{name.removesuffix(".0").lower().lstrip("s").lstrip("0") for name in names} for names in (missing, extra)]
    if not bare[0] & bare[1]:
        return ""
    return "; some ids differ only in leading zeros, an s or .0: write them as text (in pandas, read with dtype=str)"


def _read(path: Path) -> tuple[dict[str, tuple[str, str]], set[str], list[str]]:
    """Id to (report, subject), the doubled ids, and what was unusual about the file."""
    table = read_csv(path)
    id_column, report_column = str(find_column(table, *_ID_COLUMNS)), str(find_column(table, "report"))
    subject_column = find_column(table, "subject_id", needed=False)
    rows = [row for row in table.rows if not _is_header(row.cells[id_column], row.cells[report_column])]
    if not rows:
        raise InputError(f"{path}: a header and no rows; nothing was predicted or the export failed")
    reports: dict[str, tuple[str, str]] = {}
    doubled: set[str] = set()
    for row in rows:
        name = row.cells[id_column].strip()
        if not name:
            raise InputError(f"{row.row_ref}: empty {id_column}; every report needs its study id")
        if name in reports:
            doubled.add(name)
        reports[name] = (row.cells[report_column], row.cells[subject_column] if subject_column else "")
    headers = len(table.rows) - len(rows)
    notes = [*table.notes, *([f"{headers} header rows in the middle left out"] if headers else [])]
    return reports, doubled, [f"{table.path.name}: {note}" for note in notes] + _unused(table)


def _is_header(*cells: str) -> bool:
    """Whether the id and report cells of a row are a header: files were joined end to end, each with its own."""
    name, report = (cell.strip("\ufeff \t").lower() for cell in cells)
    return name in _ID_COLUMNS and report == "report"


def _unused(table: CsvTable) -> list[str]:
    known = {"study_id", "id", "report", "subject_id"}
    others = [column for column in table.columns if column.lower() not in known]
    return [f"{table.path.name}: columns not used: {', '.join(others)}"] if others else []


def _remarks(pairs: Pairs) -> Iterable[str]:
    sides = {"predictions": pairs.hypotheses, "references": pairs.references}
    for side, texts in sides.items():
        words = sum(text.strip().lower() in _NO_VALUE_WORDS for text in texts)
        if words:
            yield f"{words} {side} are a word such as None or N/A; it is scored as the word it is"
        empty = sum(not text.strip() for text in texts)
        if empty:
            yield f"{empty} {side} are empty; they are scored as empty texts"
    if pairs.hypotheses == pairs.references and any(pairs.references):
        yield "every prediction is its own reference, word for word; is --pred the right file?"
    if any(pairs.left_out.values()):
        yield f"left out: {listed(pairs.left_out)}"
