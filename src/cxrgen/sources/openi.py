"""Open-I, the Indiana University collection: its XML files, packed or not, or the two tables made from them.

    ecgen-radiology/{n}.xml or NLMCXR_reports.tgz      one report a file; images by name, views not said
    indiana_reports.csv with indiana_projections.csv   the same texts; images with Frontal or Lateral

Images are looked for below the folder and its neighbours, or in --image-folder; where there are none, studies are texts
only. Where both kinds of file are there, the XML has the text and the table the views. The collection has no patients
and no dates: each study stands for itself. XXXX is its mark of de-identification and stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree
from xml.parsers import expat

from cxrgen.core.archives import DAMAGE, HostileArchive, open_archive
from cxrgen.core.errors import InputError, RejectError
from cxrgen.core.files import is_file
from cxrgen.core.records import UNKNOWN, Reject, View
from cxrgen.core.tables import find_column, read_csv
from cxrgen.sources import ArgumentGroup, Found, SourceOptions
from cxrgen.sources.ids import clean_id
from cxrgen.sources.merge_rows import StudyRow, merge_rows
from cxrgen.sources.texts import read_sections

_XML = re.compile(r"(^|/)\d{1,6}\.xml$")
_REPORTS, _PROJECTIONS = "indiana_reports.csv", "indiana_projections.csv"
_SECTIONS = ("comparison", "indication", "findings", "impression")
_MOST_REPORTS, _LARGEST_ARCHIVE = 20_000, 256 << 20  # 3,955 files of some twenty megabytes
_BELIEVED = 64 << 20  # bytes unpacked; above this the archive must not be too many times its size
_LARGEST = 1 << 20  # bytes of one XML file; real ones have twenty thousand
_SAFE = re.compile(r"[\w.-]{1,120}")


def recognise(path: Path) -> str:
    """NLMCXR_reports.tgz, a folder with it or with XML files of the collection, or one with indiana_reports.csv."""
    archive = _archive(path)
    if archive is not None:
        return "Open-I's reports, packed"
    if not path.is_dir():
        return ""
    for _, content in _unpacked(_xml_files(path)[:3]):
        if b"Indiana University" in content:
            return "XML files of the Indiana University collection"
    return f"a folder with {_REPORTS}" if (path / _REPORTS).is_file() else ""


def add_arguments(parser: ArgumentGroup) -> None:
    """None of its own."""


def read(path: Path, options: SourceOptions) -> Found:
    """All studies; raises InputError when an archive or table is damaged. XML files that cannot be read are rejects."""
    notes: list[str] = []
    rejects: list[Reject] = []
    archive = _archive(path)
    beside = path if path.is_dir() else path.parent
    images_of = _projections(beside / _PROJECTIONS)
    rows: list[StudyRow] = []
    if archive is not None or _xml_files(path):
        for row_ref, content in _packed(archive) if archive is not None else _unpacked(_xml_files(path)):
            try:
                rows.append(_read_xml(row_ref, content))
            except RejectError as error:
                rejects.append(Reject(row_ref, "", error.code, error.hint))
    else:
        rows = _read_table(beside / _REPORTS)
    # The table's images are those of the XML under other names (10_IM-0002-1001.dcm.png), so they count.
    images = [images_of.get(row.study_id.removeprefix("CXR")) or row.views for row in rows]
    folder = options.image_folder or _image_folder(images, beside)
    if folder is None:
        notes.append("no images found: texts only; say where images are with --image-folder")
    located = [_located(views, folder) for views in images]
    without = sum(not views for views in located)
    notes += [f"{without} reports name no image"] if without else []
    notes += [f"{_PROJECTIONS} is not there: views are unknown"] if not images_of else []
    merged = merge_rows((replace(row, views=views) for row, views in zip(rows, located)), "openi", options.on_duplicate)
    tables = [beside / name for name in (_REPORTS, _PROJECTIONS)]
    files = ([archive] if archive else []) + [file for file in tables if file.is_file()]
    return Found(merged.studies, rejects + merged.rejects, notes, files=tuple(files))


def _archive(path: Path) -> Path | None:
    if path.is_file():
        return path if path.name.lower().startswith("nlmcxr_reports") and path.suffix in (".tgz", ".gz") else None
    archives = sorted(path.glob("NLMCXR_reports*.tgz")) + sorted(path.glob("NLMCXR_reports*.tar.gz"))
    return archives[0] if archives and not _xml_files(path) else None


def _xml_files(path: Path) -> list[Path]:
    """The numbered XML files in a folder or right below it, in the order of their numbers."""
    if not path.is_dir():
        return []
    files = [*path.glob("*.xml"), *path.glob("*/*.xml"), *path.glob("*/ecgen-radiology/*.xml")]
    numbered = (file for file in set(files) if _XML.search(file.as_posix()) and is_file(file))
    return sorted(numbered, key=lambda file: int(file.stem))


def _unpacked(files: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    for file in files:
        with open(file, "rb") as opened:
            yield file.name, opened.read(_LARGEST + 1)


def _packed(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Members are read and never written, so their paths cannot lead anywhere."""
    members: list[tuple[str, bytes]] = []
    try:
        with open(archive, "rb") as file, open_archive(file, _BELIEVED, _LARGEST_ARCHIVE) as tar:
            for member in tar:
                if member.isfile() and _XML.search(member.name):
                    if len(members) == _MOST_REPORTS:
                        raise HostileArchive("holds more files than the collection has reports")
                    opened = tar.extractfile(member)
                    members.append((PurePosixPath(member.name).name, opened.read(_LARGEST + 1) if opened else b""))
    except HostileArchive as error:
        raise InputError(f"{archive}: {error}; download it again") from None
    except (OSError, *DAMAGE) as error:
        raise InputError(f"{archive}: no whole archive ({type(error).__name__}); download it again") from None
    if not members:
        raise InputError(f"{archive}: holds no numbered XML file; download it again")
    yield from sorted(members, key=lambda member: int(PurePosixPath(member[0]).stem))


