"""Choosing by consensus: equal to comparing every pair by the metric itself, and clear about what it cannot use."""

from __future__ import annotations

import numpy as np
import pytest

from cxrgen.core.candidates import Candidates
from cxrgen.core.errors import InputError, UsageError
from cxrgen.metrics import measure, metric_of
from cxrgen.metrics.consensus import choose, consensus, read_utility, utilities

SENTENCES = (
    *("No pleural effusion.", "Small left pleural effusion.", "The heart is enlarged.", "Heart size is normal."),
    *("No pneumothorax.", "Right lower lobe opacity, opacity, opacity.", "Possible pneumonia.", "Lines: none."),
)


def made(seed: int, count: int) -> list[str]:
    """Reports of which some are equal, one is empty and one states nothing."""
    draw = np.random.default_rng(seed)
    texts = [" ".join(draw.choice(SENTENCES, size=draw.integers(1, 6))) for _ in range(count - 3)]
    return [*texts, texts[0], "", "Lines: none."]


STUDIES = [made(seed, count) for seed, count in ((0, 9), (1, 4), (2, 12))]
SCORES = (
    "bleu_1",
    "bleu_4",
    "bleu_3.sacrebleu",
    "bleu_2.cxr-report-metric",
    "rouge_l",
    "rouge_l.radeval",
    "rouge_2.radeval",
)


def brute_force(reports: list[str], terms: dict[str, float]) -> tuple[int, float]:
    """The first of the best: each report's mean over all other reports, pair by pair, by the metric itself."""
    means = []
    for place, report in enumerate(reports):
        others = [other for number, other in enumerate(reports) if number != place]
        total = 0.0
        for score, weight in terms.items():
            found = measure(metric_of(score), [report] * len(others), others).per_study()[score]
            total += weight * float(np.nan_to_num(found, nan=1.0).mean())
        means.append(round(total, 12))
    best = means.index(max(means))
    return best, means[best]


@pytest.mark.parametrize(
    ("mix", "terms"),
    [
        *(
            (score, {score: 1.0})
            for score in ("bleu_4", "bleu_2.sacrebleu", "rouge_l", "rouge_l.radeval", "rouge_2.radeval")
        ),
        ("rule", {"rule_f1_micro_14": 1.0}),
        ("rule+3*rouge_l", {"rule_f1_micro_14": 0.25, "rouge_l": 0.75}),
        ("bleu_1+rule_similarity", {"bleu_1": 0.5, "rule_similarity": 0.5}),
    ],
)
def test_the_choice_equals_brute_force(mix: str, terms: dict[str, float]) -> None:
    found = list(consensus(STUDIES, read_utility(mix)))
    for reports, (best, sure) in zip(STUDIES, found):
        expected, value = brute_force(reports, terms)
        assert best == expected
        assert sure == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("score", [*SCORES, "rule_f1_micro_14"])
def test_each_pair_has_the_metric_s_own_value(score: str) -> None:
    texts = list(dict.fromkeys(STUDIES[2]))
    (values,) = utilities([texts], read_utility(score))
    for row, report in enumerate(texts):
        own = measure(metric_of(score), [report] * len(texts), texts).per_study()[score]
        assert values[row] == pytest.approx(np.nan_to_num(own, nan=1.0), abs=1e-9)


def test_a_report_that_was_written_more_often_counts_so_often() -> None:
    ((best, sure),) = consensus([["Clear.", "Edema.", "Edema.", "Clear lungs."]], read_utility("bleu_1"))
    assert best == 1
    assert sure == pytest.approx(1 / 3, abs=1e-6)


def test_the_likeliest_is_the_one_of_the_highest_log_probability() -> None:
    study = Candidates("1", ("a", "b", "c"), (-0.5, -0.25, None))
    (chosen,) = choose([study], "likeliest", read_utility("bleu_4"))
    assert (chosen.report, chosen.confidence) == ("b", pytest.approx(np.exp(-0.25)))
    with pytest.raises(InputError, match="without log-probabilities"):
        choose([Candidates("1", ("a", "b"), (None, None))], "likeliest", read_utility("bleu_4"))


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ("bleu_9", "unknown score of bleu"),
        ("0*rule", "write a weight"),
        ("x*rule", "write a weight"),
        ("radcliq_v1", "more is better"),
        ("finding_f1_macro", "needs a score of two texts"),
        ("bleu", "it has|bleu has"),
    ],
)
def test_what_is_no_utility_is_refused(mix: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_utility(mix)


def test_one_report_is_nothing_to_choose_from() -> None:
    with pytest.raises(InputError, match="at least 2"):
        list(consensus([["Clear."]], read_utility("bleu_4")))
