"""Tables of errors that people counted in reports: one's own, and the two that are published, known by their columns.

ReXVal (Yu et al. 2023) has a row for each study_number, candidate_type, error_category, rater_index and
clinically_significant, with num_errors; the texts are in a second file, a row a study, with gt_report and a column for
each candidate type. RadEvalExpert (Xu et al. 2025) has a row a reader and study, with ground_truth, images_path and
prediction1 to prediction3; the counts are lines of text in annotation1 to annotation3, "2. Omission of finding: 1",
below a line "Significant" and again below "Insignificant".

ReXVal needs a data use agreement, and neither file was at hand: columns and lines are as several programs that read
them have it, and tests run on tables made that way. What does not fit is refused or left out and counted, never 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import write_csv
from cxrgen.core.tables import CsvRow, CsvTable, find_column

_REXVAL = ("study_number", "candidate_type", "num_errors")
_RADEVAL = ("images_path", "ground_truth", "prediction1", "annotation1")
_SIGNIFICANT = "clinically_significant"
_YES, _NO = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0")
_HEADER = re.compile(r"\W*(?:clinically\s+)?(in)?significant(?:\s+errors)?\W*", re.IGNORECASE)
_COUNT = re.compile(r"\s*([1-9])\s*[.)].*:\s*(\d{1,3})\s*[.;]?\s*")
_CATEGORIES = (6, 7)  # of errors in an annotation; the seventh is of grammar
_SLOTS = 9  # predictions of a row that are looked for
_NAMED = 5


@dataclass(frozen=True)
class Columns:
    """Names of columns in a table of one's own."""

    errors: str = "errors"
    case: str = "case"
    rater: str = "rater"


