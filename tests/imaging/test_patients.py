"""Images of two patients are told apart by their tags, and named by their files alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.imaging.dicoms import image, saved

from cxrgen.cli import main
from cxrgen.core.errors import InputError
from cxrgen.imaging.patients import first_of_two_patients, is_other_patient
from cxrgen.imaging.stored import ImageRule, views_of_study

PAIRS = [
    ({"PatientID": "0012"}, {"PatientID": "12"}, False),
    ({"PatientID": "A-12"}, {"PatientID": "a 12 "}, False),
    ({"PatientID": "12"}, {"PatientID": "13"}, True),
    ({"PatientID": "12", "PatientName": "Doe^Jane"}, {"PatientID": "12", "PatientName": "Roe^Jane"}, False),
    ({"PatientID": "12", "PatientBirthDate": "19500101"}, {"PatientID": "12", "PatientBirthDate": "19500102"}, True),
    ({"PatientName": "Doe^Jane"}, {"PatientID": "12", "PatientName": "JANE DOE"}, False),
    ({"PatientName": "Doe^Jane"}, {"PatientName": "Roe^Richard"}, True),
    ({"PatientID": "12"}, {}, False),
    ({}, {}, False),
]


@pytest.mark.parametrize(("one", "other", "different"), PAIRS)
def test_what_contradicts(one: dict[str, str], other: dict[str, str], different: bool) -> None:
    assert is_other_patient(one, other) is is_other_patient(other, one) is different


def test_the_first_two_of_many() -> None:
    tags = [{"PatientID": "1"}, {}, {"PatientID": "01"}, {"PatientID": "2"}, {"PatientID": "3"}]
    assert first_of_two_patients(tags) == (0, 3)
    assert first_of_two_patients(tags[:3]) is None


def test_one_call_never_mixes_two_patients(tmp_path: Path, write_image: object) -> None:
    rule = ImageRule("window", 64)
    mine = saved(image(PatientID="HOSPITAL-77", PatientName="Doe^Jane", ViewPosition="PA"), tmp_path / "a.dcm")
    hers = saved(image(PatientID="HOSPITAL-78", PatientName="Roe^Mary", ViewPosition="LL"), tmp_path / "b.dcm")
    with pytest.raises(InputError) as refused:
        views_of_study([mine, hers], None, rule)
    said = f"{refused.value} {refused.value.detail}"
    assert f"{mine} and {hers} are of two patients" in said
    said = said.replace(str(tmp_path), "")  # the folder's own name may hold any number
    assert not any(secret in said for secret in ("HOSPITAL", "77", "78", "Doe", "Roe"))
    with pytest.raises(InputError, match="two patients"):
        views_of_study([mine, hers], ["frontal", "lateral"], rule)
    assert len(views_of_study([mine], None, rule)) == 1


@pytest.mark.parametrize("before", [[], ["--prior-images"]], ids=["of the study", "of the study before"])
def test_the_command_refuses_before_it_opens_a_model(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], before: list[str]
) -> None:
    mine = saved(image(PatientID="HOSPITAL-77", ViewPosition="PA"), tmp_path / "a.dcm")
    hers = saved(image(PatientID="HOSPITAL-78", ViewPosition="LL"), tmp_path / "b.dcm")
    command = ["generate", "--model-name", str(tmp_path / "no-model"), "--images", str(mine), *before, str(hers)]
    assert main(command) == 1
    said = capfd.readouterr().err
    assert "a.dcm and" in said
    assert "b.dcm are of two patients" in said
    assert "HOSPITAL" not in said
