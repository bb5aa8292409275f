"""Strict readers of CSV, TSV and JSON: every cell is text, and an error names its line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import unicodedata
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError

_MAX_CELL = 10_000_000  # characters; a report is a few thousand, an unbalanced quote swallows the rest of the file


csv.field_size_limit(_MAX_CELL)


_LONGEST_NAME = 50  # characters of a column name


_DATA = re.compile(r"[.!?]\s*$|[.!?]\s|[/\\^]|^[\d\s.,:-]+$")  # sentences, paths, DICOM names, numbers and dates


@dataclass(frozen=True)
class CsvRow:
    """One data row: `row_ref` is "name.csv:17" (the line it ends on), `cells` maps column name to verbatim text."""

    row_ref: str
    cells: dict[str, str]


@dataclass(frozen=True)
class CsvTable:
    """A CSV read without guessing at values: every cell is text, so ids keep their zeros and "None" stays a word."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[CsvRow, ...]
    notes: tuple[str, ...]  # what was unusual: encoding, separator


def read_csv(path: Path) -> CsvTable:
    """Read a CSV or TSV, gzipped or not, strictly.

    UTF-8 with or without byte order mark, UTF-16 by its mark, else Windows-1252; comma, semicolon or tab by the header
    line. Raises InputError naming the line for a missing file, an empty one, a row of another length, an open quote.
    """
    path = Path(path)
    text, notes = _decode(path)
    header_line = next((line for line in text.splitlines() if line.strip()), "")
    if not header_line:
        raise InputError(f"{path}: the file is empty; a header row with column names is needed")
    delimiter = max(",;\t", key=header_line.count)  # ties go to the comma
    if delimiter != ",":
        notes.append("columns are separated by " + {";": "semicolons", "\t": "tabs"}[delimiter])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []
    rows = []
    try:
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if not columns:
                columns = [unicodedata.normalize("NFC", field).strip() for field in fields]
                twice = {name for name in columns if columns.count(name) > 1}
                if twice:
                    raise InputError(f"{path}: column {sorted(twice)[0]!r} stands twice in the header; rename one")
                continue
            row_ref = f"{path.name}:{reader.line_num}"
            if len(fields) != len(columns):
                raise InputError(
                    f"{row_ref}: {len(fields)} fields, the header has {len(columns)}; "
                    "quote cells that hold the separator, or export the file again"
                )
            rows.append(CsvRow(row_ref, dict(zip(columns, fields))))
    except csv.Error as error:
        raise InputError(f"{path.name}:{reader.line_num}: {error}; look for an unbalanced quote from here on") from None
    return CsvTable(path, tuple(columns), tuple(rows), tuple(notes))


def find_column(table: CsvTable, *names: str, needed: bool = True) -> str | None:
    """The table's spelling of the first of `names` that it has, ignoring case and outer blanks.

    Raises InputError listing the columns found and the nearest one when `needed` and none is there.
    """
    folded = {column.strip().lower(): column for column in table.columns}
    for name in names:
        if name.strip().lower() in folded:
            return folded[name.strip().lower()]
    if not needed:
        return None
    near = get_close_matches(names[0].lower(), folded, n=1)
    hint = f"; did you mean {folded[near[0]]!r}?" if near else ""
    raise InputError(f"{table.path}: no column {names[0]!r}, {listed_columns(table.columns)}{hint}")


def listed_columns(columns: Iterable[str]) -> str:
    """Column names for a message: "found: study_id, report".

    Where any of them reads like data, the header row may be missing; then none is shown, since data can be a patient's.
    """
    names = list(columns)
    if any(_DATA.search(name) or len(name) > _LONGEST_NAME for name in names):
        return f"found: {len(names)} cells that read like data; is the header row missing?"
    return f"found: {', '.join(names)}"


def _decode(path: Path) -> tuple[str, list[str]]:
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__})") from None
    if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: holds NUL bytes, so it is no text file; export it as CSV in UTF-8")
    for encoding in ("utf-16",) if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding != "cp1252":
            return text, ["read as utf-16"] if encoding == "utf-16" else []
        other = sum(not line.isascii() for line in text.splitlines())
        return text, [f"read as {encoding}, not UTF-8; {other} lines hold letters that depend on it"]
    raise InputError(f"{path}: neither UTF-8 nor Windows-1252; export it as UTF-8")


def read_json(path: Path) -> Any:
    """Read a JSON document, or a file of JSON lines as a list; raises InputError naming the line."""
    path = Path(path)
    text, _ = _decode(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        whole = error
    values = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                values.append(json.loads(line))
            except json.JSONDecodeError as error:
                if not values:  # not JSON lines at all: the error of the whole document says more
                    raise InputError(f"{path.name}:{whole.lineno}: not JSON ({whole.msg})") from None
                raise InputError(f"{path.name}:{number}: not JSON ({error.msg})") from None
    return values
