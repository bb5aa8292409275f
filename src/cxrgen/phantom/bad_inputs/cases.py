"""Bad inputs, one small folder each: what real exports look like when something went wrong on the way.

Every case is a course folder of eight good studies in which one thing is broken, so that a test can prepare each by
itself; 00-good is the same with nothing broken. broken.csv lists them: number and folder, what was done and to which
study, and what a careful reader does. `reaction` is keep (used as it is), note (used and remarked), reject (left out
under `code`, the rest is used) or stop (nothing can be trusted). What is no file, such as a full disk, is not here.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrgen.core.files import write_csv
from cxrgen.phantom.bad_inputs import damage
from cxrgen.phantom.png import png_bytes
from cxrgen.phantom.write import write_phantoms

_GOOD, _GOOD_TEST, _SIZE = 6, 2, 96
_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 16721\n"
_PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>\n"
_GERMAN = "Kein Erguss. Das Herz ist nicht vergrößert, die Lunge ist frei und es gibt keinen Pneumothorax."


@dataclass(frozen=True)
class Case:
    number: int  # cases of one kind share it
    name: str
    what: str
    reaction: str  # keep | note | reject | stop
    code: str  # of the reject or the note; "" where none is agreed
    make: damage.Damage


def write_broken(out: Path, seed: int = 0) -> None:
    """Write every case into its own folder under `out`, and broken.csv."""
    good = out / "00-good"
    write_phantoms(good, _GOOD, _GOOD_TEST, seed, _SIZE, workers=1, style="plain")
    study = Path(damage.read_rows(good / "train.csv")[0]["Path"]).name.partition("-")[0]
    table = [["0", good.name, "nothing is broken", study, "keep", ""]]
    for case in CASES:
        folder = out / f"{case.number:02}-{case.name}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(good, folder)
        case.make(folder, study)
        table.append([str(case.number), folder.name, case.what, study, case.reaction, case.code])
    write_csv(out / "broken.csv", ["number", "case", "what", "study_id", "reaction", "code"], table)


CASES = (
    Case(1, "image-missing", "an image is not there", "reject", "image-missing", damage.no_image),
    Case(2, "image-empty", "an image of zero bytes", "reject", "image-empty", damage.bytes_of_image(b"")),
    Case(3, "truncated-png", "half of a PNG", "reject", "image-truncated", damage.half_of_image),
    Case(
        3, "truncated-jpeg", "half of a JPEG", "reject", "image-truncated",
        damage.both(damage.image_as("L", "JPEG"), damage.half_of_image),
    ),
    Case(4, "web-page", "a web page named .png", "reject", "not-an-image", damage.bytes_of_image(_PAGE)),
    Case(4, "pointer-file", "a pointer file named .png", "reject", "not-an-image", damage.bytes_of_image(_POINTER)),
    Case(5, "wrong-extension", "a JPEG named .png", "note", "", damage.image_as("L", "JPEG")),
    Case(6, "sixteen-bit", "16-bit grey values up to 4095", "keep", "",
         damage.image_of(lambda image: image.astype(np.uint16) * 16)),
    Case(7, "float", "32-bit floats up to 255", "reject", "float-image",
         damage.image_of(lambda image: image.astype(np.float32), "TIFF")),
    Case(8, "rgba", "an image with transparency", "keep", "", damage.image_as("RGBA")),
    Case(8, "palette", "an image with a palette", "keep", "", damage.image_as("P")),
    Case(8, "one-bit", "black and white alone", "reject", "one-bit", damage.image_as("1")),
    Case(9, "cmyk", "a JPEG for printing", "note", "", damage.image_as("CMYK", "JPEG")),
    Case(10, "colour-photo", "channels that differ", "note", "not-gray", damage.image_of(damage.colour_photo)),
    Case(11, "exif-rotation", "a JPEG to be turned when shown", "keep", "", damage.turned_by_exif),
    Case(12, "blank", "every pixel the same", "reject", "blank-image", damage.image_of(np.zeros_like)),
    Case(12, "tiny", "48 pixels a side", "reject", "too-small", damage.image_of(lambda image: image[::2, ::2])),
    Case(13, "huge", "a header that promises 900 megapixels", "reject", "too-large",
         damage.bytes_of_image(png_bytes(np.zeros((_SIZE, _SIZE), dtype=np.uint8), promised=(30_000, 30_000)))),
    Case(14, "inverted", "black and white changed", "note", "maybe-inverted", damage.image_of(lambda grey: 255 - grey)),
    Case(15, "text-empty", "a report of blanks", "reject", "text-empty", damage.texts("  ", " ")),
    Case(16, "no-findings", "an impression alone", "keep", "", damage.texts("", "No acute process.")),
    Case(17, "odd-headers", "report files with headers of another house", "keep", "",
         damage.odd_files(lambda text: text.replace("FINDINGS:", "Befund -").replace("IMPRESSION:", "Fazit -"))),
    Case(18, "none", "the word None as findings", "reject", "text-empty", damage.texts("None", "N/A")),
    Case(19, "rows-twice", "rows that stand twice", "keep", "", damage.repeated_rows()),
    Case(20, "conflict", "two texts for one study", "reject", "duplicate-conflict",
         damage.repeated_rows(findings="The heart is enlarged.")),
    Case(21, "shared-image", "one image in two studies", "note", "image-shared", damage.image_of_split("train")),
    Case(21, "shared-across-splits", "one image in train and test", "stop", "image-shared",
         damage.image_of_split("test")),
    Case(22, "other-case", "column names in capitals", "keep", "",
         damage.table_as(damage.renamed_columns(Path="PATH", ViewPosition="viewposition ", findings="FINDINGS"))),
    Case(22, "other-names", "a column for the images that no one knows", "stop", "",
         damage.table_as(damage.renamed_columns(Path="Bilddatei"))),
    Case(23, "no-header", "no header row", "stop", "",
         damage.table_as(lambda text: text.split("\n", 1)[1].encode())),
    Case(24, "semicolons", "semicolons between cells", "note", "", damage.table_as(damage.with_delimiter(";"))),
    Case(24, "tabs", "tabs between cells", "note", "", damage.table_as(damage.with_delimiter("\t"))),
    Case(25, "byte-order-mark", "UTF-8 with a mark", "keep", "",
         damage.table_as(lambda text: text.encode("utf-8-sig"))),
    Case(25, "utf-16", "UTF-16 with a mark", "note", "", damage.table_as(lambda text: text.encode("utf-16"))),
    Case(26, "cp1252", "Windows-1252 with an accent", "note", "",
         damage.table_as(lambda text: text.replace("As above", "As \u00e4bove").encode("cp1252"))),
    Case(27, "replacement-character", "damage of an earlier conversion", "note", "",
         damage.texts("No pleural effusion\ufffd. The heart is normal.")),
    Case(28, "open-quote", "a quote that is never closed", "stop", "",
         damage.table_as(lambda text: (text + 'images/0001-0001.png,PA,train,1,,"No effusion.\n').encode())),
    Case(29, "extra-field", "every row longer than the header", "stop", "",
         damage.table_as(lambda text: text.replace("\n", ",x\n").replace(",x\n", "\n", 1).encode())),
    Case(30, "line-breaks", "line breaks inside quotes", "keep", "",
         damage.texts("No pleural effusion.\n\nThe heart size is normal.", "Normal\nchest.")),
    Case(31, "old-line-ends", "report files with carriage returns alone", "keep", "",
         damage.odd_files(lambda text: text.replace("\n", "\r"))),
    Case(31, "windows-line-ends", "report files of another system", "keep", "",
         damage.odd_files(lambda text: text.replace("\n", "\r\n"))),
    Case(32, "zeros-lost", "study ids without leading zeros", "keep", "",
         damage.ids_in_table(lambda name: name.lstrip("0"))),
    Case(33, "float-ids", "study ids that end in .0", "keep", "", damage.ids_in_table(lambda name: f"{int(name)}.0")),
    Case(33, "scientific-ids", "study ids as powers of ten", "stop", "id-damaged",
         damage.ids_in_table(lambda name: "5.04E+07")),
    Case(34, "prefixed-ids", "study ids with an s and blanks", "keep", "",
         damage.ids_in_table(lambda name: f" s{name} ")),
    Case(35, "path-parent", "an image named by its parent folder", "reject", "bad-path",
         damage.parent_folder),
    Case(35, "path-absolute", "an image of the system", "reject", "bad-path", damage.path_of("/etc/hostname")),
    Case(35, "path-drive", "an image on a drive", "reject", "bad-path", damage.path_of("C:\\images\\0001-0001.png")),
    Case(35, "link-outside", "a link that leads out of the folder", "reject", "bad-path", damage.link_out),
    Case(36, "names-by-case", "two names that differ in case alone", "keep", "",
         damage.named("{study}-0001.png", "{study}-0001.PNG")),
    Case(36, "long-names", "names of 200 characters", "keep", "",
         damage.named("a" * 190 + "-0001.png", "a" * 190 + "-0002.png")),
    Case(36, "unicode-names", "a letter written as two", "keep", "",
         damage.named("e\u0301-0001.png", "e\u0301-0002.png")),
    Case(37, "view-missing", "no view position", "keep", "", damage.cells("ViewPosition", "", "")),
    Case(38, "view-synonyms", "views in other words", "keep", "",
         damage.cells("ViewPosition", "P->A", "Left lateral")),
    Case(38, "view-unknown", "a view that is none", "note", "", damage.cells("ViewPosition", "sideways")),
    Case(39, "no-frontal", "a lateral alone", "reject", "no-frontal", damage.only_lateral),
    Case(40, "image-without-row", "an image that no table lists", "reject", "image-without-row",
         damage.image_without_row),
    Case(41, "patient-in-two-splits", "a patient in train and test", "stop", "", damage.patient_in_two_splits),
    Case(42, "split-synonyms", "dev for valid", "keep", "", damage.cells("split", "dev", "dev")),
    Case(42, "split-unknown", "a split that is none", "stop", "", damage.cells("split", "holdout", "holdout")),
    Case(43, "dates-missing", "no dates", "keep", "", damage.dates("")),
    Case(43, "dates-equal", "all images of one minute", "keep", "", damage.dates("21200101")),
    Case(44, "dicom", "an image as DICOM", "keep", "", damage.dicom()),
    Case(44, "dicom-no-pixels", "a DICOM without pixels", "reject", "no-pixels", damage.dicom(PixelData=None)),
    Case(44, "dicom-multi-frame", "a DICOM of two frames", "reject", "multi-frame",
         damage.dicom(NumberOfFrames=2, Rows=_SIZE // 2)),
    Case(44, "dicom-other-modality", "a magnetic resonance image", "reject", "not-a-radiograph",
         damage.dicom(Modality="MR")),
    Case(44, "dicom-unknown-syntax", "a DICOM packed as a video", "reject", "unknown-syntax",
         damage.dicom(syntax="1.2.840.10008.1.2.4.100")),
    Case(45, "names-in-names", "a file name that holds a patient's name", "keep", "",
         damage.named("DOE^JANE 19400102-0001.png", "DOE^JANE 19400102-0002.png")),
    Case(46, "very-long", "a report of ten thousand words", "keep", "",
         damage.texts("No pleural effusion is seen. " * 2000)),
    Case(48, "no-target", "test rows without text", "keep", "no-target", damage.nothing),
    Case(49, "other-language", "a report in German", "note", "", damage.texts(_GERMAN)),
    Case(50, "gzipped-table", "train.csv.gz", "keep", "", damage.zipped_table),
    Case(50, "zipped-reports", "reports.zip", "note", "", damage.zipped_reports),
)  # fmt: skip
