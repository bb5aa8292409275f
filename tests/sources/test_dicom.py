"""A hospital's export: studies by tags, texts by whatever they are named after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from tests.imaging.dicoms import image, saved

from cxrgen.core.errors import InputError
from cxrgen.core.records import read_studies
from cxrgen.imaging.read import read_image
from cxrgen.imaging.views import view_class
from cxrgen.sources import Found, SourceOptions, detect_source
from cxrgen.sources.dicom import read, recognise

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")  # pydicom, when it writes odd tags

SECRETS = ("Doe", "PAT-1", "PAT-2", "ACC-", "19700101")


def exported(
    folder: Path, name: str, patient: str, accession: str, view: str = "PA", date: str = "20200101", **tags: Any
) -> Path:
    """An image of the study of this accession number."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    study = {
        "PatientID": patient,
        "AccessionNumber": accession,
        "StudyInstanceUID": f"1.2.3.{accession[-1]}",
        "StudyDate": date,
        "StudyTime": "080556.875",
        "ViewPosition": view,
        "PatientBirthDate": "19700101",
        "SOPInstanceUID": f"1.2.3.{accession[-1]}.{sum(name.encode())}",
    }
    dataset = image(**(study | tags))
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return saved(dataset, folder / name)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    exported(tmp_path, "a/1.dcm", "PAT-1", "ACC-1")
    exported(tmp_path, "a/2.dcm", "PAT-1", "ACC-1", view="LL")
    exported(tmp_path, "b/3", "PAT-1", "ACC-2", date="20210101")  # told by content
    exported(tmp_path, "c/4.dcm", "PAT-2", "ACC-3", view="")
    return tmp_path


def texts(found: Found) -> dict[str, str]:
    return {study.study_id: study.sections.get("findings", "") for study in found.studies}


def test_studies_patients_times_and_views_come_from_the_tags(export: Path) -> None:
    assert detect_source(export) == ("dicom", "a folder with DICOM files")
    found = read(export, SourceOptions())
    assert [study.study_id for study in found.studies] == ["1.2.3.1", "1.2.3.2", "1.2.3.3"]
    assert [study.subject_id for study in found.studies] == ["PAT-1", "PAT-1", "PAT-2"]
    assert [[view.raw_view for view in study.views] for study in found.studies] == [["PA", "LL"], ["PA"], [""]]
    assert found.studies[0].order_key == "20200101 080556.875" < found.studies[1].order_key
    assert all(Path(view.path).is_file() for study in found.studies for view in study.views)
    assert found.rejects == []


def test_sex_and_age_come_from_the_tags(tmp_path: Path) -> None:
    exported(tmp_path, "1.dcm", "PAT-1", "ACC-1", PatientSex="F", PatientAge="058Y")
    exported(tmp_path, "2.dcm", "PAT-2", "ACC-2", PatientSex="M", PatientAge="006M")
    exported(tmp_path, "3.dcm", "PAT-3", "ACC-3")
    people = [(study.sex, study.age) for study in read(tmp_path, SourceOptions()).studies]
    assert people == [("F", 58), ("M", 0), ("", None)], "without the tag the date of birth is not looked at"


NAMES = {
    "accession number": ("texts/ACC-1.txt", "texts/ACC-3.txt"),
    "study UID": ("texts/1.2.3.1.txt", "texts/1.2.3.3.txt"),
    "folder": ("reports/a.txt", "reports/c.txt"),
    "image": ("a/1.txt", "c/4.txt"),
}


@pytest.mark.parametrize(("kind", "names"), NAMES.items(), ids=NAMES.keys())
def test_texts_by_what_they_are_named_after(export: Path, kind: str, names: tuple[str, str]) -> None:
    for name in names:
        (export / name).parent.mkdir(exist_ok=True)
        (export / name).write_text(f"Findings: Text of {Path(name).parts[0]}.\nImpression: None.")
    found = read(export, SourceOptions())
    assert [bool(text) for text in texts(found).values()] == [True, False, True]
    assert f"2 texts are named by {kind}" in found.notes


def test_a_text_alone_beside_the_images_of_one_study(export: Path) -> None:
    (export / "a" / "report.txt").write_text("FINDINGS: Clear.")
    (export / "b" / "report.txt").write_text("Befund: -")
    found = read(export, SourceOptions())
    assert texts(found)["1.2.3.1"] == "Clear."
    assert "2 texts lie alone beside a study's images" in found.notes
    (export / "a" / "other.txt").write_text("FINDINGS: Not clear.")
    assert texts(read(export, SourceOptions()))["1.2.3.1"] == ""  # which of the two is not known


@pytest.mark.parametrize("column", ["study_id", "accession"])
def test_texts_in_one_table_by_accession_number(export: Path, column: str) -> None:
    (export / "texts.csv").write_text(f"{column},report\nACC-1,FINDINGS: Clear.\nACC-2,FINDINGS: Large heart.\n")
    if column == "study_id":
        found = read(export, SourceOptions())
        assert texts(found) == {"ACC-1": "Clear.", "ACC-2": "Large heart.", "1.2.3.3": ""}
    elsewhere = export.parent / "elsewhere.csv"
    (export / "texts.csv").rename(elsewhere)
    found = read(export, SourceOptions(text_file=elsewhere))  # prepare joins the texts itself
    assert [study.study_id for study in found.studies] == ["ACC-1", "ACC-2", "1.2.3.3"]
    assert "the table names studies by accession number (column 1)" in found.notes


def coded(meaning: str) -> dict[str, Any]:
    item = pydicom.Dataset()
    item.CodeMeaning = meaning
    return {"ViewPosition": "", "ViewCodeSequence": [item]}


