"""The course layout, in both variants that were published.

    images/{study}-{image}.png with train.csv, test.csv (Path, ViewPosition, split, findings, impression) and
    reports/{study}.txt; or images/ with mimic-cxr-2.0.0-metadata.csv alone (dicom_id, study_id, ViewPosition), no text

The tables list the images their authors used, the folder holds all images: an image that no table lists joins its study
by its name. What the metadata table knows (patient, view, date) is used in both variants.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.core.records import UNKNOWN, Reject, Study, View
from cxrgen.core.tables import CsvTable, find_column, read_csv
from cxrgen.imaging.views import view_from_procedure
from cxrgen.sources import Found, SourceOptions
from cxrgen.sources.ids import clean_id
from cxrgen.sources.image_paths import locator
from cxrgen.sources.merge_rows import gather
from cxrgen.sources.rows import FIELDS, RowReader, image_study, label_columns, map_columns, order_key, read_rows
from cxrgen.text.sections import split_sections

_TABLES = {"train": "train", "valid": "valid", "test": "test"}  # name of a table -> split of rows that do not say
_IMAGES = (".png", ".jpg", ".jpeg", ".dcm", ".tif", ".tiff")


@dataclass(frozen=True)
class _Image:
    """A row of the metadata table."""

    place: str
    study_id: str
    subject_id: str
    raw_view: str
    order_key: str


def recognise(path: Path) -> str:
    """A folder with images/ and train.csv, test.csv or a metadata CSV."""
    if not (path / "images").is_dir():
        return ""
    found = [table.name for table in [*_tables(path).values(), *_metadata_files(path)]]
    return f"a folder with images/ and {', '.join(found)}" if found else ""


def read(path: Path, options: SourceOptions) -> Found:
    """All studies of the folder; raises InputError when a table cannot be read or lacks a column."""
    images = options.image_folder or path / "images"
    if not images.is_dir():
        raise InputError(f"{images}: no such folder; say where images are with --image-folder")
    tables = {split: read_csv(file) for split, file in _tables(path).items()}
    notes = [f"{table.path.name}: {each}" for table in tables.values() for each in table.notes]
    known: dict[str, _Image] = {}
    for file in _metadata_files(path)[:1]:
        table = read_csv(file)
        notes += [f"{file.name}: {each}" for each in table.notes]
        known = _metadata(table)
    columns: dict[str, str] = {}
    parts: list[tuple[str, Study]] = []
    rejects: list[Reject] = []
    for split, table in tables.items():
        mapped, remark, read_parts = _read_table(table, split, images, options)
        columns.update(mapped)
        notes += [remark] if remark else []
        for part in read_parts:
            if isinstance(part, Reject):
                rejects.append(part)
            else:
                parts.append((part[0], _with_metadata(part[1], known)))
    there = _images(images)
    if not tables:
        parts = [_study_of_image(stem, image, there, images) for stem, image in known.items()]
    studies, conflicts, repeats = gather(parts, options.on_duplicate)
    studies, joined, strangers = _add_unlisted(studies, there, images, known)
    studies = [_with_report_file(study, path / "reports", options.section_style) for study in studies]
    notes += [f"{repeats} rows repeat others"] if repeats else []
    notes += [f"{joined} images that no table lists joined their study by name"] if joined else []
    files = (*_tables(path).values(), *_metadata_files(path)[:1])
    return Found(studies, rejects + conflicts + strangers, notes, columns, files)


def _tables(path: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, split in _TABLES.items():
        for file in (path / f"{name}.csv", path / f"{name}.csv.gz"):
            if file.is_file():
                found.setdefault(split, file)
    return found


def _metadata_files(path: Path) -> list[Path]:
    return sorted(file for pattern in ("*metadata.csv", "*metadata.csv.gz") for file in path.glob(pattern))


def _read_table(
    table: CsvTable, split: str, images: Path, options: SourceOptions
) -> tuple[dict[str, str], str, Iterator[tuple[str, Study] | Reject]]:
    """(column map, a remark on paths, the rows) of train.csv or test.csv."""
    mapped = map_columns(table.columns, options.columns, str(table.path), FIELDS, needed=("image",))
    names = [row.cells[mapped["image"]] for row in table.rows]
    locate, remark = locator(names, [images.parent, images])
    labels = label_columns(table.columns)
    reader = RowReader(mapped, labels, locate, options.section_style, split, "course", image_study)
    return mapped, remark, read_rows(((row.place, row.cells) for row in table.rows), reader)


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

        stem = clean_id(cell(dicom), row.place)
        study_id = clean_id(cell(study), row.place) or image_study(stem)
        images[stem] = _Image(
            place=row.place,
            study_id=study_id,
            subject_id=clean_id(cell(subject), row.place),
            raw_view=cell(view) or view_from_procedure(cell(procedure)),
            order_key=order_key(cell(date), cell(time)),
        )
    return images


def _with_metadata(study: Study, known: Mapping[str, _Image]) -> Study:
    views = tuple(
        replace(view, raw_view=known[stem].raw_view) if not view.raw_view and stem in known else view
        for view in study.views
        for stem in [Path(view.path).stem]
    )
    image = next((known[stem] for view in views for stem in [Path(view.path).stem] if stem in known), None)
    if image is None:
        return replace(study, views=views)
    subject, order = study.subject_id or image.subject_id, study.order_key or image.order_key
    return replace(study, views=views, subject_id=subject, order_key=order)


def _images(folder: Path) -> dict[str, str]:
    """Stem -> file name of the images right in a folder, sorted by name."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(_IMAGES))
    return {Path(name).stem: name for name in names}


def _study_of_image(stem: str, image: _Image, there: Mapping[str, str], folder: Path) -> tuple[str, Study]:
    view = View(str(folder / there.get(stem, f"{stem}.png")), UNKNOWN, image.raw_view)
    study = Study(image.study_id, image.subject_id, order_key=image.order_key, views=(view,), source="course")
    return image.place, study


def _add_unlisted(
    studies: list[Study], there: Mapping[str, str], folder: Path, known: Mapping[str, _Image]
) -> tuple[list[Study], int, list[Reject]]:
    """Images of the folder that no table lists: (studies with theirs added, how many, those without a study)."""
    listed = {Path(view.path).name for study in studies for view in study.views}
    extra: dict[str, list[View]] = {}
    for stem, name in there.items():
        if name not in listed:
            image = known.get(stem)
            study_id = image.study_id if image else image_study(name)
            extra.setdefault(study_id, []).append(View(str(folder / name), UNKNOWN, image.raw_view if image else ""))
    ids = {study.study_id for study in studies}
    studies = [replace(study, views=study.views + tuple(extra.get(study.study_id, ()))) for study in studies]
    strangers = [
        Reject(f"images/{Path(view.path).name}", study_id, "image-without-row", "no table has a row for this image")
        for study_id, views in extra.items()
        if study_id not in ids
        for view in views
    ]
    return studies, sum(map(len, extra.values())) - len(strangers), strangers


def _with_report_file(study: Study, folder: Path, style: str) -> Study:
    """Sections of reports/{study}.txt below those of the table."""
    if "/" in study.study_id or study.study_id.startswith("."):
        return study
    file = folder / f"{study.study_id}.txt"
    if not file.is_file():
        return study
    text = file.read_text(encoding="utf-8", errors="replace")
    return replace(study, sections={**split_sections(text, style), **study.sections})
