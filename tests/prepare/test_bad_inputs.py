"""Fifty things that are wrong with people's data, each with its reaction: a code and a place, a remark, or a stop.

Every case starts from the same good table of ten studies, breaks one thing and prepares it. A stop is one line on
stderr, exit code 1 and no prepared set; everything else leaves the good studies prepared.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrgen.core.records import Study, read_studies

COLUMNS = ("study_id", "patient_id", "image", "view", "split", "date", "findings", "impression")
SPLITS = ("train",) * 6 + ("valid",) * 2 + ("test",) * 2


@dataclass
class Bench:
    """A good source to be broken: rows of table.csv, images beside it, words for the command line."""

    folder: Path
    write_image: Callable[..., Path]
    rows: list[list[str]] = field(default_factory=list)
    columns: list[str] = field(default_factory=lambda: list(COLUMNS))
    words: list[str] = field(default_factory=list)
    source: str = "table.csv"

    def fill(self) -> None:
        for number, split in enumerate(SPLITS):
            self.write_image(self.folder / f"image{number}.png", number)
            texts = (f"Synthetic heart {number} is normal.", f"Synthetic chest {number}.")
            self.rows.append([f"000{number}", f"P{number}", f"image{number}.png", "PA", split, "20200101", *texts])

    def put(self, row: int, column: str, value: str) -> None:
        self.rows[row][COLUMNS.index(column)] = value

    def all(self, column: str, value: Callable[[str], str]) -> None:
        for row in self.rows:
            row[COLUMNS.index(column)] = value(row[COLUMNS.index(column)])

    def text(self, delimiter: str = ",") -> str:
        file = io.StringIO()
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows([self.columns, *self.rows])
        return file.getvalue()

    def image(self, picture: Image.Image, number: int = 0, suffix: str = "png", **options: object) -> None:
        """Store `picture` as the image of study `number`."""
        self.put(number, "image", f"odd{number}.{suffix}")
        picture.save(self.folder / f"odd{number}.{suffix}", **options)

    def bytes_of_image(self, data: bytes, number: int = 0) -> None:
        (self.folder / f"image{number}.png").write_bytes(data)

    def noise(self, size: tuple[int, int] = (80, 96)) -> np.ndarray:
        return np.asarray(Image.open(self.folder / "image0.png").resize(size[::-1]))


@dataclass(frozen=True)
class Case:
    number: int
    name: str
    breaks: Callable[[Bench], object]
    code: str = ""  # of the reject in rejects.csv
    says: str = ""  # on the screen
    stops: bool = False
    left: int | None = None  # studies in the prepared set; by default all ten, less one with a code


@pytest.fixture
def bench(tmp_path: Path, write_image: Callable[..., Path]) -> Bench:
    made = Bench(tmp_path / "source", write_image)
    made.folder.mkdir()
    made.fill()
    return made


CASES: list[Case] = []


def case(number: int, **expected: object) -> Callable[[Callable[[Bench], object]], Callable[[Bench], object]]:
    def add(breaks: Callable[[Bench], object]) -> Callable[[Bench], object]:
        CASES.append(Case(number, breaks.__name__, breaks, **expected))
        return breaks

    return add


@case(1, code="image-missing")
def one_image_missing(bench: Bench) -> None:
    (bench.folder / "image3.png").unlink()


@case(1, says="9 of 10 images are missing", stops=True)
def most_images_missing(bench: Bench) -> None:
    bench.words += ["--image-folder", str(bench.folder / "elsewhere")]
    bench.write_image(bench.folder / "elsewhere" / "image0.png")


@case(2, code="image-empty")
def zero_bytes(bench: Bench) -> None:
    bench.bytes_of_image(b"")


@case(3, code="image-truncated")
def half_a_png(bench: Bench) -> None:
    bench.bytes_of_image((bench.folder / "image0.png").read_bytes()[:3000])


@case(3, code="image-truncated")
def half_a_jpeg(bench: Bench) -> None:
    data = io.BytesIO()
    Image.fromarray(bench.noise()).save(data, "JPEG")
    bench.bytes_of_image(data.getvalue()[: data.tell() // 2])


@case(4, code="not-an-image")
def a_web_page(bench: Bench) -> None:
    bench.bytes_of_image(b"<!DOCTYPE html><html><body>Please log in</body></html>")


@case(4, code="not-an-image")
def a_pointer_file(bench: Bench) -> None:
    bench.bytes_of_image(b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 1\n")


@case(5, says="other-type")
def a_jpeg_named_png(bench: Bench) -> None:
    data = io.BytesIO()
    Image.fromarray(bench.noise()).save(data, "JPEG")
    bench.bytes_of_image(data.getvalue())


@case(6, says="scaled: 16-bit")
def sixteen_bits(bench: Bench) -> None:
    bench.image(Image.fromarray(bench.noise().astype(np.uint16) * 16))


@case(7, code="float-image")
def floating_point(bench: Bench) -> None:
    bench.image(Image.fromarray(bench.noise().astype(np.float32) * 3.5), suffix="tif")


@case(7, says="scaled: floating point")
def floating_point_from_zero_to_one(bench: Bench) -> None:
    bench.image(Image.fromarray(bench.noise().astype(np.float32) / 255), suffix="tif")


@case(8, says="transparent")
def with_transparency(bench: Bench) -> None:
    grey = Image.fromarray(bench.noise())
    bench.image(Image.merge("RGBA", (grey, grey, grey, Image.new("L", grey.size, 200))))


@case(8, code="one-bit")
def black_and_white(bench: Bench) -> None:
    bench.image(Image.fromarray(bench.noise() > 100))


@case(9, says="cmyk")
def printing_colours(bench: Bench) -> None:
    bench.image(Image.fromarray(bench.noise()).convert("CMYK"), suffix="jpg")


@case(9, code="cmyk")
def printing_colours_strictly(bench: Bench) -> None:
    printing_colours(bench)
    bench.words += ["--strict"]


@case(10, says="not-gray")
def a_photograph(bench: Bench) -> None:
    grey = Image.fromarray(bench.noise())
    bench.image(Image.merge("RGB", (grey, Image.fromarray(255 - bench.noise()), grey)))


@case(11, says="turned")
def turned_by_exif(bench: Bench) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    bench.image(Image.fromarray(bench.noise()), suffix="jpg", exif=exif)


@case(12, code="blank-image")
def one_grey(bench: Bench) -> None:
    bench.image(Image.new("L", (96, 80), 7))


@case(12, code="too-small")
def a_thumbnail(bench: Bench) -> None:
    bench.image(Image.fromarray(bench.noise()[:40, :40]))


@case(13, code="too-large")
def huge(bench: Bench) -> None:
    bench.image(Image.new("L", (2000, 1200)))
    bench.words += ["--max-pixels", "2000000"]


@case(14, says="maybe-inverted")
def a_negative(bench: Bench) -> None:
    bench.image(Image.fromarray(255 - bench.noise()))


@case(15, code="text-empty")
def no_text(bench: Bench) -> None:
    bench.put(0, "findings", "  ")
    bench.put(0, "impression", "")


@case(16, left=10)
def no_findings_is_marked(bench: Bench) -> None:
    bench.put(0, "findings", "")


@case(16, code="no-findings")
def no_findings_when_they_are_the_target(bench: Bench) -> None:
    bench.put(0, "findings", "")
    bench.words += ["--target", "findings"]


@case(17, says="24 of 24 reports have no findings or impression that is recognised", stops=True)
def headers_of_another_language(bench: Bench) -> None:
    bench.columns[6] = "report"
    bench.rows = [[*row[:6], "ERGEBNIS: syntetisch.\nNOTIZ: keine.", ""] for row in bench.rows for _ in range(3)]
    for number, row in enumerate(bench.rows):
        row[0], row[1], row[4] = str(number), f"P{number}", "train" if number < 24 else "test"
    del bench.rows[24:]


@case(18, code="text-empty")
def only_the_word_none(bench: Bench) -> None:
    bench.put(0, "findings", "None.")
    bench.put(0, "impression", "N/A")


@case(18, left=10)
def none_as_part_of_a_sentence(bench: Bench) -> None:
    bench.put(0, "impression", "None of the lines is misplaced.")


@case(19, says="2 rows repeat others")
def the_same_rows_twice(bench: Bench) -> None:
    bench.rows += [list(row) for row in bench.rows[:2]]


@case(20, code="duplicate-conflict")
def one_study_two_texts(bench: Bench) -> None:
    bench.rows.append([*bench.rows[0][:6], "Synthetic other findings.", ""])


@case(20, left=10)
def the_last_of_two_texts(bench: Bench) -> None:
    one_study_two_texts(bench)
    bench.words += ["--on-duplicate", "last"]


@case(21, left=10)
def one_image_in_two_studies(bench: Bench) -> None:
    bench.put(1, "image", "image0.png")


@case(21, says="image-shared: 1 images are in studies of two splits", stops=True)
def one_image_in_two_splits(bench: Bench) -> None:
    bench.put(9, "image", "image0.png")


@case(21, code="image-shared")
def one_image_in_two_splits_dropped(bench: Bench) -> None:
    one_image_in_two_splits(bench)
    bench.words += ["--on-leak", "drop"]


@case(22, left=10)
def columns_in_other_spelling(bench: Bench) -> None:
    bench.columns = [f" {name.upper()} " for name in bench.columns]


@case(22, says="no column that --map findings= names; the table has 8 columns", stops=True)
def a_misspelt_map(bench: Bench) -> None:
    bench.words += ["--map", "findings=Befunt"]


@case(23, says="is the header row missing?", stops=True)
def no_header(bench: Bench) -> None:
    bench.columns = bench.rows.pop(0)


@case(24, says="columns are separated by semicolons")
def semicolons(bench: Bench) -> None:
    (bench.folder / "semi.csv").write_text(bench.text(";"))
    bench.source = "semi.csv"


@case(24, says="columns are separated by tabs")
def tabs(bench: Bench) -> None:
    (bench.folder / "tabs.txt").write_text(bench.text("\t"))
    bench.source = "tabs.txt"


@case(25, left=10)
def byte_order_mark(bench: Bench) -> None:
    (bench.folder / "bom.csv").write_text(bench.text(), encoding="utf-8-sig")
    bench.source = "bom.csv"


@case(25, says="utf-16")
def utf_16(bench: Bench) -> None:
    (bench.folder / "utf16.csv").write_text(bench.text(), encoding="utf-16")
    bench.source = "utf16.csv"


@case(26, says="read as cp1252, not UTF-8")
def windows_1252(bench: Bench) -> None:
    bench.put(0, "impression", "Synthetic naïve chest.")
    (bench.folder / "old.csv").write_text(bench.text(), encoding="cp1252")
    bench.source = "old.csv"


@case(27, says="1 reports hold characters that an earlier conversion damaged")
def replacement_characters(bench: Bench) -> None:
    bench.put(0, "impression", "Synthetic na\ufffdve chest.")


@case(28, says="broken.csv:11: ", stops=True)
def an_open_quote(bench: Bench) -> None:
    text = bench.text().replace(",Synthetic heart 6", ',"Synthetic heart 6')
    (bench.folder / "broken.csv").write_text(text)
    bench.source = "broken.csv"


@case(29, says="table.csv:2: 9 fields, the header has 8", stops=True)
def more_fields_than_the_header(bench: Bench) -> None:
    bench.rows = [[*row, "extra"] for row in bench.rows]


@case(30, left=10)
def newlines_in_cells(bench: Bench) -> None:
    bench.put(0, "findings", "Synthetic heart.\nSynthetic lungs.")


@case(31, left=10)
def old_mac_newlines(bench: Bench) -> None:
    bench.columns[6:] = ["report", "note"]
    bench.rows = [[*row[:6], f"FINDINGS: {row[6]}\rIMPRESSION: {row[7]}, too", ""] for row in bench.rows]


@case(32, says="ids had lost their leading zeros; they were padded to 4 digits")
def zeros_lost_in_the_text_table(bench: Bench) -> None:
    texts = [[str(int(row[0])), row[6], row[7]] for row in bench.rows]
    split_texts(bench, texts)


@case(33, left=10)
def ids_as_floats(bench: Bench) -> None:
    bench.all("study_id", lambda text: f"5041{text}.0")


@case(33, says="table.csv:2: id-damaged", stops=True)
def ids_in_scientific_notation(bench: Bench) -> None:
    bench.all("study_id", lambda text: "5.04E+07")


@case(34, says="ids were joined without their leading letter")
def ids_with_a_letter_in_front(bench: Bench) -> None:
    split_texts(bench, [[f"s{row[0]}", row[6], row[7]] for row in bench.rows])


@case(34, left=10)
def ids_that_are_no_numbers(bench: Bench) -> None:
    bench.all("study_id", lambda text: f" Fall {text}/a ")


@case(35, code="bad-path")
def a_path_to_the_parent(bench: Bench) -> None:
    bench.write_image(bench.folder.parent / "secret.png")
    bench.put(0, "image", "../secret.png")


@case(35, code="bad-path")
def an_absolute_path(bench: Bench) -> None:
    bench.put(0, "image", str(bench.write_image(bench.folder.parent / "secret.png")))


@case(35, code="bad-path")
def a_backslash(bench: Bench) -> None:
    bench.put(0, "image", "..\\secret.png")


@case(35, code="bad-path")
def a_drive(bench: Bench) -> None:
    bench.put(0, "image", "C:/images/secret.png")


@case(35, code="bad-path")
def a_link_to_elsewhere(bench: Bench) -> None:
    (bench.folder / "link.png").symlink_to(bench.write_image(bench.folder.parent / "secret.png"))
    bench.put(0, "image", "link.png")


@case(35, says="holds NUL bytes", stops=True)
def a_nul_in_a_path(bench: Bench) -> None:
    bench.put(0, "image", "image0.png\0.txt")


@case(35, code="bad-path")
def a_nul_in_a_path_of_a_json(bench: Bench) -> None:
    items = [dict(zip(bench.columns, row)) for row in bench.rows]
    items[0]["image"] = "image0.png\0.txt"
    (bench.folder / "table.json").write_text(json.dumps(items))
    bench.source = "table.json"


@case(36, left=10)
def names_that_differ_in_case(bench: Bench) -> None:
    for number, name in enumerate(("case.png", "Case.png", "x" * 200 + ".png", "Lü bär.png")):
        bench.write_image(bench.folder / name, 50 + number)
        bench.put(number, "image", name)


@case(37, left=10)
def no_view(bench: Bench) -> None:
    bench.put(0, "view", "")


@case(38, left=10)
def views_in_other_words(bench: Bench) -> None:
    for number, word in enumerate(("P->A", "POSTEROANTERIOR", "Frontal", "ap", " AP portable", "Chest PA")):
        bench.put(number, "view", word)


@case(39, code="no-frontal")
def laterals_only(bench: Bench) -> None:
    bench.put(0, "view", "Left lateral")


@case(39, left=10)
def laterals_only_kept(bench: Bench) -> None:
    laterals_only(bench)
    bench.words += ["--no-frontal", "keep"]


@case(40, code="image-missing")
def a_study_without_image(bench: Bench) -> None:
    bench.put(0, "image", "")


@case(41, says="1 patients are in two splits", stops=True)
def a_patient_in_two_splits(bench: Bench) -> None:
    bench.put(9, "patient_id", "P0")


@case(41, left=10)
def a_patient_in_two_splits_drawn_anew(bench: Bench) -> None:
    a_patient_in_two_splits(bench)
    bench.words += ["--resplit"]


@case(42, says="1 of 10 studies have an unknown split", stops=True)
def an_unknown_split(bench: Bench) -> None:
    bench.put(3, "split", "holdout")


@case(42, left=10)
def splits_in_other_words(bench: Bench) -> None:
    words = {"train": "Training", "valid": "validate", "test": "TEST"}
    bench.all("split", lambda split: words[split])


@case(43, left=10)
def no_date_or_the_same(bench: Bench) -> None:
    for row in (0, 1, 2):
        bench.put(row, "patient_id", "P0")
    bench.put(2, "date", "")


@case(45, left=10)
def a_name_in_a_file_name(bench: Bench) -> None:
    bench.write_image(bench.folder / "Mustermann_Erika_1950.png", 77)
    bench.put(0, "image", "Mustermann_Erika_1950.png")


@case(46, code="too-long")
def a_very_long_report(bench: Bench) -> None:
    bench.put(0, "findings", "Synthetic words. " * 300)
    bench.words += ["--max-words", "400"]


@case(46, left=10)
def a_very_long_report_cut(bench: Bench) -> None:
    a_very_long_report(bench)
    bench.words += ["--too-long", "cut"]


@case(48, left=10)
def rows_for_testing_without_text(bench: Bench) -> None:
    for row in (8, 9):
        bench.put(row, "findings", "")
        bench.put(row, "impression", "")


@case(49, says="1 reports do not look English")
def another_language(bench: Bench) -> None:
    bench.put(0, "findings", "Das Herz ist normal groß, kein Erguss, keine Stauung, Lunge frei.")
    bench.put(0, "impression", "")


@case(50, says="an archive; unpack it first", stops=True)
def a_zip(bench: Bench) -> None:
    (bench.folder / "all.zip").write_bytes(b"PK\x03\x04")
    bench.source = "all.zip"


@case(50, left=10)
def a_gzipped_table(bench: Bench) -> None:
    (bench.folder / "table.csv.gz").write_bytes(gzip.compress(bench.text().encode()))
    bench.source = "table.csv.gz"


def split_texts(bench: Bench, texts: list[list[str]]) -> None:
    """Move the texts into a table of their own."""
    file = io.StringIO()
    csv.writer(file).writerows([["study_id", "findings", "impression"], *texts])
    (bench.folder / "texts.csv").write_text(file.getvalue())
    bench.rows = [[*row[:6], "", ""] for row in bench.rows]
    bench.words += ["--text-file", str(bench.folder / "texts.csv")]


@pytest.mark.parametrize("each", CASES, ids=lambda each: f"{each.number}-{each.name}")
def test_bad_input(each: Case, bench: Bench, prepare: Callable[..., tuple[int, str]]) -> None:
    each.breaks(bench)
    (bench.folder / "table.csv").write_text(bench.text())
    out = bench.folder.parent / "out"
    code, said = prepare(bench.folder / bench.source, "--out", out, "--max-rejects", "100%", *bench.words)
    assert each.says in said
    if each.stops:
        assert code == 1, said
        assert said.splitlines()[-1].startswith("cxrgen prepare: ")
        assert "Traceback" not in said
        assert not (out / "studies.parquet").exists()
        return
    assert code == 0, said
    with open(out / "rejects.csv", encoding="utf-8", newline="") as file:
        rejects = list(csv.DictReader(file))
    codes = {row["code"] for row in rejects} - {"no-image"}
    assert codes == ({each.code} if each.code else set())
    assert all(row["hint"] and row["row"] for row in rejects)
    studies = read_studies(out)
    assert len(studies) == (each.left if each.left is not None else 9 if each.code else 10)
    assert "Mustermann" not in said
    assert not any("Mustermann" in str(path) for path in out.rglob("*"))
    json.loads((out / "card.json").read_text())


def prepared(bench: Bench, prepare: Callable[..., tuple[int, str]]) -> dict[str, Study]:
    (bench.folder / "table.csv").write_text(bench.text())
    out = bench.folder.parent / "out"
    code, said = prepare(bench.folder / "table.csv", "--out", out, *bench.words)
    assert code == 0, said
    return {study.study_id: study for study in read_studies(out)}


def test_a_marked_study_says_what_it_lacks(bench: Bench, prepare: Callable[..., tuple[int, str]]) -> None:
    no_findings_is_marked(bench)
    rows_for_testing_without_text(bench)
    one_image_in_two_studies(bench)
    studies = prepared(bench, prepare)
    assert studies["0000"].flags == ("no-findings", "image-shared")
    assert studies["0000"].report == "Synthetic chest 0."
    assert studies["0009"].report is None
    assert "no-target" in studies["0009"].flags


def test_a_cut_report_ends_with_a_sentence(bench: Bench, prepare: Callable[..., tuple[int, str]]) -> None:
    a_very_long_report_cut(bench)
    study = prepared(bench, prepare)["0000"]
    assert study.report == " ".join(["Synthetic words."] * 200)
    assert study.flags == ("cut",)
    numbers = json.loads((bench.folder.parent / "out" / "card.json").read_text())
    assert numbers["limit"] == {"words": 400, "cut": 1, "left out": 0, "share": 0.1}
    assert numbers["flags"] == {"cut": 1}
    page = (bench.folder.parent / "out" / "card.html").read_text()
    assert "10.0% of reports have more than 400 words (--max-words): 1 were cut" in page


def test_equal_times_are_nobodys_prior(bench: Bench, prepare: Callable[..., tuple[int, str]]) -> None:
    no_date_or_the_same(bench)
    bench.put(3, "patient_id", "P0")
    bench.put(3, "date", "20200102")
    studies = prepared(bench, prepare)
    priors = {name: study.prior_study_id for name, study in studies.items() if study.prior_study_id}
    assert priors == {"0003": "0000"}


def test_ids_keep_their_zeros_and_lose_only_a_float_end(bench: Bench, prepare: Callable[..., tuple[int, str]]) -> None:
    bench.put(0, "study_id", "50414267.0")
    assert list(prepared(bench, prepare))[:2] == ["50414267", "0001"]


def test_views_are_classed_whatever_their_spelling(bench: Bench, prepare: Callable[..., tuple[int, str]]) -> None:
    views_in_other_words(bench)
    bench.put(6, "view", "Schrägaufnahme")
    studies = prepared(bench, prepare)
    assert [study.views[0].view for study in studies.values()] == ["frontal"] * 6 + ["unknown"] + ["frontal"] * 3


def test_a_full_disk_and_a_forbidden_folder(
    bench: Bench, prepare: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 47: the disk is looked at first; a refusal while writing is one line, and a second run continues."""
    from cxrgen.prepare import image_store as images
    from cxrgen.prepare import prepare_set as command

    (bench.folder / "table.csv").write_text(bench.text())
    out = bench.folder.parent / "out"
    with monkeypatch.context() as patch:
        patch.setattr(command.shutil, "disk_usage", lambda folder: command.shutil._ntuple_diskusage(1, 1, 1000))
        code, said = prepare(bench.folder / "table.csv", "--out", out)
    assert (code, out.exists()) == (1, False)
    assert "choose another place" in said
    real, written = images.replacing, []

    def refuses(path: Path) -> object:
        written.append(path)
        if len(written) > 4:
            raise OSError(28, "No space left on device")
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(images, "replacing", refuses)
        code, said = prepare(bench.folder / "table.csv", "--out", out)
    assert code == 1
    assert said.splitlines()[-1].endswith("No space left on device; make room or choose another --out, then run again")
    assert not (out / "studies.parquet").exists()
    code, said = prepare(bench.folder / "table.csv", "--out", out)
    assert code == 0
    assert "storing images: 6/6" in said


