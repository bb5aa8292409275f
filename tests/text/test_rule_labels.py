from __future__ import annotations

import csv
import importlib.util
import io
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

from cxrgen.text.chexpert import OBSERVATIONS
from cxrgen.text.rule_labels import label

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics" / "hard_sentences.csv"


def read(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def as_labels(cells: str) -> dict[str, int]:
    pairs = [cell.split("=") for cell in cells.split(";") if cell]
    return {name: int(value) for name, value in pairs}


def hard_sentences(part: str) -> list[tuple[str, dict[str, int]]]:
    return [(row["sentence"], as_labels(row["labels"])) for row in read(GOLDEN) if row["part"] == part]


def siblings() -> list[dict[str, str]]:
    return read(GOLDEN.with_name("label_siblings.csv"))


@pytest.mark.parametrize(("part", "least"), [("tune", 1.0), ("test", 0.95)])
def test_hard_sentences(part: str, least: float) -> None:
    """Every observation of the sentence right and none besides; the part "test" was never looked at for the rules."""
    pairs = hard_sentences(part)
    right = 0
    for sentence, expected in pairs:
        found = label(sentence)
        found.pop("No Finding", None)
        right += found == expected
    assert right / len(pairs) >= least


def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "rule_labels.py"
    spec = importlib.util.spec_from_file_location("rule_labels_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_manual_codes_of_real_reports(shared: Path) -> None:
    """F1 over findings with 20 or more coded reports, on the half that the rules were not improved on and on all."""
    measure = benchmark()
    rows = measure.read_reports(shared / "data" / "openi_reports" / "reports.csv")
    found = measure.agreement(rows)
    enough = [name for name, counts in found.items() if counts[0] >= 20]
    assert len(enough) >= 8
    assert measure.macro_f1(found, enough) >= 0.89
    assert measure.macro_f1(measure.agreement(rows[1::2]), enough) >= 0.86


def test_the_benchmark_reads_the_collection(tmp_path: Path) -> None:
    """Coded texts, each once, in the order of their numbers, less those of another table."""
    report = "<r><AbstractText Label='FINDINGS'>{}</AbstractText><MeSH><major>{}</major></MeSH></r>"
    texts = {
        10: ("Edema.", "Edema"),
        9: ("Clear.", "normal"),
        11: ("edema", "Edema"),
        8: ("Known.", "x"),
        12: ("No.", ""),
    }
    with tarfile.open(tmp_path / "reports.tgz", "w:gz") as archive:
        for number, cells in texts.items():
            content = report.format(*cells).encode()
            member = tarfile.TarInfo(f"all/{number}.xml")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    (tmp_path / "known.csv").write_text("findings,impression,mesh\nKnown.,,x\n", encoding="utf-8")
    rows = benchmark().read_reports(tmp_path / "reports.tgz", [tmp_path / "known.csv"])
    assert [(row["findings"], row["mesh"]) for row in rows] == [("Clear.", "normal"), ("Edema.", "Edema")]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("No focal opacity to suggest pneumonia.", {"Lung Opacity": 0, "Pneumonia": 0}),
        (
            "No effusion, but an opacity suggestive of pneumonia.",
            {"Lung Opacity": 1, "Pneumonia": -1, "Pleural Effusion": 0},
        ),
        ("A bone scan would help to evaluate for potential metastatic disease.", {}),
        ("Degenerative changes of the spine.", {}),
    ],
)
def test_what_a_cue_reaches(sentence: str, expected: dict[str, int]) -> None:
    found = label(sentence)
    normal = found.pop("No Finding", None)
    assert found == expected
    assert (normal is None) == ("Degenerative" in sentence or 1 in expected.values())


def test_there_are_300_and_a_third_is_for_testing_only() -> None:
    assert (len(hard_sentences("tune")), len(hard_sentences("test"))) == (200, 100)


def test_present_beats_uncertain_beats_absent() -> None:
    absent, uncertain, present = "No edema.", "Possible edema.", "Mild edema."
    assert label(f"{absent} {uncertain}")["Edema"] == -1
    assert label(f"{present} {uncertain} {absent}")["Edema"] == 1
    assert label(f"{absent} {absent}")["Edema"] == 0


@pytest.mark.parametrize(
    ("report", "no_finding"),
    [
        ("The lungs are clear. No effusion.", True),
        ("Endotracheal tube in place. Lungs are clear.", True),
        ("Possible pneumonia.", False),
        ("Severe emphysema.", False),
        ("No emphysema.", True),
        ("", False),
        (" . \n", False),
    ],
)
def test_no_finding_by_rule(report: str, no_finding: bool) -> None:
    assert label(report).get("No Finding") == (1 if no_finding else None)


def test_keys_are_known_and_in_order() -> None:
    found = label("Fracture. Small effusion, no pneumothorax. The heart is enlarged. PICC in place. Opacity.")
    assert list(found) == sorted(found, key=OBSERVATIONS.index)
    assert len(OBSERVATIONS) == 14


def test_case_does_not_matter() -> None:
    assert label("NO PLEURAL EFFUSION. MILD EDEMA.") == label("no pleural effusion. mild edema.")


@pytest.mark.parametrize("row", siblings(), ids=lambda row: f"{row['kind']}: {' '.join(row['sentence'].split())[:60]}")
def test_kinds_of_wording(row: dict[str, str]) -> None:
    """What each rule is for, in many sentences of its kind."""
    found = label(row["sentence"])
    found.pop("No Finding", None)
    assert found == as_labels(row["labels"])


def test_wrong_sentences_of_before(shared: Path) -> None:
    """Sentences that were once wrong, some of them from real reports."""
    rows = read(shared / "faults" / "metrics" / "rule_labels_wrong_sentences.csv")
    assert len(rows) >= 25
    for row in rows:
        found = label(row["sentence"]).get(row["observation"])
        assert ("not mentioned" if found is None else str(found)) == row["right"], row["kind"]


def test_headers_of_before(shared: Path) -> None:
    rows = read(shared / "faults" / "metrics" / "header_colon.csv")
    assert len(rows) >= 8
    for row in rows:
        expected = as_labels(row["right"].partition(" (")[0])
        assert {name: label(row["text"]).get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("sentence", "pneumonia", "effusion"),
    [
        ("Possible pneumonia, left effusion.", -1, 1),
        ("Possible pneumonia, effusion.", -1, 1),
        ("Possible pneumonia, small effusion and fracture.", -1, 1),
        ("Possible pneumonia, edema, or effusion.", -1, -1),
        ("Possible pneumonia and effusion.", -1, -1),
        ("No pneumonia, left effusion.", 0, 1),
        ("No pneumonia, effusion.", 0, 0),
        ("No pneumonia, large effusion or pneumothorax.", 0, 0),
        ("Differential includes edema, pneumonia, left effusion.", -1, -1),
    ],
)
def test_where_a_scope_ends_at_a_comma(sentence: str, pneumonia: int, effusion: int) -> None:
    found = label(sentence)
    assert (found["Pneumonia"], found["Pleural Effusion"]) == (pneumonia, effusion)