@dataclass(frozen=True)
class Counted:
    """Errors of each report (the readers' mean), the case it belongs to, and its text and reference where known."""

    errors: dict[str, float]
    case_of: dict[str, str]
    texts: dict[str, tuple[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    layout: str = "study_id, errors"


def counted_errors(
    table: CsvTable, columns: Columns, reports: CsvTable | None = None, significant: bool = False
) -> Counted:
    """The errors in a table of any layout; `significant` takes the clinically significant ones alone."""
    own = find_column(table, "study_id", "id", needed=False) is not None
    if not own and _has(table, _REXVAL):
        return _rexval(table, reports, significant)
    if reports is not None:
        raise UsageError("--reports is the second file of ReXVal; the table is of another layout")
    if not own and _has(table, _RADEVAL):
        return _radeval_expert(table, significant)
    return Counted(*read_errors(table, columns.errors, columns.case, columns.rater, significant))


def read_errors(
    table: CsvTable, errors: str, case: str, rater: str, significant: bool = False
) -> tuple[dict[str, float], dict[str, str]]:
    """Errors of each report, added over its rows and averaged over readers, and its case; the report itself without."""
    name, count = str(find_column(table, "study_id", "id")), str(find_column(table, errors))
    case_column, rater_column = (find_column(table, column, needed=False) for column in (case, rater))
    kind = str(find_column(table, _SIGNIFICANT)) if significant else ""
    sums: dict[str, dict[str, float]] = {}
    case_of: dict[str, str] = {}
    for row in table.rows:
        study = row.cells[name].strip()
        try:
            value = float(row.cells[count])
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0:
            raise InputError(f"{row.row_ref}: the column {count!r} holds no count of errors")
        reader = row.cells[rater_column].strip() if rater_column else ""
        of = sums.setdefault(study, {})
        of[reader] = of.get(reader, 0.0) + (value if not kind or _is_yes(row, kind) else 0.0)
        case_of[study] = row.cells[case_column].strip() if case_column else study
    return {study: float(np.mean(list(of.values()))) for study, of in sums.items()}, case_of


def write_pairs(folder: Path, counted: Counted) -> list[Path]:
    """Write pred.csv and gt.csv of the reports, to be scored; raises UsageError where the texts are not known."""
    if not counted.texts:
        raise UsageError("--pairs needs the reports: of ReXVal give --reports 50_samples_gt_and_candidates.csv as well")
    cases = {case: f"case {number}" for number, case in enumerate(dict.fromkeys(counted.case_of.values()), 1)}
    paths = [folder / name for name in ("pred.csv", "gt.csv")]
    write_csv(paths[0], ("study_id", "report"), [(name, of[0]) for name, of in counted.texts.items()], private=True)
    rows = [(name, cases[counted.case_of[name]], of[1]) for name, of in counted.texts.items()]
    write_csv(paths[1], ("study_id", "subject_id", "report"), rows, private=True)
    return paths


def _has(table: CsvTable, names: Iterable[str]) -> bool:
    return all(find_column(table, name, needed=False) for name in names)


def _is_yes(row: CsvRow, column: str) -> bool:
    word = row.cells[column].strip().lower()
    if word not in (*_YES, *_NO):
        raise InputError(f"{row.row_ref}: the column {column!r} holds neither true nor false")
    return word in _YES


def _as_table(table: CsvTable, rows: Iterable[tuple[str, dict[str, str]]]) -> CsvTable:
    """The counts as a table of one's own."""
    columns = ("study_id", "errors", "case", "rater", _SIGNIFICANT)
    return CsvTable(table.path, columns, tuple(CsvRow(*row) for row in rows), table.notes, table.name)


def _rexval(table: CsvTable, reports: CsvTable | None, significant: bool) -> Counted:
    number, candidate, count = (str(find_column(table, name)) for name in _REXVAL)
    rater, kind = (find_column(table, name, needed=False) for name in ("rater_index", _SIGNIFICANT))
    if significant and kind is None:
        find_column(table, _SIGNIFICANT)  # which names the columns that there are
    rows = []
    for row in table.rows:
        cells = {key: row.cells[column].strip() for key, column in (("case", number), ("errors", count))}
        cells["study_id"] = f"{cells['case']}_{row.cells[candidate].strip()}"
        cells["rater"] = row.cells[rater].strip() if rater else ""
        cells[_SIGNIFICANT] = row.cells[kind] if kind else ""
        rows.append((row.row_ref, cells))
    errors, case_of = read_errors(_as_table(table, rows), "errors", "case", "rater", significant)
    texts = {} if reports is None else _rexval_texts(reports, {name: name.partition("_") for name in errors})
    readers = len({cells["rater"] for _, cells in rows})
    return Counted(errors, case_of, texts, (f"ReXVal: {len(errors)} reports, {readers} readers",), "ReXVal")


def _rexval_texts(reports: CsvTable, parts: dict[str, tuple[str, str, str]]) -> dict[str, tuple[str, str]]:
    """Report and reference of each id; study numbers are places of rows, from 0 where there is a 0, else from 1."""
    reference = str(find_column(reports, "gt_report"))
    columns: dict[str, str] = {}
    for _, _, kind in parts.values():
        if (column := find_column(reports, kind, needed=False)) is None:
            raise InputError(f"{reports.path}: no column for a candidate_type of the other table", detail=repr(kind))
        columns[kind] = column
    numbers = [number for number, _, _ in parts.values()]
    if not all(number.isdecimal() for number in numbers):
        raise InputError(f"{reports.path}: study_number of the other table is no number of a row of this one")
    first = min(map(int, numbers)) and 1
    texts = {}
    for name, (number, _, kind) in parts.items():
        place = int(number) - first
        if place >= len(reports.rows):
            raise InputError(f"{reports.path}: {len(reports.rows)} rows, fewer than study_number counts", detail=number)
        cells = reports.rows[place].cells
        texts[name] = (cells[columns[kind]], cells[reference])
    return texts


def _radeval_expert(table: CsvTable, significant: bool) -> Counted:
    case, reference = (str(find_column(table, name)) for name in ("images_path", "ground_truth"))
    rater, section = (find_column(table, name, needed=False) for name in ("annotator", "type"))
    slots = [(p, a) for slot in range(1, _SLOTS + 1) if (p := find_column(table, f"prediction{slot}", needed=False))
             and (a := find_column(table, f"annotation{slot}", needed=False))]  # fmt: skip
    ids: dict[tuple[str, ...], str] = {}
    texts, rows, unread = {}, [], []
    for number, row in enumerate(table.rows, 1):
        for slot, (prediction, annotation) in enumerate(slots, 1):
            counts = annotated(row.cells[annotation])
            if counts[True] is None or (counts[False] is None and not significant):
                unread.append(row.row_ref)
                continue
            pair = (row.cells[prediction], row.cells[reference])
            of = (row.cells[case].strip(), row.cells[section].strip() if section else "", *pair)
            name = ids.setdefault(of, f"{number}_{slot}")
            texts[name] = pair
            reader = row.cells[rater].strip() if rater else ""
            for kind, count in counts.items():
                cells = {"study_id": name, "errors": str(count or 0), "case": of[0], "rater": reader}
                rows.append((row.row_ref, {**cells, _SIGNIFICANT: str(kind).lower()}))
    if not rows:
        raise InputError(f"{table.path}: no annotation holds counts below Significant and Insignificant")
    counted = read_errors(_as_table(table, rows), "errors", "case", "rater", significant)
    notes = [f"RadEvalExpert: {len(texts)} reports"]
    if unread:
        listed = ", ".join(unread[:_NAMED]) + (", ..." if len(unread) > _NAMED else "")
        notes.append(f"{len(unread)} annotations left out: not a count for every kind of error ({listed})")
    return Counted(*counted, texts, tuple(notes), "RadEvalExpert")


def annotated(text: str) -> dict[bool, int | None]:
    """The sums of significant (True) and insignificant (False) errors in an annotation; None for one not complete.

    Complete is a part with one header and one count for each kind of error, numbered from 1 on, as many as the other.
    """
    counts: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    headers: list[bool] = []
    broken = {True: False, False: False}
    for line in filter(str.strip, text.splitlines()):
        if header := _HEADER.fullmatch(line):
            headers.append(header[1] is None)
        elif headers:
            found = _COUNT.fullmatch(line)
            broken[headers[-1]] |= found is None
            if found:
                counts[headers[-1]].append((int(found[1]), int(found[2])))
    whole, most = {}, max(map(len, counts.values()))
    for kind, found_counts in counts.items():
        in_order = [place for place, _ in found_counts] == list(range(1, len(found_counts) + 1))
        complete = headers.count(kind) == 1 and in_order and len(found_counts) == most and most in _CATEGORIES
        complete = complete and not broken[kind]
        whole[kind] = sum(count for _, count in found_counts) if complete else None
    return whole
