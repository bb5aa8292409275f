"""MIMIC-CXR trees: whole, packed, in part, by one table or by none."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image
from tests.imaging.dicoms import image, saved

from cxrgen.core.errors import InputError
from cxrgen.core.records import read_studies
from cxrgen.sources import Found, SourceOptions, detect_source
from cxrgen.sources import read as read_source
from cxrgen.sources.mimic import recognise

FINAL = "                                 FINAL REPORT\n"
REPORTS = {
    ("10000032", "50414267"): FINAL
    + " INDICATION: Cough.\n \n FINDINGS: \n \n Clear lungs.\n \n IMPRESSION: \n \n Normal.\n",
    ("10000032", "53189527"): FINAL + "FINDINGS: Large heart.\nIMPRESSION: Heart failure.\n",
    ("11000011", "50000001"): FINAL + " IMPRESSION:  Pneumonia.\n",
    ("11000011", "50000002"): FINAL + " FINDINGS:\n IMPRESSION: Fluid.\n",
}
# dicom id, subject, study, ViewPosition, StudyDate, StudyTime, procedure, view code
ROWS = [
    ("aa-1", "10000032", "50414267", "PA", "21800506", "213014.531", "CHEST (PA AND LAT)", "postero-anterior"),
    ("aa-2", "10000032", "50414267", "LATERAL", "21800506", "213014.531", "CHEST (PA AND LAT)", "lateral"),
    ("aa-3", "10000032", "53189527", "", "21800626", "80556.875", "CHEST (PORTABLE AP)", ""),
    ("aa-4", "11000011", "50000001", "", "21510101", "120000.0", "CHEST (PA AND LAT)", "lateral"),
    ("aa-5", "11000011", "50000001", "", "21510101", "120000.0", "CHEST (PA AND LAT)", ""),
    ("aa-6", "11000011", "50000002", "LAO", "21510102", "120000.0", "CHEST (OBLIQUES)", ""),
]
COLUMNS = (
    "dicom_id,subject_id,study_id,ViewPosition,StudyDate,StudyTime,"
    "PerformedProcedureStepDescription,ViewCodeSequence_CodeMeaning"
)


def read(path: Path, options: SourceOptions) -> Found:
    return read_source("mimic", path, options)


def folder_of(subject: str, study: str) -> str:
    return f"files/p{subject[:2]}/p{subject}/s{study}"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An unpacked MIMIC-CXR-JPG with the reports beside the study folders."""
    root = tmp_path / "mimic"
    picture = np.arange(80 * 70).reshape(80, 70).astype(np.uint8)
    for dicom, subject, study, *_ in ROWS:
        (root / folder_of(subject, study)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / folder_of(subject, study) / f"{dicom}.jpg")
    for (subject, study), text in REPORTS.items():
        (root / f"{folder_of(subject, study)}.txt").write_text(text)
    table(root / "mimic-cxr-2.0.0-metadata.csv", COLUMNS, [",".join(row) for row in ROWS])
    splits = [f"{row[0]},{row[2]},{row[1]},{'train' if row[1] == '10000032' else 'validate'}" for row in ROWS]
    table(root / "mimic-cxr-2.0.0-split.csv", "dicom_id,study_id,subject_id,split", splits)
    table(
        root / "mimic-cxr-2.0.0-chexpert.csv",
        "subject_id,study_id,Cardiomegaly,Edema,No Finding",
        ["10000032,50414267,,0.0,1.0", "10000032,53189527,1.0,-1.0,"],
    )
    return root


def table(path: Path, header: str, rows: list[str]) -> None:
    path.write_text("\n".join([header, *rows]) + "\n")


def by_id(found: Found) -> dict[str, dict[str, str]]:
    return {study.study_id: study.sections for study in found.studies}


