"""Published values of other systems, shown beside a run only where test set and section are the same.

Numbers of another test set, or of another part of the report, cannot be compared, however alike their names are; so the
set and the section have to be said, and have to be equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cxrgen.core.errors import InputError, UsageError, unknown
from cxrgen.core.tables import CsvTable, find_column, read_csv

_COLUMNS = ("system", "set", "n", "section", "score", "value", "definition", "source")


@dataclass(frozen=True)
class Published:
    """One published value; `n` is the number of studies, "" where it was not said."""

    system: str
    n: str
    score: str
    value: float
    definition: str
    source: str


def read_published(path: Path, test_set: str, section: str) -> list[Published]:
    """The values for a test set and a section; raises UsageError for a set or section that the table does not have.

    InputError for a table of other columns, or a value that is no number.
    """
    table = read_csv(path)
    columns = {name: str(find_column(table, name)) for name in _COLUMNS}
    _known(table, columns["set"], "--set", test_set)
    _known(table, columns["section"], "--section", section)
    found = []
    for row in table.rows:
        cells = {name: row.cells[column].strip() for name, column in columns.items()}
        if (cells["set"], cells["section"]) != (test_set, section):
            continue
        try:
            value = float(cells["value"])
        except ValueError:
            raise InputError(f"{row.row_ref}: the value is no number") from None
        names = (cells["system"], cells["n"], cells["score"])
        found.append(Published(*names, value, cells["definition"], cells["source"]))
    return found


def _known(table: CsvTable, column: str, flag: str, given: str) -> None:
    values = sorted({row.cells[column].strip() for row in table.rows})
    if given not in values:
        raise unknown(flag, given, values)


def given_published(path: Path | None, test_set: str | None, section: str | None) -> list[Published]:
    """The same from the flags; nothing without them. Raises UsageError where one is missing."""
    if path is None and test_set is None and section is None:
        return []
    if path is None or test_set is None or section is None:
        raise UsageError("--published, --set and --section go together: which table, and what it must match")
    return read_published(path, test_set, section)


def measured_too(published: list[Published], values: Mapping[str, float]) -> list[Published]:
    """Those whose score was measured in this run, by the order of this run's scores."""
    place = {name: number for number, name in enumerate(values)}
    return sorted(
        (each for each in published if each.score in place), key=lambda each: (place[each.score], each.system)
    )
