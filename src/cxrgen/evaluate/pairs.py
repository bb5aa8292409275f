"""Predictions and references as two tables, joined by study id.

Cells are text and stay as they are: ids keep their leading zeros, and "None", "N/A" or "NaN" are words a model wrote.
Ids that do not match one to one are an error by default, because a model without reports for hard cases looks better
than it is; `allow_missing` turns them into a list. Ids and names of columns can be a patient's: messages give rows and
numbers of columns, and the ids are the detail of an error.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import NoneType

from cxrgen.core.errors import InputError
from cxrgen.core.tables import CsvTable, find_column, read_csv, read_json
from cxrgen.evaluate.report_files import further_columns, read_table

_NO_VALUE_WORDS = frozenset({"none", "n/a", "na", "nan", "null", "#n/a"})
_ID_COLUMNS = ("study_id", "id")
_LISTED = 5  # rows named in one line; the ids go into scores.json


@dataclass(frozen=True)
class Pairs:
    """N studies in the order of the reference file.

    `left_out` maps missing, extra and doubled to their ids, `rows_left_out` to where these stand ("gt.csv:7").
    """

    study_ids: tuple[str, ...]
    hypotheses: tuple[str, ...]
    references: tuple[str, ...]
    subjects: tuple[str, ...] | None = None  # from a subject_id column of the reference file
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rows_left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of the reference file, those asked for
    confidences: tuple[float, ...] | None = None  # from a column of the predictions, where each is a number
    further: tuple[tuple[str, ...], ...] = ()  # references of each study after the first, where any study has some

    def all_references(self) -> list[tuple[str, ...]]:
        """Every reference of each study."""
        return [(first, *more) for first, more in zip(self.references, self.further or [()] * len(self.references))]


def read_pairs(
    predictions: Path,
    references: Path,
    allow_missing: bool = False,
    columns: Mapping[str, str] | None = None,
    by: Collection[str] = (),
    form: str = "auto",
) -> Pairs:
    """Join two tables with the columns study_id and report; the order of their rows may differ.

    `columns` are other names of these columns, `by` those of the references that are kept for groups of studies,
    `form` is the files' format.
    Raises InputError for wrong columns, an empty id, no common id, and, unless `allow_missing`, for ids that are
    missing from the predictions, extra in them, or doubled in either file. A doubled id is left out altogether.
    """
    predicted, referenced = _read(predictions, columns, form=form), _read(references, columns, by, True, form)
    doubled = {**predicted.doubled, **referenced.doubled}
    left_out = {
        "missing": [name for name in referenced.rows if name not in predicted.rows and name not in doubled],
        "extra": [name for name in predicted.rows if name not in referenced.rows and name not in doubled],
        "doubled": sorted(doubled),
    }
    rows = {
        "missing": tuple(referenced.rows[name].row_ref for name in left_out["missing"]),
        "extra": tuple(predicted.rows[name].row_ref for name in left_out["extra"]),
        "doubled": tuple(doubled[name] for name in left_out["doubled"]),
    }
    kept = tuple(name for name in referenced.rows if name in predicted.rows and name not in doubled)
    hint = _hint(left_out["missing"], left_out["extra"])
    if referenced.doubled:
        hint += "; further references of a study go into columns report_2, report_3"
    if any(left_out.values()) and not allow_missing:
        raise InputError(
            f"{predictions} does not match {references} one to one: {listed(rows)}{hint}; "
            "complete the file, or score the rest with --allow-missing",
            detail=listed(left_out),
        )
    if not kept:
        raise InputError(
            f"{predictions} and {references} have no study id in common ({listed(rows)}){hint}", detail=listed(left_out)
        )
    subjects = tuple(referenced.rows[name].subject for name in kept)
    pairs = Pairs(
        kept,
        tuple(predicted.rows[name].report for name in kept),
        tuple(referenced.rows[name].report for name in kept),
        subjects if all(subjects) else None,
        {kind: tuple(names) for kind, names in left_out.items()},
    )
    remark = [f"left out: {listed(rows)}"] if any(rows.values()) else []
    notes = (*predicted.notes, *referenced.notes, *_remarks(pairs), *remark)
    asked = referenced.rows[kept[0]].others
    others = {name: tuple(referenced.rows[study].others[name] for study in kept) for name in asked}
    sure = [_number(predicted.rows[name].confidence) for name in kept]
    confidences = None if None in sure else tuple(value for value in sure if value is not None)
    further = tuple(referenced.rows[name].further for name in kept)
    further = further if any(further) else ()
    pairs = replace(pairs, rows_left_out=rows, columns=others, further=further, confidences=confidences)
    return replace(pairs, notes=(*notes, *_several(pairs)))


def _several(pairs: Pairs) -> Iterable[str]:
    counts = [1 + len(more) for more in pairs.further]
    if counts:
        several = sum(count > 1 for count in counts)
        yield (
            f"{several} of {len(counts)} studies have several references, up to {max(counts)}; scores use all, "
            "the page and the baselines each study's first"
        )


def read_reports(path: Path, study_ids: Sequence[str]) -> list[str]:
    """The reports of a baseline's CSV in the order of `study_ids`; more ids are ignored, missing ones an InputError."""
    reports = _read(path)
    problems = {
        "missing": [name for name in study_ids if name not in reports.rows],
        "doubled": [name for name in study_ids if name in reports.doubled],
    }
    if any(problems.values()):
        counts = ", ".join(f"{len(names)} {kind}" for kind, names in problems.items() if names)
        raise InputError(f"{path}: every scored study is needed once; {counts}", detail=listed(problems))
    return [reports.rows[name].report for name in study_ids]