def test_a_whole_tree(tree: Path) -> None:
    assert detect_source(tree) == ("mimic", "a folder with mimic-cxr-2.0.0-metadata.csv")
    found = read(tree, SourceOptions())
    first = found.studies[0]
    assert (first.study_id, first.subject_id, first.split) == ("50414267", "10000032", "train")
    assert [view.raw_view for view in first.views] == ["PA", "LATERAL"]
    assert all(Path(view.path).is_absolute() and Path(view.path).is_file() for view in first.views)
    assert first.labels == {"Edema": 0, "No Finding": 1}
    assert first.report is None
    assert {study.split for study in found.studies} == {"train", "validate"}
    assert found.rejects == []
    assert by_id(found)["50414267"]["findings"] == "Clear lungs."
    early, late = found.studies[0], found.studies[1]
    assert early.order_key < late.order_key == "21800626 080556.875"


def test_views_are_recovered_only_where_the_row_tells(tree: Path) -> None:
    found = read(tree, SourceOptions())
    views = {Path(view.path).stem: (view.raw_view, view.view) for study in found.studies for view in study.views}
    assert views["aa-3"] == ("", "frontal")  # a portable image is one frontal
    assert views["aa-4"] == ("", "lateral")  # by its view code
    assert views["aa-5"] == ("", "unknown")  # one of two views, and not known which
    assert views["aa-1"] == ("PA", "unknown")  # usual words are classed once, for all sources
    assert views["aa-6"] == ("LAO", "unknown")
    assert "3 images have no ViewPosition; the procedure names that of 2" in found.notes


def test_the_device_tells_of_rare_views_and_the_procedure_does_not(tree: Path) -> None:
    header = "dicom_id,subject_id,study_id,ViewPosition,AcquisitionDeviceProcessingDescription"
    header += ",PerformedProcedureStepDescription"
    rows = [
        "aa-1,10000032,50414267,LPO,,CHEST (PORTABLE AP)",
        'aa-2,10000032,50414267,,"CHEST, LATERAL",',
        'aa-3,10000032,53189527,SWIMMERS,"CHEST, PORTABLE",',
        'aa-4,11000011,50000001,,"CHEST, PORTABLE X-WISE",',
        "aa-5,11000011,50000001,PA,UPPER RIBS,",
    ]
    table(tree / "mimic-cxr-2.0.0-metadata.csv", header, rows)
    views = [view.view for study in read(tree, SourceOptions()).studies for view in study.views]
    assert views == ["unknown", "lateral", "frontal", "unknown", "unknown"]


def test_styles(tree: Path) -> None:
    strict = by_id(read(tree, SourceOptions(section_style="mimic")))
    assert "findings" not in strict["53189527"]
    assert strict["50000002"]["findings"] == "IMPRESSION: Fluid."  # as the official parser has it
    found = read(tree, SourceOptions(section_style="tolerant"))
    assert by_id(found)["53189527"] == {"findings": "Large heart.", "impression": "Heart failure."}
    assert by_id(found)["50000002"] == strict["50000002"]
    assert any(note.startswith("1 studies with neither findings nor impression") for note in found.notes)


def test_packed_tables_and_reports(tree: Path, tmp_path: Path) -> None:
    whole = read(tree, SourceOptions())
    for file in tree.glob("*.csv"):
        with gzip.open(f"{file}.gz", "wt") as packed:
            packed.write(file.read_text())
        file.unlink()
    with ZipFile(tree / "mimic-cxr-reports.zip", "w") as packed_reports:
        for file in tree.rglob("s*.txt"):
            packed_reports.write(file, file.relative_to(tree))
            file.unlink()
    packed_whole = read(tree, SourceOptions())
    assert replace(packed_whole, files=()) == replace(whole, files=())
    assert {file.name for file in packed_whole.files} == {
        *(f"{file.name}.gz" for file in whole.files), "mimic-cxr-reports.zip",
    }  # fmt: skip


