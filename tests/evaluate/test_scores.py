import math
import subprocess
import sys
from dataclasses import replace

import pytest

from cxrgen.errors import InputError, UsageError
from cxrgen.evaluate import evaluate
from cxrgen.evaluate.floors import best_floor
from cxrgen.evaluate.run import scoreboard
from cxrgen.evaluate.scores import SUM_OF, Score, chosen_metrics, sum_score


def test_values_by_hand() -> None:
    scores = evaluate(["a b", "x"], ["a b c d", "x y"], ["1", "2"], metrics=["toy"])
    assert scores.metrics["overlap"].value == 3 / 6
    assert scores.metrics["extra"].direction == "down"
    assert scores.metrics["extra"].value == 0
    assert scores.per_study["overlap"].tolist() == [0.5, 0.5]
    assert scores.metrics["overlap"].interval is None
    assert scores.metrics["overlap"].no_interval == "fewer than 5 patients"
    assert scores.n == 2
    assert scores.patients == 2


def test_row_order_does_not_matter() -> None:
    hypotheses = [f"w{i} w{i * 7 % 5}" for i in range(20)]
    references = [f"w{i * 3 % 20} w{i} w{i % 2}" for i in range(20)]
    ids = [f"s{i:02d}" for i in range(20)]
    subjects = [f"p{i % 6}" for i in range(20)]
    forward = evaluate(hypotheses, references, ids, subjects, ["toy"])
    turned = evaluate(hypotheses[::-1], references[::-1], ids[::-1], subjects[::-1], ["toy"])
    assert forward.metrics["overlap"].interval == turned.metrics["overlap"].interval
    assert forward.patients == 6


def test_wrong_calls_are_refused() -> None:
    with pytest.raises(InputError, match="2 hypotheses for 1"):
        evaluate(["a", "b"], ["a"], ["1"], metrics=["toy"])
    with pytest.raises(InputError, match="'1' stands twice"):
        evaluate(["a", "b"], ["a", "b"], ["1", "1"], metrics=["toy"])
    with pytest.raises(InputError, match="no studies"):
        evaluate([], [], [], metrics=["toy"])
    with pytest.raises(UsageError, match="no metric 'nonsense'"):
        evaluate(["a"], ["a"], ["1"], metrics=["nonsense"])
    with pytest.raises(UsageError, match="--truth"):
        evaluate(["a"], ["a"], ["1"], metrics=["findings"])


def test_names_of_scores_and_presets_choose_metrics() -> None:
    assert chosen_metrics(["bleu_2.cxr-report-metric", "bleu_4", "bleu", "prior_rate"], False) == [
        "bleu.cxr-report-metric",
        "bleu",
        "temporal",
    ]
    assert chosen_metrics(["sum"], False) == ["bleu", "bertscore", "chexbert"]
    scores = evaluate(["The heart is big."], ["The heart is big now."], ["1"], metrics=["bleu_2.sacrebleu"])
    assert set(scores.metrics) == {f"bleu_{order}.sacrebleu" for order in (1, 2, 3, 4)}


def test_all_that_needs_no_weights_is_measured_by_default() -> None:
    scores = evaluate(["Small left effusion."] * 2, ["Small right effusion.", "No effusion."], ["1", "2"])
    assert {"bleu_4", "rouge_l", "cider", "rule_f1_macro_14", "temporal_f1", "prior_rate"} <= set(scores.metrics)
    assert scores.metrics["side_flips"].value == 1
    assert scores.metrics["negation_flips"].value == 0.5
    assert {name: scores.metrics[name].direction for name in ("bleu_4", "repetition", "length_ratio")} == {
        "bleu_4": "up",
        "repetition": "down",
        "length_ratio": "one",
    }


def test_best_of_scores_with_a_target() -> None:
    def floor(value: float) -> dict[str, Score]:
        return {"length_ratio": Score(value, None, "one", "")}

    floors = {"short": floor(0.5), "near": floor(1.2), "long": floor(1.9)}
    best = best_floor("length_ratio", "one", floors)
    assert best is not None
    assert best[0] == "near"


def test_sum_needs_all_its_parts() -> None:
    def score(value: float) -> Score:
        return Score(value, None, "up", "")

    whole = {name: score(0.5) for name in SUM_OF}
    assert sum_score(whole) == (3.0, [])
    scores = replace(evaluate(["a"], ["a"], ["1"], metrics=["toy"]), metrics=whole)
    assert "sum 3.000: bleu_1 + bleu_2" in scoreboard(scores, {})
    assert "sum" not in scoreboard(evaluate(["a"], ["a"], ["1"], metrics=["toy"]), {})
    assert sum_score({name: s for name, s in whole.items() if name != "bertscore"}) == (None, ["bertscore"])
    assert sum_score({**whole, "bleu_4": score(math.nan)}) == (None, ["bleu_4"])


def test_importing_the_room_is_light() -> None:
    """`import cxrgen.evaluate` alone must not pay for numpy, let alone torch."""
    code = "import sys, cxrgen.evaluate; sys.exit(any(m in sys.modules for m in ('numpy', 'torch', 'pyarrow')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
