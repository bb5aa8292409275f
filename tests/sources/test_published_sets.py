"""TAIX-Ray, PadChest-GR, SRRG, CheXpert Plus and PadChest, on miniatures in their published layouts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cxrgen.core.records import Box, Study, read_studies
from cxrgen.sources import SourceOptions, detect_source, read

Prepare = Callable[..., tuple[int, str]]
Write = Callable[..., Path]


def write_png16(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[-1:1:80j, -1:1:96j]
    grey = 30000 * np.exp(-2 * (x**2 + y**2)) + np.random.default_rng(seed).uniform(0, 5000, x.shape)
    Image.fromarray(grey.astype(np.uint16)).save(path)
    return path


def found(path: Path, kind: str, **options: Any) -> dict[str, Study]:
    assert detect_source(path)[0] == kind
    result = read(kind, path, SourceOptions(**options))
    assert result.rejects == []
    return {study.study_id: study for study in result.studies}


def are_there(studies: dict[str, Study]) -> bool:
    return all(Path(view.path).is_file() for study in studies.values() for view in study.views)


# --- TAIX-Ray ---

TAIX = (
    "UID", "Fold", "Split", "PatientID", "PhysicianID", "StudyDate", "Age", "Sex", "HeartSize", "PulmonaryCongestion",
    "PleuralEffusion_Right", "PleuralEffusion_Left", "PulmonaryOpacities_Right", "PulmonaryOpacities_Left",
    "Atelectasis_Right", "Atelectasis_Left",
)  # fmt: skip


@pytest.fixture
def taix(tmp_path: Path, write_table: Write) -> Path:
    root = tmp_path / "TAIX-Ray"
    rows = []
    for number, split in enumerate(("train", "train", "val", "test")):
        write_png16(root / "data_512" / "images" / f"u{number}.png", number)
        grades = (("1", "0", "3", "1", "0", "0", "4", "2"), ("2.0", "", "0", "0", "", "", "1", "0"))[number % 2]
        rows.append((f"u{number}", 0, split, f"P{number}", "R1", f"2015-03-0{number + 1}", "68", "M", *grades))
    write_table(root / "data_512" / "images" / "annotation.csv", TAIX, rows)
    return root


def test_taix_ray_reports_are_the_form_in_words(taix: Path, tmp_path: Path, prepare: Prepare) -> None:
    studies = found(taix, "taix-ray")
    assert are_there(studies)
    assert studies["u0"].sections == {
        "findings": "Heart size: borderline enlarged. Pulmonary congestion: none. Pleural effusion: right moderate, "
        "left questionable. Pulmonary opacities: right none, left none. Atelectasis: right severe, left mild."
    }
    wanted = {"Cardiomegaly": -1, "Pleural Effusion": 1, "Lung Opacity": 0, "Atelectasis": 1}
    assert studies["u0"].labels == wanted
    assert (
        studies["u1"].sections["findings"].startswith("Heart size: enlarged. Pleural effusion: right none, left none.")
    )
    assert studies["u1"].labels == {"Cardiomegaly": 1, "Pleural Effusion": 0, "Atelectasis": -1}
    first = studies["u0"]
    assert (first.subject_id, first.order_key, first.sex, first.age) == ("P0", "20150301", "M", 68)
    assert [(view.view, view.raw_view) for view in first.views] == [("frontal", "AP")]
    status, said = prepare(taix, "--out", tmp_path / "p")
    assert status == 0, said
    assert [study.split for study in read_studies(tmp_path / "p")] == ["train", "train", "valid", "test"]


# --- PadChest-GR ---


@pytest.fixture
def padchest_gr(tmp_path: Path, write_table: Write) -> Path:
    root = tmp_path / "PadChest-GR"
    items, rows = [], []
    for number, split in enumerate(("train", "train", "validation", "test")):
        write_png16(root / "Padchest_GR_files" / "PadChest_GR" / f"{number}.png", number)
        effusion = {
            "sentence_en": f"Synthetic effusion {number}.", "sentence_es": f"Derrame {number}.", "abnormal": True,
            "labels": ["pleural effusion"], "locations": ["left"], "progression": None,
            "boxes": [[0.5, 0.6, 0.9, 1.0]], "extra_boxes": [[0.9, 0.2, 0.8, 0.1]],
        }  # fmt: skip
        normal = {"sentence_en": "Synthetic heart is normal", "sentence_es": "Corazón normal", "abnormal": False}
        items.append({"StudyID": f"S{number}", "ImageID": f"{number}.png", "findings": [normal, effusion]})
        rows += [(f"S{number}", f"P{number}", split, label) for label in ("pleural effusion", "normal")]
    (root / "grounded_reports_20240819.json").write_text(json.dumps(items))
    write_table(root / "master_table.csv", ("StudyID", "PatientID", "split", "label"), rows)
    return root


def test_padchest_gr_keeps_sentences_labels_and_boxes(padchest_gr: Path, tmp_path: Path, prepare: Prepare) -> None:
    studies = found(padchest_gr, "padchest-gr")
    assert are_there(studies)
    first = studies["S0"]
    assert first.sections == {"findings": "Synthetic heart is normal. Synthetic effusion 0."}
    assert (first.subject_id, first.labels) == ("P0", {"pleural effusion": 1})
    spanish = found(padchest_gr, "padchest-gr", own={"sentences": "es"})
    assert spanish["S0"].sections["findings"] == "Corazón normal. Derrame 0."
    status, said = prepare(padchest_gr, "--out", tmp_path / "p")
    assert status == 0, said
    stored = read_studies(tmp_path / "p")
    assert [study.split for study in stored] == ["train", "train", "valid", "test"]
    numbers = [[box.sentence, *(round(side, 4) for side in (box.x_min, box.y_min, box.x_max, box.y_max))]
               for box in stored[0].boxes]  # fmt: skip
    assert numbers == [[1, 0.5, 0.6, 0.9, 1.0], [1, 0.8, 0.1, 0.9, 0.2]]
    assert isinstance(stored[0].boxes[0], Box)


def test_padchest_gr_without_its_master_table(padchest_gr: Path) -> None:
    (padchest_gr / "master_table.csv").unlink()
    result = read("padchest-gr", padchest_gr, SourceOptions(own={"sentences": "en"}))
    assert any("unpack master_table.csv.zip" in note for note in result.notes)
    assert {study.split for study in result.studies} == {""}


# --- SRRG ---


def write_shard(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def srrg_row(name: str, images: list[str], findings: str) -> dict[str, Any]:
    return {
        "original_report": "Synthetic original.", "structured_report": f"Findings:\n{findings}",
        "findings_section": findings, "impression_section": "1. Synthetic.", "history_section": "Cough.",
        "technique_section": "", "comparison_section": None, "exam_type_section": "Chest X-ray", "image_paths": images,
        "id": name,
    }  # fmt: skip


def test_srrg_reads_shards_of_both_collections(tmp_path: Path, write_image: Write) -> None:
    root, images = tmp_path / "srrg_findings", tmp_path / "images"
    mimic = "files/p10/p10000032/s50414267/aa.jpg"
    chexpert = ["train/patient7/study1/view1_frontal.jpg", "train/patient7/study1/view2_lateral.jpg"]
    for number, name in enumerate((mimic, *chexpert, "valid/patient9/study1/view1_frontal.jpg")):
        write_image(images / name, number)
    write_shard(root / "data" / "train-00000-of-00001.parquet", [
        srrg_row("m1", [mimic], "Lungs:\n- Synthetic clear."), srrg_row("c1", chexpert, "Heart:\n- Synthetic normal."),
    ])  # fmt: skip
    test = ["valid/patient9/study1/view1_frontal.jpg"]
    write_shard(root / "data" / "test-00000-of-00001.parquet", [srrg_row("t1", test, "Synthetic first text.")])
    write_shard(root / "data" / "test_reviewed-00000-of-00001.parquet", [srrg_row("t1", test, "Synthetic reviewed.")])
    studies = found(root, "srrg", image_folder=images)
    assert are_there(studies)
    assert {name: (study.split, study.subject_id) for name, study in studies.items()} == {
        "m1": ("train", "10000032"), "c1": ("train", "patient7"), "t1": ("test", "patient9"),
    }  # fmt: skip
    assert studies["t1"].sections["findings"] == "Synthetic reviewed."
    assert studies["m1"].sections == {
        "findings": "Lungs:\n- Synthetic clear.", "impression": "1. Synthetic.", "history": "Cough.",
    }  # fmt: skip
    assert [view.raw_view for view in studies["c1"].views] == ["frontal", "lateral"]


# --- CheXpert Plus and PadChest: the folder as it is downloaded ---


def test_chexpert_plus_as_published(tmp_path: Path, write_table: Write, write_image: Write, prepare: Prepare) -> None:
    root = tmp_path / "chexpertplus"
    columns = (
        "path_to_image", "path_to_dcm", "frontal_lateral", "ap_pa", "deid_patient_id", "patient_report_date_order",
        "report", "section_findings", "section_impression", "age", "sex", "split",
    )  # fmt: skip
    rows, labels = [], []
    for number in range(4):
        name = f"{'valid' if number == 3 else 'train'}/patient{number}/study1/view1_frontal"
        write_image(root / "PNG" / f"{name}.png", number)
        text = ("NARRATIVE: synthetic.", f"Synthetic {number}.", "Clear.", "58.0", "Male")
        rows.append((f"{name}.jpg", f"{name}.dcm", "Frontal", "PA", f"patient{number}", 1, *text, name.split("/")[0]))
        labels.append({"path_to_image": f"{name}.jpg", "Edema": 1.0, "Pneumonia": -1.0, "Fracture": None})
    write_table(root / "df_chexpert_plus_240401.csv", columns, rows)
    for name in ("report_fixed.json", "findings_fixed.json", "impression_fixed.json"):
        (root / name).write_text("\n".join(map(json.dumps, labels)))
    studies = found(root, "table")
    assert are_there(studies)
    assert studies["patient0_study1"].labels == {"Edema": 1, "Pneumonia": -1}
    assert (studies["patient0_study1"].sex, studies["patient0_study1"].age) == ("M", 58)
    status, said = prepare(root, "--out", tmp_path / "p")
    assert status == 0, said
    assert [study.split for study in read_studies(tmp_path / "p")] == ["train", "train", "train", "valid"]


def test_padchest_as_published(tmp_path: Path, write_table: Write) -> None:
    root = tmp_path / "PadChest"
    columns = (
        "", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM",
        "ViewPosition_DICOM", "Projection", "Report", "Labels",
    )  # fmt: skip
    rows = []
    for number, view in enumerate(("PA", "L", "EXCLUDE")):
        write_png16(root / "images" / str(number) / f"{number}.png", number)
        study = (
            "S0" if number < 2 else "S2",
            "P0",
            "1950.0",
            "F",
            "POSTEROANTERIOR",
            view,
            "sin hallazg .",
            "['normal']",
        )
        rows.append((number, f"{number}.png", number, "20150101", *study))
    write_table(root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", columns, rows)
    write_table(root / "other.csv", ("a", "b"), [])
    (root / "LICENSE.md").write_text("text")
    studies = found(root, "table")
    assert are_there(studies)
    assert [view.raw_view for view in studies["S0"].views] == ["PA", "L"]
    assert (studies["S0"].sex, studies["S0"].age, studies["S0"].source) == ("F", 65, "padchest")
