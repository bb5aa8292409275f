from __future__ import annotations

from collections import Counter

import pytest
import torch

from cxrgen.core.errors import InputError
from cxrgen.generate.decoding.sampling import StopCriteria, greedy, make_sampler, report_text, stop_criteria
from cxrgen.model.checkpoint import Checkpoint


def ending_of(checkpoint: Checkpoint, template: str) -> StopCriteria:
    return stop_criteria(checkpoint.tokenizer, checkpoint.model.generation_config, template)


def written(checkpoint: Checkpoint, text: str) -> list[int]:
    tokens: list[int] = checkpoint.tokenizer(text, add_special_tokens=False)["input_ids"]
    return tokens


def test_greedy_takes_the_likeliest() -> None:
    assert greedy(torch.tensor([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), ["a", "b"], [0, 0]) == [1, 0]


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_stop_with_the_study_as_the_detail(temperature: float, value: float) -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, value, 1.0]])
    with pytest.raises(InputError, match="the model's logits are NaN or infinite") as caught:
        make_sampler(temperature)(logits, ["a", "b"], [0, 0])
    assert caught.value.detail == "study 'b'"


def test_draws_follow_the_probabilities() -> None:
    logits = torch.tensor([0.5, 0.3, 0.2]).log().expand(4000, 3)
    drawn = Counter(make_sampler(1.0)(logits, [str(number) for number in range(4000)], [0] * 4000))
    assert [drawn[token] / 4000 for token in range(3)] == pytest.approx([0.5, 0.3, 0.2], abs=0.03)
    colder = Counter(make_sampler(0.5)(logits, ["x"] * 4000, list(range(4000))))
    assert colder[0] / 4000 == pytest.approx(0.25 / 0.38, abs=0.03)


def test_top_p_keeps_the_fewest_tokens_that_reach_it() -> None:
    logits = torch.tensor([0.1, 0.3, 0.6]).log().expand(1000, 3)
    studies = [str(number) for number in range(1000)]
    assert set(make_sampler(1.0, top_p=0.5)(logits, studies, [0] * 1000)) == {2}
    assert set(make_sampler(1.0, top_p=0.7)(logits, studies, [0] * 1000)) == {1, 2}


@pytest.mark.parametrize("chance", [0.0, 1.0 - 2**-53])
def test_a_token_of_no_probability_is_never_drawn(monkeypatch: pytest.MonkeyPatch, chance: float) -> None:
    monkeypatch.setattr("cxrgen.generate.decoding.sampling._uniform", lambda *_: chance)
    infinite = float("inf")
    logits = torch.tensor([[-infinite, 1.0, -infinite, 1.0, -infinite]])
    assert make_sampler(1.0)(logits, ["a"], [0]) in ([1], [3])


def test_a_report_ends_at_the_mark_of_its_template(checkpoint: Checkpoint) -> None:
    v0, plain = ending_of(checkpoint, "v0"), ending_of(checkpoint, "plain")
    answer = written(checkpoint, "The lungs are clear.\n###")
    places = [place for place in range(1, len(answer) + 1) if v0.reached(answer[:place])]
    assert places == [len(answer)]
    assert not plain.reached(answer)
    for each in (v0, plain):
        assert each.reached([*written(checkpoint, "Clear"), checkpoint.tokenizer.eos_token_id])


@pytest.mark.parametrize(
    "text",
    [
        "The lungs are clear.\n### Human: Why?\n### Assistant: Because.",
        " Assistant: The lungs are clear.\n###",
        "### Assistant: The lungs are clear. ###",
        "GPT: The lungs are clear.",
        "The lungs are clear.",
    ],
)
def test_the_report_has_neither_speaker_nor_what_follows_the_mark(checkpoint: Checkpoint, text: str) -> None:
    assert report_text(written(checkpoint, text), ending_of(checkpoint, "v0")) == "The lungs are clear."


def test_words_that_look_like_a_speaker_stay_elsewhere(checkpoint: Checkpoint) -> None:
    text = "Assistant: read with the ### resident."
    assert report_text(written(checkpoint, text), ending_of(checkpoint, "plain")) == text
