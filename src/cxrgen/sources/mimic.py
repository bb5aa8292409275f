"""MIMIC-CXR-JPG and MIMIC-CXR, as PhysioNet ships them: packed or not, whole or in part, in one folder or several.

    mimic-cxr-2.0.0-{metadata,split,chexpert,negbio}.csv[.gz], cxr-record-list.csv[.gz]     tables, used where they are
    files/p10/p10000032/s50414267/{dicom_id}.jpg (or .dcm)                                  images
    files/p10/p10000032/s50414267.txt, mimic-cxr-reports.zip, mimic_cxr_sectioned.csv       reports
    patients.csv[.gz] of MIMIC-IV, put anywhere below the folder                            sex and age

Reports are split by the official parser. In style `tolerant` a report in which it finds neither findings nor impression
is given to the tolerant one; in style `mimic` it stays as it is, so that numbers compare with published ones. A patient
whose folder is not there belongs to a part that was not downloaded and is only counted. The file is a long one because
a release's tables, folders and reports are only understood together.
"""

from __future__ import annotations

import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from cxrgen.core.errors import InputError, RejectError
from cxrgen.core.files import is_file
from cxrgen.core.records import FRONTAL, LATERAL, UNKNOWN, Reject, View
from cxrgen.core.tables import CsvTable, find_column, read_csv
from cxrgen.sources import ArgumentGroup, Found, SourceOptions
from cxrgen.sources.demographics import Person, read_people
from cxrgen.sources.dicom import view_and_time
from cxrgen.sources.ids import clean_id
from cxrgen.sources.merge_rows import StudyRow, merge_rows
from cxrgen.sources.rows import label_columns, order_key, read_labels
from cxrgen.sources.texts import read_text
from cxrgen.text.sections import OVERRIDDEN, official_misreads, split_sections

_TABLES = {
    "metadata": re.compile(r"mimic-cxr-[\d.]+-metadata\.csv(\.gz)?"),
    "split": re.compile(r"mimic-cxr-[\d.]+-split\.csv(\.gz)?"),
    "chexpert": re.compile(r"mimic-cxr-[\d.]+-chexpert\.csv(\.gz)?"),
    "negbio": re.compile(r"mimic-cxr-[\d.]+-negbio\.csv(\.gz)?"),
    "by hand": re.compile(r"mimic-cxr-[\d.]+-test-set-labeled\.csv(\.gz)?"),
    "records": re.compile(r"cxr-record-list\.csv(\.gz)?"),
    "sectioned": re.compile(r"mimic_cxr_sectioned\.csv(\.gz)?"),
    "reports": re.compile(r"mimic-cxr-reports\.zip"),
    "patients": re.compile(r"patients\.csv(\.gz)?"),
}
_GROUP = re.compile(r"p1\d")
_PATIENT = re.compile(r"p1\d{7}")
_STUDY = re.compile(r"s5\d{7}")
_NAME = re.compile(r"[\w.-]+")
_DEPTH = 5  # physionet.org/files/mimic-cxr-jpg/2.0.0/files
_MOST_FOLDERS = 2000
_LABELERS = ("chexpert", "negbio")
_RENAMED_LABELS = {"Airspace Opacity": "Lung Opacity"}
_USUAL_VIEWS = frozenset({"PA", "AP", "LATERAL", "LL"})


@dataclass(frozen=True)
class _Release:
    """What lies where: tables by kind, folders that hold the groups p10 to p19."""

    tables: dict[str, Path]
    roots: tuple[Path, ...]


def recognise(path: Path) -> str:
    """A folder with MIMIC's tables, or with its tree of groups, patients and studies."""
    if not path.is_dir():
        return ""
    release = _look(path)
    named = [file.name for kind, file in release.tables.items() if kind in ("metadata", "records")]
    if named:
        return f"a folder with {named[0]}"
    if release.roots and any(_patients(release.roots[0])):
        return "a folder with MIMIC's tree (p10/p10000032/s50414267)"
    return ""


def add_arguments(parser: ArgumentGroup) -> None:
    parser.add_argument("--mimic-labels", choices=_LABELERS, default="chexpert", help="labeler (default: chexpert)")


