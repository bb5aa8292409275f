"""What `--dry-run` says of a table: which column becomes which field, and a ready --map line for the rest.

A column that no name gives away is guessed at by its cells: names of images, long texts, ids, views, sexes. A guess is
only ever printed, for the user to take or leave; nothing is read by it. Cells are shown as lengths. A column's name is
shown where all its words are those that headers are made of; any other may be a patient's name in a table without a
header, so it goes by its number (`--map report=#4`).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.core.records import UNKNOWN
from cxrgen.imaging.views import view_class
from cxrgen.sources.column_maps import find_map
from cxrgen.sources.demographics import read_sex
from cxrgen.sources.printed_lists import several
from cxrgen.sources.rows import FIELDS, map_columns, order_key
from cxrgen.sources.table import file_of, rows_of

_LOOKED_AT = 200  # rows
_TEXT_FIELDS = ("report", "findings", "impression")
_IMAGE = re.compile(r"\.(png|jpe?g|dcm|dicom|tiff?|webp|bmp)$", re.IGNORECASE)
_LONG_TEXT = 40  # characters; ids and names are shorter
_WORDS = """accession acc birth body clinical code comments comparison conclusion date datetime department dept
description diagnosis doctor dob exam examination examined file filename final finding findings full
gender history hospital id identifier image images impression impressions indication instance key
location modality mrn name no note notes nr num number of order part path patient performed physician
position procedure radiologist radiology reading reason ref report reported reports result results
section series sex signed site sop split status study subject summary technique text time type uid unit
view ward x xray ray age befund beurteilung bild datei datum geschlecht patienten untersuchung edad fecha
hallazgos impresion informe sexo compte rendu"""
_HEADER_WORDS = frozenset(_WORDS.split())


@dataclass(frozen=True)
class ColumnLine:
    """One column: number from 1, name where it may be shown, field with where that comes from, length of an example."""

    number: int
    name: str
    field: str
    how: str  # by name | by --map | a guess | ""
    example: int


def describe_table(path: Path, given: Mapping[str, str], encoding: str) -> list[ColumnLine]:
    """A line a column of the table at a path, [] where there is none, or none that can be read.

    Raises UsageError for a field in `given` that does not exist, InputError for a column that does not.
    """
    file = file_of(path) or next((path / name for name in ("train.csv", "test.csv") if (path / name).is_file()), None)
    if file is None:
        return []
    try:
        columns, rows, _ = rows_of(file, encoding, "the table")
    except InputError:  # reading it says what is wrong
        return []
    dataset = find_map(columns)
    mapped = map_columns(columns, given, "the table", {**FIELDS, **dataset.columns} if dataset else FIELDS)
    return describe_columns(columns, [cells for _, cells in rows][:_LOOKED_AT], mapped, given)


def describe_columns(
    columns: Sequence[str], rows: Sequence[Mapping[str, object]], mapped: Mapping[str, str], given: Iterable[str]
) -> list[ColumnLine]:
    """A line a column. `mapped` is field -> column as far as names say it, `given` the fields that --map named."""
    given = set(given)
    fields = {column: (field, "by --map" if field in given else "by name") for field, column in mapped.items()}
    cells = {column: _cells(column, rows) for column in columns}
    for field, column in _guesses(columns, cells, mapped).items():
        fields[column] = (field, "a guess")
    return [
        ColumnLine(number, column, *fields.get(column, ("", "")), max(map(len, cells[column]), default=0))
        for number, column in enumerate(columns, 1)
    ]


def lines_of(described: Sequence[ColumnLine], show_values: bool) -> list[str]:
    """The table for people, and the --map line for what was only guessed."""
    lines = ["column -> field (longest of the first cells)"]
    for each in described:
        named = show_values or each.how == "by name" or is_header(each.name)
        field = f"{each.field} ({each.how})" if each.field else "not used"
        lines.append(
            f"  {each.number:>3} {each.name if named else '(name not shown)'} -> {field}, {each.example} characters"
        )
    guessed = [each for each in described if each.how == "a guess"]
    if guessed:
        words = [f"{each.field}={each.name if is_header(each.name) else f'#{each.number}'}" for each in guessed]
        lines.append("to take the guesses: " + " ".join(f"--map {shlex.quote(word)}" for word in words))
    elif not any(each.field in _TEXT_FIELDS for each in described):
        lines.append("no column looks like report text: --map report=#NUMBER names one by its number")
    return lines


def is_header(name: str) -> bool:
    """Whether a column's name is made of nothing but words that headers are made of."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
    return bool(words) and all(word.lower() in _HEADER_WORDS for word in words)


def _cells(column: str, rows: Sequence[Mapping[str, object]]) -> list[str]:
    values = (row.get(column) for row in rows[:_LOOKED_AT])
    return [text for value in values if value is not None and (text := str(value).strip())]


def _guesses(columns: Sequence[str], cells: Mapping[str, Sequence[str]], mapped: Mapping[str, str]) -> dict[str, str]:
    """Field -> column by what cells look like, for fields that no name gave; a column serves one field."""
    guessed: dict[str, str] = {}
    free = [column for column in columns if column not in mapped.values() and cells[column]]

    def take(field: str, fits: Sequence[str]) -> None:
        if fits and field not in mapped:
            guessed[field] = fits[0]
            free.remove(fits[0])

    take("image", [column for column in free if _most(cells[column], lambda cell: bool(_IMAGE.search(_first(cell))))])
    if not any(field in mapped for field in _TEXT_FIELDS):
        texts = [column for column in free if " " in cells[column][0] and _mean(cells[column]) >= _LONG_TEXT]
        take("report", sorted(texts, key=lambda column: -_mean(cells[column])))
    take("sex", [column for column in free if _most(cells[column], lambda cell: bool(read_sex(cell)))])
    take("view", [column for column in free if _most(cells[column], lambda cell: view_class(_first(cell)) != UNKNOWN)])
    take("date", [column for column in free if _most(cells[column], _is_date)])
    ids = [column for column in free if _most(cells[column], _is_id) and len(set(cells[column])) == len(cells[column])]
    take("study_id", ids)
    return {field: column for field, column in guessed.items() if field in FIELDS}


def _first(cell: str) -> str:
    return next(iter(several(cell)), "")


def _most(cells: Sequence[str], fits: Callable[[str], bool]) -> bool:
    return sum(map(fits, cells)) > 0.9 * len(cells)


def _mean(cells: Sequence[str]) -> float:
    return sum(map(len, cells)) / max(1, len(cells))


def _is_date(cell: str) -> bool:
    return len(cell) >= 8 and bool(order_key(cell[:10])) and cell[:2] in ("19", "20", "21")


def _is_id(cell: str) -> bool:
    return len(cell) <= 64 and " " not in cell and any(letter.isdigit() for letter in cell)
