import math
import subprocess
import sys
from dataclasses import replace

import pytest

from cxrgen.core.errors import InputError, UsageError
from cxrgen.evaluate import evaluate
from cxrgen.evaluate.baselines import best_baseline
from cxrgen.evaluate.scoreboard import scoreboard
from cxrgen.evaluate.scores import Score, chosen_metrics
from cxrgen.evaluate.suites import SUMS, headline, totals, with_sums


def test_values_by_hand() -> None:
    scores = evaluate(["a b", "x"], ["a b c d", "x y"], ["1", "2"], metrics=["toy"])
    assert scores.metrics["overlap"].value == 3 / 6
    assert scores.metrics["extra"].better == "lower"
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
    with pytest.raises(InputError, match="a study is given twice"):
        evaluate(["a", "b"], ["a", "b"], ["1", "1"], metrics=["toy"])
    with pytest.raises(InputError, match="no studies"):
        evaluate([], [], [], metrics=["toy"])
    with pytest.raises(UsageError, match="unknown --metrics 'nonsense'; choose from bleu, rouge"):
        evaluate(["a"], ["a"], ["1"], metrics=["nonsense"])
    with pytest.raises(UsageError, match="--truth"):
        evaluate(["a"], ["a"], ["1"], metrics=["findings"])


def test_names_of_scores_and_presets_choose_metrics() -> None:
    assert chosen_metrics(["bleu_2.cxr-report-metric", "bleu_4", "bleu", "prior_rate"], False) == [
        "bleu.cxr-report-metric",
        "bleu",
        "temporal",
    ]
    assert chosen_metrics(["sum"], False) == ["bleu.cxr-report-metric", "bertscore", "chexbert", "bleu"]
    assert chosen_metrics(["sum.coco-ptb"], False) == ["bleu", "bertscore", "chexbert"]
    scores = evaluate(["The heart is big."], ["The heart is big now."], ["1"], metrics=["bleu_2.sacrebleu"])
    assert set(scores.metrics) == {f"bleu_{order}.sacrebleu" for order in (1, 2, 3, 4)}


def test_all_that_needs_no_weights_is_measured_by_default() -> None:
    scores = evaluate(["Small left effusion."] * 2, ["Small right effusion.", "No effusion."], ["1", "2"])
    assert {"bleu_4", "rouge_l", "cider", "rule_f1_macro_14", "temporal_f1", "prior_rate"} <= set(scores.metrics)
    assert scores.metrics["side_flips"].value == 1
    assert scores.metrics["negation_flips"].value == 0.5
    assert {name: scores.metrics[name].better for name in ("bleu_4", "repetition", "length_ratio")} == {
        "bleu_4": "higher",
        "repetition": "lower",
        "length_ratio": "nearer_to_1",
    }


def test_best_of_scores_with_a_target() -> None:
    def baseline(value: float) -> dict[str, Score]:
        return {"length_ratio": Score(value, None, "nearer_to_1", "")}

    baselines = {"short": baseline(0.5), "near": baseline(1.2), "long": baseline(1.9)}
    best = best_baseline("length_ratio", "nearer_to_1", baselines)
    assert best is not None
    assert best[0] == "near"


def test_sum_needs_all_its_parts() -> None:
    whole = dict.fromkeys([part for parts in SUMS.values() for part in parts], 0.5)
    found = totals(whole, {"normal": {**whole, "bertscore": 0.25}, "empty": {}})
    assert {name: (total.value, total.missing) for name, total in found.items()} == {
        "sum": (3.0, []),
        "sum.coco-ptb": (3.0, []),
    }
    assert found["sum"].baselines == {"normal": 2.75, "empty": None}
    without = {name: value for name, value in whole.items() if name != "bertscore"}
    assert all((total.value, total.missing) == (None, ["bertscore"]) for total in totals(without, {}).values())
    found = totals({**whole, "bleu_4": math.nan}, {})
    assert (found["sum"].value, found["sum.coco-ptb"].missing) == (3.0, ["bleu_4"])


def test_sums_stand_on_the_scoreboard_only_when_whole() -> None:
    bare = evaluate(["a"], ["a"], ["1"], metrics=["toy"])
    metrics = {part: Score(0.5, None, "higher", "") for part in SUMS["sum"]}
    scores = replace(bare, metrics=metrics)
    normal = replace(bare, metrics={**metrics, "bertscore": Score(0, None, "higher", "")})
    board = scoreboard(scores, {"normal": normal})
    assert "sum 3.000, normal 2.500: bleu_1.cxr-report-metric + bleu_2" in board
    assert "sum.coco-ptb" not in board
    assert "sum" not in scoreboard(bare, {})


def test_weights_of_a_sum_bring_the_rest_of_it() -> None:
    assert with_sums(["rouge", "bertscore", "chexbert"]) == [
        "rouge",
        "bertscore",
        "chexbert",
        "bleu.cxr-report-metric",
        "bleu",
    ]
    assert with_sums(["rouge", "chexbert"]) == ["rouge", "chexbert"]


def test_the_headline_always_has_overlap_scores_too() -> None:
    clinical = [
        "finding_f1_macro",
        "radgraph_partial",
        "chexbert_f1_macro_14",
        "chexbert_similarity",
        "rule_similarity",
    ]
    assert headline([*clinical, "bleu_4", "rouge_l"]) == [*clinical[:3], "rouge_l", "bleu_4"]
    assert headline(["bleu_4", "rule_similarity", "unheard_of"]) == ["rule_similarity", "bleu_4"]
    assert headline([*clinical, "bleu_4"], at_most=8) == [*clinical, "bleu_4"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("belu", "unknown --metrics 'belu'; choose from bleu, rouge, .*; did you mean 'bleu'"),
        ("bleu_9", "unknown score of bleu 'bleu_9'; choose from bleu_1, bleu_2.*; did you mean 'bleu_4'"),
        ("rouge.rogue", "unknown preset of rouge 'rogue'; choose from coco-ptb.*"),
        ("flips.coco", "unknown --metrics 'flips.coco'; flips has no presets"),
    ],
)
def test_a_wrong_name_gets_the_right_ones(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        chosen_metrics([name], False)


def test_the_beginning_of_scores_names_stands_for_them() -> None:
    assert chosen_metrics(["rule_f1", "rule_f1_edema", "chexbert_f1.uncertain-negative"], False) == [
        "rule",
        "chexbert.uncertain-negative",
    ]


def test_importing_the_room_is_light() -> None:
    """`import cxrgen.evaluate` alone must not pay for numpy, let alone torch."""
    code = "import sys, cxrgen.evaluate; sys.exit(any(m in sys.modules for m in ('numpy', 'torch', 'pyarrow')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
