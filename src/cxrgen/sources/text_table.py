"""Report texts that live in a table of their own (`--text-file`), joined to studies by id.

The table has study_id and either a raw `report` or section columns. What it says counts before what the source has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.core.records import Reject, Study
from cxrgen.core.tables import missing_column, read_csv
from cxrgen.sources import Found, SourceOptions
from cxrgen.sources.ids import match_ids
from cxrgen.sources.merge_rows import merge_rows
from cxrgen.sources.rows import FIELDS, SECTIONS, RowReader, map_columns, read_rows

_TEXTS = {name: FIELDS[name] for name in ("study_id", "report", *SECTIONS)}


def add_texts(found: Found, file: Path, options: SourceOptions) -> Found:
    """The studies with the sections of `file` over their own.

    Raises InputError when the table has no ids or no text, or when not one of its ids is a study's.
    """
    named = file == options.text_file
    table = read_csv(file, options.encoding, "" if named else "the table")
    short = file.name if named else table.name
    columns = map_columns(table.columns, options.columns, table.name, _TEXTS, needed=("study_id",))
    if not columns.keys() & {"report", "findings", "impression"}:
        raise missing_column(table.name, "for report, findings or impression", "findings", table.columns)
    reader = RowReader(columns, {}, Path, options.section_style)
    read = list(read_rows(((row.row_ref, row.cells) for row in table.rows), reader))
    rejects = [row for row in read if isinstance(row, Reject)]
    merged = merge_rows((row for row in read if not isinstance(row, Reject)), "", options.on_duplicate)
    texts = merged.studies
    matched, notes = match_ids([study.study_id for study in found.studies], {text.study_id for text in texts})
    if not matched:
        raise InputError(
            f"{table.name}: none of its {len(texts)} ids is the id of a study; look at the column for study_id"
        )
    studies = _joined(found.studies, matched, {text.study_id: text for text in texts})
    unused = len(texts) - len(matched)
    notes += [f"{short}: {note}" for note in table.notes]
    notes += [f"{short}: {len(matched)} studies have their text there"]
    notes += [f"{short}: {unused} texts belong to no study"] if unused else []
    rejects = [*found.rejects, *rejects, *merged.rejects]
    return replace(found, studies=studies, rejects=rejects, notes=found.notes + notes, files=(*found.files, file))


def _joined(studies: Sequence[Study], matched: Mapping[str, str], texts: Mapping[str, Study]) -> list[Study]:
    return [
        replace(
            study,
            sections={**study.sections, **texts[matched[study.study_id]].sections},
            flags=study.flags + texts[matched[study.study_id]].flags,
        )
        if study.study_id in matched
        else study
        for study in studies
    ]