def read(path: Path, options: SourceOptions) -> Found:
    """All studies of which the patient's folder is there. Raises InputError when none is, or a table is damaged."""
    release = _look(path)
    if options.image_folder is not None:
        release = replace(release, roots=_look(options.image_folder).roots + release.roots)
    notes: list[str] = []
    rejects: list[Reject] = []
    rows = list(_image_rows(path, release, notes, rejects))
    splits = _splits(release.tables, notes)
    labels = _labels(release.tables, str(options.own["mimic_labels"]), notes)
    people: dict[str, Person] = {}
    if "patients" in release.tables:
        people = read_people(read_csv(release.tables["patients"]), {row.subject_id for row in rows}, notes)
    texts, unread = _texts(rows, release, options.section_style, notes)
    complete = (
        replace(
            row,
            split=splits.get(row.study_id, ""),
            labels=labels.get(row.study_id),
            sections=texts[row.study_id],
            sex=people[row.subject_id].sex if row.subject_id in people else "",
            age=people[row.subject_id].age_at(row.order_key) if row.subject_id in people else None,
        )
        for row in rows
        if row.study_id in texts
    )
    merged = merge_rows(complete, "mimic", options.on_duplicate)
    return Found(merged.studies, rejects + merged.rejects + unread, notes, files=tuple(release.tables.values()))


def _look(path: Path) -> _Release:
    """Tables and trees up to five folders below `path`; trees themselves are not walked through."""
    tables: dict[str, Path] = {}
    roots = []
    waiting = [(path, 0)]
    looked_at = 0
    while waiting and looked_at < _MOST_FOLDERS:
        folder, depth = waiting.pop(0)
        looked_at += 1
        entries = _entries(folder)
        groups = [entry for entry in entries if _GROUP.fullmatch(entry.name) and os.path.isdir(entry)]
        roots += [folder] if groups else []
        for entry in entries:
            for kind, pattern in _TABLES.items():
                if pattern.fullmatch(entry.name) and is_file(Path(entry)):
                    tables.setdefault(kind, Path(entry.path))  # of x.csv and x.csv.gz the first, unpacked
            if depth < _DEPTH and entry not in groups and entry.is_dir(follow_symlinks=False):
                waiting.append((Path(entry.path), depth + 1))
    return _Release(tables, tuple(roots))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # a folder that cannot be read holds nothing that can be
        return []


def _patients(root: Path) -> Iterator[Path]:
    for group in _named_folders(root, _GROUP):
        yield from _named_folders(group, _PATIENT)


def _named_folders(folder: Path, name: re.Pattern[str]) -> list[Path]:
    return sorted(path for path in folder.iterdir() if name.fullmatch(path.name) and path.is_dir())


# --- images ---


@dataclass(frozen=True)
class _Image:
    """A row of the metadata or record table, or a file of the tree."""

    row_ref: str
    dicom_id: str
    subject_id: str
    study_id: str
    order_key: str = ""
    raw_view: str = ""
    view: str = UNKNOWN

    @property
    def folder(self) -> str:
        return f"p{self.subject_id[:2]}/p{self.subject_id}/s{self.study_id}"


def _image_rows(path: Path, release: _Release, notes: list[str], rejects: list[Reject]) -> Iterator[StudyRow]:
    """A row for each image that should be on disk."""
    if not release.roots:
        raise InputError(f"{path}: no folders p10 to p19 below it; say where images are with --image-folder")
    kind = "metadata" if "metadata" in release.tables else "records"
    if kind in release.tables:
        table = read_csv(release.tables[kind])
        notes += [f"{table.path.name}: {note}" for note in table.notes]
        images = list(_rows(table, notes, rejects))
    else:
        images = list(_walked(release.roots))
    root, suffix = _where(images, release.roots)
    by_tags = kind == "records" and suffix == ".dcm"
    if kind == "records":
        notes.append(f"no metadata table: views and dates are {'those of the DICOM tags' if by_tags else 'unknown'}")
    on_disk = {patient.name[1:] for patient in _patients(root)}
    absent = {image.study_id for image in images if image.subject_id not in on_disk}
    if absent:
        all_studies = len({image.study_id for image in images})
        notes.append(
            f"{len(absent)} of {all_studies} studies are of patients whose folder is not there; they are left out"
        )
    if images and not any(image.subject_id in on_disk for image in images):
        raise InputError(
            f"{root}: not one patient of {release.tables[kind].name} has a folder here, {images[0].folder} for instance"
        )
    for image in images:
        if image.subject_id in on_disk:
            file = root / image.folder / f"{image.dicom_id}{suffix}"
            raw_view, order = view_and_time(file) if by_tags else (image.raw_view, image.order_key)
            view = View(str(file.absolute()), image.view, raw_view)
            yield StudyRow(image.row_ref, image.study_id, image.subject_id, order_key=order, views=(view,))