def _read_xml(row_ref: str, content: bytes) -> StudyRow:
    if len(content) > _LARGEST:
        raise RejectError("text-too-large", "the file is larger than a megabyte, so it is no report")
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_declarations  # in whatever encoding they are written
    try:
        parser.Parse(content, True)
        root = ElementTree.fromstring(content)
    except (expat.ExpatError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise RejectError("bad-xml", f"not well-formed XML ({type(error).__name__}); download it again") from None
    name = root.find("uId")
    study_id = clean_id(name.get("id") if name is not None else "", row_ref)
    if not study_id:
        raise RejectError("id-missing", "it has no uId")
    labelled = ((part.get("Label") or "full report", "".join(part.itertext())) for part in root.iter("AbstractText"))
    report = read_sections({label.strip().lower(): text for label, text in labelled if text.strip()})
    images = [f"{image.get('id') or ''}.png" for image in root.iter("parentImage")]
    if not all(_SAFE.fullmatch(image) for image in images):
        raise RejectError("bad-path", "the name of an image holds more than letters, digits, dots and dashes")
    views = tuple(View(image, UNKNOWN) for image in dict.fromkeys(images))
    return StudyRow(row_ref, study_id, views=views, sections=report.sections, flags=report.flags)


def _refuse_declarations(*_: object) -> None:
    raise RejectError("bad-xml", "it declares a document type or entities, which no report does")


def _read_table(file: Path) -> list[StudyRow]:
    table = read_csv(file)
    uid = find_column(table, "uid") or ""
    columns = {name: find_column(table, name, needed=name in ("findings", "impression")) for name in _SECTIONS}
    rows = []
    for row in table.rows:
        report = read_sections({name: row.cells[column] for name, column in columns.items() if column})
        study_id = clean_id(row.cells[uid], row.row_ref)
        rows.append(StudyRow(row.row_ref, study_id, sections=report.sections, flags=report.flags))
    return rows


def _projections(file: Path) -> dict[str, list[View]]:
    """Number of the report -> its images with their views."""
    images: dict[str, list[View]] = {}
    if file.is_file():
        table = read_csv(file)
        uid, name, view = (find_column(table, column) or "" for column in ("uid", "filename", "projection"))
        for row in table.rows:
            if _SAFE.fullmatch(row.cells[name].strip()):
                image = View(row.cells[name].strip(), UNKNOWN, row.cells[view].strip())
                images.setdefault(clean_id(row.cells[uid], row.row_ref), []).append(image)
    return images


def _image_folder(images: Sequence[Sequence[View]], beside: Path) -> Path | None:
    """The folder in which the first images are found."""
    names = [view.path for views in images[:200] for view in views]
    folders = [beside, *(path for path in sorted(beside.glob("*")) if path.is_dir())]
    folders += [path for path in sorted(beside.parent.glob("*")) if path.is_dir()]
    return next((folder for folder in folders if any(is_file(folder / name) for name in names)), None)


def _located(views: Sequence[View], folder: Path | None) -> tuple[View, ...]:
    if folder is None:
        return ()
    return tuple(replace(view, path=str((folder / view.path).absolute())) for view in views)
