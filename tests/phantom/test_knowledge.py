"""Knowledge is where we say it is: what a linear reader gets from the images, and from everything that is no image."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cxrgen.phantom.findings import LOBES, NAMES, SIDES, Findings, draw_extent
from cxrgen.phantom.linear_probe import auroc, best_f1, pixel_features, probe
from cxrgen.phantom.patients import draw_timeline
from cxrgen.phantom.rng import bernoulli, make_rng, pick
from cxrgen.phantom.scene import draw_images
from cxrgen.phantom.write import write_phantoms

FRONTAL, LATERAL, BOTH = slice(0, 1), slice(1, 2), slice(0, 2)
Edit = Callable[[Findings, np.random.Generator], Findings]


def images(count: int, edit: Edit, seed: int, size: int = 64) -> tuple[np.ndarray, list[Findings]]:
    """Images (N, 2, S, S) of scenes whose tables `edit` has changed, and the tables."""
    pictures, tables = [], []
    for index in range(count):
        drawn = draw_timeline(seed, index, "plain")[0]
        findings = edit(drawn.findings, make_rng(seed, index, 99))
        extent = draw_extent(findings, make_rng(seed, index, 98))
        frontal, lateral, _ = draw_images(replace(drawn, findings=findings, extent=extent), size)
        pictures.append(np.stack([frontal, lateral]))
        tables.append(findings)
    return np.stack(pictures), tables


def area(pictures: np.ndarray, labels: list[bool], views: slice) -> float:
    """AUROC on the second half of the images of a probe fitted to the first."""
    features = pixel_features(pictures[:, views], 32)
    wanted = np.array(labels)
    half = len(wanted) // 2
    scores = probe(features[:half], wanted[:half, None].astype(float), features[half:])
    return auroc(scores[:, 0], wanted[half:])


def with_opacity(findings: Findings, generator: np.random.Generator) -> Findings:
    return replace(findings, opacity=pick(generator, [lobe for lobe in LOBES if "upper" not in lobe]))


@cache
def opacities() -> tuple[np.ndarray, list[Findings]]:
    return images(3000, with_opacity, 31)


@pytest.mark.slow
def test_depth_of_an_opacity_is_on_the_lateral_alone() -> None:
    pictures, tables = opacities()
    lower = ["lower" in findings.opacity for findings in tables]
    assert area(pictures, lower, FRONTAL) <= 0.56
    assert area(pictures, lower, LATERAL) >= 0.95
    assert area(pictures, lower, BOTH) >= 0.95


@pytest.mark.slow
def test_side_of_an_opacity_is_on_the_frontal_alone() -> None:
    pictures, tables = opacities()
    left = [findings.opacity in LOBES[3:] for findings in tables]
    assert area(pictures, left, FRONTAL) >= 0.85
    assert abs(area(pictures, left, LATERAL) - 0.5) <= 0.06


@pytest.mark.slow
def test_a_small_effusion_is_hard_on_the_frontal() -> None:
    def small(findings: Findings, generator: np.random.Generator) -> Findings:
        there = bernoulli(generator, 0.5)
        side = pick(generator, SIDES)
        return replace(findings, effusion=side if there else "", effusion_size="small" if there else "")

    pictures, tables = images(3000, small, 32)
    there = [bool(findings.effusion) for findings in tables]
    frontal, lateral = area(pictures, there, FRONTAL), area(pictures, there, LATERAL)
    assert frontal <= 0.75
    assert lateral >= 0.85
    sides = [findings.effusion == "left" for findings in tables if findings.effusion]
    assert abs(area(pictures[there], sides, LATERAL) - 0.5) <= 0.06
    assert area(pictures[there], sides, FRONTAL) >= 0.75


def test_a_picture_tells_more_than_its_outline() -> None:
    """The study that looks most alike, seen coarsely, is a poor guide to the findings."""
    pictures, tables = images(500, lambda findings, generator: findings, 33)
    thumbnails = pixel_features(pictures[:, FRONTAL], 16)
    thumbnails -= thumbnails.mean(axis=1, keepdims=True)
    thumbnails /= np.linalg.norm(thumbnails, axis=1, keepdims=True)
    likeness = thumbnails @ thumbnails.T
    np.fill_diagonal(likeness, -1)
    there = np.array([[bool(getattr(findings, name)) for name in NAMES] for findings in tables])
    guess = there[likeness.argmax(axis=1)]
    f1 = 2 * (guess & there).sum(axis=0) / (guess.sum(axis=0) + there.sum(axis=0))
    assert f1.mean() < 0.55


@pytest.mark.slow
def test_ids_order_sizes_dates_and_view_names_tell_nothing(tmp_path: Path) -> None:
    """A linear reader of everything about the images but the images is at chance for every finding."""
    write_phantoms(tmp_path, 3000, seed=34, size=32, style="plain")

    def rows(name: str) -> list[dict[str, str]]:
        with open(tmp_path / name, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    sizes = {path.stat().st_size for path in (tmp_path / "images").iterdir()}
    assert len(sizes) == 1
    metadata = rows("mimic-cxr-2.0.0-metadata.csv")
    features = []
    for front, side in zip(metadata[::2], metadata[1::2]):
        views = [front["ViewPosition"] == "PA", side["ViewPosition"] == "LL"]
        date = [int(front["StudyDate"][:4]), int(front["StudyDate"][4:6]), float(front["StudyTime"])]
        features.append([int(front["study_id"]), int(front["subject_id"]) - 10_000_000, *date, *views])
    matrix = np.array(features, dtype=float)
    matrix = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    truth = np.array([[row[name] == "1" for name in NAMES] for row in rows("findings.csv")])
    scores = probe(matrix[:1500], truth[:1500].astype(float), matrix[1500:])
    areas = [auroc(scores[:, column], truth[1500:, column]) for column in range(len(NAMES))]
    assert max(abs(each - 0.5) for each in areas) < 0.06


def test_the_probe_itself() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(400, 5))
    labels = features[:, 2] > 0
    scores = probe(features[:200], labels[:200, None].astype(float), features[200:])[:, 0]
    assert auroc(scores, labels[200:]) > 0.99
    assert auroc(np.zeros(4), np.array([True, False, True, False])) == 0.5
    assert np.isnan(auroc(np.zeros(2), np.array([True, True])))
    assert best_f1(np.array([0.9, 0.8, 0.1]), np.array([True, False, True]))[0] == pytest.approx(0.8)


@pytest.mark.slow
def test_a_change_is_not_in_the_later_study_alone() -> None:
    pictures, rising = [], []
    for patient in range(12_000):
        for before, after in pairwise(draw_timeline(34, patient)):
            if after.findings.effusion_change in ("increased", "decreased"):
                pictures.append([draw_images(scene, 32)[0] for scene in (after, before)])
                rising.append(after.findings.effusion_change == "increased")
    both = np.array(pictures)
    assert len(both) > 400
    assert abs(area(both, rising, slice(0, 1)) - 0.5) <= 0.08  # the later study
    assert area(both, rising, slice(0, 2)) >= 0.75
