"""The texts of a folder of DICOM files: files or one table, joined by whatever id they go by.

Texts (plain, RTF, HTML) are named by study UID, accession number, study ID, patient ID, folder or image, or lie alone
beside a study's images; a table has a column with any of these. Which of them it is, is decided once for the folder, by
which fits most texts. Messages (HL7, FHIR) say themselves whose they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrgen.core.errors import RejectError
from cxrgen.core.records import Reject
from cxrgen.core.tables import CsvTable, find_column, read_csv
from cxrgen.sources import SourceOptions
from cxrgen.sources.ids import clean_id, match_ids
from cxrgen.sources.report_files import NAMED_TEXTS, match_reports, messages_of
from cxrgen.sources.rows import FIELDS
from cxrgen.sources.texts import ReportText, read_text, split_report

KINDS_OF_KEY = ("study UID", "accession number", "study ID", "folder", "image", "patient ID")
_OTHER_TEXTS = (".doc", ".docx", ".odt", ".pdf", ".xml")
_OTHERS_SAID = "Word, PDF, XML"
_TABLES = ("*.csv", "*.csv.gz", "*.tsv", "*.tsv.gz")


@dataclass(frozen=True)
class Keys:
    """By what the text of an image's study may be named: value by kind of key, and the image's folder."""

    folder: Path
    values: Mapping[str, str]


KeysOfStudies = Mapping[str, Sequence[Keys]]  # study UID -> its images


@dataclass(frozen=True)
class TextTable:
    """A table of texts: which of its columns has the ids, and what it calls each study, by study UID."""

    file: Path
    id_column: str
    names: dict[str, str]


def only_table(path: Path) -> Path | None:
    """The one CSV or TSV right in a folder."""
    tables = [file for pattern in _TABLES for file in sorted(path.glob(pattern))]
    return tables[0] if len(tables) == 1 else None


def table_of_texts(
    studies: KeysOfStudies, file: Path | None, options: SourceOptions, notes: list[str]
) -> TextTable | None:
    """The table and the column by which most of its rows are a study's; None without one, or where it has no text."""
    if file is None:
        return None
    table = read_csv(file, options.encoding, "" if options.text_file else "the table")
    fields = ("report", "findings", "impression")
    known = [name for field in fields for name in (options.columns.get(field, field), *FIELDS[field])]
    if not options.text_file and find_column(table, *known, needed=False) is None:
        notes.append("the table in the folder has no column of report texts and is not read")
        return None
    column, kind, owners = _id_column(studies, table, options)
    notes.append(f"the table names studies by {kind} (column {table.columns.index(column) + 1})")
    return TextTable(file, column, {study_uid: name for name, study_uid in owners.items()})


def _id_column(studies: KeysOfStudies, table: CsvTable, options: SourceOptions) -> tuple[str, str, dict[str, str]]:
    """(column, kind of key, id -> study UID): the given column, else the one with most ids of studies."""
    given = options.columns.get("study_id")
    columns = [str(find_column(table, given))] if given else list(table.columns)
    values = {value for images in studies.values() for image in images for value in image.values.values()}
    best: tuple[str, str, dict[str, str]] = (columns[0], KINDS_OF_KEY[0], {})
    most = (0, 0)
    for column in columns:
        names = [clean_id(row.cells[column], row.row_ref) for row in table.rows]
        kind, owners = best_key(studies, names)
        hits = len(set(owners.values())), len(values.intersection(names))  # as they are, before padded ones
        if hits > most:
            best, most = (column, kind, owners), hits
    return best


def best_key(studies: KeysOfStudies, names: Collection[str]) -> tuple[str, dict[str, str]]:
    """(kind of key, name -> study UID) of the kind by which most names are found; the first kind wins ties."""
    fits = {}
    for kind in KINDS_OF_KEY:
        owners = owners_of(studies, kind)
        matched, _ = match_ids(names, owners)
        fits[kind] = {name: owners[value] for name, value in matched.items()}
    best = max(KINDS_OF_KEY, key=lambda kind: len(fits[kind]))
    return best, fits[best]


def owners_of(studies: KeysOfStudies, kind: str) -> dict[str, str]:
    """Value of a kind of key -> study UID, without values that several studies share."""
    owners: dict[str, set[str]] = defaultdict(set)
    for study_uid, images in studies.items():
        for image in images:
            owners[image.values[kind]].add(study_uid)
    return {value: next(iter(owner)) for value, owner in owners.items() if value and len(owner) == 1}


def text_files(
    studies: KeysOfStudies, files: Iterable[Path], options: SourceOptions, notes: list[str], rejects: list[Reject]
) -> dict[str, ReportText]:
    """Study UID -> its text."""
    listed = list(files)
    reports, with_messages = messages_of(listed, options.encoding, notes, rejects)
    messages, remarks = match_reports(reports, {kind: owners_of(studies, kind) for kind in KINDS_OF_KEY})
    notes += remarks
    texts = [file for file in listed if file.suffix.lower() in NAMED_TEXTS and file not in with_messages]
    others = sum(file.suffix.lower() in _OTHER_TEXTS for file in listed)
    if others:
        forms = ".txt, .rtf, .html, HL7, FHIR or one CSV"
        notes.append(f"{others} files ({_OTHERS_SAID}) are not read; export report texts as {forms}")
    kind, owners = best_key(studies, [file.stem for file in texts])
    text_of = {owners[file.stem]: file for file in reversed(texts) if file.stem in owners}
    if text_of:
        notes.append(f"{len(text_of)} texts are named by {kind}")
    alone = _alone(studies, [file for file in texts if file.stem not in owners])
    alone = {study: file for study, file in alone.items() if study not in text_of}
    if alone:
        notes.append(f"{len(alone)} texts lie alone beside a study's images")
    text_of |= alone
    unused = len(texts) - len(text_of)
    notes += [f"{unused} texts belong to no study"] if unused else []
    read = {}
    for study_uid, report in messages.items():
        try:
            read[study_uid] = split_report(report.text, options.section_style)
        except RejectError as error:
            rejects.append(Reject(f"study {study_uid}", study_uid, "text-unreadable", error.hint))
    for study_uid, file in text_of.items():
        if study_uid in read:
            continue
        try:
            with open(file, "rb") as opened:
                read[study_uid] = split_report(read_text(opened, options.encoding), options.section_style)
        except (OSError, RejectError) as error:
            reason = error.hint if isinstance(error, RejectError) else type(error).__name__
            hint = f"its text cannot be read ({reason}); the study stays without"
            rejects.append(Reject(f"study {study_uid}", study_uid, "text-unreadable", hint))
    return read


def _alone(studies: KeysOfStudies, files: Iterable[Path]) -> dict[str, Path]:
    """Study -> text for folders that hold images of one study and one text."""
    owners: dict[Path, set[str]] = defaultdict(set)
    for study_uid, images in studies.items():
        for image in images:
            owners[image.folder].add(study_uid)
    texts: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        texts[file.parent].append(file)
    return {
        next(iter(owners[folder])): files_there[0]
        for folder, files_there in texts.items()
        if len(files_there) == 1 and len(owners.get(folder, ())) == 1
    }