def test_sex_and_age_come_from_the_table_of_patients(tree: Path) -> None:
    (tree / "hosp").mkdir()
    header = "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod"
    rows = ["10000032,F,52,2180,2014 - 2016,2180-09-09", "11000011,M,91,2150,2011 - 2013,", "1,F,20,2150,,"]
    table(tree / "hosp" / "patients.csv", header, rows)
    found = read(tree, SourceOptions())
    people = {study.study_id: (study.sex, study.age) for study in found.studies}
    assert people == {"50414267": ("F", 52), "53189527": ("F", 52), "50000001": ("M", 90), "50000002": ("M", 90)}
    assert "patients.csv: sex and age of 2 of 2 patients" in found.notes
    table(tree / "hosp" / "patients.csv", header, ["10000032,F,50,2178,2014 - 2016,"])
    assert [study.age for study in read(tree, SourceOptions()).studies] == [52, 52, None, None]
    table(tree / "hosp" / "patients.csv", "name,ward", ["Mustermann,3"])
    found = read(tree, SourceOptions())
    assert {(study.sex, study.age) for study in found.studies} == {("", None)}
    assert "patients.csv: not MIMIC-IV's table of patients; sex and age are unknown" in found.notes


def test_reports_in_another_tree_and_a_given_image_folder(tree: Path, tmp_path: Path) -> None:
    whole = by_id(read(tree, SourceOptions()))
    both = tmp_path / "physionet.org" / "files"
    shutil.copytree(tree, both / "mimic-cxr-jpg" / "2.1.0", ignore=shutil.ignore_patterns("*.txt"))
    shutil.copytree(tree, both / "mimic-cxr" / "2.1.0", ignore=shutil.ignore_patterns("*.jpg", "*.csv"))
    found = read(tmp_path / "physionet.org", SourceOptions())
    assert by_id(found) == whole
    assert all(Path(view.path).is_file() for study in found.studies for view in study.views)
    shutil.move(tree / "files", tmp_path / "elsewhere")
    found = read(tree, SourceOptions(image_folder=tmp_path / "elsewhere"))
    assert by_id(found) == whole


def test_the_dicom_release_by_its_record_list(tree: Path) -> None:
    for file in tree.rglob("*.jpg"):
        saved(image(ViewPosition="PA", StudyDate="21800506", StudyTime="080556.875"), file.with_suffix(".dcm"))
        file.unlink()
    (tree / "mimic-cxr-2.0.0-metadata.csv").unlink()
    rows = [f"{row[1]},{row[2]},{row[0]},{folder_of(row[1], row[2])}/{row[0]}.dcm" for row in ROWS]
    table(tree / "cxr-record-list.csv", "subject_id,study_id,dicom_id,path", rows)
    assert recognise(tree) == "a folder with cxr-record-list.csv"
    found = read(tree, SourceOptions())
    assert [len(study.views) for study in found.studies] == [2, 1, 2, 1]
    assert all(
        view.path.endswith(".dcm") and Path(view.path).is_file() for each in found.studies for view in each.views
    )


def test_a_tree_without_tables(tree: Path) -> None:
    whole = by_id(read(tree, SourceOptions()))
    for file in tree.glob("*.csv"):
        file.unlink()
    assert recognise(tree) == "a folder with MIMIC's tree (p10/p10000032/s50414267)"
    found = read(tree, SourceOptions())
    assert by_id(found) == whole
    assert "no split table: no study has a split" in found.notes


def test_a_part_that_was_not_downloaded_is_counted_and_left_out(tree: Path) -> None:
    shutil.rmtree(tree / "files" / "p11")
    found = read(tree, SourceOptions())
    assert list(by_id(found)) == ["50414267", "53189527"]
    assert any(note.startswith("2 of 4 studies are of patients whose folder is not there") for note in found.notes)
    shutil.rmtree(tree / "files" / "p10" / "p10000032")
    with pytest.raises(InputError, match="not one patient"):
        read(tree, SourceOptions())
    shutil.rmtree(tree / "files")
    with pytest.raises(InputError, match="--image-folder"):
        read(tree, SourceOptions())


def test_a_missing_image_stays_for_prepare_to_report(tree: Path) -> None:
    next(tree.rglob("aa-1.jpg")).unlink()
    assert len(read(tree, SourceOptions()).studies[0].views) == 2


def test_texts_from_the_sectioned_table(tree: Path) -> None:
    for file in tree.rglob("s*.txt"):
        file.unlink()
    table(
        tree / "mimic_cxr_sectioned.csv",
        "study,impression,findings,last_paragraph,comparison",
        ['s50414267,None,"Clear, lungs.",,', "s53189527,,,Large heart.,___"],
    )
    found = by_id(read(tree, SourceOptions()))
    assert found["50414267"] == {"impression": "None", "findings": "Clear, lungs."}
    assert found["53189527"] == {"last_paragraph": "Large heart.", "comparison": "___"}
    assert found["50000001"] == {}