def read_truth(path: Path, study_ids: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a findings.csv in the order of `study_ids`; raises InputError for a missing or doubled one."""
    table = read_csv(path)
    column = find_column(table, "study_id", "id")
    rows: dict[str, dict[str, str]] = {}
    for row in table.rows:
        name = row.cells[str(column)].strip()
        if name in rows:
            raise InputError(f"{row.row_ref}: its study was given before; keep one row a study", detail=repr(name))
        rows[name] = row.cells
    missing = tuple(name for name in study_ids if name not in rows)
    if missing:
        raise InputError(
            f"{path}: no truth for {len(missing)} of {len(study_ids)} scored studies; give each a row",
            detail=listed({"missing": missing}),
        )
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
    """ "2 missing (gt.csv:7, gt.csv:12), 1 doubled (pred.csv:4)": counts and the first few names of each kind."""
    parts = []
    for kind, names in problems.items():
        if names:
            more = ", ..." if len(names) > _LISTED else ""
            parts.append(f"{len(names)} {kind} ({', '.join(names[:_LISTED])}{more})")
    return ", ".join(parts) or "nothing left out"


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _hint(missing: Iterable[str], extra: Iterable[str]) -> str:
    """What to do where ids of both files are the same but for what a program did to them; else empty."""
    bare = [{name.removesuffix(".0").lower().lstrip("s").lstrip("0") for name in names} for names in (missing, extra)]
    if not bare[0] & bare[1]:
        return ""
    return "; some ids differ only in leading zeros, an s or .0: write them as text (in pandas, read with dtype=str)"


@dataclass(frozen=True)
class _Row:
    report: str
    subject: str
    row_ref: str
    others: Mapping[str, str]  # the columns that were asked for
    confidence: str
    further: tuple[str, ...] = ()  # references after the first


@dataclass(frozen=True)
class _Reports:
    """Rows by id, the row of each id that is given again, and what was unusual about the file."""

    rows: dict[str, _Row]
    doubled: dict[str, str]
    notes: list[str]


def _read(
    path: Path,
    columns: Mapping[str, str] | None = None,
    by: Collection[str] = (),
    references: bool = False,
    form: str = "auto",
) -> _Reports:
    """The rows of a table by study; of `references` also the columns report_2 and so on."""
    table = read_table(path, columns, references, form)
    kept = {name: column for name in by if (column := find_column(table, name, needed=False))}
    id_column, report_column = str(find_column(table, *_ID_COLUMNS)), str(find_column(table, "report"))
    subject_column = find_column(table, "subject_id", needed=False)
    confidence_column = find_column(table, "confidence", needed=False)
    rows = [row for row in table.rows if not _is_header(row.cells[id_column], row.cells[report_column])]
    if not rows:
        raise InputError(f"{path}: a header and no rows; nothing was predicted or the export failed")
    more = further_columns(table.columns) if references else []
    reports: dict[str, _Row] = {}
    doubled: dict[str, str] = {}
    for row in rows:
        name = row.cells[id_column].strip()
        if not name:
            raise InputError(f"{row.row_ref}: empty {id_column.lower()}; every report needs its study id")
        if name in reports:
            doubled[name] = row.row_ref
        subject = row.cells[subject_column] if subject_column else ""
        others = {key: row.cells[column].strip() for key, column in kept.items()}
        confidence = row.cells[confidence_column] if confidence_column else ""
        first, *further = _given([row.cells[column] for column in (report_column, *more)])
        reports[name] = _Row(first, subject, row.row_ref, others, confidence, tuple(further))
    headers = len(table.rows) - len(rows)
    notes = [*table.notes, *([f"{headers} header rows in the middle left out"] if headers else [])]
    remarks = [f"{table.path.name}: {note}" for note in notes]
    return _Reports(reports, doubled, remarks + _unused(table, [*kept.values(), *more]))


def _given(texts: Sequence[str]) -> list[str]:
    """The texts of a study that are there; an empty one where none is."""
    return list(texts) if len(texts) == 1 else [text for text in texts if text.strip()] or [""]


def _is_header(*cells: str) -> bool:
    """Whether the id and report cells of a row are a header: files were joined end to end, each with its own."""
    name, report = (cell.strip("\ufeff \t").lower() for cell in cells)
    return name in _ID_COLUMNS and report == "report"


def _unused(table: CsvTable, used: Collection[str]) -> list[str]:
    known = {"study_id", "id", "report", "subject_id", "confidence", *(column.lower() for column in used)}
    others = sum(column.lower() not in known for column in table.columns)
    return [f"{table.path.name}: columns not used: {others}"] if others else []


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
