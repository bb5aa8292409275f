"""The course layout, in both variants that were published.

    images/{study}-{image}.png with train.csv, test.csv (Path, ViewPosition, split, findings, impression) and
    reports/{study}.txt; or images/ with mimic-cxr-2.0.0-metadata.csv alone (dicom_id, study_id, ViewPosition), no text

The tables list the images their authors used, the folder holds all images: an image that no table lists joins its study
by its name. What the metadata table knows (patient, view, date) is used in both variants.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cxrgen.core.errors import InputError, RejectError
from cxrgen.core.files import is_file
from cxrgen.core.records import UNKNOWN, Reject, View
from cxrgen.core.tables import CsvTable, find_column, read_csv
from cxrgen.imaging.views import view_from_procedure
from cxrgen.sources import ArgumentGroup, Found, SourceOptions
from cxrgen.sources.ids import clean_id
from cxrgen.sources.image_paths import inside, locator
from cxrgen.sources.merge_rows import StudyRow, merge_rows
from cxrgen.sources.private_columns import private_columns, private_values
from cxrgen.sources.rows import FIELDS, RowReader, image_study, label_columns, map_columns, order_key, read_rows
from cxrgen.sources.texts import ReportText, read_text, split_report
from cxrgen.text.private import PrivateValue

_TABLES = {"train": "train", "valid": "valid", "test": "test"}  # name of a table -> split of rows that do not say
_METADATA = "a table of metadata"  # its name may be anything that ends in metadata.csv
_IMAGES = (".png", ".jpg", ".jpeg", ".dcm", ".tif", ".tiff")


@dataclass(frozen=True)
class _Image:
    """A row of the metadata table."""

    row_ref: str
    study_id: str
    subject_id: str
    raw_view: str
    order_key: str


def recognise(path: Path) -> str:
    """A folder with images/ and train.csv, test.csv or a metadata CSV."""
    if not (path / "images").is_dir():
        return ""
    names = [table.name for table in _tables(path).values()] + [_METADATA] * bool(_metadata_files(path))
    return f"a folder with images/ and {', '.join(names)}" if names else ""


def add_arguments(parser: ArgumentGroup) -> None:
    """None of its own."""


def read(path: Path, options: SourceOptions) -> Found:
    """All studies of the folder; raises InputError when a table cannot be read or lacks a column."""
    folder = options.image_folder or path / "images"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; say where images are with --image-folder")
    tables = {split: read_csv(file, options.encoding) for split, file in _tables(path).items()}
    notes = [f"{table.path.name}: {note}" for table in tables.values() for note in table.notes]
    metadata: dict[str, _Image] = {}
    for file in _metadata_files(path)[:1]:
        table = read_csv(file, options.encoding, _METADATA)
        notes += [f"{_METADATA}: {note}" for note in table.notes]
        metadata = _metadata(table)
    columns: dict[str, str] = {}
    private: dict[str, tuple[PrivateValue, ...]] = {}
    rows: list[StudyRow] = []
    rejects: list[Reject] = []
    for split, table in tables.items():
        mapped, remark, read_table = _read_table(table, split, folder, options)
        columns.update(mapped)
        notes += [remark] if remark else []
        private_of = private_columns(table.columns)
        for line, row in zip(table.rows, read_table):
            if isinstance(row, Reject):
                rejects.append(row)
            else:
                rows.append(_with_metadata(row, metadata))
                private[row.study_id] = private.get(row.study_id, ()) + private_values(line.cells, private_of)
    on_disk = _images(folder)
    if not tables:
        rows = list(_image_rows(metadata, on_disk, folder, rejects))
    joined, strangers = _unlisted(rows, on_disk, folder, metadata)
    if os.path.isdir(path / "reports") and not os.access(path / "reports", os.R_OK | os.X_OK):
        raise InputError(f"{path}: its folder reports cannot be read; change its permissions")
    texts = _with_report_files([*rows, *joined], path / "reports", options, rejects)
    merged = merge_rows(texts, "course", options.on_duplicate)
    notes += [f"{merged.repeats} rows repeat others"] if merged.repeats else []
    notes += [f"{len(joined)} images that no table lists joined their study by name"] if joined else []
    files = (*_tables(path).values(), *_metadata_files(path)[:1])
    return Found(merged.studies, rejects + merged.rejects + strangers, notes, columns, files, private)


def _tables(path: Path) -> dict[str, Path]:
    tables: dict[str, Path] = {}
    for name, split in _TABLES.items():
        for file in (path / f"{name}.csv", path / f"{name}.csv.gz"):
            if file.is_file():
                tables.setdefault(split, file)
    return tables


def _metadata_files(path: Path) -> list[Path]:
    return sorted(file for pattern in ("*metadata.csv", "*metadata.csv.gz") for file in path.glob(pattern))


def _read_table(
    table: CsvTable, split: str, folder: Path, options: SourceOptions
) -> tuple[dict[str, str], str, Iterator[StudyRow | Reject]]:
    """(column map, a remark on paths, the rows) of train.csv or test.csv."""
    mapped = map_columns(table.columns, options.columns, table.name, FIELDS, needed=("image",))
    names = [row.cells[mapped["image"]] for row in table.rows]
    locate, remark = locator(names, [folder.parent, folder])
    reader = RowReader(
        mapped, label_columns(table.columns), locate, options.section_style, split, study_of_image=image_study
    )
    return mapped, remark, read_rows(((row.row_ref, row.cells) for row in table.rows), reader)


def _metadata(table: CsvTable) -> dict[str, _Image]:
    """File stem -> what the metadata table says of the image."""
    dicom, study, subject, view = (
        find_column(table, name, needed=name == "dicom_id")
        for name in ("dicom_id", "study_id", "subject_id", "ViewPosition")
    )
    procedure = find_column(table, "PerformedProcedureStepDescription", needed=False)
    date, time = (find_column(table, name, needed=False) for name in ("StudyDate", "StudyTime"))
    images = {}
    for row in table.rows:

        def cell(column: str | None, cells: Mapping[str, str] = row.cells) -> str:
            return cells[column].strip() if column else ""

        stem = clean_id(cell(dicom), row.row_ref)
        images[stem] = _Image(
            row_ref=row.row_ref,
            study_id=clean_id(cell(study), row.row_ref) or image_study(stem),
            subject_id=clean_id(cell(subject), row.row_ref),
            raw_view=cell(view) or view_from_procedure(cell(procedure)),
            order_key=order_key(cell(date), cell(time)),
        )
    return images


def _with_metadata(row: StudyRow, metadata: Mapping[str, _Image]) -> StudyRow:
    """What the metadata table knows of a row's images, where the row itself does not say."""
    listed = [metadata.get(Path(view.path).stem) for view in row.views]
    views = tuple(
        replace(view, raw_view=image.raw_view) if image and not view.raw_view else view
        for view, image in zip(row.views, listed)
    )
    first = next((image for image in listed if image), None)
    if first is None:
        return row
    subject, order = row.subject_id or first.subject_id, row.order_key or first.order_key
    return replace(row, views=views, subject_id=subject, order_key=order)


