"""Rewards: known values, and the form in which trainers call them."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from cxrgen.core.errors import InputError, UsageError
from cxrgen.metrics import measure
from cxrgen.metrics.rewards import REWARDS, finding_f1, for_trl, gleu, length_penalty, mixed, prior_penalty, score
from cxrgen.phantom.findings import Findings, as_row

REPORTS = ["The heart is large.", "No effusion is seen.", "", "The lungs are clear. The lungs are clear."]
REFERENCES = ["The heart is large.", "There is a left effusion.", "Clear.", "The lungs are clear."]


def gleu_by_hand(report: str, reference: str) -> float:
    def grams(text: str) -> Counter[tuple[str, ...]]:
        words = text.lower().replace(".", "").split()
        return Counter(tuple(words[i : i + n]) for n in (1, 2, 3, 4) for i in range(len(words) - n + 1))

    one, other = grams(report), grams(reference)
    return (one & other).total() / max(one.total(), other.total(), 1)


def test_gleu_is_the_lesser_of_precision_and_recall() -> None:
    assert gleu(REPORTS, REFERENCES) == pytest.approx([gleu_by_hand(*pair) for pair in zip(REPORTS, REFERENCES)])
    assert gleu(REPORTS, REFERENCES)[0] == 1.0


@pytest.mark.parametrize("name", ["rouge_l", "bleu_4", "rule_similarity"])
def test_a_score_is_the_metric_s_own_value(name: str) -> None:
    expected = measure(name.partition("_")[0], REPORTS, REFERENCES).per_study()[name]
    assert score(name)(REPORTS, REFERENCES, []) == pytest.approx(expected.tolist())


def test_rule_f1_of_nothing_is_agreement() -> None:
    assert REWARDS["rule_f1"](["Words.", "Left pleural effusion."], ["Other words.", "No effusion."], []) == [1.0, 0.0]


def test_finding_f1_reads_the_true_findings() -> None:
    truth = [as_row(Findings(effusion="left", effusion_size="small")), as_row(Findings())]
    found = finding_f1(["Small left pleural effusion.", "The lungs are clear."], ["", ""], truth)
    assert found == [1.0, 1.0]
    assert finding_f1(["The lungs are clear.", "Small left pleural effusion."], ["", ""], truth) == [0.0, 0.0]
    with pytest.raises(InputError):
        finding_f1(["a"], ["b"], [])


def test_longer_and_shorter_are_punished_alike() -> None:
    reports = ["a b", "a b c d", "a", "", "a " * 100]
    found = length_penalty(reports, ["x y"] * 5, [])
    assert found == pytest.approx([0.0, -math.log(2), -math.log(2), -1.0, -1.0])
    assert length_penalty([""], [""], []) == [0.0]


def test_comparisons_with_a_study_that_is_not_there_are_punished() -> None:
    report = "The effusion has increased since the prior study."
    assert prior_penalty([report, report, "Clear."], [""] * 3, [{}, {"prior_study_id": "7"}, {}]) == [-1.0, 0.0, 0.0]


def test_a_mix_is_the_weighted_sum() -> None:
    found = mixed("rule_f1+0.5*length_penalty+rouge_l")(REPORTS, REFERENCES, [])
    one, two, three = (REWARDS[name](REPORTS, REFERENCES, []) for name in ("rule_f1", "length_penalty", "rouge_l"))
    assert found == pytest.approx([a + 0.5 * b + c for a, b, c in zip(one, two, three)])
    for wrong in ("lenght_penalty", "rule_f1+blue_4", "-1*rouge_l"):
        with pytest.raises(UsageError):
            mixed(wrong)


def test_trainers_call_it_with_texts_or_messages_and_columns() -> None:
    reward = for_trl(mixed("rouge_l+prior_penalty"))
    messages = [[{"role": "assistant", "content": text}] for text in REPORTS]
    parts = [[{"role": "assistant", "content": [{"type": "text", "text": text}]}] for text in REPORTS]
    given = {"prompts": ["?"] * 4, "reference": REFERENCES, "prior_study_id": [""] * 4, "trainer_state": object()}
    expected = REWARDS["rouge_l"](REPORTS, REFERENCES, [])
    for completions in (REPORTS, messages, parts):
        assert reward(completions=completions, **given) == pytest.approx(expected)
    assert reward.__name__ == "rouge_l+prior_penalty"
