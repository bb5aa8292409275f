"""A folder of DICOM files with texts: what a hospital exports.

Studies, patients, times and views come from the tags; names of files and folders mean nothing, but help to find a
study's text. Texts are .txt files named by study UID, accession number, study ID, patient ID, folder or image, or lying
alone beside a study's images; or one CSV with a column for any of these ids. Which of them it is, is decided once for
the folder by which fits most texts. Values of tags that identify a patient go into the records and nowhere else.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from cxrgen.core.errors import InputError
from cxrgen.core.records import UNKNOWN, Reject, Study, View
from cxrgen.core.tables import find_column, read_csv
from cxrgen.imaging.dicom import RADIOGRAPHS, read_tags
from cxrgen.imaging.read import DICOM_SUFFIXES
from cxrgen.imaging.rejects import ImageReject
from cxrgen.imaging.views import VIEW_TAGS, view_of_tags
from cxrgen.sources import ArgumentGroup, Found, SourceOptions
from cxrgen.sources.demographics import read_age, read_sex
from cxrgen.sources.ids import clean_id, match_ids
from cxrgen.sources.rows import order_key
from cxrgen.sources.text_table import add_texts
from cxrgen.text.sections import split_sections

_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "StudyID", "AccessionNumber", "PatientID", "StudyDate",
    "StudyTime", "Modality", "Rows", "PatientSex", "PatientAge", *VIEW_TAGS,
)  # fmt: skip
_NO_DICOM = frozenset({".txt", ".csv", ".gz", ".json", ".xml", ".png", ".jpg", ".jpeg", ".zip", ".md", ".pdf", ".html"})
_LOOKED_AT = 500  # files until a folder counts as one without DICOM
_LARGEST_TEXT = 1 << 20
_KEYS = ("study UID", "accession number", "study ID", "folder", "image", "patient ID")


@dataclass(frozen=True)
class _Tagged:
    """What the tags of one image say, and where it lies."""

    file: Path
    study_uid: str
    keys: Mapping[str, str]  # kind of key -> value; of one image
    subject_id: str
    order_key: str
    view: View
    sex: str
    age: int | None


def recognise(path: Path) -> str:
    """A folder with a DICOM file among its first files."""
    if not path.is_dir():
        return ""
    candidates = (file for file in _files(path) if file.suffix.lower() not in _NO_DICOM)
    return "a folder with DICOM files" if any(map(_is_dicom, islice(candidates, _LOOKED_AT))) else ""


def add_arguments(parser: ArgumentGroup) -> None:
    """None of its own."""


def read(path: Path, options: SourceOptions) -> Found:
    """All studies of the folder with the texts found for them. Raises InputError when it holds no DICOM image."""
    notes: list[str] = []
    rejects: list[Reject] = []
    images = list(_tagged(options.image_folder or path, rejects, notes))
    if not images:
        raise InputError(f"{path}: no DICOM image in it; {len(rejects)} files were refused")
    by_study = _one_patient_each(images, rejects)
    names: dict[str, str] = {}
    texts: dict[str, dict[str, str]] = {}
    table = options.text_file or _only_table(path)
    if table is not None:
        names = _names_in_table(by_study, table, options, notes)
    else:
        texts = _text_files(by_study, path, options.section_style, notes, rejects)
    studies = [_study(uid, members, names, texts) for uid, members in by_study.items()]
    found = Found(studies, rejects, notes)
    return found if table is None or options.text_file else add_texts(found, table, options)


def _one_patient_each(images: Iterable[_Tagged], rejects: list[Reject]) -> dict[str, list[_Tagged]]:
    """Study UID -> its images; studies whose images name several patients are left out."""
    by_study: dict[str, list[_Tagged]] = defaultdict(list)
    for image in images:
        by_study[image.study_uid].append(image)
    for study_uid in list(by_study):
        if len({image.subject_id for image in by_study[study_uid] if image.subject_id}) > 1:
            hint = "images of one study name several patients; correct the export"
            rejects.append(Reject(f"study {study_uid}", study_uid, "duplicate-conflict", hint))
            del by_study[study_uid]
    return by_study


def _study(
    study_uid: str, images: Sequence[_Tagged], names: Mapping[str, str], texts: Mapping[str, dict[str, str]]
) -> Study:
    return Study(
        names.get(study_uid, study_uid),
        next((image.subject_id for image in images if image.subject_id), ""),
        order_key=min((image.order_key for image in images if image.order_key), default=""),
        views=tuple(image.view for image in images),
        sections=texts.get(study_uid, {}),
        source="dicom",
        sex=next((image.sex for image in images if image.sex), ""),
        age=next((image.age for image in images if image.age is not None), None),
    )


def _files(path: Path) -> Iterator[Path]:
    """All files below, in a fixed order; hidden ones, links to folders and directories of a disc are left out."""
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(names) if not name.startswith(".") and name != "DICOMDIR")


def _is_dicom(file: Path) -> bool:
    suffix = file.suffix.lower()
    if suffix in DICOM_SUFFIXES or suffix in _NO_DICOM:
        return suffix in DICOM_SUFFIXES
    try:
        with open(file, "rb") as opened:
            return opened.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _tagged(path: Path, rejects: list[Reject], notes: list[str]) -> Iterator[_Tagged]:
    seen: set[str] = set()
    counts: Counter[str] = Counter()
    for file in filter(_is_dicom, _files(path)):
        row_ref = "/".join(file.relative_to(path).parts[-2:])
        if file.is_symlink() and path.resolve() not in file.resolve().parents:
            rejects.append(Reject(row_ref, "", "bad-path", "a link that leads out of the folder"))
            continue
        try:
            tags = read_tags(file, _TAGS)
        except ImageReject as error:
            rejects.append(Reject(row_ref, "", error.code, error.hint))
            continue
        study_uid, instance, modality = (
            tags.get(name, "") for name in ("StudyInstanceUID", "SOPInstanceUID", "Modality")
        )
        study_uid = study_uid or tags.get("AccessionNumber", "")
        if "Rows" not in tags:
            counts["files hold no picture (reports, presentation states)"] += 1
        elif modality and modality not in RADIOGRAPHS:
            rejects.append(Reject(row_ref, study_uid, "not-a-radiograph", "CR, DX, RG and OT are read"))
        elif not study_uid:
            rejects.append(Reject(row_ref, "", "id-missing", "it has neither a study UID nor an accession number"))
        elif instance and instance in seen:
            counts["files repeat an image"] += 1
        else:
            seen.add(instance)
            yield _one(file, study_uid, tags)
    notes += [f"{count} {what}" for what, count in counts.items()]


def _one(file: Path, study_uid: str, tags: Mapping[str, str]) -> _Tagged:
    accession, study_id, patient = (tags.get(name, "") for name in ("AccessionNumber", "StudyID", "PatientID"))
    keys = dict(zip(_KEYS, (study_uid, accession, study_id, file.parent.name, file.stem, patient)))
    order = order_key(tags.get("StudyDate", ""), tags.get("StudyTime", ""))
    view = View(str(file.absolute()), UNKNOWN, view_of_tags(tags))
    sex, age = read_sex(tags.get("PatientSex", "")), read_age(tags.get("PatientAge", ""))
    return _Tagged(file, study_uid, keys, patient, order, view, sex, age)


def view_and_time(file: Path) -> tuple[str, str]:
    """(view as the tags say it, order key) of one image, ("", "") where its tags cannot be read."""
    try:
        tags = read_tags(file, _TAGS)
    except ImageReject:
        return "", ""
    return view_of_tags(tags), order_key(tags.get("StudyDate", ""), tags.get("StudyTime", ""))


# --- texts ---


def _keys_of(by_study: Mapping[str, Collection[_Tagged]], kind: str) -> dict[str, str]:
    """Value of a kind of key -> study UID, without values that several studies share."""
    owners: dict[str, set[str]] = defaultdict(set)
    for study_uid, members in by_study.items():
        for image in members:
            owners[image.keys[kind]].add(study_uid)
    return {value: next(iter(owner)) for value, owner in owners.items() if value and len(owner) == 1}


def _best_key(by_study: Mapping[str, Collection[_Tagged]], names: Collection[str]) -> tuple[str, dict[str, str]]:
    """(kind of key, name -> study UID) of the kind by which most names are found; the first kind wins ties."""
    fits = {}
    for kind in _KEYS:
        owners = _keys_of(by_study, kind)
        matched, _ = match_ids(names, owners)
        fits[kind] = {name: owners[value] for name, value in matched.items()}
    best = max(_KEYS, key=lambda kind: len(fits[kind]))
    return best, fits[best]


def _text_files(
    by_study: Mapping[str, list[_Tagged]], path: Path, style: str, notes: list[str], rejects: list[Reject]
) -> dict[str, dict[str, str]]:
    """Study UID -> the sections of its text."""
    files = [file for file in _files(path) if file.suffix.lower() == ".txt"]
    kind, owners = _best_key(by_study, [file.stem for file in files])
    text_of = {owners[file.stem]: file for file in reversed(files) if file.stem in owners}
    if text_of:
        notes.append(f"{len(text_of)} texts are named by {kind}")
    alone = _alone(by_study, [file for file in files if file.stem not in owners])
    alone = {study: file for study, file in alone.items() if study not in text_of}
    if alone:
        notes.append(f"{len(alone)} texts lie alone beside a study's images")
    text_of |= alone
    unused = len(files) - len(text_of)
    notes += [f"{unused} texts belong to no study"] if unused else []
    sections = {}
    for study_uid, file in text_of.items():
        try:
            with open(file, "rb") as opened:
                sections[study_uid] = split_sections(read_text(opened), style)
        except (OSError, ValueError) as error:
            hint = f"its text cannot be read ({type(error).__name__}); the study stays without"
            rejects.append(Reject(f"study {study_uid}", study_uid, "text-unreadable", hint))
    return sections


def _alone(by_study: Mapping[str, list[_Tagged]], files: list[Path]) -> dict[str, Path]:
    """Study -> text for folders that hold images of one study and one text."""
    owners: dict[Path, set[str]] = defaultdict(set)
    for study_uid, members in by_study.items():
        for image in members:
            owners[image.file.parent].add(study_uid)
    texts: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        texts[file.parent].append(file)
    return {
        next(iter(owners[folder])): files_there[0]
        for folder, files_there in texts.items()
        if len(files_there) == 1 and len(owners.get(folder, ())) == 1
    }


def read_text(file: IO[bytes]) -> str:
    """A report's text: UTF-8, else Windows-1252. Raises ValueError for a file over a megabyte, which is no report."""
    data = file.read(_LARGEST_TEXT + 1)
    if len(data) > _LARGEST_TEXT:
        raise ValueError("larger than any report")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _only_table(path: Path) -> Path | None:
    tables = sorted(path.glob("*.csv")) + sorted(path.glob("*.csv.gz"))
    return tables[0] if len(tables) == 1 else None


def _names_in_table(
    by_study: Mapping[str, list[_Tagged]], file: Path, options: SourceOptions, notes: list[str]
) -> dict[str, str]:
    """Study UID -> what the table calls the study, by the kind of id with which most of its rows are found."""
    table = read_csv(file)
    names = (options.columns.get("study_id", "study_id"), "accession", "accession_number", "study", "id", "uid")
    column = find_column(table, *names) or ""
    kind, owners = _best_key(by_study, [clean_id(row.cells[column], row.row_ref) for row in table.rows])
    notes.append(f"{file.name} names studies by {kind}")
    return {study_uid: name for name, study_uid in owners.items()}
