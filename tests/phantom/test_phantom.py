from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest

from cxrgen.phantom.findings import LOBES, Findings, draw_findings
from cxrgen.phantom.parser import parse
from cxrgen.phantom.scene import draw_scene
from cxrgen.phantom.wording import report_file, word_sections
from cxrgen.phantom.write import draw_study, write_phantoms


def test_every_report_parses_back_to_its_findings() -> None:
    for index in range(2000):
        generator = np.random.default_rng(index)
        truth = draw_findings(generator)
        findings, impression = word_sections(truth, generator)
        assert parse(f"{findings} {impression}") == truth
        assert parse(report_file(findings, impression)) == truth
        assert parse(impression) == truth  # the summary alone names all that is present


@pytest.mark.parametrize(
    "text", ["", "...", "Pleural effusion", "no " * 500, "\x00\ufffd <image> 1. 2.", "RIGHT OPACITY."]
)
def test_the_parser_takes_any_text(text: str) -> None:
    assert isinstance(parse(text), Findings)


def test_what_a_model_may_write() -> None:
    assert parse("a LARGE   left\npleural effusion is seen.").effusion_size == "large"
    assert parse("No pleural effusion or pneumothorax.") == Findings()
    assert parse("There is a pneumothorax.").pneumothorax == "unknown"


def test_report_files_look_like_mimic() -> None:
    text = report_file("The heart is enlarged. " * 12, "Cardiomegaly.")
    lines = text.splitlines()
    assert lines[0].strip() == "FINAL REPORT"
    assert all(line.startswith(" ") and len(line) <= 79 for line in lines)
    assert any(line == " " for line in lines)


def tree(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    for name, workers, seed in (("one", 1, 4), ("two", 2, 4), ("other", 1, 5)):
        write_phantoms(tmp_path / name, 24, 6, seed=seed, size=64, workers=workers)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert tree(tmp_path / "one") != tree(tmp_path / "other")


def test_the_course_layout_hides_the_test_reports(tmp_path: Path) -> None:
    write_phantoms(tmp_path, 40, 10, seed=1, size=32, workers=1)
    with open(tmp_path / "train.csv", newline="") as file:
        train = list(csv.DictReader(file))
    with open(tmp_path / "test.csv", newline="") as file:
        test = list(csv.DictReader(file))
    assert {row["split"] for row in train} == {"train", "valid"}
    assert "findings" not in test[0]
    studies = {row["Path"].split("/")[1][:4] for row in test}
    assert len(studies) == 10
    assert not studies & {path.stem for path in (tmp_path / "reports").iterdir()}
    assert all((tmp_path / row["Path"]).is_file() for row in train + test)
    subjects = [{row["subject_id"] for row in rows} for rows in (train, test)]
    assert not subjects[0] & subjects[1]


def films(lobe: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    pairs = [draw_scene(Findings(opacity=lobe), 64, np.random.default_rng([7, i])) for i in range(count)]
    return tuple(np.stack([pair[view] for pair in pairs]).astype(float) for view in (0, 1))  # type: ignore[return-value]


def test_depth_is_on_the_lateral_alone() -> None:
    """With the same random numbers, a middle-lobe and a lower-lobe opacity have the very same frontal."""
    middle, lower = films(LOBES[1], 20), films(LOBES[2], 20)
    assert np.array_equal(middle[0], lower[0])
    difference = middle[1].mean(axis=0) - lower[1].mean(axis=0)
    assert difference[:, :28].max() > 10  # anterior, at the left of the lateral
    assert difference[:, 36:].min() < -10


def test_side_is_on_the_frontal_alone() -> None:
    right = [draw_scene(Findings(opacity=LOBES[0]), 64, np.random.default_rng([7, i])) for i in range(20)]
    left = [draw_scene(Findings(opacity=LOBES[3]), 64, np.random.default_rng([7, i])) for i in range(20)]
    assert all(np.array_equal(one[1], other[1]) for one, other in zip(right, left))
    difference = np.mean([one[0].astype(float) - other[0] for one, other in zip(right, left)], axis=0)
    assert difference[:, :32].max() > 10  # the patient's right stands at the left of the film
    assert difference[:, 32:].min() < -10


@pytest.mark.parametrize(
    "findings",
    [Findings(True), Findings(False, "left", "moderate"), Findings(pneumothorax="right"), Findings(opacity=LOBES[0])],
)
def test_each_finding_changes_the_frontal(findings: Findings) -> None:
    seen = [draw_scene(findings, 64, np.random.default_rng(i))[0].astype(float) for i in range(10)]
    normal = [draw_scene(Findings(), 64, np.random.default_rng(i))[0].astype(float) for i in range(10)]
    assert np.abs(np.mean(seen, axis=0) - np.mean(normal, axis=0)).max() > 8


def test_ids_and_view_names_tell_nothing_of_findings() -> None:
    drawn = [draw_study(0, index, 32) for index in range(400)]
    for raw_views in {each.raw_views for each in drawn}:
        some = [each.findings.cardiomegaly for each in drawn if each.raw_views == raw_views]
        assert abs(np.mean(some) - 0.4) < 0.2
