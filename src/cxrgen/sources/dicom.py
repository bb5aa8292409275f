"""A folder of DICOM files with texts: what a hospital exports.

Studies, patients, times and views come from the tags; names of files and folders mean nothing, but help to find a
study's text (`dicom_texts`). Values of tags that identify a patient go into the records and nowhere else.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.core.files import is_file
from cxrgen.core.records import UNKNOWN, Reject, Study, View
from cxrgen.core.tables import find_column, read_csv
from cxrgen.imaging.names import DICOM_SUFFIXES
from cxrgen.imaging.patients import PATIENT_TAGS, first_of_two_patients, several_patients
from cxrgen.imaging.purpose import PURPOSE_TAGS, is_for_processing, refusal, superseded
from cxrgen.imaging.rejects import ImageReject
from cxrgen.imaging.views import VIEW_TAGS, view_class, view_of_tags
from cxrgen.sources import ArgumentGroup, Found, SourceOptions
from cxrgen.sources.demographics import read_age, read_sex
from cxrgen.sources.dicom_texts import KINDS_OF_KEY, Keys, only_table, table_of_texts, text_files
from cxrgen.sources.image_paths import is_there, locator
from cxrgen.sources.printed_lists import several
from cxrgen.sources.report_files import is_table
from cxrgen.sources.rows import FIELDS, order_key
from cxrgen.sources.text_table import add_texts
from cxrgen.sources.texts import ReportText

_TAGS = (
    "SOPInstanceUID", "StudyInstanceUID", "StudyID", "AccessionNumber", "StudyDate", "StudyTime", "Rows",
    "PatientSex", "PatientAge", *PATIENT_TAGS, *PURPOSE_TAGS, *VIEW_TAGS,
)  # fmt: skip
_NO_DICOM = frozenset({".txt", ".csv", ".gz", ".json", ".xml", ".png", ".jpg", ".jpeg", ".zip", ".md", ".pdf", ".html"})
_LOOKED_AT = 500  # files until a folder counts as one without DICOM


@dataclass(frozen=True)
class _Tagged:
    """What the tags of one image say, and where it lies."""

    file: Path
    study_uid: str
    keys: Mapping[str, str]  # kind of key -> value; of one image
    patient: Mapping[str, str]  # tags by keyword
    order_key: str
    view: View
    sex: str
    age: int | None
    for_processing: bool  # raw detector values

    @property
    def subject_id(self) -> str:
        return self.patient.get("PatientID", "")


def recognise(path: Path) -> str:
    """A folder with a DICOM file among its first files, unless the only table in it names the images."""
    if not path.is_dir() or _table_names_images(path):
        return ""
    candidates = (file for file in _files(path) if file.suffix.lower() not in _NO_DICOM)
    return "a folder with DICOM files" if any(map(_is_dicom, islice(candidates, _LOOKED_AT))) else ""


def _table_names_images(path: Path) -> bool:
    """Whether the only table of a folder is a table of images: then it says more than the tags."""
    file = only_table(path)
    if file is None:
        return False
    try:
        table = read_csv(file)
        column = find_column(table, *FIELDS["image"], needed=False)
    except InputError:
        return False
    names = [name for row in table.rows[:_LOOKED_AT] for name in several(row.cells[column])] if column else []
    locate, _ = locator(names, [path, path / "images"])
    return any(is_there(locate, name) for name in names)


def add_arguments(parser: ArgumentGroup) -> None:
    """None of its own."""


def read(path: Path, options: SourceOptions) -> Found:
    """All studies of the folder with the texts found for them. Raises InputError when it holds no DICOM image."""
    notes: list[str] = []
    rejects: list[Reject] = []
    images = _without_raw_values(list(_tagged(options.image_folder or path, rejects, notes)), rejects)
    if not images:
        raise InputError(f"{path}: no DICOM image in it; {len(rejects)} files were refused")
    by_study = _one_patient_each(images, rejects)
    keys = {uid: [Keys(image.file.parent, image.keys) for image in members] for uid, members in by_study.items()}
    given = options.text_file if options.text_file and not is_table(options.text_file) else None  # files of reports
    table = None if given else table_of_texts(keys, options.text_file or only_table(path), options, notes)
    files = _files(given or path) if given is None or given.is_dir() else iter([given])
    texts = {} if table else text_files(keys, files, options, notes, rejects)
    studies = [
        _study(uid, members, table.names if table else {}, texts.get(uid, ReportText({})))
        for uid, members in by_study.items()
    ]
    found = Found(studies, rejects, notes, files=(given,) if given and given.is_file() else ())
    if table is None:
        return found
    return add_texts(found, table.file, replace(options, columns={**options.columns, "study_id": table.id_column}))


def _one_patient_each(images: Iterable[_Tagged], rejects: list[Reject]) -> dict[str, list[_Tagged]]:
    """Study UID -> its images; studies whose images name several patients are left out."""
    by_study: dict[str, list[_Tagged]] = defaultdict(list)
    for image in images:
        by_study[image.study_uid].append(image)
    for study_uid in list(by_study):
        members = by_study[study_uid]
        pair = first_of_two_patients([image.patient for image in members])
        if pair:
            hint = several_patients("/".join(members[place].file.parts[-2:]) for place in pair)
            rejects.append(Reject(f"study {study_uid}", study_uid, "duplicate-conflict", hint))
            del by_study[study_uid]
    return by_study


def _study(study_uid: str, images: Sequence[_Tagged], names: Mapping[str, str], text: ReportText) -> Study:
    return Study(
        names.get(study_uid, study_uid),
        next((image.subject_id for image in images if image.subject_id), ""),
        order_key=min((image.order_key for image in images if image.order_key), default=""),
        views=tuple(image.view for image in images),
        sections=text.sections,
        flags=text.flags,
        source="dicom",
        sex=next((image.sex for image in images if image.sex), ""),
        age=next((image.age for image in images if image.age is not None), None),
    )


def _files(path: Path) -> Iterator[Path]:
    """Regular files below, in a fixed order; hidden ones, links to folders and directories of a disc are left out."""
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        visible = (Path(folder) / name for name in sorted(names) if not name.startswith(".") and name != "DICOMDIR")
        yield from filter(is_file, visible)


def _is_dicom(file: Path) -> bool:
    suffix = file.suffix.lower()
    if suffix in DICOM_SUFFIXES or suffix in _NO_DICOM:
        return suffix in DICOM_SUFFIXES
    try:
        if not file.is_file():  # a pipe would be waited for
            return False
        with open(file, "rb") as opened:
            return opened.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _tagged(path: Path, rejects: list[Reject], notes: list[str]) -> Iterator[_Tagged]:
    from cxrgen.imaging.dicom import read_tags  # pydicom takes a second to import; only DICOM sources pay

    seen: set[str] = set()
    counts: Counter[str] = Counter()
    for file in filter(_is_dicom, _files(path)):
        row_ref = "/".join(file.relative_to(path).parts[-2:])
        if file.is_symlink() and path.resolve() not in Path(os.path.realpath(file)).parents:
            rejects.append(Reject(row_ref, "", "bad-path", "a link that leads out of the folder"))
            continue
        try:
            tags = read_tags(file, _TAGS)
        except ImageReject as error:
            rejects.append(Reject(row_ref, "", error.code, error.hint))
            continue
        study_uid, instance = (tags.get(name, "") for name in ("StudyInstanceUID", "SOPInstanceUID"))
        study_uid = study_uid or tags.get("AccessionNumber", "")
        if "Rows" not in tags:
            counts["files hold no picture (reports, presentation states)"] += 1
        elif refused := refusal(tags):
            rejects.append(Reject(row_ref, study_uid, refused.code, refused.hint))
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
    keys = dict(zip(KINDS_OF_KEY, (study_uid, accession, study_id, file.parent.name, file.stem, patient)))
    order = order_key(tags.get("StudyDate", ""), tags.get("StudyTime", ""))
    view = View(str(file.absolute()), UNKNOWN, view_of_tags(tags))
    sex, age = read_sex(tags.get("PatientSex", "")), read_age(tags.get("PatientAge", ""))
    whose = {keyword: tags[keyword] for keyword in PATIENT_TAGS if keyword in tags}
    return _Tagged(file, study_uid, keys, whose, order, view, sex, age, is_for_processing(tags))


def _without_raw_values(images: Sequence[_Tagged], rejects: list[Reject]) -> list[_Tagged]:
    """The images without raw detector values of a view that their study also holds as it was read."""
    by_study: defaultdict[str, list[_Tagged]] = defaultdict(list)
    for image in images:
        by_study[image.study_uid].append(image)
    left_out = set()
    for members in by_study.values():
        views = [view_class(image.view.raw_view) for image in members]
        raw_values = [image.for_processing for image in members]
        left_out |= {image.file for image, out in zip(members, superseded(views, raw_values)) if out}
    hint = "raw detector values; the picture made from them, for presentation, is taken"
    for image in images:
        if image.file in left_out:
            rejects.append(Reject("/".join(image.file.parts[-2:]), image.study_uid, "for-processing", hint))
    return [image for image in images if image.file not in left_out]


def view_and_time(file: Path) -> tuple[str, str]:
    """(view as the tags say it, order key) of one image, ("", "") where its tags cannot be read."""
    from cxrgen.imaging.dicom import read_tags

    try:
        tags = read_tags(file, _TAGS)
    except ImageReject:
        return "", ""
    return view_of_tags(tags), order_key(tags.get("StudyDate", ""), tags.get("StudyTime", ""))