def test_labels_by_hand_count_before_the_labeler(tree: Path) -> None:
    table(
        tree / "mimic-cxr-2.1.0-test-set-labeled.csv", "study_id,Cardiomegaly,Airspace Opacity", ["50414267,1.0,-1.0"]
    )
    labels = {study.study_id: study.labels for study in read(tree, SourceOptions()).studies}
    assert labels["50414267"] == {"Cardiomegaly": 1, "Lung Opacity": -1}
    assert labels["53189527"] == {"Cardiomegaly": 1, "Edema": -1}
    assert labels["50000001"] is None


def test_damaged_reports_and_archives(tree: Path) -> None:
    file = next(tree.rglob("s50414267.txt"))
    file.write_bytes(b"x" * 2_000_000)
    next(tree.rglob("s50000001.txt")).write_bytes(FINAL.encode() + b" IMPRESSION:  Opacit\xe9.\n")
    found = read(tree, SourceOptions())
    assert [(reject.id, reject.code) for reject in found.rejects] == [("50414267", "text-unreadable")]
    assert by_id(found)["50000001"]["impression"] == "Opacité."
    (tree / "mimic-cxr-reports.zip").write_bytes(b"PK\x03\x04 half")
    with pytest.raises(InputError, match="no whole zip archive"):
        read(tree, SourceOptions())


def test_rows_of_one_study_that_contradict_each_other(tree: Path) -> None:
    with open(tree / "mimic-cxr-2.0.0-metadata.csv", "a") as file:
        file.write("aa-9,10000032,50000001,AP,21510101,120000.0,CHEST,\n")
    found = read(tree, SourceOptions())
    assert [(reject.id, reject.code) for reject in found.rejects] == [("50000001", "duplicate-conflict")]


def test_nothing_of_a_report_is_in_notes_and_rejects(tree: Path) -> None:
    next(tree.rglob("s50414267.txt")).write_bytes(b"x" * 2_000_000)
    found = read(tree, SourceOptions())
    words = " ".join([*found.notes, *(reject.hint + reject.row for reject in found.rejects)])
    assert not any(text in words for text in ("lungs", "heart", "Pneumonia", "Fluid", "Cough"))


def test_ids_never_lead_out_of_the_tree(tree: Path) -> None:
    with open(tree / "mimic-cxr-2.0.0-metadata.csv", "a") as file:
        file.write(
            "../../../secret,10000032,50414267,AP,,,,\n,10000032,50414267,AP,,,,\naa-1,1/../../x,50414267,AP,,,,\n"
        )
    found = read(tree, SourceOptions())
    assert [(reject.row[-2:], reject.code) for reject in found.rejects] == [
        (":8", "bad-path"),
        (":9", "bad-path"),
        ("10", "bad-path"),
    ]
    assert len(found.studies[0].views) == 2


def test_a_tree_becomes_a_prepared_set(tree: Path, tmp_path: Path, prepare: Callable[..., tuple[int, str]]) -> None:
    for number, file in enumerate(sorted(tree.rglob("*.jpg"))):
        saved_noise(file, number)
    code, said = prepare(tree, "--out", tmp_path / "out", "--section-style", "mimic", "--max-rejects", "100%")
    assert code == 0, said
    studies = {study.study_id: study for study in read_studies(tmp_path / "out")}
    assert studies["50414267"].report == "Clear lungs. Normal."
    assert [view.view for view in studies["50414267"].views] == ["frontal", "lateral"]
    assert studies["50000001"].split == "valid"
    assert all((tmp_path / "out" / view.path).is_file() for study in studies.values() for view in study.views)
    assert "Clear" not in said


def saved_noise(path: Path, seed: int) -> None:
    grain = np.random.default_rng(seed).integers(0, 60, (80, 70))
    Image.fromarray((grain + np.hanning(70) * 150).astype(np.uint8)).save(path)
