from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cxrgen.core.errors import InputError
from cxrgen.core.records import Conversation, Turn
from cxrgen.generate.decoding.decode import write_reports
from cxrgen.generate.decoding.ngram_drafts import NgramTable
from cxrgen.generate.decoding.sampling import make_sampler
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.conversation import encode_prompt
from cxrgen.model.pixels import image_pixels

MOST = 150  # tokens; beyond the columns that rows start with, so that columns are added


def one_by_one(checkpoint: Checkpoint, folder: Path, conversation: Conversation, **options: object) -> str:
    """The reference: transformers' own generate on a single prompt."""
    tokenizer = checkpoint.tokenizer
    ids = torch.tensor([list(encode_prompt(conversation.turns, tokenizer, checkpoint.format))])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if conversation.images:
        paths = [folder / name for name in conversation.images]
        inputs["pixel_values"] = image_pixels(paths, checkpoint.processor.image_processor, checkpoint.format)
    written = checkpoint.model.eval().generate(**inputs, max_new_tokens=MOST, do_sample=False, **options)
    return tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True).strip()


def reports(
    checkpoint: Checkpoint, folder: Path, conversations: list[Conversation], size: int, **how: object
) -> list[str]:
    written = dict(write_reports(checkpoint, conversations, folder, size, MOST, **how))  # type: ignore[arg-type]
    assert [written[number].study_id for number in sorted(written)] == [each.id for each in conversations]
    return [written[number].report for number in sorted(written)]


@pytest.fixture(scope="module")
def expected(checkpoint: Checkpoint, asked: tuple[Path, list[Conversation]]) -> list[str]:
    folder, conversations = asked
    texts = [one_by_one(checkpoint, folder, each) for each in conversations]
    assert len({len(text) for text in texts}) > 5, "reports of different length are needed to show anything"
    return texts


@pytest.mark.parametrize("batch_size", [1, 3, 8, 64])
def test_batches_of_any_size_write_what_one_by_one_writes(
    checkpoint: Checkpoint, asked: tuple[Path, list[Conversation]], expected: list[str], batch_size: int
) -> None:
    assert reports(checkpoint, *asked, batch_size) == expected


def test_stock_encoders_and_grouped_heads(clip_checkpoint: Checkpoint, asked: tuple[Path, list[Conversation]]) -> None:
    folder, conversations = asked[0], asked[1][:12]
    texts = [one_by_one(clip_checkpoint, folder, each) for each in conversations]
    assert len(set(texts)) > 8
    for batch_size in (1, 8):
        assert reports(clip_checkpoint, folder, conversations, batch_size) == texts


def test_a_static_cache_writes_the_same(
    checkpoint: Checkpoint, asked: tuple[Path, list[Conversation]], expected: list[str]
) -> None:
    folder, conversations = asked
    texts = [one_by_one(checkpoint, folder, each, cache_implementation="static") for each in conversations[:6]]
    assert texts == expected[:6]


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_shared_beginning_changes_nothing(
    checkpoint: Checkpoint, asked: tuple[Path, list[Conversation]], batch_size: int
) -> None:
    folder, conversations = asked
    system = "You describe images of the chest in plain words. "
    longer = [replace(each, turns=(Turn("human", system + each.turns[0].text),)) for each in conversations[:11]]
    longer.insert(7, conversations[12])  # one that begins otherwise
    texts = [one_by_one(checkpoint, folder, each) for each in longer]
    assert len(set(texts)) > 5
    assert reports(checkpoint, folder, longer, batch_size) == texts


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_speculative_decoding_changes_nothing_and_is_used(
    checkpoint: Checkpoint, asked: tuple[Path, list[Conversation]], expected: list[str], batch_size: int
) -> None:
    folder, conversations = asked
    tokenizer = checkpoint.tokenizer
    known = [tokenizer(text, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id] for text in expected]
    steps: list[int] = []

    def counted(logits: torch.Tensor, studies: object, places: object) -> list[int]:
        steps.append(len(logits))
        chosen: list[int] = logits.argmax(dim=-1).tolist()
        return chosen

    plain = reports(checkpoint, folder, conversations, batch_size, sampler=counted)
    without = len(steps)
    steps.clear()
    speculative = reports(checkpoint, folder, conversations, batch_size, sampler=counted, ngrams=NgramTable(known))
    assert plain == speculative == expected
    assert len(steps) < 0.8 * without


def test_sampling_depends_on_seed_and_study_alone(
    checkpoint: Checkpoint, asked: tuple[Path, list[Conversation]]
) -> None:
    folder, conversations = asked[0], asked[1][:9]
    first = reports(checkpoint, folder, conversations, 1, sampler=make_sampler(0.9, 0.95, seed=3))
    ngrams = NgramTable([checkpoint.tokenizer(text, add_special_tokens=False)["input_ids"] for text in first])
    assert reports(checkpoint, folder, conversations, 8, sampler=make_sampler(0.9, 0.95, seed=3)) == first
    assert (
        reports(checkpoint, folder, conversations, 3, sampler=make_sampler(0.9, 0.95, seed=3), ngrams=ngrams) == first
    )
    backwards = reports(checkpoint, folder, conversations[::-1], 5, sampler=make_sampler(0.9, 0.95, seed=3))
    assert backwards == first[::-1]
    assert reports(checkpoint, folder, conversations, 8, sampler=make_sampler(0.9, 0.95, seed=4)) != first


def test_a_study_that_fails_loses_only_itself(
    checkpoint: Checkpoint, asked: tuple[Path, list[Conversation]], expected: list[str]
) -> None:
    folder, conversations = asked
    damaged = [*conversations[:4], replace(conversations[4], images=("gone.png",)), *conversations[5:]]
    told: list[tuple[int, str]] = []
    written = dict(write_reports(checkpoint, damaged, folder, 8, MOST, failed=lambda *each: told.append(each)))
    assert [number for number, _ in told] == [4]
    assert "image 1: no such image" in told[0][1]
    assert [written[number].report for number in sorted(written)] == expected[:4] + expected[5:]
    with pytest.raises(InputError, match="image 1: no such image"):
        list(write_reports(checkpoint, damaged, folder, 8, MOST))


def test_each_image_goes_through_the_tower_once(checkpoint: Checkpoint, asked: tuple[Path, list[Conversation]]) -> None:
    folder, conversations = asked
    question = conversations[1]
    many = [
        replace(question, id=str(number), turns=(Turn("human", f"{'Why? ' * number}{question.turns[0].text}"),))
        for number in range(9)
    ]
    shown: list[int] = []
    tower = checkpoint.model.model.vision_tower
    hook = tower.register_forward_pre_hook(lambda _, arguments: shown.append(len(arguments[0])))
    try:
        list(write_reports(checkpoint, many, folder, 2, 20))
    finally:
        hook.remove()
    assert shown == [1]


def test_nothing_to_write(checkpoint: Checkpoint, tmp_path: Path) -> None:
    assert list(write_reports(checkpoint, [], tmp_path, 8, 10)) == []
