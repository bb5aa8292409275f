"""`cxrgen metrics`: the list, one metric in full, and which preset a number is of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cxrgen.cli import main
from cxrgen.core.files import write_csv
from cxrgen.evaluate import evaluate
from cxrgen.evaluate.explain import candidates, presets_of
from cxrgen.metrics import METRICS, load, scores_of
from cxrgen.metrics.cards import CARDS, equal_to, plain_name

PAIRS = (
    ("The heart is normal. Small left effusion.", "Heart size is normal. There is a small left pleural effusion."),
    ("No pneumothorax. Lungs are clear.", "The lungs are clear. No pneumothorax or effusion."),
    ("Edema.", "Mild pulmonary edema, unchanged."),
)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for place, name in enumerate(("pred", "gt")):
        rows = [(str(number), pair[place]) for number, pair in enumerate(PAIRS)]
        write_csv(tmp_path / f"{name}.csv", ("study_id", "report"), rows)
    return ["--pred", str(tmp_path / "pred.csv"), "--gt", str(tmp_path / "gt.csv")]


def test_a_card_is_of_a_metric_and_names_presets_that_exist() -> None:
    assert CARDS.keys() <= METRICS.keys()
    for name, card in CARDS.items():
        assert set(card.equals) <= set(load(name).presets or [""]), name
    for name in ("bleu", "rouge", "cider", "rule", "flips", "form", "findings"):
        assert all(plain_name(score) != score for score in scores_of(name)), name


def test_the_list_names_every_metric_and_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n{name} " in f"\n{shown}" for name in METRICS)
    assert "chexbert.pth (--chexbert FILE)" in shown
    assert main(["metrics", "bleu"]) == 0
    shown = capsys.readouterr().out
    for words in ("pycocoevalcap", "nltk", "torchmetrics", "sacrebleu", "HF evaluate", "--metrics bleu.r2gen-iu"):
        assert words in shown
    assert main(["metrics", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"].keys() == METRICS.keys()
    assert main(["metrics", "blue"]) == 2
    assert "bleu" in capsys.readouterr().err


@pytest.mark.parametrize("preset", ["", ".sacrebleu", ".coco-raw", ".cxr-report-metric"])
def test_a_number_is_explained_by_its_preset(files: list[str], preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    texts = list(zip(*PAIRS))
    name = f"bleu_2{preset}"
    value = evaluate(texts[0], texts[1], ["0", "1", "2"], metrics=[f"bleu{preset}"]).values()[name]
    for number in (f"{value:.3f}", f"{100 * value:.1f}"):
        assert main(["metrics", "--explain", f"bleu_2={number}", *files, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["candidates"]
        assert name in [each["score"] for each in found if each["gives"]]
    assert main(["metrics", "--explain", f"bleu_2={value:.3f}", *files]) == 0
    shown = capsys.readouterr().out
    assert f"* {name} " in shown
    assert "effusion" not in shown


def test_a_number_that_none_gives(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "--explain", "bleu_4=0.999", *files]) == 0
    assert "none gives bleu_4=0.999" in capsys.readouterr().out
    for wrong in ("bleu_4", "bleu_4=high", "blue_4=0.2"):
        assert main(["metrics", "--explain", wrong, *files]) == 2
    assert main(["metrics", "--explain", "bleu_4=0.2"]) == 2
    assert "give the reports as --pred" in capsys.readouterr().err


def test_candidates_go_by_digits_as_given() -> None:
    found = candidates("bleu_4", "0.29", 0.29, {"bleu_4": 0.2949, "bleu_4.sacrebleu": 0.2951, "bleu_1": 0.2901})
    assert [(each.score, each.gives) for each in found] == [
        ("bleu_4", True),
        ("bleu_4.sacrebleu", False),
        ("bleu_1", True),
    ]
    assert presets_of("cider")[:2] == ["cider", "cider.coco-raw"]


def test_names_and_equals() -> None:
    assert plain_name("bleu_2.sacrebleu") == "BLEU-2 (sacrebleu)"
    assert plain_name("rule_f1_macro_14") == "Rule-label F1, macro over 14 findings"
    assert plain_name("my_own") == "my_own"
    assert equal_to("bleu_2.sacrebleu").startswith("sacrebleu")
    assert equal_to("my_own") == ""
