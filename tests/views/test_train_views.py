"""`cxrgen train-views`: NumPy computes what torch has learnt, a run is repeatable, and what it learns from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cxrgen.cli import main
from cxrgen.core.records import FRONTAL, LATERAL, OTHER, Study, View, read_studies, write_studies
from cxrgen.imaging.view_classifier import CLASSES, PACKAGED, SIDE, class_shares, read_classifier
from cxrgen.phantom.patients import draw_patient
from cxrgen.phantom.torsos import draw_torso
from cxrgen.views.material import Material, images_of_set
from cxrgen.views.network import ViewNetwork, write_weights
from cxrgen.views.other_pictures import draw_other
from cxrgen.views.score import ViewScore, score_views
from cxrgen.views.varied import varied


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten studies of a frontal and a lateral, two of them for validation; one view was given by a picture."""
    folder = tmp_path_factory.mktemp("known")
    studies = []
    for number in range(10):
        drawn = draw_patient(78, number, 96)[0]
        views = []
        for kind, pixels in ((FRONTAL, drawn.frontal), (LATERAL, drawn.lateral)):
            Image.fromarray(pixels).save(folder / f"{number}-{kind}.png")
            views.append(View(f"{number}-{kind}.png", kind, by_picture=0.9 if (number, kind) == (0, LATERAL) else 0.0))
        studies.append(Study(f"s{number}", f"p{number}", "train" if number < 8 else "valid", views=tuple(views)))
    write_studies(folder / "studies.parquet", studies)
    return folder


def test_numpy_computes_what_torch_has_learnt(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ViewNetwork().eval()
    write_weights(tmp_path / "w.safetensors", network, {"least_confidence": "0.5"})
    pictures = np.random.default_rng(0).uniform(-1, 1, (5, SIDE, SIDE)).astype(np.float32)
    given = torch.from_numpy(pictures)
    with torch.no_grad():
        shares = (network.half().float()(given).softmax(1) + network(given.flip(-1)).softmax(1)) / 2
    found = class_shares(pictures, read_classifier(str(tmp_path / "w.safetensors")).weights)
    assert np.allclose(found, shares.numpy(), atol=1e-5)


def test_a_run_writes_a_file_that_prepare_reads_and_says_what_it_is_worth(
    known: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def run(out: Path, workers: int) -> bytes:
        words = ["--out", out, "--torsos", 4, "--steps", 3, "--workers", workers, "--test", known]
        assert main(["train-views", str(known), *map(str, words)]) == 0
        return out.read_bytes()

    one = run(tmp_path / "one.safetensors", 1)
    said = capfd.readouterr()
    assert said.out.strip() == str(tmp_path / "one.safetensors")
    assert f"{known}: 8 frontal, 7 lateral" in said.err, "a view that a picture gave is not learnt from"
    assert f"{known}, valid: " in said.err
    assert f"{known}: " in said.err.splitlines()[-1]
    assert "of 19 undecided" in said.err.splitlines()[-1]
    assert run(tmp_path / "two.safetensors", 2) == one
    assert read_classifier(str(tmp_path / "one.safetensors")).least == 0.8


def test_sets_without_views_and_wrong_numbers_are_refused(
    tmp_path: Path, known: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_studies(tmp_path / "studies.parquet", [Study("s", "p", "train", views=(View("a.png", "unknown"),))])
    words = ["--out", str(tmp_path / "w.safetensors")]
    assert main(["train-views", str(tmp_path), *words]) == 1
    assert "its source names the view of no training image" in capfd.readouterr().err
    assert main(["train-views", str(known), *words, "--least-confidence", "1.5"]) == 2
    assert main(["train-views", str(known), *words, "--torsos", "0"]) == 2
    assert main(["train-views", str(known), "--out", str(tmp_path)]) == 1
    assert not (tmp_path / "w.safetensors").exists()


def test_material_draws_each_class_by_its_share_and_the_same_for_a_seed(known: Path) -> None:
    material = Material()
    material.add(images_of_set(known, read_studies(known, "train")))
    pictures, classes = material.draw(np.random.default_rng(3), 400)
    again = material.draw(np.random.default_rng(3), 400)
    assert pictures.shape == (400, SIDE, SIDE)
    assert np.array_equal(pictures, again[0])
    assert np.abs(np.bincount(classes, minlength=3) / 400 - [0.4, 0.4, 0.2]).max() < 0.08
    assert np.abs(pictures).max() <= 1


@pytest.mark.parametrize("seed", range(20))
def test_any_variant_and_any_other_picture_is_an_image(seed: int) -> None:
    generator = np.random.default_rng(seed)
    front, side = draw_torso(np.random.default_rng(1))
    before = front.copy()
    picture = draw_other(generator, [front, side])
    for pixels in (varied(front, generator), varied(picture, generator)):
        assert pixels.shape == (SIDE, SIDE)
        assert pixels.dtype == np.uint8
    assert min(picture.shape) >= 8
    assert np.array_equal(front, before)


def test_a_torso_is_wide_from_the_front_and_symmetric() -> None:
    """Over many draws: a frontal agrees with its mirror image more than a lateral does."""

    def agreement(image: np.ndarray) -> float:
        return float(np.corrcoef(image.ravel(), image[:, ::-1].ravel())[0, 1])

    pairs = [draw_torso(np.random.default_rng(seed)) for seed in range(12)]
    fronts, sides = zip(*pairs)
    assert np.median([agreement(image) for image in fronts]) > np.median([agreement(image) for image in sides])
    assert all(image.min() == 0 and image.max() == 255 for pair in pairs for image in pair)


def test_a_score_counts_what_is_decided() -> None:
    score = ViewScore({(FRONTAL, FRONTAL): 8, (FRONTAL, "unknown"): 1, (LATERAL, FRONTAL): 1, (LATERAL, LATERAL): 2})
    assert score.line() == (
        "10 of 11 decided are right, 1 of 12 undecided; "
        "frontal: 8 of 8 decided are right, 1 of 9 undecided; "
        "lateral: 2 of 3 decided are right, 0 of 3 undecided"
    )
    assert ViewScore({}).line() == "no image whose view is known"
    assert CLASSES[2] == OTHER


@pytest.mark.slow
def test_views_of_real_images(shared: Path, tmp_path: Path, prepare: Callable[..., tuple[int, str]]) -> None:
    """Adults of two countries, none of whom the packaged weights were trained on: docs/results.md has the figures."""
    table = shared / "data" / "real_cxr" / "reports.csv"
    words = ["--map", "findings=notes_imaging", "--resplit", "--test-share", 0.99, "--valid-share", 0]
    prepare(table, "--out", tmp_path / "real", *words, "--no-frontal", "keep", "--max-rejects", "100%", workers=2)
    score = score_views(tmp_path / "real", read_studies(tmp_path / "real"), read_classifier(PACKAGED))
    assert score.images > 320
    assert score.right >= 0.95 * (score.images - score.undecided)
    assert score.undecided <= 0.3 * score.images
    laterals = ViewScore({pair: count for pair, count in score.counts.items() if pair[0] == LATERAL})
    assert laterals.right >= 0.95 * (laterals.images - laterals.undecided) > 0