@pytest.mark.parametrize("place", ["image.txt", "image.txt/out", "locked/out"])
def test_a_place_that_cannot_be_written_to(
    bench: Bench, prepare: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Case 47: told before any image is read."""
    (bench.folder / "table.csv").write_text(bench.text())
    (bench.folder.parent / "image.txt").write_text("a file")
    (bench.folder.parent / "locked").mkdir()
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked" and real(path, mode))
    code, said = prepare(bench.folder / "table.csv", "--out", bench.folder.parent / place)
    assert code == 1
    assert "no folder that can be written to; choose another --out" in said
    assert len(said.splitlines()) == 1


def test_a_disk_that_is_full_when_the_tables_are_written(
    bench: Bench, prepare: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 47: one line, and a second run makes no image again."""
    from cxrgen.prepare import prepare_set as command

    def refuses(*words: object) -> None:
        raise OSError(28, "No space left on device")

    (bench.folder / "table.csv").write_text(bench.text())
    out = bench.folder.parent / "out"
    with monkeypatch.context() as patch:
        patch.setattr(command, "write_set", refuses)
        code, said = prepare(bench.folder / "table.csv", "--out", out)
    assert code == 1
    assert said.splitlines()[-1].endswith("No space left on device; make room or choose another --out, then run again")
    code, said = prepare(bench.folder / "table.csv", "--out", out)
    assert code == 0
    assert "storing images: 0/0" in said


def test_every_case_is_tested() -> None:
    elsewhere = {44: "DICOM, by the tests of images and of the DICOM source", 47: "the test of a full disk above"}
    assert {each.number for each in CASES} | elsewhere.keys() == set(range(1, 51))
