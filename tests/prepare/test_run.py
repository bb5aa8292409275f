"""`cxrgen prepare` on the layouts people have: what is in the prepared set, what is left out, how a run goes on."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cxrgen.cli import main
from cxrgen.core.records import Study, read_studies

FINDINGS = "Synthetic heart {} is normal."
IMPRESSION = "Synthetic chest {}."
Prepare = Callable[..., tuple[int, str]]  # the fixture: words -> (exit code, all that was printed)
Write = Callable[..., Path]


def rejects(out: Path) -> list[tuple[str, str, str]]:
    with open(out / "rejects.csv", encoding="utf-8", newline="") as file:
        return [(row["row"], row["id"], row["code"]) for row in csv.DictReader(file)]


def by_id(out: Path) -> dict[str, Study]:
    return {study.study_id: study for study in read_studies(out)}


def test_the_course_layout_with_texts(course: Path, tmp_path: Path, prepare: Prepare) -> None:
    out = tmp_path / "out"
    code, said = prepare(course, "--out", out)
    assert code == 0, said
    assert "course (a folder with images/ and train.csv, test.csv)" in said
    studies = by_id(out)
    assert list(studies) == [f"{number:04}" for number in range(1, 7)]
    assert [study.split for study in studies.values()] == ["train"] * 3 + ["valid"] + ["test"] * 2
    first = studies["0001"]
    assert first.report == f"{FINDINGS.format(1)} {IMPRESSION.format(1)}"
    assert [(view.view, view.raw_view) for view in first.views] == [("frontal", "PA"), ("lateral", "LATERAL")]
    assert (first.views[0].width, first.views[0].height) == (96, 80)
    assert studies["0005"].report is None
    assert "no-target" in studies["0005"].flags
    for view in (view for study in studies.values() for view in study.views):
        with Image.open(out / view.path) as image:
            assert (image.mode, image.size) == ("L", (view.width, view.height))
    assert rejects(out) == []
    assert {"studies.parquet", "images", "card.html", "card.json", "recipe.json", "images.jsonl"} <= {
        path.name for path in out.iterdir()
    }


def test_the_json_files_are_llavas(course: Path, tmp_path: Path, prepare: Prepare) -> None:
    out = tmp_path / "out"
    prepare(course, "--out", out)
    items = json.loads((out / "train.json").read_text())
    assert [item["id"] for item in items] == ["0001", "0002", "0003"]
    assert [turn["from"] for turn in items[0]["conversations"]] == ["human", "gpt"]
    assert items[0]["conversations"][0]["value"].count("<image>") == len(items[0]["image"]) == 2
    assert all((out / name).is_file() for item in items for name in item["image"])
    asked = json.loads((out / "test.json").read_text())
    assert [len(item["conversations"]) for item in asked] == [1, 1]


def test_by_image_with_the_originals_prompt(course: Path, tmp_path: Path, prepare: Prepare) -> None:
    out = tmp_path / "out"
    prepare(course, "--out", out, "--by", "image", "--prompt", "original")
    items = json.loads((out / "train.json").read_text())
    assert [item["id"] for item in items] == ["0001-0001", "0002-0001", "0003-0001"]
    assert all(isinstance(item["image"], str) for item in items)
    assert items[0]["conversations"][0]["value"] == "Illustrate the image through a detailed medical report\n<image>"


@pytest.mark.parametrize(
    ("target", "wanted"), [("findings", FINDINGS), ("impression", IMPRESSION), ("both", f"{FINDINGS} {IMPRESSION}")]
)
def test_target(course: Path, tmp_path: Path, prepare: Prepare, target: str, wanted: str) -> None:
    out = tmp_path / "out"
    prepare(course, "--out", out, "--target", target)
    assert by_id(out)["0002"].report == wanted.replace("{}", "2")


def test_the_course_layout_without_texts(write_table: Write, course: Path, tmp_path: Path, prepare: Prepare) -> None:
    """Variant A: a metadata table alone. Without texts all is for generation; a text file gives them."""
    (course / "train.csv").unlink()
    (course / "test.csv").unlink()
    rows = [
        (f"{number:04}-{image:04}", f"1000{number}", f"{number:04}", view)
        for number in range(1, 7)
        for image, view in ((1, "AP"), (2, "LL"))
    ]
    columns = ("dicom_id", "subject_id", "study_id", "ViewPosition")
    write_table(course / "mimic-cxr-2.0.0-metadata.csv", columns, rows)
    out = tmp_path / "untold"
    code, said = prepare(course, "--out", out)
    assert code == 0, said
    assert {(study.split, study.report) for study in by_id(out).values()} == {("test", None)}

    texts = [(f"s{number:04}", FINDINGS.format(number), "") for number in range(1, 7)]
    file = write_table(tmp_path / "texts.csv", ("study_id", "findings", "impression"), texts)
    out = tmp_path / "told"
    code, said = prepare(course, "--out", out, "--text-file", file, "--test-share", 0.3, "--valid-share", 0.2)
    assert code == 0, said
    studies = by_id(out)
    assert studies["0003"].report == FINDINGS.format(3)
    assert studies["0003"].subject_id == "10003"
    assert [view.raw_view for view in studies["0003"].views] == ["AP", "LL"]
    assert {study.split for study in studies.values()} == {"train", "valid", "test"}


def test_images_that_no_table_lists_join_their_study(
    write_image: Write, course: Path, tmp_path: Path, prepare: Prepare
) -> None:
    write_image(course / "images" / "0001-0003.png", 99)
    write_image(course / "images" / "0999-0001.png", 98)
    out = tmp_path / "out"
    _, said = prepare(course, "--out", out, "--max-rejects", "50%")
    assert "1 images that no table lists joined their study" in said
    assert [view.view for view in by_id(out)["0001"].views] == ["frontal", "unknown", "lateral"]
    assert rejects(out) == [("images/0999-0001.png", "0999", "image-without-row")]


def test_llava_json_as_a_source(course: Path, tmp_path: Path, prepare: Prepare) -> None:
    items = [
        {
            "id": f"{number:04}-0001",
            "image": f"{number:04}-0001.png",
            "conversations": [
                {"from": "human", "value": "Describe.\n<image>"},
                {"from": "report", "value": f"No. {number}."},
            ],
        }
        for number in range(1, 7)
    ]
    (tmp_path / "valid.json").write_text(json.dumps(items))
    out = tmp_path / "out"
    code, said = prepare(tmp_path / "valid.json", "--image-folder", course / "images", "--out", out)
    assert code == 0, said
    assert {study.split for study in by_id(out).values()} == {"valid"}
    assert by_id(out)["0002-0001"].report == "No. 2."


def test_a_table_with_foreign_columns(write_table: Write, course: Path, tmp_path: Path, prepare: Prepare) -> None:
    rows = [
        (
            f"{number:03}",
            f"P{number // 2}",
            f"{number:04}-0001.png;{number:04}-0002.png",
            "pa;Left lateral",
            f"Text {number}.",
        )
        for number in range(1, 7)
    ]
    table = write_table(tmp_path / "export.csv", ("Fall", "Patient", "Datei", "Projection", "Befund"), rows)
    told = ("--map", "findings=Befund", "--map", "study_id=fall", "--map", "image=Datei")
    out = tmp_path / "out"
    code, said = prepare(table, *told, "--image-folder", course / "images", "--out", out, "--valid-share", 0.3)
    assert code == 0, said
    studies = by_id(out)
    assert list(studies) == ["001", "002", "003", "004", "005", "006"]
    assert studies["004"].report == "Text 4."
    assert [view.view for view in studies["004"].views] == ["frontal", "lateral"]
    splits: dict[str, set[str]] = {}
    for study in studies.values():
        splits.setdefault(study.subject_id, set()).add(study.split)
    assert all(len(each) == 1 for each in splits.values())
    assert {study.split for study in studies.values()} == {"train", "valid", "test"}


def test_dry_run_writes_nothing(course: Path, tmp_path: Path, prepare: Prepare) -> None:
    out = tmp_path / "out"
    code, said = prepare(course, "--out", out, "--dry-run")
    assert code == 0
    assert not out.exists()
    for word in (
        "columns: findings = findings",
        "found: 6 studies, 12 images",
        "train 3, valid 1, test 2",
        "disk",
        "time",
    ):
        assert word in said


def test_too_many_rejects_leave_with_three(course: Path, tmp_path: Path, prepare: Prepare) -> None:
    (course / "images" / "0002-0002.png").write_bytes(b"")
    out = tmp_path / "out"
    assert prepare(course, "--out", out)[0] == 0, "not one study is lost"
    assert rejects(out) == [("0002-0002.png", "0002", "image-empty")]
    assert [view.view for view in by_id(out)["0002"].views] == ["frontal"], "the study keeps its other image"
    (course / "images" / "0002-0001.png").write_bytes(b"")
    code, said = prepare(course, "--out", tmp_path / "less")
    assert code == 3
    assert "1 of 6 studies were left out, 16.7% (limit 2.0%)" in said, "both images and their study count once"
    assert prepare(course, "--out", tmp_path / "patient", "--max-rejects", "20%")[0] == 0


def test_other_options_are_refused_and_force_makes_anew(course: Path, tmp_path: Path, prepare: Prepare) -> None:
    out = tmp_path / "out"
    prepare(course, "--out", out)
    before = (out / "studies.parquet").read_bytes()
    code, said = prepare(course, "--out", out, "--size", 90)
    assert code == 1
    assert "was made with --size 512, not 90" in said
    assert prepare(tmp_path / "typo", "--out", out, "--size", 90, "--force")[0] == 1
    assert (out / "studies.parquet").read_bytes() == before
    assert all((out / view.path).is_file() for study in by_id(out).values() for view in study.views)
    assert prepare(course, "--out", out, "--size", 90, "--force")[0] == 0
    assert {view.width for study in by_id(out).values() for view in study.views} == {90}
    assert {view.path for study in by_id(out).values() for view in study.views} == {
        str(path.relative_to(out)) for path in out.rglob("images/*/*")
    }


def test_a_folder_with_other_things_is_left_alone(course: Path, tmp_path: Path, prepare: Prepare) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    code, said = prepare(course, "--out", out, "--force")
    assert code == 1
    assert "holds 1 files or folders and no prepared set" in said
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_one_and_several_workers_write_the_same_bytes(course: Path, tmp_path: Path, prepare: Prepare) -> None:
    for workers in (1, 4):
        prepare(course, "--out", tmp_path / str(workers), workers=workers)
    one, four = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("1", "4")
    )
    assert one == four


def test_an_interrupted_run_continues(
    course: Path, tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cxrgen.prepare import store_images as images

    out, whole = tmp_path / "out", tmp_path / "whole"
    prepare(course, "--out", whole)
    real, made = images.store_image, []

    def stops(job: images.ImageJob, out: Path, options: images.ImageOptions) -> images.StoredImage:
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(job.key)
        return real(job, out, options)

    monkeypatch.setattr(images, "store_image", stops)
    code, said = prepare(course, "--out", out)
    assert code == 130
    assert "run it again to continue" in said
    assert not (out / "studies.parquet").exists()
    with open(out / "images.jsonl", "a") as file:
        file.write('{"key": "cut off by a cra')
    monkeypatch.setattr(images, "store_image", real)
    code, said = prepare(course, "--out", out)
    assert code == 0, said
    assert "storing images: 7/7" in said
    assert (out / "studies.parquet").read_bytes() == (whole / "studies.parquet").read_bytes()
    assert (out / "images.jsonl").read_bytes() == (whole / "images.jsonl").read_bytes()


def test_files_with_texts_or_images_are_private(course: Path, tmp_path: Path, prepare: Prepare) -> None:
    out = tmp_path / "out"
    prepare(course, "--out", out)
    open_to_others = {path.name for path in out.rglob("*") if path.is_file() and path.stat().st_mode & 0o077}
    assert open_to_others == {"card.json"}


def test_no_report_text_on_the_screen_or_in_open_files(course: Path, tmp_path: Path, prepare: Prepare) -> None:
    out = tmp_path / "out"
    (course / "images" / "0002-0001.png").write_bytes(b"<html>")
    _, said = prepare(course, "--out", out)
    told = (
        said + (out / "rejects.csv").read_text() + (out / "card.json").read_text() + (out / "recipe.json").read_text()
    )
    assert "Synthetic" not in told


@pytest.mark.parametrize(
    ("recipe", "wanted"),
    [
        ("plain", "Synthetic heart 2 is normal. Synthetic chest 2."),
        ("original", "Synthetic heart 2 is normal. Synthetic chest."),
        ("mgca", "synthetic chest synthetic heart 2 is normal"),
        ("r2gen-mimic", "synthetic heart 2 is normal ."),
    ],
)
def test_text_recipes(course: Path, tmp_path: Path, prepare: Prepare, recipe: str, wanted: str) -> None:
    out = tmp_path / "out"
    prepare(course, "--out", out, "--text", recipe)
    studies = by_id(out)
    assert studies["0002"].report == wanted
    assert studies["0005"].report is None, "no recipe makes a text of nothing"


def test_matched_texts_follow_the_priors_that_are_left(
    tmp_path: Path, prepare: Prepare, write_image: Write, write_table: Write
) -> None:
    """The first study's image is damaged: the second has lost its prior, the third has the second."""
    for number in range(3):
        write_image(tmp_path / f"{number}.png", number)
    (tmp_path / "0.png").write_bytes(b"")
    rows = [
        (str(number), "P", f"{number}.png", "PA", "train", f"2020010{number + 1}", "Stable synthetic effusion.")
        for number in range(3)
    ]
    columns = ("study_id", "patient_id", "image", "view", "split", "date", "findings")
    table = write_table(tmp_path / "t.csv", columns, rows)
    out = tmp_path / "out"
    assert prepare(table, "--out", out, "--priors", "match", "--max-rejects", "100%")[0] == 0
    told = [(study.study_id, study.prior_study_id, study.report) for study in by_id(out).values()]
    assert told == [("1", None, "Synthetic effusion."), ("2", "1", "Stable synthetic effusion.")]


