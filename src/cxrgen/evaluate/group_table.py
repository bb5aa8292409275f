"""Groups of studies from a table of their own: site, scanner, sex, whatever the references do not say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.tables import find_column
from cxrgen.evaluate.report_files import read_table


def group_columns(path: Path | None, names: Sequence[str], study_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The columns among `names` that a table has, in the order of `study_ids`; "" for a study without a row.

    Raises UsageError for a table without names, InputError for a study that is given twice or a table of other studies.
    """
    if path is None:
        return {}
    if not names:
        raise UsageError("--by-table holds the columns of --by; name them there")
    table = read_table(path)
    id_column = str(find_column(table, "study_id", "id"))
    columns = {name: column for name in names if (column := find_column(table, name, needed=False))}
    cells: dict[str, dict[str, str]] = {}
    for row in table.rows:
        study = row.cells[id_column].strip()
        if study in cells:
            raise InputError(f"{row.row_ref}: its study was given before; keep one row a study", detail=repr(study))
        cells[study] = {name: row.cells[column].strip() for name, column in columns.items()}
    if not cells.keys() & set(study_ids):
        raise InputError(f"{path}: none of the scored studies is in it; its ids are others")
    return {name: tuple(cells.get(study, {}).get(name, "") for study in study_ids) for name in columns}
