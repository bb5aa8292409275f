"""The column maps of published tables, on made-up rows in each dataset's shape."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrgen.core.records import Study
from cxrgen.sources import SourceOptions, detect_source, read
from cxrgen.sources.column_maps import COLUMN_MAPS
from cxrgen.sources.rows import FIELDS, order_key, several

Write = Callable[..., Path]


def found(path: Path, **options: Any) -> dict[str, Study]:
    kind, _ = detect_source(path)
    assert kind == "table"
    result = read(kind, path, SourceOptions(**options))
    assert result.rejects == []
    return {study.study_id: study for study in result.studies}


def names(study: Study, folder: Path) -> list[str]:
    return [str(Path(view.path).relative_to(folder)) for view in study.views]


def test_chexpert_plus(tmp_path: Path, write_table: Write) -> None:
    columns = (
        "path_to_image", "frontal_lateral", "ap_pa", "deid_patient_id", "patient_report_date_order", "report",
        "section_findings", "section_impression", "section_clinical_history", "split",
    )  # fmt: skip
    text = ("NARRATIVE: synthetic.", "", "Synthetic: no change.", "Synthetic cough.", "train")
    rows = [
        ("train/patient7/study1/view1_frontal.jpg", "Frontal", "AP", "patient7", "1", *text),
        ("train/patient7/study1/view2_lateral.jpg", "Lateral", "", "patient7", "1", *text),
        ("valid/patient8/study1/view1_frontal.jpg", "Frontal", "PA", "patient8", "1", *text[:-1], "valid"),
    ]
    studies = found(write_table(tmp_path / "df_chexpert_plus_240401.csv", columns, rows))
    assert list(studies) == ["patient7_study1", "patient8_study1"]
    study = studies["patient7_study1"]
    assert [view.raw_view for view in study.views] == ["AP", "Lateral"]
    assert (study.subject_id, study.split, study.source) == ("patient7", "train", "chexpert-plus")
    assert study.order_key == "", "the order of reports is no date"
    assert study.sections["impression"] == "Synthetic: no change."
    assert study.sections["history"] == "Synthetic cough."
    assert "findings" not in study.sections


def test_padchest(tmp_path: Path, write_table: Write) -> None:
    columns = ("ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "Projection", "Report", "Labels")
    rows = [
        ("a.png", "0", "20140101", "S1", "P1", "PA", "sintetic normal .", "['normal']"),
        ("b.png", "0", "20140101", "S1", "P1", "L", "sintetic normal .", "['normal']"),
    ]
    study = found(write_table(tmp_path / "padchest.csv", columns, rows))["S1"]
    assert names(study, tmp_path) == ["0/a.png", "0/b.png"]
    assert (study.order_key, study.sections) == ("20140101", {"findings": "sintetic normal ."})


def test_rexgradient(tmp_path: Path, write_table: Write) -> None:
    columns = ("id", "PatientID", "ImagePath", "Indication", "Comparison", "Findings", "Impression")
    row = ("S1", "P1", "['deid/S1/one.png', 'deid/S1/two.png']", "Cough.", "None.", "Synthetic clear.", "Synthetic.")
    study = found(write_table(tmp_path / "train_metadata.csv", columns, [row]))["S1"]
    assert names(study, tmp_path) == ["deid/S1/one.png", "deid/S1/two.png"]
    assert (study.subject_id, study.split, study.source) == ("P1", "train", "rexgradient")
    assert study.sections["indication"] == "Cough."


def test_rexrank(tmp_path: Path) -> None:
    item = {
        "section_findings": "Synthetic clear.",
        "section_impression": "Synthetic.",
        "report": "Findings: Synthetic clear. Impression: Synthetic.",
        "image_path": ["p1/a.png", "p1/b.png"],
        "key_image_path": "p1/a.png",
        "frontal_lateral": ["Frontal", "Lateral"],
        "context": {"age": "50", "indication": "Cough.", "comparison": ""},
        "subject_id": "P1",
    }
    (tmp_path / "ReXRank_test.json").write_text(json.dumps({"S1": item}))
    study = found(tmp_path / "ReXRank_test.json")["S1"]
    assert [view.raw_view for view in study.views] == ["Frontal", "Lateral"]
    assert (study.subject_id, study.split, study.source) == ("P1", "test", "rexrank")
    assert study.sections == {"findings": "Synthetic clear.", "impression": "Synthetic.", "indication": "Cough."}


def test_r2gen(tmp_path: Path) -> None:
    def item(name: str) -> dict[str, Any]:
        return {"id": name, "report": f"Synthetic {name}.", "image_path": [f"{name}/0.png", f"{name}/1.png"]}

    lists = {"train": [item("CXR1")], "val": [item("CXR2")], "test": [item("CXR3")]}
    (tmp_path / "annotation.json").write_text(json.dumps(lists))
    studies = found(tmp_path / "annotation.json")
    assert {name: study.split for name, study in studies.items()} == {"CXR1": "train", "CXR2": "val", "CXR3": "test"}
    assert studies["CXR2"].sections == {"findings": "Synthetic CXR2."}
    assert names(studies["CXR2"], tmp_path) == ["CXR2/0.png", "CXR2/1.png"]


def test_llava_rad_keeps_rule_made_text_for_testing(tmp_path: Path) -> None:
    def item(name: str, method: str) -> dict[str, Any]:
        turns = [{"from": "human", "value": "<image>\nDescribe."}, {"from": "gpt", "value": f"Synthetic {name}."}]
        path = f"mimic/p10/p10000001/s{name}/{name}.jpg"
        return {"id": name, "image": path, "view": "AP", "reason": "Cough.", "generate_method": method,
                "conversations": turns}  # fmt: skip

    items = [item("1", "rule-based"), item("2", "gpt4")]
    for split in ("train", "test"):
        (tmp_path / f"chat_{split}_MIMIC_CXR.json").write_text(json.dumps(items))
    assert list(found(tmp_path / "chat_train_MIMIC_CXR.json")) == ["1", "2"]
    studies = found(tmp_path / "chat_test_MIMIC_CXR.json")
    assert list(studies) == ["1"]
    assert studies["1"].sections == {"findings": "Synthetic 1.", "indication": "Cough."}


def test_leading_folders_of_another_machine_are_left_away(
    tmp_path: Path, write_table: Write, write_image: Write
) -> None:
    write_image(tmp_path / "images" / "p1" / "a.png")
    table = write_table(tmp_path / "t.csv", ("study_id", "image", "findings"), [("1", "/data/old/p1/a.png", "S.")])
    studies = found(table, image_folder=tmp_path / "images")
    assert names(studies["1"], tmp_path / "images") == ["p1/a.png"]


def test_a_datasets_own_labels_are_carried(tmp_path: Path, write_table: Write) -> None:
    columns = ("study_id", "image", "findings", "Edema", "Pneumothorax", "Pleural Effusion")
    table = write_table(tmp_path / "t.csv", columns, [("1", "a.png", "S.", "1.0", "-1.0", "")])
    assert found(table)["1"].labels == {"Edema": 1, "Pneumothorax": -1}


@pytest.mark.parametrize("each", COLUMN_MAPS, ids=lambda each: each.name)
def test_every_map_maps_known_fields_only(each: Any) -> None:
    assert set(each.columns) <= set(FIELDS)


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        (None, []),
        ("", []),
        ("a.png", ["a.png"]),
        ("a.png; b.png;", ["a.png", "b.png"]),
        ("['a.png', 'b.png']", ["a.png", "b.png"]),
        ('["a.png"]', ["a.png"]),
        (["a.png", " b.png"], ["a.png", "b.png"]),
        ("[broken", ["[broken"]),
    ],
)
def test_several_values_in_a_cell(cell: Any, wanted: list[str]) -> None:
    assert several(cell) == wanted


def test_order_keys_sort_in_time() -> None:
    in_time = [("21800506", "80556.875"), ("21800506", "213014.531"), ("2180-05-07", ""), ("21800507", "0.5")]
    keys = [order_key(date, time) for date, time in in_time]
    assert keys == sorted(keys)
    days = [order_key(day) for day in ("-3", "0", "5.0", "12", "100")]
    assert days == sorted(days)
    assert order_key("") == order_key("unknown") == ""