def _rows(table: CsvTable, notes: list[str], rejects: list[Reject]) -> Iterator[_Image]:
    needed = [find_column(table, name) or "" for name in ("dicom_id", "subject_id", "study_id")]
    view, date, time = (find_column(table, name, needed=False) for name in ("ViewPosition", "StudyDate", "StudyTime"))
    counts: Counter[str] = Counter()
    for row in table.rows:
        dicom_id, subject_id, study_id = (clean_id(row.cells[name], row.row_ref) for name in needed)
        if not all(_NAME.fullmatch(name) for name in (dicom_id, subject_id, study_id)):
            hint = "an id is missing or holds more than letters, digits, dots and dashes"
            rejects.append(Reject(row.row_ref, "", "bad-path", hint))
            continue
        raw_view = row.cells[view].strip() if view else ""
        recovered = "" if raw_view.upper() in _USUAL_VIEWS else _recovered(row.cells, not raw_view)
        counts.update(["missing"] * (not raw_view) + ["recovered"] * (not raw_view and bool(recovered)))
        yield _Image(
            row.row_ref,
            dicom_id,
            subject_id.lstrip("pP"),
            study_id.lstrip("sS"),
            order_key(row.cells[date] if date else "", row.cells[time] if time else ""),
            raw_view,
            recovered or UNKNOWN,
        )
    missing, named = counts["missing"], counts["recovered"]
    if missing:
        notes.append(f"{missing} images have no ViewPosition; the procedure names that of {named}")


def _recovered(cells: Mapping[str, str], missing: bool) -> str:
    """The class of an image whose ViewPosition is missing or rare, from the other texts of its row, else "".

    The device's processing tells of the image itself, and of rare views too, as the dataset's authors use it; the view
    code tells of a missing view, the procedure only when it has one view.
    """
    folded = {name.lower(): text.upper() for name, text in cells.items()}
    texts = [folded.get("acquisitiondeviceprocessingdescription", "")]
    texts += [folded.get("viewcodesequence_codemeaning", "")] if missing else []
    for text in texts:
        if "X-WISE" not in text:
            if "LATERAL" in text and "DECUB" not in text:
                return LATERAL
            if any(word in text for word in ("POSTERO-ANTERIOR", "ANTERO-POSTERIOR", "PORTABLE", "UPPER RIBS")):
                return FRONTAL
    names = ("performedprocedurestepdescription", "procedurecodesequence_codemeaning")
    procedure = " ".join(folded.get(name, "") for name in names) if missing else ""
    return FRONTAL if _ONE_FRONTAL.search(procedure) and not _MORE_VIEWS.search(procedure) else ""


_ONE_FRONTAL = re.compile(r"PORTABLE|SINGLE VIEW|\b1 VIEW|ONE VIEW|LINE PLACEMENT")
_MORE_VIEWS = re.compile(r"\bLAT|\bAND\b|&|TWO|\b[2-9] VIEW|OBL|DECUB|LORDOTIC")


def _walked(roots: tuple[Path, ...]) -> Iterator[_Image]:
    for root in roots:
        any_image = False
        for patient in _patients(root):
            for study in _named_folders(patient, _STUDY):
                for file in sorted(study.iterdir()):
                    if file.suffix.lower() in (".jpg", ".dcm"):
                        any_image = True
                        yield _Image(f"{study.name}/{file.name}", file.stem, patient.name[1:], study.name[1:])
        if any_image:
            return


def _where(images: list[_Image], roots: tuple[Path, ...]) -> tuple[Path, str]:
    """The tree that holds the images, and their suffix: the choice under which most of a sample is found."""
    choices = [(root, suffix) for root in roots for suffix in (".jpg", ".dcm")]
    patients = {root: {patient.name[1:] for patient in _patients(root)} for root in roots}

    def hits(choice: tuple[Path, str]) -> int:
        sample = [image for image in images if image.subject_id in patients[choice[0]]][:200]
        return sum((choice[0] / image.folder / f"{image.dicom_id}{choice[1]}").is_file() for image in sample)

    return max(choices, key=hits)


# --- splits, labels, reports ---


def _splits(tables: Mapping[str, Path], notes: list[str]) -> dict[str, str]:
    """Study -> the word of the official split table."""
    if "split" not in tables:
        notes.append("no split table: no study has a split")
        return {}
    table = read_csv(tables["split"])
    column = find_column(table, "split") or ""
    return {study: cells[column].strip() for study, cells in _by_study(table)}