def _images(folder: Path) -> dict[str, str]:
    """Stem -> file name of the images right in a folder, sorted by name."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(_IMAGES))
    return {Path(name).stem: name for name in names}


def _image_rows(
    metadata: Mapping[str, _Image], on_disk: Mapping[str, str], folder: Path, rejects: list[Reject]
) -> Iterator[StudyRow]:
    for stem, image in metadata.items():
        try:
            yield _row_of_image(stem, image, on_disk, folder)
        except RejectError as error:
            rejects.append(Reject(image.row_ref, image.study_id, error.code, error.hint))


def _row_of_image(stem: str, image: _Image, on_disk: Mapping[str, str], folder: Path) -> StudyRow:
    view = View(str(inside(folder, on_disk.get(stem, f"{stem}.png"))), UNKNOWN, image.raw_view)
    return StudyRow(image.row_ref, image.study_id, image.subject_id, order_key=image.order_key, views=(view,))


def _unlisted(
    rows: Sequence[StudyRow], on_disk: Mapping[str, str], folder: Path, metadata: Mapping[str, _Image]
) -> tuple[list[StudyRow], list[Reject]]:
    """Images of the folder that no table lists: a row for each whose study is known, a reject for each other."""
    listed = {Path(view.path).name for row in rows for view in row.views}
    ids = {row.study_id for row in rows}
    joined, strangers = [], []
    for stem, name in on_disk.items():
        if name in listed:
            continue
        image = metadata.get(stem)
        study_id = image.study_id if image else image_study(name)
        row_ref = f"images/{name}"
        if not _stays_inside(folder, name):
            strangers.append(Reject(row_ref, study_id, "bad-path", "a link that leads out of the folder"))
        elif study_id in ids:
            view = View(str(folder / name), UNKNOWN, image.raw_view if image else "")
            joined.append(StudyRow(row_ref, study_id, views=(view,)))
        else:
            strangers.append(Reject(row_ref, study_id, "image-without-row", "no table has a row for this image"))
    return joined, strangers


def _stays_inside(folder: Path, name: str) -> bool:
    try:
        inside(folder, name)
    except RejectError:
        return False
    return True


def _with_report_files(
    rows: Sequence[StudyRow], folder: Path, options: SourceOptions, rejects: list[Reject]
) -> Iterator[StudyRow]:
    """The first row of each study with those sections of reports/{study}.txt that no row of the study has."""
    in_tables: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        in_tables[row.study_id] |= row.sections.keys()
    seen: set[str] = set()
    for row in rows:
        if row.study_id not in seen:
            try:
                row = _joined(row, _report_file(row.study_id, folder, options), in_tables[row.study_id])
            except RejectError as error:
                rejects.append(Reject(f"reports/{row.study_id}.txt", row.study_id, error.code, error.hint))
        seen.add(row.study_id)
        yield row


def _joined(row: StudyRow, report: ReportText, in_tables: Collection[str]) -> StudyRow:
    more = {name: text for name, text in report.sections.items() if name not in in_tables}
    return replace(row, sections={**more, **row.sections}, flags=row.flags + report.flags) if more else row


def _report_file(study_id: str, folder: Path, options: SourceOptions) -> ReportText:
    """What reports/{study}.txt holds, nothing where it is not there. Raises RejectError for one that is no report."""
    if "/" in study_id or study_id.startswith("."):
        return ReportText({})
    file = folder / f"{study_id}.txt"
    if not is_file(file):
        return ReportText({})
    try:
        with open(file, "rb") as opened:
            return split_report(read_text(opened, options.encoding), options.section_style)
    except OSError as error:
        hint = f"the system refuses to read it ({type(error).__name__}); change its permissions"
        raise RejectError("text-unreadable", hint) from None
