"""Tables of reports as people have them: CSV, JSON, JSON lines, Excel, ReXrank's file; columns of any name.

All become a `CsvTable` with the columns study_id and report, so that nothing after this knows what the file was.
ReXrank's file is one object: study ids, each with its sections and, once written, `model_prediction`. Where a section
is missing, its own program puts the word None into the reference; here the section is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.tables import CsvRow, CsvTable, read_csv, read_json
from cxrgen.evaluate.defaults import REXRANK

JSON_ENDINGS, EXCEL_ENDINGS = (".json", ".jsonl"), (".xlsx", ".xlsm")
ENDINGS = (".csv", ".tsv", ".gz", *JSON_ENDINGS, *EXCEL_ENDINGS)
_PREDICTION = "model_prediction"
_SECTIONS = {"Findings": ("section_findings", "findings"), "Impression": ("section_impression", "impression")}
NAMES = ("study_id", "report", "subject_id")  # that --map can give, and report_2, report_3, ...
_FURTHER = re.compile(r"report_([1-9]\d*)", re.IGNORECASE)


def read_table(
    path: Path, columns: Mapping[str, str] | None = None, references: bool = False, form: str = "auto"
) -> CsvTable:
    """Read a table of reports by the ending of its name; `columns` says how study_id and others are called in it.

    Of a file of ReXrank that holds both, `references` takes the references, else the written reports are taken.

    A name that the file does not have is left alone: --map serves predictions and references, which may differ. Raises
    InputError for a file of another shape, UsageError where Excel's files cannot be read.
    """
    ending = path.suffix.lower()
    if form == REXRANK:
        table = _from_rexrank(path, read_json(path), references)
    elif ending in JSON_ENDINGS:
        table = _from_objects(path, read_json(path), references)
    elif ending in EXCEL_ENDINGS:
        table = _from_excel(path)
    else:
        table = read_csv(path)
    return _renamed(table, columns or {})


def column_map(given: Sequence[str]) -> dict[str, str]:
    """["report=Generated Report"] -> {"report": "Generated Report"}; raises UsageError for another name or form."""
    found = {}
    for word in given:
        name, equals, column = word.partition("=")
        if not equals or not column or not (name in NAMES or _FURTHER.fullmatch(name)):
            raise UsageError(f"--map {word!r}: write it as NAME=COLUMN; NAME is one of {', '.join(NAMES)}")
        found[name] = column
    return found


def further_columns(columns: Iterable[str]) -> list[str]:
    """The columns with further references of a study, report_2 and so on, in the order of their numbers."""
    found = {column: _FURTHER.fullmatch(column.strip()) for column in columns}
    return sorted((name for name, match in found.items() if match), key=lambda name: int(name.strip()[7:]))


def _renamed(table: CsvTable, columns: Mapping[str, str]) -> CsvTable:
    known = {column.strip().lower(): column for column in table.columns}
    new_of = {known[old.strip().lower()]: new for new, old in columns.items() if old.strip().lower() in known}
    if not new_of:
        return table
    dropped = {column for column in table.columns if column.lower() in new_of.values() and column not in new_of}
    kept = [column for column in table.columns if column not in dropped]
    rows = [CsvRow(row.row_ref, {new_of.get(name, name): row.cells[name] for name in kept}) for row in table.rows]
    return CsvTable(table.path, tuple(new_of.get(name, name) for name in kept), tuple(rows), table.notes, table.name)


def _from_rexrank(path: Path, content: Any, references: bool) -> CsvTable:
    if not _is_rexrank(content):
        raise InputError(f"{path}: not ReXrank's file, an object of study ids with an object each; leave out --format")
    return _from_objects(path, content, references)


def _is_rexrank(content: Any) -> bool:
    return isinstance(content, dict) and bool(content) and all(isinstance(value, dict) for value in content.values())


def _from_objects(path: Path, content: Any, references: bool) -> CsvTable:
    """Objects in a list or by lines, or by study id as ReXrank has them."""
    if _is_rexrank(content):
        content = _of_rexrank(content, references)
    if not isinstance(content, list) or not content or not all(isinstance(row, dict) for row in content):
        raise InputError(f"{path}: not a table; needed are objects with study_id and report, or ReXrank's file")
    content = [_apart(row) for row in content]
    columns = tuple(dict.fromkeys(str(name) for row in content for name in row))
    rows = (
        CsvRow(f"{path.name}:{number}", {name: _cell(row.get(name)) for name in columns})
        for number, row in enumerate(content, 1)
    )
    return CsvTable(path, columns, tuple(rows), ())


def _apart(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row whose report is a list of several has them in columns of their own."""
    reports = row.get("report")
    if not isinstance(reports, list) or not reports:
        return row
    return {**row, "report": reports[0], **{f"report_{place}": text for place, text in enumerate(reports[1:], 2)}}


def _of_rexrank(studies: Mapping[str, Mapping[str, Any]], references: bool) -> list[dict[str, Any]]:
    """Study id, report and patient of each: what was written, or what it is compared with.

    Where references are wanted and the file has some, a study with a written report alone has none, so it is no row.
    """
    found = {name: _reference(study) for name, study in studies.items()}
    wanted = references and any(found.values())
    rows = []
    for name, study in studies.items():
        subject = {"subject_id": study["subject_id"]} if study.get("subject_id") else {}
        if _PREDICTION not in study or (wanted and found[name]):
            rows.append({"study_id": name, "report": found[name], **subject})
        elif not wanted:
            rows.append({"study_id": name, "report": study[_PREDICTION], **subject})
    return rows


def _reference(study: Mapping[str, Any]) -> str | list[Any]:
    given: str | list[Any] | None = study.get("report") or study.get("reports")
    if given:
        return given
    texts = {
        title: next((text for key in keys if (text := _cell(study.get(key)).strip())), "")
        for title, keys in _SECTIONS.items()
    }
    return " ".join(f"{title}: {text}" for title, text in texts.items() if text)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _from_excel(path: Path) -> CsvTable:
    """The first sheet of an Excel file; its first row names the columns."""
    try:
        import openpyxl
    except ModuleNotFoundError:
        raise UsageError(f'{path}: Excel files need openpyxl; install it with: pip install "cxrgen[xlsx]"') from None
    try:
        sheet = openpyxl.load_workbook(path, read_only=True, data_only=True).worksheets[0]
        lines: Iterable[Sequence[Any]] = list(sheet.iter_rows(values_only=True))
    except Exception as error:  # its own errors are of many kinds
        raise InputError(f"{path}: cannot be read as an Excel file ({type(error).__name__})") from None
    filled = [(number, line) for number, line in enumerate(lines, 1) if any(cell is not None for cell in line)]
    if not filled:
        raise InputError(f"{path}: an empty sheet; save the table as the first sheet")
    head = {place: str(cell).strip() for place, cell in enumerate(filled[0][1]) if cell is not None}
    rows = (
        CsvRow(f"{path.name}:{number}", {name: _cell(line[place]) for place, name in head.items()})
        for number, line in filled[1:]
    )
    return CsvTable(path, tuple(head.values()), tuple(rows), ())
