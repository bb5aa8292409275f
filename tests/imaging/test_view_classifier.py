"""The packaged classifier of views: what it says of phantoms and other pictures, which files it reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cxrgen.core.errors import InputError
from cxrgen.core.records import FRONTAL, LATERAL, UNKNOWN
from cxrgen.imaging.view_classifier import (
    CLASSES,
    PACKAGED,
    SIDE,
    WEIGHTS,
    ViewClassifier,
    equalised,
    read_classifier,
    thumbnail,
    view_of_picture,
)
from cxrgen.phantom.patients import draw_patient


def test_phantoms_of_an_unseen_series() -> None:
    classifier = read_classifier(PACKAGED)
    drawn = [draw_patient(77, patient, 96, "plain")[0] for patient in range(20)]
    said = [[view_of_picture(image, classifier).view for image in (each.frontal, each.lateral)] for each in drawn]
    assert not any(frontal == LATERAL or lateral == FRONTAL for frontal, lateral in said)
    assert sum(frontal == FRONTAL for frontal, _ in said) >= 18
    assert sum(lateral == LATERAL for _, lateral in said) >= 18


def test_a_picture_and_its_mirror_image_get_the_same_answer() -> None:
    classifier = read_classifier(PACKAGED)
    lateral = draw_patient(77, 0, 96)[0].lateral
    one, other = view_of_picture(lateral, classifier), view_of_picture(lateral[:, ::-1], classifier)
    assert one.view == other.view
    assert one.confidence == pytest.approx(other.confidence, abs=0.01)


def test_noise_and_an_upside_down_chest_are_no_frontals() -> None:
    classifier = read_classifier(PACKAGED)
    noise = np.random.default_rng(0).integers(0, 256, (200, 160)).astype(np.uint8)
    turned = [draw_patient(77, patient, 96)[0].frontal[::-1] for patient in range(10)]
    assert view_of_picture(noise, classifier).view not in (FRONTAL, LATERAL)
    assert sum(view_of_picture(each, classifier).view in (FRONTAL, LATERAL) for each in turned) <= 1


def test_below_the_confidence_a_view_stays_unknown() -> None:
    packaged = read_classifier(PACKAGED)
    frontal = draw_patient(77, 0, 96)[0].frontal
    strict = ViewClassifier(packaged.weights, 1.01, "")
    assert view_of_picture(frontal, strict).view == UNKNOWN
    assert view_of_picture(frontal, strict).confidence == view_of_picture(frontal, packaged).confidence > 1 / 3


def test_the_tone_curve_of_an_image_does_not_matter() -> None:
    grey = np.random.default_rng(1).integers(0, 128, (SIDE, SIDE)).astype(np.uint8)
    assert np.array_equal(equalised(grey), equalised(grey * 2))
    assert thumbnail(np.zeros((300, 200), np.uint8)).tolist() == [[0.0] * SIDE] * SIDE


def test_the_weights_are_small_and_name_their_sources() -> None:
    assert WEIGHTS.stat().st_size < 300_000
    said = WEIGHTS.with_name("views.NOTICE.txt").read_text(encoding="utf-8")
    assert "CC BY 4.0" in said
    assert "10.17632/rscbjbr9sj" in said
    header = json.loads(WEIGHTS.read_bytes()[8:][: int.from_bytes(WEIGHTS.read_bytes()[:8], "little")])
    assert {"least_confidence", "seed", "steps", "torsos", "sets"} <= header["__metadata__"].keys()
    assert CLASSES == ("frontal", "lateral", "other"), "the order of the scores in the file"


def damaged(name: str) -> bytes:
    data = WEIGHTS.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if name == "other form":
        header["__metadata__"]["cxrgen_views"] = "0"
    elif name == "no metadata":
        del header["__metadata__"]
    elif name == "a weight is missing":
        del header["scores.bias"]
    elif name == "another shape":
        header["scores.bias"]["data_offsets"][1] -= 2
    words = json.dumps(header).encode()
    return len(words).to_bytes(8, "little") + words + data[8 + length :]


@pytest.mark.parametrize("name", ["other form", "no metadata", "a weight is missing", "another shape"])
def test_a_file_of_another_program_is_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.safetensors"
    file.write_bytes(damaged(name))
    with pytest.raises(InputError, match="make one with `cxrgen train-views`"):
        read_classifier(str(file))


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, b"PK\x03\x04" * 99])
def test_any_other_bytes_are_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(content)
    with pytest.raises(InputError, match="it is damaged or of another program"):
        read_classifier(str(file))


def test_a_cut_file_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "cut.safetensors"
    file.write_bytes(WEIGHTS.read_bytes()[:-100])
    with pytest.raises(InputError, match="it is damaged"):
        read_classifier(str(file))
    with pytest.raises(InputError, match="no such file"):
        read_classifier(str(tmp_path / "none"))
