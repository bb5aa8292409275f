from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxrgen.phantom.findings import LOBES, SIDED, Findings, draw_extent, draw_findings
from cxrgen.phantom.rng import make_rng
from cxrgen.phantom.scene import GreyImage, Scene, draw_body, draw_framing, draw_images
from cxrgen.phantom.structures import draw_places


def scene(findings: Findings, index: int = 0) -> Scene:
    generator = make_rng(7, index)
    extent = draw_extent(findings, make_rng(8, index))
    places, body = draw_places(generator), draw_body(generator)
    return Scene(findings, extent, places, body, draw_framing(generator), (9, index))


def images(findings: Findings, index: int = 0, size: int = 64) -> tuple[GreyImage, GreyImage]:
    frontal, lateral, _ = draw_images(scene(findings, index), size)
    return frontal, lateral


def mean(findings: Findings, view: int, count: int = 12, size: int = 64) -> np.ndarray:
    return np.mean([images(findings, index, size)[view].astype(float) for index in range(count)], axis=0)


@pytest.mark.parametrize(("front", "back"), [(LOBES[1], LOBES[2]), (LOBES[4], LOBES[5])])
def test_depth_is_on_the_lateral_alone(front: str, back: str) -> None:
    """With the same random numbers, opacities of the middle and of the lower lobe have the very same frontal."""
    for index in range(20):
        anterior, posterior = images(Findings(opacity=front), index), images(Findings(opacity=back), index)
        assert np.array_equal(anterior[0], posterior[0])
        assert not np.array_equal(anterior[1], posterior[1])
    difference = mean(Findings(opacity=front), 1) - mean(Findings(opacity=back), 1)
    assert difference[:, :28].max() > 8  # anterior, at the left of the lateral
    assert difference[:, 36:].min() < -8


def mirrored(side: str) -> str:
    pairs = {
        "right upper lobe": "left upper lobe",
        "right middle lobe": "lingula",
        "right lower lobe": "left lower lobe",
    }
    return pairs.get(side, "left")


def test_side_is_on_the_frontal_alone() -> None:
    """With the same random numbers, a study and the one with all its sides turned round have the very same lateral."""
    for index in range(30):
        findings = draw_findings(make_rng(3, index))
        right = {name: "right" for name in SIDED if getattr(findings, name)}
        if findings.opacity:
            right["opacity"] = LOBES[index % 3]
        one = replace(findings, **right)
        other = replace(findings, **{name: mirrored(side) for name, side in right.items()})
        assert np.array_equal(images(one, index)[1], images(other, index)[1])
        assert not right or not np.array_equal(images(one, index)[0], images(other, index)[0])
    difference = mean(Findings(opacity=LOBES[0]), 0) - mean(Findings(opacity=LOBES[3]), 0)
    assert difference[:, :32].max() > 8  # the patient's right stands at the left of the image
    assert difference[:, 32:].min() < -8


ALONE = {
    "cardiomegaly": Findings(cardiomegaly=True),
    "effusion": Findings(effusion="left", effusion_size="moderate"),
    "pneumothorax": Findings(pneumothorax="right", pneumothorax_size="large"),
    "opacity": Findings(opacity=LOBES[0]),
    "edema": Findings(edema=True),
    "nodule": Findings(nodule="left"),
    "atelectasis": Findings(atelectasis="right"),
    "hyperinflation": Findings(hyperinflation=True),
    "fracture": Findings(fracture="left"),
    "et_tube": Findings(et_tube="3.0"),
    "central_line": Findings(central_line="right"),
    "pacemaker": Findings(pacemaker=True),
    "chest_tube": Findings(chest_tube="left"),
    "sternal_wires": Findings(sternal_wires=True),
}


@pytest.mark.parametrize("name", ALONE)
def test_each_finding_changes_its_images_and_nothing_else_of_them(name: str) -> None:
    normal, seen = images(Findings(), 1, 128), images(ALONE[name], 1, 128)
    for view, (with_it, without) in enumerate(zip(seen, normal)):
        difference = np.abs(with_it.astype(float) - without)
        if name == "fracture" and view == 1:
            assert difference.max() == 0  # ribs are not drawn on laterals
        else:
            assert difference.max() > 6
        assert (difference > 0).mean() < 0.5  # the grain is the same


def test_a_larger_effusion_covers_more() -> None:
    grey = [mean(Findings(effusion="left", effusion_size=size), 0).mean() for size in ("small", "moderate", "large")]
    normal = mean(Findings(), 0).mean()
    assert normal < grey[0] < grey[1] < grey[2]


def test_a_small_effusion_lies_behind() -> None:
    """On the lateral, at the right of the image."""
    small, normal = Findings(effusion="left", effusion_size="small"), Findings()
    side = np.abs(mean(small, 1) - mean(normal, 1))
    assert side[:, 36:].sum() > 3 * side[:, :28].sum()


def test_the_tube_ends_where_the_table_says() -> None:
    """Lengths are in centimetres: 18 cm a scene unit, whatever the image's size."""
    drawn = scene(Findings(et_tube="5.0"))
    drawn = replace(drawn, places=replace(drawn.places, tube_bend=0.0))
    drawn = replace(drawn, framing=replace(drawn.framing, zoom=1.0, shift=(0.0, 0.0, 0.0), noise=0.0))
    for size in (128, 256):
        high, low = (
            draw_images(replace(drawn, findings=Findings(et_tube=distance)), size)[0].astype(int)
            for distance in ("5.0", "2.0")
        )
        rows = np.flatnonzero(np.abs(high - low).max(axis=1) > 3)
        assert (rows.max() - rows.min() + 1) / size * 36 == pytest.approx(3.0, abs=0.6)


def test_images_of_all_sizes_show_the_same() -> None:
    drawn = scene(draw_findings(make_rng(5)))
    drawn = replace(drawn, framing=replace(drawn.framing, noise=1e-6))
    small, large = draw_images(drawn, 64)[0].astype(float), draw_images(drawn, 256)[0].astype(float)
    blocks = large.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.abs(blocks - small).mean() < 3


def test_faint_lesions_are_those_in_much_grain() -> None:
    findings = Findings(opacity=LOBES[0], nodule="left", atelectasis="right")
    drawn = scene(findings)
    quiet = replace(drawn, framing=replace(drawn.framing, noise=0.005))
    loud = replace(drawn, framing=replace(drawn.framing, noise=0.08))
    assert draw_images(quiet, 64)[2] == frozenset()
    assert draw_images(loud, 64)[2] == {"opacity", "nodule", "atelectasis"}
    assert draw_images(scene(Findings()), 64)[2] == frozenset()
