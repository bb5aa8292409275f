"""MGCA's selection and its flow chart, by the steps of the published script."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from cxrgen.core.records import read_studies

Write = Callable[..., Path]


def test_mgca_takes_pa_and_ap_with_text_and_joins_validation_and_test(
    tmp_path: Path, write_image: Write, write_table: Write, prepare: Callable[..., tuple[int, str]]
) -> None:
    columns = ("study_id", "patient_id", "image", "view", "split", "findings", "impression")
    studies = [
        ("1", ("PA", "LATERAL"), "train", "Synthetic lungs one.", ""),
        ("2", ("AP", "PA"), "validate", "", "Synthetic lungs two."),
        ("3", ("pa",), "train", "Synthetic lungs three.", ""),
        ("4", ("LATERAL",), "train", "Synthetic lungs four.", ""),
        ("5", ("",), "train", "Synthetic lungs five.", ""),
        ("6", ("PA",), "test", "", ""),
        ("7", ("AP AXIAL", "AP"), "test", "Synthetic lungs seven.", "Synthetic."),
        ("8", ("AP",), "train", "Normal.", ""),
    ]
    rows = []
    for name, views, split, findings, impression in studies:
        for number, view in enumerate(views):
            image = write_image(tmp_path / f"{name}-{number}.png", int(name) * 10 + number).name
            rows.append((name, f"P{name}", image, view, split, findings, impression))
    table = write_table(tmp_path / "t.csv", columns, rows)
    out = tmp_path / "out"
    code, said = prepare(table, "--out", out, "--select", "mgca", "--text", "mgca", "--max-rejects", "50%")
    assert code == 0, said
    assert "MGCA: have findings or impression: 4 studies, 5 images, 4 patients" in said
    kept = read_studies(out)
    assert [(study.study_id, study.split, len(study.views)) for study in kept] == [
        ("1", "train", 1),
        ("2", "valid", 2),
        ("7", "valid", 1),
    ]
    flow_chart = json.loads((out / "card.json").read_text())["flow_chart"]
    assert [(row["step"], row["studies"], row["images"]) for row in flow_chart] == [
        ("found", 8, 11),
        ("MGCA: images are PA or AP", 5, 6),
        ("MGCA: have findings or impression", 4, 5),
        ("have a text (both) or are for testing", 3, 4),
    ]
    assert len(json.loads((out / "train.json").read_text())) == 1
