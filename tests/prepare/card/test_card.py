"""The card: what misleads comes first, numbers are those of the set, and what it shows is safe to open."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.imaging.dicoms import image, saved

from cxrgen.core.records import Study, read_studies
from cxrgen.prepare.card.numbers import days_to_prior
from cxrgen.sources.rows import order_key

Prepare = Callable[..., tuple[int, str]]
Write = Callable[..., Path]
COLUMNS = ("study_id", "patient_id", "image", "view", "split", "findings", "Edema")
LONG = "Synthetic heart and lungs are normal in size and there is nothing else to be seen here."


@pytest.fixture
def card(tmp_path: Path, write_image: Write, write_table: Write, prepare: Prepare) -> tuple[dict[str, Any], str]:
    rows = []
    texts = {0: LONG, 1: "Unchanged <svg onload=alert(1)> effusion.", 2: "Dr. Mustermann saw 1.5 cm on 03/04/2021."}
    for number in range(10):
        name = write_image(tmp_path / f"{number}.png", number).name
        split = "test" if number > 7 else "train"
        text = {8: LONG.upper(), 9: ""}.get(number, texts.get(number, f"Synthetic {number}. Clear lungs."))
        rows.append((f"S{number}", f"P{number // 2}", name, "PA", split, text, "1.0" if number < 3 else "-1.0"))
    table = write_table(tmp_path / "t.csv", COLUMNS, rows)
    code, said = prepare(table, "--out", tmp_path / "out", "--valid-share", 0)
    assert code == 0, said
    return json.loads((tmp_path / "out" / "card.json").read_text()), (tmp_path / "out" / "card.html").read_text()


def test_leaks_and_duplicates_come_first(card: tuple[dict[str, Any], str]) -> None:
    numbers, page = card
    assert numbers["findings"] == {
        "patients in two splits": 0,
        "images in two studies": 0,
        "studies with two images that look like one exposure": 0,
        "reports of 12 words or more that stand in train and test": 1,
        "test studies whose report is a training report": 1,
        "test studies without a report": 1,
    }
    titles = ["Leaks and duplicates", "What was kept", "Splits", "Texts", "Images", "To look at", "How it was made"]
    places = [page.index(f"<h2>{title}</h2>") for title in titles]
    assert places == sorted(places)


def test_the_numbers_are_those_of_the_set(card: tuple[dict[str, Any], str]) -> None:
    numbers, _ = card
    assert numbers["splits"]["train"] == {
        "studies": 8, "images": 8, "patients": 4, "studies a patient": 2.0, "with a report": 8, "with a lateral": 0,
        "with a prior": 0, "without a time": 8, "at the time of another of the patient": 0,
    }  # fmt: skip
    assert numbers["splits"]["test"]["with a report"] == 1
    assert numbers["view_combinations"] == {"PA": {"train": 8, "valid": 0, "test": 2}}
    assert numbers["labels"]["Edema"]["train"] == {"present": 3, "uncertain": 5, "absent": 0}
    assert numbers["words"]["train"]["100%"] == 17
    assert numbers["texts"]["words about earlier studies"] == pytest.approx(1 / 9, abs=1e-4)
    assert numbers["texts"]["measurements"] == pytest.approx(1 / 9, abs=1e-4)
    assert numbers["private_patterns"]["dates"] == numbers["private_patterns"]["titles with a name"] == 1
    assert numbers["flags"] == {"no-findings": 1, "no-impression": 10, "no-target": 1}


def test_sex_and_age_by_split(tmp_path: Path, write_image: Write, write_table: Write, prepare: Prepare) -> None:
    rows = []
    for number, (patient, sex, age) in enumerate([("A", "F", 50), ("A", "F", 51), ("B", "M", 97), ("C", "", "")]):
        name = write_image(tmp_path / f"{number}.png", number).name
        rows.append((f"S{number}", patient, name, "PA", "train", f"Synthetic {number}.", sex, age))
    columns = ("study_id", "patient_id", "image", "view", "split", "findings", "sex", "age")
    table = write_table(tmp_path / "t.csv", columns, rows)
    assert prepare(table, "--out", tmp_path / "out")[0] == 0
    numbers = json.loads((tmp_path / "out" / "card.json").read_text())
    assert numbers["people"] == {
        "train": {
            "sex": {"female": 1, "male": 1, "other": 0, "unknown": 1},
            "studies with an age": 3,
            "age": {"5%": 50, "25%": 50, "50%": 51, "75%": 90, "95%": 90, "100%": 90},
        },
        "valid": {},
        "test": {},
    }
    page = (tmp_path / "out" / "card.html").read_text()
    assert "Sex and age" in page
    assert "97" not in re.findall(r"<td>(\d+)</td>", page), "an age above 89 can name a person"
    assert {study.age for study in read_studies(tmp_path / "out")} == {50, 51, 97, None}


def test_what_the_files_held(tmp_path: Path, write_image: Write, write_table: Write, prepare: Prepare) -> None:
    grey = np.asarray(Image.open(write_image(tmp_path / "0.png", 0)))
    Image.fromarray(grey.astype(np.uint16) * 16).save(tmp_path / "1.png")
    Image.fromarray(np.dstack([grey.repeat(3, axis=0)] * 3)).save(tmp_path / "2.jpg")
    saved(image(bits=12), tmp_path / "3.dcm")
    names = ("0.png", "1.png", "2.jpg", "3.dcm")
    rows = [(f"S{number}", name, "PA", f"Synthetic {number}.") for number, name in enumerate(names)]
    table = write_table(tmp_path / "t.csv", ("study_id", "image", "view", "findings"), rows)
    code, said = prepare(table, "--out", tmp_path / "out", "--size", "100")
    assert code == 0, said
    images = json.loads((tmp_path / "out" / "card.json").read_text())["images"]
    assert images["modes"] == {"L, 8 bits": 1, "I;16, 16 bits": 1, "RGB, 8 bits": 1, "MONOCHROME2, 12 bits": 1}
    assert images["source_sizes"] == {"96x80": 2, "96x240": 1, "80x96": 1}
    assert images["stored_sizes"] == {"96x80": 2, "40x100": 1, "80x96": 1}
    assert images["width_by_height"]["5%"] == 0.4
    assert list(images["brightness"]) == ["table"]
    assert sum(images["brightness"]["table"]["histogram"]) == 4
    page = (tmp_path / "out" / "card.html").read_text()
    assert "MONOCHROME2, 12 bits" in page
    assert "Mean grey of images: table" in page


def test_a_recipe_names_all_inputs(card: tuple[dict[str, Any], str], tmp_path: Path) -> None:
    numbers, page = card
    inputs = numbers["recipe"]["inputs"]
    assert set(inputs) == {"t.csv", "(all texts, as read)", "(all images, as stored)"}
    assert inputs["t.csv"] == hashlib.sha256((tmp_path / "t.csv").read_bytes()).hexdigest()
    assert numbers["recipe_sha256"] in page


def test_a_header_of_a_reports_own_words_is_not_shown(
    tmp_path: Path, write_image: Write, write_table: Write, prepare: Prepare
) -> None:
    report = " FINAL REPORT\n FINDINGS: Synthetic heart.\n DR ERIKA MUSTERMANN: told by phone.\n COMPARISON: None.\n"
    name = write_image(tmp_path / "a.png").name
    table = write_table(tmp_path / "t.csv", ("study_id", "image", "view", "report"), [("1", name, "PA", report)])
    code, said = prepare(table, "--out", tmp_path / "out", "--section-style", "mimic")
    assert code == 0, said
    text = (tmp_path / "out" / "card.json").read_text()
    assert set(json.loads(text)["sections"]) == {"preamble", "findings", "other header", "comparison"}
    assert "mustermann" not in text.lower()


def test_days_to_the_prior_study() -> None:
    def studies(*keys: str) -> list[Study]:
        return [Study("0", "P", order_key=keys[0]), Study("1", "P", order_key=keys[1], prior_study_id="0")]

    assert days_to_prior(studies("21800228 080000.000", "21800302")) == [3]
    assert days_to_prior(studies(order_key("-3"), order_key("105"))) == [108]
    assert days_to_prior(studies("0000", "0001")) == [], "pseudonymised"


def test_card_json_holds_no_text_and_the_page_runs_nothing(card: tuple[dict[str, Any], str]) -> None:
    numbers, page = card
    assert "Synthetic" not in json.dumps(numbers)
    assert "Mustermann" not in json.dumps(numbers)
    assert "<svg onload" not in page
    assert "&lt;svg onload=alert(1)&gt;" in page
    assert "Clear lungs." in page, "frequent sentences are for those who hold the set"


def test_lengths_in_a_models_tokens(course: Path, tmp_path: Path, prepare: Prepare) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    words.save(str(tmp_path / "tokenizer.json"))
    code, said = prepare(course, "--out", tmp_path / "out", "--tokenizer", tmp_path)
    assert code == 0, said
    tokens = json.loads((tmp_path / "out" / "card.json").read_text())["tokens"]
    assert {name: held["50%"] for name, held in tokens["quantiles"].items()} == {
        "findings": 5, "impression": 3, "report": 8, "prompt": 5, "prompt, images and report": 13,
    }  # fmt: skip
    assert (tokens["tokens_an_image"], tokens["longest"], tokens["longer_than"]["256"]) == (0, None, 0.0)
    (tmp_path / "cxrgen.json").write_text(json.dumps({"image_tokens": 144, "max_length": 300}))
    assert prepare(course, "--out", tmp_path / "images", "--tokenizer", tmp_path, "--prompt", "original")[0] == 0
    tokens = json.loads((tmp_path / "images" / "card.json").read_text())["tokens"]
    asked, whole = (tokens["quantiles"][name]["50%"] for name in ("prompt", "prompt, images and report"))
    assert asked == 8, "the words of the original prompt"
    assert whole == asked + 8 + 2 * 144
    assert tokens["longer_than"] == {"256": 1.0, "300": 1.0, "512": 0.0, "1024": 0.0, "2048": 0.0}
    code, said = prepare(course, "--out", tmp_path / "never", "--tokenizer", course)
    assert code == 1
    assert "no tokenizer that can be read" in said
    assert not (tmp_path / "never").exists()