def _labels(tables: Mapping[str, Path], labeler: str, notes: list[str]) -> dict[str, dict[str, int]]:
    """Study -> labels of the labeler that was asked for, else of the other; labels by hand count before both."""
    labels: dict[str, dict[str, int]] = {}
    labelers = [kind for kind in (labeler, *_LABELERS) if kind in tables][:1]
    for kind in [*labelers, *(["by hand"] if "by hand" in tables else [])]:
        table = read_csv(tables[kind])
        columns = label_columns(table.columns)
        columns |= {label: column for column, label in _RENAMED_LABELS.items() if column in table.columns}
        labels_of = {study: read_labels(cells, columns) for study, cells in _by_study(table)}
        labels |= labels_of
        notes.append(f"labels of {len(labels_of)} studies: {kind}")
    return labels


def _by_study(table: CsvTable) -> Iterator[tuple[str, dict[str, str]]]:
    column = find_column(table, "study_id", "study") or ""
    for row in table.rows:
        yield clean_id(row.cells[column], row.row_ref).lstrip("sS"), row.cells


def _texts(
    rows: Iterable[StudyRow], release: _Release, style: str, notes: list[str]
) -> tuple[dict[str, dict[str, str]], list[Reject]]:
    """Study -> sections, empty without a report; studies whose report cannot be read are rejects and have no entry."""
    counts: Counter[str] = Counter()
    texts: dict[str, dict[str, str]] = {}
    rejects = []
    subjects: dict[str, str] = {}
    for row in rows:
        subjects.setdefault(row.study_id, row.subject_id)
    with _reports(release) as report_of:
        for study_id, subject_id in subjects.items():
            try:
                report = report_of(study_id, subject_id)
            except (OSError, BadZipFile, RuntimeError, zlib.error, ValueError, RejectError) as error:
                hint = f"its report cannot be read ({type(error).__name__}); copy or unpack it again"
                rejects.append(Reject(f"study {study_id}", study_id, "text-unreadable", hint))
                continue
            counts["without a report"] += not report
            texts[study_id] = _sections(report, style, counts) if report else {}
    counts["that are exceptions of the official parser"] = len(texts.keys() & OVERRIDDEN)
    notes += [f"{count} studies {what}" for what, count in counts.items() if count]
    return texts, rejects


@contextmanager
def _reports(release: _Release) -> Iterator[Callable[[str, str], str | dict[str, str]]]:
    """From study and patient to the report: its text in the tree or zip, else sections of the table, else ""."""
    sectioned: dict[str, dict[str, str]] = {}
    if "sectioned" in release.tables:
        for study_id, cells in _by_study(read_csv(release.tables["sectioned"])):
            sectioned[study_id] = {name: text for name, text in cells.items() if name in _SECTIONED and text.strip()}
    with ExitStack() as stack:
        members: dict[str, ZipInfo] = {}
        if "reports" in release.tables:
            try:
                packed = stack.enter_context(ZipFile(release.tables["reports"]))
            except BadZipFile:
                raise InputError(f"{release.tables['reports']}: no whole zip archive; download it again") from None
            files = [member for member in packed.infolist() if _REPORT.search(member.filename)]
            members = {Path(member.filename).stem[1:]: member for member in files}

        def report_of(study_id: str, subject_id: str) -> str | dict[str, str]:
            name = f"p{subject_id[:2]}/p{subject_id}/s{study_id}.txt"
            for root in release.roots:
                if is_file(root / name):
                    with open(root / name, "rb") as file:
                        return read_text(file)
            if study_id in members:
                with packed.open(members[study_id]) as file:
                    return read_text(file)
            return sectioned.get(study_id, "")

        yield report_of


_SECTIONED = frozenset({"impression", "findings", "last_paragraph", "comparison"})
_REPORT = re.compile(r"(^|/)s5\d{7}\.txt$")


def _sections(report: str | dict[str, str], style: str, counts: Counter[str]) -> dict[str, str]:
    if isinstance(report, dict):
        return report
    sections = split_sections(report, "mimic")
    if style == "mimic":
        return sections
    if not sections.keys() & {"findings", "impression"}:
        counts["with neither findings nor impression by the official parser went to the tolerant one"] += 1
        return split_sections(report, "tolerant")
    if official_misreads(report):
        counts["of which the official parser misreads a header went to the tolerant one"] += 1
        return split_sections(report, "tolerant")
    return sections
