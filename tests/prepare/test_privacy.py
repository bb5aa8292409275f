"""A name planted wherever a source can hold one reaches neither the screen nor a file's name, unless asked for."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from tests.imaging.dicoms import image, saved, values

NAME = "Mustermann"
Prepare = Callable[..., tuple[int, str]]
Write = Callable[..., Path]
Plant = Callable[[Path, Write], tuple[Path, tuple[object, ...]]]
COLUMNS = ["study_id", "patient_id", "image", "view", "split", "date", "report"]
ROWS = 24


def rows(images: Path, write_image: Write) -> list[list[str]]:
    for number in range(ROWS):
        write_image(images / f"i{number}.png", number)
    return [
        [f"s{n}", f"p{n}", f"i{n}.png", "PA", "train", "20200101", f"FINDINGS: Heart {n} normal."] for n in range(ROWS)
    ]


def written(folder: Path, columns: Iterable[str], body: Iterable[Iterable[str]], name: str = "t.csv") -> Path:
    with open(folder / name, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(body)
    return folder / name


def in_cells(column: str, form: str = f"{NAME} {{}}") -> Plant:
    """The name in every cell of one column."""

    def plant(folder: Path, write_image: Write) -> tuple[Path, tuple[object, ...]]:
        body = rows(folder, write_image)
        for number, row in enumerate(body):
            row[COLUMNS.index(column)] = form.format(number)
        return written(folder, COLUMNS, body), ()

    return plant


def in_a_header(old: str, new: str, *words: object) -> Plant:
    def plant(folder: Path, write_image: Write) -> tuple[Path, tuple[object, ...]]:
        return written(folder, [new if name == old else name for name in COLUMNS], rows(folder, write_image)), words

    return plant


def without_a_header(folder: Path, write_image: Write) -> tuple[Path, tuple[object, ...]]:
    body = rows(folder, write_image)
    return written(folder, [f"{NAME}, Max", *body[0][1:]], body), ()


def a_longer_row(folder: Path, write_image: Write) -> tuple[Path, tuple[object, ...]]:
    return written(folder, COLUMNS, [[*row, NAME] for row in rows(folder, write_image)]), ()


def the_table_in_a_folder(folder: Path, write_image: Write) -> tuple[Path, tuple[object, ...]]:
    written(folder, [*COLUMNS, "report"], rows(folder, write_image), f"{NAME}.csv")
    return folder, ()


def texts_of_others(folder: Path, write_image: Write) -> tuple[Path, tuple[object, ...]]:
    table = written(folder, COLUMNS, rows(folder, write_image))
    texts = written(folder, ("study_id", "report"), [[f"{NAME}{n}", "x"] for n in range(5)], "texts.csv")
    return table, ("--text-file", texts)


def paths_of_images(folder: Path, write_image: Write) -> tuple[Path, tuple[object, ...]]:
    body = rows(folder / NAME, write_image)
    return written(folder, COLUMNS, [[*row[:2], f"{NAME}/none/{row[2]}", *row[3:]] for row in body]), ()


def one_image_in_two_splits(folder: Path, write_image: Write) -> tuple[Path, tuple[object, ...]]:
    body = rows(folder, write_image)
    body = [
        [f"{NAME}{n}", f"{NAME}{n}", "i0.png", "PA", "test" if n else "train", *row[5:]] for n, row in enumerate(body)
    ]
    return written(folder, COLUMNS, body), ()


def dicom_tags(folder: Path, write_image: Write) -> tuple[Path, tuple[object, ...]]:
    for number in range(4):
        pixels = values(12)
        pixels[number] = 0
        tags = {
            "PatientID": NAME, "PatientName": NAME, "StudyInstanceUID": f"1.2.{number}", "AccessionNumber": NAME,
            "StudyID": NAME, "SeriesDescription": NAME, "ProtocolName": NAME, "ViewPosition": NAME,
        }  # fmt: skip
        (folder / f"{NAME}{number}").mkdir()
        saved(image(pixels, **tags), folder / f"{NAME}{number}" / f"{NAME}{number}.dcm")
        (folder / f"{NAME}{number}" / f"{NAME}.txt").write_text(f"BEFUND {NAME}: {NAME}")
    (folder / f"{NAME}.dcm").write_bytes(b"\0" * 128 + b"DICM" + NAME.encode())
    (folder / f"{NAME}.hl7").write_text(NAME)
    written(folder, (NAME, "report"), [[f"{NAME}{n}", NAME] for n in range(4)], f"{NAME}.csv")
    return folder, ()


def a_course_folder(folder: Path, write_image: Write) -> tuple[Path, tuple[object, ...]]:
    for number in range(4):
        write_image(folder / "images" / f"{NAME}-{number}.png", number)
        write_image(folder / "images" / f"{NAME}{number}-1.png", 10 + number)
    written(
        folder,
        ("dicom_id", "ViewPosition", NAME),
        [[f"{NAME}-{n}", NAME, NAME] for n in range(6)],
        f"{NAME}metadata.csv",
    )
    (folder / "reports").mkdir()
    (folder / "reports" / f"{NAME}.txt").write_bytes(f"FINDINGS: {NAME}".encode() + "Лёгкие".encode("cp1251"))
    return folder, ()


def json_of_studies(folder: Path, write_image: Write) -> tuple[Path, tuple[object, ...]]:
    rows(folder, write_image)
    (folder / "t.json").write_text(
        f'{{"{NAME}": [{{"id": "5.04E+07", "image_path": ["{NAME}.png"], "report": "{NAME}"}}], '
        f'"{NAME} 2": {{"image_path": "{NAME}.png", "report": "{NAME}", "{NAME}": {{"{NAME}": "{NAME}"}}}}}}'
    )
    return folder / "t.json", ()


PLANTS: dict[str, Plant] = {
    **{f"cells-of-{column}": in_cells(column) for column in COLUMNS},
    "ids-in-scientific-notation": in_cells("study_id", "5.04E+07"),
    "line-starts": in_cells("report", f"{NAME}: normal"),
    "paths-to-parents": in_cells("image", f"../{NAME}{{}}.png"),
    "views-that-are-not-understood": in_cells("view", f"{NAME}"),
    "header": in_a_header("report", NAME),
    "header-near-a-known-name": in_a_header("report", f"report{NAME}"),
    "header-twice": in_a_header("view", "split"),
    "header-twice-named": lambda folder, write_image: (
        written(folder, [NAME, NAME, *COLUMNS[2:]], rows(folder, write_image)), ()
    ),
    "map": in_a_header("report", NAME, "--map", f"findings={NAME}"),
    "map-to-nothing": in_a_header("report", "text", "--map", f"findings={NAME}"),
    "no-header": without_a_header,
    "longer-row": a_longer_row,
    "table-in-a-folder": the_table_in_a_folder,
    "text-file": texts_of_others,
    "image-paths": paths_of_images,
    "image-in-two-splits": one_image_in_two_splits,
    "dicom": dicom_tags,
    "course": a_course_folder,
    "json": json_of_studies,
}  # fmt: skip


@pytest.mark.parametrize("dry", [False, True], ids=["run", "dry-run"])
@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_a_planted_name_stays_in_the_set(
    tmp_path: Path, write_image: Write, prepare: Prepare, plant: Plant, dry: bool
) -> None:
    (tmp_path / "in").mkdir()
    source, words = plant(tmp_path / "in", write_image)
    code, said = prepare(source, "--out", tmp_path / "out", *words, *(["--dry-run"] if dry else []))
    assert code in (0, 1, 3), said
    assert NAME not in said
    assert "5.04E+07" not in said
    out = list((tmp_path / "out").rglob("*"))
    assert not any(NAME in path.name for path in out)
    open_files = [path for path in out if path.is_file() and path.stat().st_mode & 0o077]
    assert not any(NAME in path.read_text("utf-8", "replace") for path in open_files)


@pytest.mark.parametrize("case", ["header", "cells-of-split", "line-starts", "image-paths", "image-in-two-splits"])
def test_values_are_shown_when_asked_for(tmp_path: Path, write_image: Write, prepare: Prepare, case: str) -> None:
    (tmp_path / "in").mkdir()
    source, words = PLANTS[case](tmp_path / "in", write_image)
    needed = ("--map", "findings=absent") if case == "header" else ()
    code, said = prepare(source, "--out", tmp_path / "out", *words, *needed, "--show-values")
    assert code == 1
    assert NAME.lower() in said.lower()


def test_the_test_can_fail(tmp_path: Path) -> None:
    written(tmp_path, [NAME], [[NAME]])
    assert re.search(NAME, (tmp_path / "t.csv").read_text())
