"""Report texts that live in a table of their own (`--text-file`), joined to studies by id.

The table has study_id and either a raw `report` or section columns. What it says counts before what the source has. A
file of messages (HL7, FHIR) is joined by the study's id or the patient's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cxrgen.core.errors import InputError, RejectError
from cxrgen.core.records import Reject, Study
from cxrgen.core.tables import missing_column, read_csv
from cxrgen.sources import Found, SourceOptions
from cxrgen.sources.ids import match_ids
from cxrgen.sources.merge_rows import merge_rows
from cxrgen.sources.report_files import is_table, match_reports, read_reports
from cxrgen.sources.rows import FIELDS, SECTIONS, RowReader, map_columns, read_rows
from cxrgen.sources.texts import split_report

_TEXTS = {name: FIELDS[name] for name in ("study_id", "report", *SECTIONS)}


def add_texts(found: Found, file: Path, options: SourceOptions) -> Found:
    """The studies with the sections of `file` over their own.

    Raises InputError when the table has no ids or no text, or when not one of its ids is a study's.
    """
    if not is_table(file):
        return _add_messages(found, file, options)
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


def _add_messages(found: Found, file: Path, options: SourceOptions) -> Found:
    """The studies with the reports of a file of messages; raises InputError where not one is of a study."""
    try:
        reports = read_reports(file, options.encoding)
    except RejectError as error:
        raise InputError(f"{file}: {error.hint}") from None
    patients = Counter(study.subject_id for study in found.studies)
    by_study = {study.study_id: study.study_id for study in found.studies}
    by_patient = {study.subject_id: study.study_id for study in found.studies if patients[study.subject_id] == 1}
    owners = {"study UID": by_study, "accession number": by_study, "study ID": by_study, "patient ID": by_patient}
    matched, notes = match_reports(reports, owners)
    if not matched:
        raise InputError(f"{file}: none of its {len(reports)} reports (HL7 or FHIR) is of a study; look at the ids")
    texts = {name: split_report(report.text, options.section_style) for name, report in matched.items()}
    studies = [
        replace(study, sections={**study.sections, **text.sections}, flags=study.flags + text.flags)
        if (text := texts.get(study.study_id))
        else study
        for study in found.studies
    ]
    return replace(found, studies=studies, notes=found.notes + notes, files=(*found.files, file))


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
