"""Report texts that live in a table of their own (`--text-file`), joined to studies by id.

The table has study_id and either a raw `report` or section columns. What it says counts before what the source has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.core.records import Reject, Study
from cxrgen.core.tables import listed_columns, read_csv
from cxrgen.sources import Found, SourceOptions
from cxrgen.sources.ids import match_ids
from cxrgen.sources.merge_rows import merge_rows
from cxrgen.sources.rows import FIELDS, SECTIONS, RowReader, map_columns, read_rows

_TEXTS = {name: FIELDS[name] for name in ("study_id", "report", *SECTIONS)}


def add_texts(found: Found, file: Path, options: SourceOptions) -> Found:
    """The studies with the sections of `file` over their own.

    Raises InputError when the table has no ids or no text, or when not one of its ids is a study's.
    """
    table = read_csv(file)
    columns = map_columns(table.columns, options.columns, str(file), _TEXTS, needed=("study_id",))
    if not columns.keys() & {"report", "findings", "impression"}:
        raise InputError(f"{file}: no column for report, findings or impression, {listed_columns(table.columns)}")
    reader = RowReader(columns, {}, Path, options.section_style)
    read = list(read_rows(((row.row_ref, row.cells) for row in table.rows), reader))
    rejects = [row for row in read if isinstance(row, Reject)]
    merged = merge_rows((row for row in read if not isinstance(row, Reject)), "", options.on_duplicate)
    texts = merged.studies
    matched, notes = match_ids([study.study_id for study in found.studies], {text.study_id for text in texts})
    if not matched:
        raise InputError(f"{file}: none of its {len(texts)} ids is the id of a study; look at the column for study_id")
    sections = {text.study_id: text.sections for text in texts}
    studies = _joined(found.studies, matched, sections)
    unused = len(texts) - len(matched)
    notes += [f"{file.name}: {note}" for note in table.notes]
    notes += [f"{file.name}: {len(matched)} studies have their text there"]
    notes += [f"{file.name}: {unused} texts belong to no study"] if unused else []
    rejects = [*found.rejects, *rejects, *merged.rejects]
    return replace(found, studies=studies, rejects=rejects, notes=found.notes + notes, files=(*found.files, file))


def _joined(studies: Sequence[Study], matched: dict[str, str], sections: dict[str, dict[str, str]]) -> list[Study]:
    return [
        replace(study, sections={**study.sections, **sections[matched[study.study_id]]})
        if study.study_id in matched
        else study
        for study in studies
    ]