def group_is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signal_number", "workers_too"), [(signal.SIGKILL, True), (signal.SIGKILL, False), (signal.SIGINT, True)]
)
def test_a_run_that_is_ended_from_outside_continues(
    tmp_path: Path, write_image: Write, write_table: Write, signal_number: signal.Signals, workers_too: bool
) -> None:
    rows = []
    for number in range(120):
        write_image(tmp_path / f"{number}.png", number, (600, 500))
        rows.append((str(number), f"{number}.png", "PA", "train", f"Synthetic {number}."))
    table = write_table(tmp_path / "t.csv", ("study_id", "image", "view", "split", "findings"), rows)

    def start(out: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "cxrgen", "prepare", str(table), "--out", str(out), "--workers", "2"]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)

    whole, out = tmp_path / "whole", tmp_path / "out"
    assert start(whole).wait() == 0
    process = start(out)
    journal = out / "images.jsonl"
    while process.poll() is None and not (journal.is_file() and journal.read_text().count("\n") > 20):
        time.sleep(0.01)
    (os.killpg if workers_too else os.kill)(process.pid, signal_number)
    assert process.wait() != 0
    for _ in range(600):  # workers leave with their parent
        if not group_is_there(process.pid):
            break
        time.sleep(0.1)
    assert not group_is_there(process.pid)
    assert not (out / "studies.parquet").exists()
    if signal_number == signal.SIGINT:
        assert process.stderr is not None
        assert process.stderr.read().splitlines()[-1] == "cxrgen prepare: interrupted; run it again to continue"
    again = start(out)
    assert again.wait() == 0
    assert again.stderr is not None
    assert "storing images: 120/120" not in again.stderr.read()
    for name in ("studies.parquet", "images.jsonl", "card.json", "train.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert not list(out.rglob(".*.tmp"))


def test_counts_for_machines(course: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", str(course), "--out", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told == {
        "studies": 6, "images": 12, "rejects": 0, "train": 3, "valid": 1, "test": 2, "out": str(tmp_path / "out"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ("--map", "findings"),
        ("--map", "diagnosis=Befund"),
        ("--valid-share", "0.6", "--test-share", "0.5"),
        ("--size", "4"),
        ("--kind", "dicoms"),
        ("--text", "polished"),
    ],
)
def test_a_call_that_cannot_be_meant_leaves_with_two(course: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    out = tmp_path / "out"
    try:
        code = main(["prepare", str(course), "--out", str(out), *words])
    except SystemExit as end:  # argparse's own refusals
        code = int(str(end.code))
    assert code == 2
    assert not out.exists()


def test_the_json_files_can_tell_the_prior_report(
    tmp_path: Path, prepare: Prepare, write_image: Write, write_table: Write
) -> None:
    rows = [
        (
            str(number),
            "P",
            write_image(tmp_path / f"{number}.png", number).name,
            "PA",
            "train",
            f"2020010{number}",
            f"No. {number}.",
        )
        for number in (1, 2)
    ]
    columns = ("study_id", "patient_id", "image", "view", "split", "date", "findings")
    table = write_table(tmp_path / "t.csv", columns, rows)
    for prompt in ("study", "study-prior"):
        assert prepare(table, "--out", tmp_path / prompt, "--prompt", prompt)[0] == 0
    asked = {
        prompt: [
            item["conversations"][0]["value"] for item in json.loads((tmp_path / prompt / "train.json").read_text())
        ]
        for prompt in ("study", "study-prior")
    }
    assert asked["study"] == ["Frontal: <image>\nWrite the report."] * 2
    assert asked["study-prior"] == [asked["study"][0], "Frontal: <image>\nPrior report: No. 1.\nWrite the report."]


@pytest.mark.slow
def test_a_table_of_a_hundred_thousand_images_stays_below_a_gigabyte(tmp_path: Path, write_image: Write) -> None:
    """Everything before the images; they come and go one by one. The test prints the peak."""
    images = [write_image(tmp_path / f"{number}.png", number) for number in range(4)]
    (tmp_path / "big" / "images").mkdir(parents=True)
    with open(tmp_path / "big" / "mimic-cxr-2.0.0-metadata.csv", "w") as file:
        file.write("dicom_id,subject_id,study_id,ViewPosition,Rows,Columns,StudyDate,StudyTime,Procedure\n")
        for number in range(100_000):
            name = f"{number:044}"
            study = 50_000_000 + number * 6 // 10
            file.write(f"{name},{study // 4},{study},PA,3056,2544,21800506,{80000 + study % 9999}.875,CHEST PA LAT\n")
            os.link(images[number % 4], tmp_path / "big" / "images" / f"{name}.png")
    with open(tmp_path / "texts.csv", "w") as file:
        file.write("study_id,findings\n")
        for study in range(50_000_000, 50_060_000):
            file.write(f"{study},{'Synthetic words of a report. ' * 12}\n")
    code = "import sys; from cxrgen.cli import main; done = main(sys.argv[1:]); "
    # Not ru_maxrss: that starts from the peak of the process which started this one.
    code += "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]); sys.exit(done)"
    words = ["prepare", tmp_path / "big", "--out", tmp_path / "out", "--text-file", tmp_path / "texts.csv", "--dry-run"]
    result = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True)
    assert "found: 60000 studies, 100000 images" in result.stdout
    peak = int(result.stdout.split()[-1]) / 1e6
    print(f"peak memory {peak:.2f} GB")
    assert peak < 1


def test_a_study_is_built_once_and_replaced_five_times_at_most(
    course: Path, tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch, write_table: Callable[..., Path]
) -> None:
    built = 0
    init = Study.__init__

    def counted(self: Study, *values: Any, **named: Any) -> None:
        nonlocal built
        built += 1
        init(self, *values, **named)

    monkeypatch.setattr(Study, "__init__", counted)
    rows = [(f"{number:04}", f"Heart {number} is normal.") for number in range(1, 7)]
    texts = write_table(tmp_path / "texts.csv", ("study_id", "findings"), rows)
    assert prepare(course, "--out", tmp_path / "plain")[0] == 0
    assert built <= 4 * 6, "source, split, text, images"
    built = 0
    words = ("--text-file", texts, "--pseudonyms", tmp_path / "key")
    assert prepare(course, "--out", tmp_path / "all", *words)[0] == 0
    of_texts = len(rows)
    assert built - of_texts <= 6 * 6, "built once; texts, split, report, pseudonym, images"
