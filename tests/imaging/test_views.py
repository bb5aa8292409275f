from __future__ import annotations

from dataclasses import replace

import pytest

from cxrgen.core.records import View
from cxrgen.imaging.views import CLASSES, order_views, view_class, view_from_procedure, view_of_tags


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("PA", "frontal"),
        ("ap", "frontal"),
        (" A.P. ", "frontal"),
        ("P->A", "frontal"),
        ("POSTERO-ANTERIOR", "frontal"),
        ("Frontal", "frontal"),
        ("AP supine", "frontal"),
        ("AP_horizontal", "frontal"),
        ("LL", "lateral"),
        ("RL", "lateral"),
        ("L", "lateral"),
        ("Left lateral", "lateral"),
        ("LAT", "lateral"),
        ("AP AXIAL", "other"),
        ("XTABLE LATERAL", "other"),
        ("EXCLUDE", "other"),
        ("", "unknown"),
        ("unknown", "unknown"),
        ("PA and lateral", "unknown"),
        ("papaya", "unknown"),
        ("Chest PA upright", "frontal"),
        ("CHEST,PA", "frontal"),
        ("ChestAP", "frontal"),
        ("AP semi-erect portable", "frontal"),
        ("Posteroanterior erect", "frontal"),
        ("Thorax seitlich", "lateral"),
        ("PORTABLE LATERAL", "lateral"),
        ("LEFT LAT ERECT", "lateral"),
        ("Left lateral decubitus", "other"),
        ("chest", "unknown"),
        ("chest left", "unknown"),
        ("PA/LAT", "unknown"),
        ("PA Doe", "unknown"),
        ("R-10214", "frontal"),
        ("R-10236", "lateral"),
    ],
)
def test_a_word_for_a_view(word: str, wanted: str) -> None:
    assert view_class(word) == wanted


TAGS: list[tuple[dict[str, str], str]] = [
    ({"ViewPosition": "PA", "SeriesDescription": "LATERAL"}, "PA"),
    ({"ViewPosition": "", "ViewCodeSequence": "postero-anterior"}, "postero-anterior"),
    ({"AcquisitionDeviceProcessingDescription": "CHEST,PA"}, "PA"),
    ({"AcquisitionDeviceProcessingDescription": "CHEST,LATERAL"}, "LATERAL"),
    ({"AcquisitionDeviceProcessingDescription": "Chest P->A X-WISE"}, ""),
    ({"PatientOrientation": "L\\F"}, "FRONTAL"),
    ({"PatientOrientation": "R\\FP"}, "FRONTAL"),
    ({"PatientOrientation": "P\\F"}, "LATERAL"),
    ({"PatientOrientation": "A\\H"}, "LATERAL"),
    ({"PatientOrientation": "L\\P"}, ""),
    ({"PatientOrientation": "L\\F", "SeriesDescription": "Thorax lat. Doe"}, "LAT"),
    ({"PatientOrientation": "P\\F", "ProtocolName": "CHEST PA"}, "LATERAL"),
    ({"SeriesDescription": "Thorax p.a. Doe"}, "PA"),
    ({"SeriesDescription": "CHEST PA AND LAT", "ProtocolName": "ap bedside"}, "AP"),
    ({"ViewPosition": "PA Doe Jane"}, "PA"),
    ({"SeriesDescription": "Doe Jane 4711"}, ""),
    ({"ViewPosition": "W033"}, ""),
    ({"ViewPosition": "DOE"}, ""),
]


@pytest.mark.parametrize(("tags", "wanted"), TAGS, ids=[str(number) for number in range(len(TAGS))])
def test_the_view_of_a_dicom_file_by_the_first_tag_that_gives_it(tags: dict[str, str], wanted: str) -> None:
    assert view_of_tags(tags) == wanted


def test_the_rare_views_of_mimic_are_other() -> None:
    rare = "PA LLD, LAO, RAO, AP AXIAL, AP LLD, XTABLE LATERAL, AP RLD, SWIMMERS, PA RLD, LPO"
    assert {view_class(word) for word in rare.split(", ")} == {"other"}


def test_no_word_means_two_things() -> None:
    assert all(word == " ".join(word.split()).lower() for word in CLASSES)


@pytest.mark.parametrize(
    ("procedure", "wanted"),
    [
        ("CHEST (PORTABLE AP)", "AP"),
        ("CHEST (SINGLE VIEW)", "FRONTAL"),
        ("CHEST (PA AND LAT)", ""),
        ("CHEST (LAT DECUB ONLY)", ""),
        ("DX CHEST PORT LINE/TUBE PLCMT 1 EXAM", "AP"),
        ("CHEST (PA, LAT AND OBLIQUES)", ""),
        ("", ""),
    ],
)
def test_a_single_view_is_known_from_its_procedure(procedure: str, wanted: str) -> None:
    assert view_from_procedure(procedure) == wanted


def test_two_images_of_one_view_and_size_are_ordered_by_content_and_not_by_name() -> None:
    views = [View("a", "frontal", "PA", 9, 9, sha256="2"), View("b", "frontal", "PA", 9, 9, sha256="1")]
    renamed = [replace(view, path=path) for view, path in zip(views, "yx")]
    for given in (views, views[::-1], renamed):
        assert [view.sha256 for view in order_views(given)] == ["1", "2"]


def test_pa_first_then_area_then_name_and_laterals_after_frontals() -> None:
    def view(path: str, raw: str, side: int = 10) -> View:
        return View(path, view_class(raw), raw, side, side)

    views = [
        view("1", "LATERAL"), view("2", "AP", 30), view("3", ""), view("4", "PA", 10), view("6", "PA", 20),
        view("5", "PA", 20), view("7", "LAO"), view("8", "Frontal", 90),
    ]  # fmt: skip
    expected = ["5", "6", "4", "2", "8", "3", "1", "7"]
    for turned in (views, views[::-1]):
        assert [view.path for view in order_views(turned)] == expected
