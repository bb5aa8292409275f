"""Ways to damage a course folder: an image, a cell, a table, a report file, a name.

Each is a function of the folder and the id of the study to break, or makes such a function.
"""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrgen.core.files import write_csv

Damage = Callable[[Path, str], None]
Rows = list[dict[str, str]]
Pixels = NDArray[Any]


def _frontal(folder: Path, study: str) -> Path:
    return folder / "images" / f"{study}-0001.png"


def _pixels(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


def read_rows(path: Path) -> Rows:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, rows: Rows) -> None:
    write_csv(path, list(rows[0]), [list(row.values()) for row in rows], private=True)


def nothing(folder: Path, study: str) -> None:
    """For what is so in every course folder."""


def both(first: Damage, second: Damage) -> Damage:
    def make(folder: Path, study: str) -> None:
        first(folder, study)
        second(folder, study)

    return make


def bytes_of_image(data: bytes) -> Damage:
    return lambda folder, study: replace_file(_frontal(folder, study), data)


def replace_file(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def half_of_image(folder: Path, study: str) -> None:
    path = _frontal(folder, study)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def image_as(mode: str, kind: str = "PNG", **options: Any) -> Damage:
    """The image in another pixel mode or file format, under its old name."""

    def make(folder: Path, study: str) -> None:
        path = _frontal(folder, study)
        _pixels(path).convert(mode).save(path, kind, **options)

    return make


def image_of(values: Callable[[Pixels], Pixels], kind: str = "PNG") -> Damage:
    """The image with its pixels changed, in whatever type `values` gives."""

    def make(folder: Path, study: str) -> None:
        path = _frontal(folder, study)
        Image.fromarray(values(np.asarray(_pixels(path)))).save(path, kind)

    return make


def colour_photo(image: Pixels) -> Pixels:
    return np.stack([image, image // 2, 255 - image], axis=-1).astype(np.uint8)


def turned_by_exif(folder: Path, study: str) -> None:
    path = _frontal(folder, study)
    image = _pixels(path)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, "JPEG", quality=95, exif=exif)


def dicom(syntax: str = "1.2.840.10008.1.2.1", **tags: Any) -> Damage:
    """The image as a DICOM file with other tags; None takes a tag away. With another transfer syntax it is packed."""

    def make(folder: Path, study: str) -> None:
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.encaps import encapsulate
        from pydicom.uid import UID

        path = _frontal(folder, study).with_suffix(".dcm")
        pixels = np.asarray(_pixels(_frontal(folder, study)))
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = UID(syntax)
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.8.498.{int(study)}"
        data.Modality, data.PhotometricInterpretation, data.SamplesPerPixel = "DX", "MONOCHROME2", 1
        data.Rows, data.Columns = pixels.shape
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
        packed = data.file_meta.TransferSyntaxUID.is_compressed
        data.PixelData = encapsulate([pixels.tobytes()]) if packed else pixels.tobytes()
        for tag, value in tags.items():
            if value is None:
                delattr(data, tag)
            else:
                setattr(data, tag, value)
        data.save_as(path, enforce_file_format=True)
        no_image(folder, study)
        path_of(f"images/{path.name}")(folder, study)

    return make


def no_image(folder: Path, study: str) -> None:
    _frontal(folder, study).unlink()


def cells(column: str, *values: str, table: str = "train.csv") -> Damage:
    """The cells of a column of the broken study's rows, in turn."""

    def make(folder: Path, study: str) -> None:
        rows = read_rows(folder / table)
        for row, value in zip([row for row in rows if f"/{study}-" in row["Path"]], values):
            row[column] = value
        _write(folder / table, rows)

    return make


def path_of(*wanted: str) -> Damage:
    return cells("Path", *wanted)


def texts(findings: str, impression: str = "") -> Damage:
    """Both sections of the broken study; its report file goes, so that nothing else speaks for it."""

    def make(folder: Path, study: str) -> None:
        (folder / "reports" / f"{study}.txt").unlink()
        cells("findings", findings, findings)(folder, study)
        cells("impression", impression, impression)(folder, study)

    return make


def odd_files(change: Callable[[str], str]) -> Damage:
    """All report files changed, and the texts taken out of the table, so that the files alone have them."""

    def make(folder: Path, study: str) -> None:
        for path in (folder / "reports").iterdir():
            path.write_bytes(change(path.read_text(encoding="utf-8")).encode())
        rows = read_rows(folder / "train.csv")
        _write(folder / "train.csv", [row | {"findings": "", "impression": ""} for row in rows])

    return make


def table_as(change: Callable[[str], bytes], name: str = "train.csv") -> Damage:
    """The bytes of a whole table."""

    def make(folder: Path, study: str) -> None:
        path = folder / name
        path.write_bytes(change(path.read_text(encoding="utf-8")))

    return make


def with_delimiter(delimiter: str) -> Callable[[str], bytes]:
    def change(content: str) -> bytes:
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(csv.reader(io.StringIO(content)))
        return out.getvalue().encode()

    return change


def renamed_columns(**names: str) -> Callable[[str], bytes]:
    def change(content: str) -> bytes:
        header, rest = content.split("\n", 1)
        return ",".join(names.get(column, column) for column in header.split(",")).encode() + b"\n" + rest.encode()

    return change


def repeated_rows(**changed: str) -> Damage:
    def make(folder: Path, study: str) -> None:
        rows = read_rows(folder / "train.csv")
        _write(folder / "train.csv", rows + [row | changed for row in rows if f"/{study}-" in row["Path"]])

    return make


def image_of_split(split: str) -> Damage:
    """The image of another study, of `split`, under this one's name: one picture, two reports."""

    def make(folder: Path, study: str) -> None:
        rows = read_rows(folder / ("test.csv" if split == "test" else "train.csv"))
        others = (row["Path"] for row in rows if row["split"] == split and f"/{study}-" not in row["Path"])
        replace_file(_frontal(folder, study), (folder / next(others)).read_bytes())

    return make


def parent_folder(folder: Path, study: str) -> None:
    """An image beside the folder, named by way of its parent."""
    outside = folder.parent / "outside.png"
    replace_file(outside, _frontal(folder, study).read_bytes())
    no_image(folder, study)
    path_of(f"../../{outside.name}")(folder, study)


def link_out(folder: Path, study: str) -> None:
    outside = folder.parent / "outside.png"
    outside.write_bytes(_frontal(folder, study).read_bytes())
    no_image(folder, study)
    _frontal(folder, study).symlink_to(outside)


def only_lateral(folder: Path, study: str) -> None:
    no_image(folder, study)
    rows = read_rows(folder / "train.csv")
    _write(folder / "train.csv", [row for row in rows if f"/{study}-0001" not in row["Path"]])


def image_without_row(folder: Path, study: str) -> None:
    replace_file(folder / "images" / "9999-0001.png", _frontal(folder, study).read_bytes())


def named(first: str, second: str) -> Damage:
    """Both images under new names, in folder and table."""

    def make(folder: Path, study: str) -> None:
        names = [name.format(study=study) for name in (first, second)]
        for number, name in enumerate(names, 1):
            (folder / "images" / f"{study}-{number:04}.png").rename(folder / "images" / name)
        path_of(*(f"images/{name}" for name in names))(folder, study)

    return make


def ids_in_table(change: Callable[[str], str]) -> Damage:
    """A study_id column in train.csv whose ids a spreadsheet or a habit has changed."""

    def make(folder: Path, study: str) -> None:
        rows = read_rows(folder / "train.csv")
        _write(folder / "train.csv", [{"study_id": change(row["Path"].split("/")[1][:4]), **row} for row in rows])

    return make


def patient_in_two_splits(folder: Path, study: str) -> None:
    subject = next(row["subject_id"] for row in read_rows(folder / "train.csv") if f"/{study}-" in row["Path"])
    rows = read_rows(folder / "test.csv")
    _write(folder / "test.csv", [row | {"subject_id": subject} for row in rows])


def dates(value: str) -> Damage:
    def make(folder: Path, study: str) -> None:
        path = folder / "mimic-cxr-2.0.0-metadata.csv"
        _write(path, [row | {"StudyDate": value, "StudyTime": value} for row in read_rows(path)])

    return make


def zipped_reports(folder: Path, study: str) -> None:
    files = sorted((folder / "reports").iterdir())
    with zipfile.ZipFile(folder / "reports.zip", "w") as archive:
        for path in files:
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
            path.unlink()
    (folder / "reports").rmdir()


def zipped_table(folder: Path, study: str) -> None:
    path = folder / "train.csv"
    (folder / "train.csv.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    path.unlink()
