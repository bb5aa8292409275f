"""Strict readers of CSV, TSV and JSON: every cell is text, and an error names its row.

Files are untrusted: packed ones may unpack to far more than they are, and names in header rows can be a patient's where
the header is missing. So sizes are limited, and messages give numbers of columns; names stand in the error's `detail`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import stat
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any, cast

from cxrgen.core.encodings import decoded
from cxrgen.core.errors import InputError

_MAX_CELL = 10_000_000  # characters; a report is a few thousand, an unbalanced quote swallows the rest of the file
_MAX_COLUMNS = 10_000
_MAX_BYTES = 4 << 30  # of a table, unpacked
_BELIEVED_BYTES = 64 << 20  # unpacked; above this a packed file must not be
_MAX_RATIO = 200  # times as large as it is packed: text packs to a tenth, blanks to a thousandth
_MOST_DIGITS = 4000  # of a number in JSON; more are kept as text
_LONGEST_NAME = 50  # characters of a column name
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SEP_LINE = re.compile(r'"?sep=(.)"?[,;\t|]*', re.IGNORECASE)  # Excel's own first line
# Sentences, paths, DICOM names, numbers and dates; "Exam No." and "Findings/Impression" are names.
_DATA = re.compile(
    r"[!?]|\.\s+\S+\s+\S|(?:\S+\s+){3}.*\.\s*$|[\\^]|^\s*/|/.*/|/.*\.\w{2,4}$|\.(?:png|jpe?g|dcm)$|^[\d\s.,:/-]+$"
)

csv.field_size_limit(_MAX_CELL)


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
    notes: tuple[str, ...]  # what was unusual: encoding, separator, columns without a name
    name: str = ""  # for messages: the path, or what stands for a path that nobody typed


def read_csv(path: Path, encoding: str = "", name: str = "") -> CsvTable:
    """Read a CSV or TSV, gzipped or not, strictly.

    UTF-8 with or without byte order mark, UTF-16 by its mark, else Windows-1252 where that makes sense, or `encoding`;
    comma, semicolon, tab or bar by the header line or by Excel's `sep=` line. Columns without a name are not read. What
    was found, and not named by the user, is called `name` in messages: the file's own name may be a patient's.
    Raises InputError naming the line for a missing file, an empty one, a row of another length, an open quote.
    """
    path = Path(path)
    called, short = name or str(path), name or path.name
    text, remark = decoded(_contents(path, called), called, encoding)
    notes = [remark] if remark else []
    text, delimiter = _separator(text, called)
    if delimiter != ",":
        notes.append(f"columns are separated by {_SEPARATORS.get(delimiter, repr(delimiter))}")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    rows = []
    longer = 0
    try:
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if not header:
                header = _header(fields, called)
                continue
            row_ref = f"{short}:{reader.line_num}"
            if len(fields) > len(header) and not any(field.strip() for field in fields[len(header) :]):
                fields, longer = fields[: len(header)], longer + 1
            if len(fields) != len(header):
                raise InputError(
                    f"{row_ref}: {len(fields)} fields, the header has {len(header)}; "
                    "quote cells that hold the separator, or export the file again"
                )
            rows.append(CsvRow(row_ref, {name: field for name, field in zip(header, fields) if name}))
    except csv.Error as error:
        raise InputError(f"{short}:{reader.line_num}: {error}; look for an unbalanced quote from here on") from None
    nameless = sum(not name for name in header)
    notes += [f"columns without a name, which are not read: {nameless}"] if nameless else []
    notes += [f"{longer} rows end with separators that hold nothing"] if longer else []
    return CsvTable(path, tuple(name for name in header if name), tuple(rows), tuple(notes), called)


def _separator(text: str, name: str) -> tuple[str, str]:
    """(text from the header on, separator): by Excel's `sep=` line, else the commonest outside quotes in the header."""
    lines = io.StringIO(text)
    first = next((line for line in lines if line.strip()), "")
    if not first:
        raise InputError(f"{name}: the file is empty; a header row with column names is needed")
    named = _SEP_LINE.fullmatch(first.strip())
    if named:
        return lines.read(), named[1]
    unquoted = re.sub(r'"[^"]*"', "", first)
    return text, max(_SEPARATORS, key=unquoted.count)  # ties go to the comma


def _header(fields: Sequence[str], table: str) -> list[str]:
    """The names of columns, "" for those without one. Raises InputError for too many, or two of one name."""
    if len(fields) > _MAX_COLUMNS:
        raise InputError(f"{table}: {len(fields)} columns, more than {_MAX_COLUMNS}; is one line the whole file?")
    names = [unicodedata.normalize("NFC", field).strip() for field in fields]
    twice = next((name for name, count in Counter(names).items() if name and count > 1), "")
    if twice:
        first, second = [number for number, name in enumerate(names, 1) if name == twice][:2]
        raise InputError(
            f"{table}: columns {first} and {second} have the same name in the header; rename one", detail=repr(twice)
        )
    return names


