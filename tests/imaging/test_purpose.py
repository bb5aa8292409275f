"""What an image is for: the picture of a chest that was read, or something else beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.imaging.dicoms import image, saved, values

from cxrgen.core.records import read_studies
from cxrgen.core.tables import read_csv
from cxrgen.imaging.purpose import is_for_processing, refusal, superseded
from cxrgen.imaging.read import read_image
from cxrgen.imaging.rejects import ImageReject
from cxrgen.imaging.stored import ImageRule, views_of_study

WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
READ: list[dict[str, Any]] = [
    {"Modality": "DR"},
    {"Modality": "CR"},
    {"Modality": ""},
    {"BodyPartExamined": "CHEST"},
    {"BodyPartExamined": "THORAX"},
    {"BodyPartExamined": "RIB"},
    {"BodyPartExamined": "CHEST_ABDOMEN"},
    {"BodyPartExamined": "W033"},
    {"BodyPartExamined": ""},
    {"ImageType": ["DERIVED", "PRIMARY"]},
    {"ImageType": ["ORIGINAL", "PRIMARY", "", "CHEST"]},
]
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"Modality": "MG"}, "not-a-radiograph"),
    ({"Modality": "PR"}, "not-a-radiograph"),
    ({"BodyPartExamined": "HAND"}, "other-body-part"),
    ({"BodyPartExamined": "L SPINE"}, "other-body-part"),
    ({"BodyPartExamined": "Knee"}, "other-body-part"),
    ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "not-a-radiograph"),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "not-a-radiograph"),
]


@pytest.mark.parametrize("tags", READ, ids=str)
def test_a_chest_radiograph_is_read_whatever_its_tags_leave_open(tmp_path: Path, tags: dict[str, Any]) -> None:
    assert read_image(saved(image(**WINDOW, **tags), tmp_path / "a.dcm")).notes == ()


@pytest.mark.parametrize(("tags", "wanted"), REFUSED, ids=str)
def test_what_is_something_else_is_refused_by_name(tmp_path: Path, tags: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ImageReject) as caught:
        read_image(saved(image(**WINDOW, **tags), tmp_path / "a.dcm"))
    assert caught.value.code == wanted


def test_words_that_are_not_known_stay_out_of_messages() -> None:
    refused = refusal({"Modality": "DOE^JANE"})
    assert refused is not None
    assert "DOE" not in refused.hint


def test_raw_values_alone_are_read_with_a_note(tmp_path: Path) -> None:
    shown = read_image(saved(image(PresentationIntentType="FOR PROCESSING", **WINDOW), tmp_path / "a.dcm"))
    assert [note.split(":")[0] for note in shown.notes] == ["for-processing"]
    assert is_for_processing({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1"})
    assert not is_for_processing(
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1", "PresentationIntentType": "FOR PRESENTATION"}
    )


def test_raw_values_give_way_to_the_picture_of_the_same_view_alone() -> None:
    views = ["frontal", "frontal", "lateral", "unknown"]
    assert superseded(views, [False, True, True, True]) == [False, True, False, False]
    assert superseded(["unknown", "frontal"], [False, True]) == [False, True]
    assert superseded(["frontal", "frontal"], [True, True]) == [False, False]


def test_raw_values_beside_the_picture_by_every_door(tmp_path: Path, prepare: Callable[..., tuple[int, str]]) -> None:
    files = []
    for number, intent in enumerate(("FOR PROCESSING", "FOR PRESENTATION")):
        pixels = 4095 - values() if number == 0 else values()
        tags = {"PresentationIntentType": intent, "ViewPosition": "PA", **WINDOW}
        files.append(saved(image(pixels, **tags), tmp_path / f"{number}.dcm"))
    code, said = prepare(tmp_path, "--kind", "dicom", "--out", tmp_path / "out", "--max-rejects", "60%")
    assert code == 0, said
    (study,) = read_studies(tmp_path / "out")
    rejects = [row.cells for row in read_csv(tmp_path / "out" / "rejects.csv").rows]
    assert [(reject["row"].split("/")[-1], reject["code"]) for reject in rejects] == [("0.dcm", "for-processing")]
    size = json.loads((tmp_path / "out" / "recipe.json").read_text())["options"]["size"]
    alone = views_of_study(files, None, ImageRule("window", size))
    assert [view.sha256 for view in alone] == [view.sha256 for view in study.views]
