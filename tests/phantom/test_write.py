from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrgen.cli import main
from cxrgen.phantom.findings import CHANGING
from cxrgen.phantom.patients import VISITS, draw_patient, draw_timeline, visits
from cxrgen.phantom.png import png_bytes
from cxrgen.phantom.rng import NOISE_SD, make_rng, noise
from cxrgen.phantom.write import write_phantoms

# SHA-256 over the names and bytes of all files of 12 studies of seed 3 at 64 pixels. They do not depend on processor,
# operating system, or the version of numpy, Pillow or zlib; if they change, every published score on phantoms does.
GOLDEN = {
    "varied": "69338786e1acfeb8ec990676588587b7ddd0db209c6dda79e4be60dc76dd7e77",
    "plain": "ce6aad01a0fe644c366db25fed120399237e29cc2b75cb44dca38e7a6e5a69ca",
    "followup": "c8c36b91925eeb08f413079756c04464d7f2f17340f590c77d9ee3a379ee44db",
}


def tree(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("style", GOLDEN)
def test_the_same_bytes_everywhere(style: str, tmp_path: Path) -> None:
    write_phantoms(tmp_path, 9, 3, seed=3, size=64, workers=1, style=style)
    listing = "".join(f"{name} {digest}\n" for name, digest in tree(tmp_path).items())
    assert hashlib.sha256(listing.encode()).hexdigest() == GOLDEN[style]


def test_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    for name, workers, seed in (("one", 1, 4), ("two", 2, 4), ("other", 1, 5)):
        write_phantoms(tmp_path / name, 24, 6, seed=seed, size=64, workers=workers)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert tree(tmp_path / "one") != tree(tmp_path / "other")


@pytest.mark.parametrize("shape", [(32, 32), (128, 128), (300, 257)])
def test_images_are_ordinary_png_files(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    with Image.open(io.BytesIO(png_bytes(pixels))) as image:
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), pixels)


def test_grain_is_even_and_as_strong_as_stated() -> None:
    grain = noise(make_rng(1), 100_000)
    assert abs(grain.mean()) < 3
    assert grain.std() == pytest.approx(NOISE_SD, rel=0.01)
    assert abs(np.corrcoef(grain[:-1], grain[1:])[0, 1]) < 0.02


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    write_phantoms(folder, 300, 60, seed=1, size=32, workers=1)
    return folder


def test_the_course_layout_hides_the_test_reports(written: Path) -> None:
    train, test = rows(written / "train.csv"), rows(written / "test.csv")
    assert {row["split"] for row in train} == {"train", "valid"}
    assert "findings" not in test[0]
    assert "impression" not in test[0]
    studies = {row["Path"].split("/")[1][:4] for row in test}
    assert len(studies) == 60
    assert not studies & {path.stem for path in (written / "reports").iterdir()}
    assert {row["study_id"] for row in rows(written / "truth" / "test_reports.csv")} == studies
    assert all((written / row["Path"]).is_file() for row in train + test)
    assert len(train) + len(test) == 720


def test_texts_are_for_the_owner_only(written: Path) -> None:
    texts = [*(written / "reports").iterdir(), written / "train.csv", written / "truth" / "test_reports.csv"]
    assert {path.stat().st_mode & 0o777 for path in texts} == {0o600}


def test_a_patient_is_in_one_split(written: Path) -> None:
    splits = defaultdict(set)
    for row in rows(written / "train.csv") + rows(written / "test.csv"):
        splits[row["subject_id"]].add(row["split"])
    assert all(len(each) == 1 for each in splits.values())
    assert len(splits) < 330  # some have several studies


def test_every_earlier_study_is_named_and_earlier(written: Path) -> None:
    taken = {
        row["study_id"]: (row["subject_id"], row["StudyDate"]) for row in rows(written / "mimic-cxr-2.0.0-metadata.csv")
    }
    table = {row["study_id"]: row for row in rows(written / "findings.csv")}
    priors = [row for row in table.values() if row["prior_study_id"]]
    assert len(priors) > 40
    for row in priors:
        before = row["prior_study_id"]
        assert taken[before][0] == taken[row["study_id"]][0]
        assert taken[before][1] < taken[row["study_id"]][1]
        assert all(row[column] == table[before][column] for column in ("cardiomegaly", "nodule_side", "et_tube_cm"))
        for name in CHANGING:
            now, then, change = row[name], table[before][name], row[f"{name}_change"]
            assert (then + now, change == "resolved") in {("10", True), ("11", False), ("01", False), ("00", False)}
            assert (change == "new") == (then + now == "01")


def test_shares_of_patients_with_several_studies() -> None:
    counts = [visits(0, patient) for patient in range(4000)]
    for number, share in VISITS.items():
        assert counts.count(number) / 4000 == pytest.approx(share, abs=0.02)
    assert {visits(0, patient, "plain") for patient in range(50)} == {1}
    assert {visits(0, patient, "followup") for patient in range(50)} == {3}


def test_change_words_follow_the_two_scenes() -> None:
    ratios = defaultdict(list)
    for patient in range(1500):
        scenes = draw_timeline(2, patient)
        for before, after in pairwise(scenes):
            if before.findings.effusion and after.findings.effusion:
                assert before.findings.effusion == after.findings.effusion
                ratios[after.findings.effusion_change].append(after.extent.fluid / before.extent.fluid)
    assert set(ratios) == {"increased", "decreased", "unchanged"}
    assert min(ratios["increased"]) > 1.2
    assert max(ratios["decreased"]) < 0.95
    assert max(abs(ratio - 1) for ratio in ratios["unchanged"]) < 0.04


def test_what_the_later_study_shows_tells_nothing_of_the_change() -> None:
    latest = [draw_timeline(6, patient)[-1] for patient in range(9000)]
    changes = defaultdict(list)
    for scene in latest:
        if scene.findings.effusion_change not in ("", "resolved"):
            changes[scene.findings.effusion_change].append(scene.extent.fluid)
    overall = np.mean([depth for depths in changes.values() for depth in depths])
    for depths in changes.values():
        assert len(depths) > 150
        assert np.mean(depths) == pytest.approx(overall, abs=3.5 * 0.15 / np.sqrt(len(depths)))


def test_the_indication_decides_the_cause() -> None:
    causes = defaultdict(set)
    for patient in range(300):
        for study in draw_patient(3, patient, 32):
            report = study.report
            if study.findings.opacity:
                causes[report.indication].add(study.findings.opacity_cause)
                assert study.findings.opacity_cause in f"{report.findings} {report.impression}"
    assert all(len(each) == 1 for each in causes.values())
    assert set.union(*causes.values()) == {"pneumonia", "contusion", ""}


def test_wrong_numbers_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phantom", "--out", str(tmp_path), "--studies", "0"]) == 2
    assert "--studies" in capsys.readouterr().err