def letters_of(name: str) -> str:
    """A column's name as its letters and digits: "Study ID", "study_id" and "StudyID" are one."""
    return re.sub(r"[\W_]+", "", name.lower())


def find_column(table: CsvTable, *names: str, needed: bool = True) -> str | None:
    """The table's spelling of the first of `names` that it has: but for case and outer blanks, else by their letters.

    Raises InputError with the number of the nearest column when `needed` and none is there; its detail has the names.
    """
    for fold in (lambda name: name.strip().lower(), letters_of):
        folded = {fold(column): column for column in reversed(table.columns)}
        for name in names:
            if fold(name) in folded:
                return folded[fold(name)]
    if not needed:
        return None
    raise missing_column(table.name or str(table.path), repr(names[0]), names[0], table.columns)


def missing_column(table: str, which: str, name: str, columns: Sequence[str], hint: str = "") -> InputError:
    """The error of a column that is not there (`no column {which}`): how many are, and the nearest one's number."""
    folded = {column.strip().lower(): number for number, column in enumerate(columns, 1)}
    near = get_close_matches(name.strip().lower(), list(folded)[:_MAX_COLUMNS], n=1)
    if any(_DATA.search(column) or len(column) > _LONGEST_NAME for column in columns):
        said = f"its {len(columns)} column names read like data; is the header row missing?"
    else:
        said = f"the table has {len(columns)} columns" + (f"; did you mean column {folded[near[0]]}?" if near else "")
    return InputError(f"{table}: no column {which}; {said}{hint}", detail=listed_columns(columns))


def listed_columns(columns: Iterable[str]) -> str:
    """Column names for the detail of an error: "found: study_id, report"."""
    return f"found: {', '.join(columns)}"


def _contents(path: Path, name: str) -> bytes:
    """The bytes of a file, unpacked. Raises InputError for what is no file, or unpacks to more than is believable."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{name}: no regular file; give the path of a table")
        with open(path, "rb") as file:
            limit = _MAX_BYTES
            if path.suffix.lower() != ".gz":
                return _limited(file, limit, name)
            limit = min(limit, max(_BELIEVED_BYTES, _MAX_RATIO * path.stat().st_size))
            with gzip.open(file) as unpacked:
                return _limited(cast(IO[bytes], unpacked), limit, name)
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"{name}: cannot be read ({type(error).__name__})") from None


def _limited(file: IO[bytes], limit: int, name: str) -> bytes:
    data = io.BytesIO()
    while block := file.read(1 << 20):  # read(limit) would take memory for the whole limit
        if data.tell() + len(block) > limit:
            raise InputError(
                f"{name}: holds more than {limit / 1e6:.0f} MB unpacked, which no such table does; check it"
            )
        data.write(block)
    return data.getvalue()


def read_text(path: Path, encoding: str = "") -> str:
    """The text of a file, gzipped or not, in whatever encoding it can be known to be; raises InputError if in none."""
    return decoded(_contents(path, str(path)), str(path), encoding)[0]


def read_json(path: Path, encoding: str = "", name: str = "") -> Any:
    """Read a JSON document, or a file of JSON lines as a list; raises InputError naming the line.

    Numbers of thousands of digits stay text, half of a surrogate pair becomes U+FFFD, and a line that is nested too
    deeply is None.
    """
    path = Path(path)
    called, short = name or str(path), name or path.name
    text, _ = decoded(_contents(path, called), called, encoding)
    try:
        return _value(text)
    except RecursionError:
        if "\n" not in text.strip():
            raise InputError(f"{called}: nested too deeply to be read; it is no data file") from None
        whole = None
    except json.JSONDecodeError as error:
        whole = error
    values: list[Any] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                values.append(_value(line))
            except RecursionError:
                values.append(None)
            except json.JSONDecodeError as error:
                if not values and whole:  # not JSON lines at all: the error of the whole document says more
                    raise InputError(f"{short}:{whole.lineno}: not JSON ({whole.msg})") from None
                raise InputError(f"{short}:{number}: not JSON ({error.msg})") from None
    return values


def _value(text: str) -> Any:
    value = json.loads(text, parse_int=_integer, strict=False)  # control characters in a text are text
    return _whole_letters(value) if re.search(r"\\u[dD][89a-fA-F]", text) else value


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


def _whole_letters(value: Any) -> Any:
    """The value with U+FFFD for halves of surrogate pairs, which no file can hold."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole_letters(item) for item in value]
    if isinstance(value, dict):
        return {_whole_letters(key): _whole_letters(item) for key, item in value.items()}
    return value