VIEWS = [
    ({"ViewPosition": "AP"}, "frontal"),
    (coded("postero-anterior"), "frontal"),
    (coded("left lateral"), "lateral"),
    ({"ViewPosition": "", "SeriesDescription": "Thorax p.a. Doe"}, "frontal"),
    ({"ViewPosition": "", "SeriesDescription": "CHEST LATERAL Doe"}, "lateral"),
    ({"ViewPosition": "", "SeriesDescription": "CHEST PA AND LAT"}, "unknown"),
    ({"ViewPosition": "", "SeriesDescription": "W033", "ProtocolName": "Chest AP"}, "frontal"),
    ({"ViewPosition": "Doe^Jane 4711"}, "unknown"),
]


@pytest.mark.parametrize(("tags", "wanted"), VIEWS, ids=[str(number) for number in range(len(VIEWS))])
def test_views_by_position_code_series_and_protocol(tmp_path: Path, tags: dict[str, Any], wanted: str) -> None:
    exported(tmp_path, "1.dcm", "PAT-1", "ACC-1", view=tags.pop("ViewPosition", ""), **tags)
    raw_view = read(tmp_path, SourceOptions()).studies[0].views[0].raw_view
    assert view_class(raw_view) == wanted
    assert "Doe" not in raw_view


def test_what_is_no_image_is_counted_or_refused(export: Path) -> None:
    exported(export, "d/sr.dcm", "PAT-2", "ACC-3", Modality="SR", Rows=None, PixelData=None)
    exported(export, "d/ct.dcm", "PAT-2", "ACC-3", Modality="CT")
    (export / "d" / "copy.dcm").write_bytes((export / "a" / "1.dcm").read_bytes())
    (export / "d" / "broken.dcm").write_bytes(b"<html>")
    exported(export, "d/none.dcm", "PAT-2", "ACC-3", StudyInstanceUID="", AccessionNumber="")
    exported(export, "e/5.dcm", "PAT-9", "ACC-3")
    outside = exported(export.parent / "outside", "6.dcm", "PAT-6", "ACC-6")
    (export / "d" / "link.dcm").symlink_to(outside)
    found = read(export, SourceOptions())
    codes = {(reject.row, reject.code) for reject in found.rejects}
    assert codes == {
        ("d/broken.dcm", "not-an-image"),
        ("d/ct.dcm", "not-a-radiograph"),
        ("d/link.dcm", "bad-path"),
        ("d/none.dcm", "id-missing"),
        ("study 1.2.3.3", "duplicate-conflict"),
    }
    two = next(reject for reject in found.rejects if reject.code == "duplicate-conflict")
    assert ".dcm, e/5.dcm; correct the export" in two.hint, "named by its files"
    assert "1 files hold no picture (reports, presentation states)" in found.notes
    assert "1 files repeat an image" in found.notes
    assert len(found.studies) == 2


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    assert recognise(tmp_path) == ""
    (tmp_path / "a.dcm").write_text("x")
    with pytest.raises(InputError, match="no DICOM image"):
        read(tmp_path, SourceOptions())


def test_no_tag_of_a_patient_is_in_notes_or_hints(export: Path) -> None:
    exported(export, "d/ct.dcm", "PAT-2", "ACC-3", Modality="CT")
    (export / "ACC-1.txt").write_text("FINDINGS: Clear lungs of Jane Doe.")
    found = read(export, SourceOptions())
    said = " ".join([*found.notes, *(reject.hint for reject in found.rejects)])
    assert not any(secret in said for secret in (*SECRETS, "Clear"))


@pytest.mark.filterwarnings("error")
def test_odd_tag_values_are_quoted_in_no_warning_and_no_log_line(
    export: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    content = (export / "a" / "1.dcm").read_bytes()
    odd = (
        content.replace(b"080556.875", b"secret8875")
        .replace(b"19700101", b"secret88")
        .replace(b"20200101", b"secret99")
    )
    assert odd.count(b"secret") == 3
    (export / "a" / "1.dcm").write_bytes(odd)
    with caplog.at_level("DEBUG"):
        found = read(export, SourceOptions())
        read_image(export / "a" / "1.dcm")
    assert len(found.studies) == 3
    assert "secret" not in "".join(capfd.readouterr()) + caplog.text


def test_an_export_becomes_a_prepared_set_without_a_word_of_its_patients(
    export: Path, tmp_path_factory: pytest.TempPathFactory, prepare: Callable[..., tuple[int, str]]
) -> None:
    out = tmp_path_factory.mktemp("prepared") / "out"
    for file, accession in (("a/1.dcm", 1), ("a/2.dcm", 1), ("b/3", 2), ("c/4.dcm", 3)):
        dataset = pydicom.dcmread(export / file)
        noise = np.random.default_rng(sum(file.encode())).integers(0, 200, dataset.pixel_array.shape)
        dataset.PixelData = (dataset.pixel_array // 2 + noise).astype(np.uint16).tobytes()
        dataset.save_as(export / file)
        (export / f"ACC-{accession}.txt").write_text(f"FINDINGS: Synthetic heart {accession}.\nIMPRESSION: Synthetic.")
    code, said = prepare(export, "--out", out, "--rendering", "percentile", "--no-frontal", "keep")
    assert code == 0, said
    studies = read_studies(out)
    assert {study.report for study in studies} == {f"Synthetic heart {number}. Synthetic." for number in (1, 2, 3)}
    assert all((out / view.path).is_file() for study in studies for view in study.views)
    assert not any(secret in said.replace(str(export), "") for secret in (*SECRETS, "Synthetic"))
