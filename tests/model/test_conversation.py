"""Ids and labels against what LLaVA-Med's own programs recorded, and the written rules where nothing was recorded."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.records import Turn
from cxrgen.model.conversation import (
    IGNORE,
    Format,
    encode,
    encode_conversation,
    encode_prompt,
    llava_med_format,
)
from cxrgen.model.llama_fast import fast_tokenizer
from cxrgen.model.llama_tokenizer import read_llama_tokens
from cxrgen.model.templates import INFERENCE_PROMPTS, fill_prompt

GOLDEN = Path(__file__).parents[1] / "golden" / "llava_med"
TOKENIZER = GOLDEN / "tokenizer"
REGIMES = {
    spacing: json.loads((GOLDEN / f"tokens_regime_{name}.json").read_text())
    for name, spacing in (("a", "strip"), ("b", "keep"))
}
CONVERSATIONS = json.loads((GOLDEN / "conversations.json").read_text())
SPECIALS = ("<im_patch>", "<im_start>", "<im_end>")


def recorded(sample: dict[str, Any], key: str) -> list[int]:
    if key in sample:
        return list(sample[key])
    return [value for value, count in sample[f"{key}_rle"] for _ in range(count)]


def turns_of(regime: dict[str, Any], name: str) -> list[Turn]:
    conversations = CONVERSATIONS[regime["assistant_role_name"]]
    turns = next(each["conversations"] for each in conversations if each["id"] == name)
    return [Turn(turn["from"], turn["value"]) for turn in turns]


CASES = [
    pytest.param(spacing, config, id=f"{spacing}-{config['name']}")
    for spacing, regime in REGIMES.items()
    for config in regime["configs"]
]


@pytest.mark.parametrize(("spacing", "config"), CASES)
def test_ids_and_original_labels_are_the_recorded_ones(spacing: str, config: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "tokenizer.model").write_bytes((TOKENIZER / "tokenizer.model").read_bytes())
    named = {"bos_token": "<s>" if config["bos_token_id"] == 1 else "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
    if config["pad_mode"] == "add":
        (folder / "added_tokens.json").write_text(json.dumps({"[PAD]": 800}))
        named["pad_token"] = "[PAD]"
    (folder / "special_tokens_map.json").write_text(json.dumps(named))
    for sample in config["samples"]:
        ids, labels = encode_conversation(
            turns_of(REGIMES[spacing], sample["id"]),
            folder,
            template=config["version_flag"],
            image_tokens=config["image_token_len"],
            start_end=config["use_im_start_end"],
            spacing=spacing,
            label_rule="original",
            max_length=config["model_max_length"],
        )
        assert ids == recorded(sample, "input_ids"), sample["id"]
        assert labels == recorded(sample, "labels"), sample["id"]


@pytest.mark.parametrize("spacing", REGIMES)
def test_original_inference_prompts_are_the_recorded_ones(spacing: str) -> None:
    for prompt in REGIMES[spacing]["inference_prompts"]:
        start_end = prompt["use_im_start_end"]
        template = "v0" if prompt["mode"] == "simple" else "v1"
        start = INFERENCE_PROMPTS[prompt["mode"]]
        format = llava_med_format(template, start_end, spacing=spacing, image_tokens=4, compat=start)
        tokens = read_llama_tokens(TOKENIZER, SPECIALS if start_end else SPECIALS[:1])
        assert encode_prompt([Turn("human", prompt["question"])], tokens, format) == prompt["ids_slow"]


def test_prompt_bair_v1_is_vicuna_s_under_another_headline() -> None:
    """No golden: by the written rule, headline, one space, then as Vicuna 1.1."""
    vicuna, bair = (fill_prompt(INFERENCE_PROMPTS[mode], "<image>\nWhy?") for mode in ("vicuna_v1_1", "bair_v1"))
    assert bair == "BEGINNING OF CONVERSATION: USER: Why?\n<image> "
    assert vicuna.endswith(bair.removeprefix("BEGINNING OF CONVERSATION:"))
    tokens = read_llama_tokens(TOKENIZER, SPECIALS)
    prompts = [
        encode_prompt([Turn("human", "<image>\nWhy?")], tokens, llava_med_format("v1", compat=INFERENCE_PROMPTS[mode]))
        for mode in ("vicuna_v1_1", "bair_v1")
    ]
    assert prompts[0][-260:] == prompts[1][-260:]
    assert len(prompts[1]) < len(prompts[0])


def test_text_only_conversation_is_the_recorded_one() -> None:
    sample = json.loads((GOLDEN / "model.json").read_text())["forward_image_plus_text_only"]
    turns = [
        {"from": "human", "value": "What does a blunted costophrenic angle suggest?"},
        {
            "from": "gpt",
            "value": "A small pleural effusion,\nor pleural thickening.\n\n"
            "1. Compare with the prior study.\n2. Consider a lateral view.",
        },
    ]
    ids, labels = encode_conversation(turns, TOKENIZER, spacing="strip", label_rule="original")
    padding = len(sample["input_ids"][1]) - len(ids)
    assert ids + [0] * padding == sample["input_ids"][1]
    assert labels + [IGNORE] * padding == sample["labels"][1]


def learnt_text(ids: list[int], labels: list[int]) -> str:
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(TOKENIZER / "tokenizer.model"))
    assert all(label in (IGNORE, token) for token, label in zip(ids, labels))
    return "".join(model.id_to_piece(label) for label in labels if label != IGNORE).replace("\u2581", " ")


MULTI_TURN = [Turn("human", "<image>\nWhat?"), Turn("gpt", "A nodule."), Turn("human", "Where?"), Turn("gpt", "No.")]


@pytest.mark.parametrize("spacing", ["keep", "strip"])
def test_the_answer_and_its_end_are_learnt_and_nothing_else(spacing: str) -> None:
    ids, labels = encode_conversation(MULTI_TURN, TOKENIZER, template="v0", image_tokens=4, spacing=spacing)
    assert learnt_text(ids, labels) == " A nodule.<0x0A>### No.<0x0A>###"
    ids, labels = encode_conversation(MULTI_TURN, TOKENIZER, template="v1", image_tokens=4, spacing=spacing)
    assert learnt_text(ids, labels) == " A nodule.</s> No.</s>"


WORDS = st.text(alphabet="aé漢 \n.#<s/>unkim_:0", max_size=30)


@settings(max_examples=60, deadline=None)
@given(
    question=WORDS,
    answer=WORDS,
    images=st.integers(0, 3),
    template=st.sampled_from(["v0", "v1", "mistral"]),
    spacing=st.sampled_from(["keep", "strip"]),
)
def test_generation_starts_from_what_training_showed(
    question: str, answer: str, images: int, template: str, spacing: str
) -> None:
    tokens = read_llama_tokens(TOKENIZER)
    format = llava_med_format(template, spacing=spacing, image_tokens=3)
    turns = [Turn("human", "<image>\n" * images + question), Turn("assistant", answer)]
    ids, labels = encode(turns, tokens, format)
    prompt = encode_prompt(turns, tokens, format)
    assert prompt == encode_prompt(turns[:1], tokens, format)
    assert ids.count(tokens.special["<im_patch>"]) == 3 * images
    assert ids[: len(prompt)] == prompt
    assert set(labels[: len(prompt)]) == {IGNORE}
    learnt = [label != IGNORE for label in labels[len(prompt) :]]
    assert learnt == sorted(learnt, reverse=True)  # in one stretch right behind the prompt


def test_special_tokens_in_the_text_are_cut_as_the_slow_tokenizers_did() -> None:
    turns = [Turn("human", "a </s> b <unk> c"), Turn("gpt", "<im_end> d")]
    kept, _ = encode_conversation(turns, TOKENIZER, spacing="keep", label_rule="original")
    stripped, _ = encode_conversation(turns, TOKENIZER, spacing="strip", label_rule="original")
    for ids in (kept, stripped):
        assert (ids.count(2), ids.count(0), ids.count(802)) == (1, 1, 1)
    assert len(kept) > len(stripped)


def in_characters(pieces: str) -> str:
    """Pieces of a single byte as the characters that they are."""
    return re.sub("<0x(..)>", lambda match: chr(int(match[1], 16)), pieces)


HOSTILE = "a </s> b <unk> <im_patch> <im_end> <image> <s> c"


@pytest.mark.parametrize("template", ["plain", "v0", "v1", "mistral"])
@pytest.mark.parametrize("fast", [False, True])
def test_text_is_text(template: str, fast: bool) -> None:
    """Special tokens and further `<image>` in the words of users give no special ids, in training and in prompts."""
    slow = read_llama_tokens(TOKENIZER, SPECIALS)
    tokenizer = fast_tokenizer(TOKENIZER, slow, "keep") if fast else slow
    format = llava_med_format(template, image_tokens=3)
    turns = [Turn("human", f"<image>\nIndication: {HOSTILE}"), Turn("gpt", HOSTILE)]
    harmless = [Turn("human", "<image>\nIndication: a"), Turn("gpt", "b")]
    ids, labels = encode(turns, tokenizer, format, 1)
    expected, _ = encode(harmless, tokenizer, format, 1)
    special = set(slow.special.values())
    assert [token for token in ids if token in special] == [token for token in expected if token in special]
    prompt = encode_prompt(turns, tokenizer, format, 1)
    assert ids[: len(prompt)] == prompt
    assert ids.count(slow.special["<im_patch>"]) == 3
    learnt = in_characters(learnt_text(ids, labels))
    assert "<unk> <im_patch> <im_end> <image> <s> c" in learnt.removesuffix("</s>")
    assert encode(turns, slow, format, 1) == (ids, labels)


def test_an_answer_cannot_hold_the_mark_that_ends_it() -> None:
    turns = [Turn("human", "Write."), Turn("gpt", "### FINDINGS\n#### Clear. ## No.")]
    ids, labels = encode_conversation(turns, TOKENIZER, template="v0")
    assert in_characters(learnt_text(ids, labels)) == " ## FINDINGS\n## Clear. ## No.\n###"
    ids, labels = encode_conversation([Turn("human", "Write."), Turn("gpt", "a</s> b")], TOKENIZER, template="v1")
    assert in_characters(learnt_text(ids, labels)) == " a< /s> b</s>"


@pytest.mark.parametrize("template", ["plain", "v0", "v1", "mistral"])
def test_an_image_without_its_place_is_refused(template: str) -> None:
    tokens, format = read_llama_tokens(TOKENIZER), llava_med_format(template, image_tokens=3)
    with pytest.raises(InputError, match="<image> in the human turns"):
        encode([Turn("human", "<image>\nWhy?"), Turn("gpt", "<image>")], tokens, format, 2)
    with pytest.raises(InputError, match="<image> in the human turns"):
        encode_prompt([Turn("human", "Why?")], tokens, format, 1)


def test_unknown_tokens_shift_original_borders_but_not_ours() -> None:
    with_unknown = [Turn("human", "a <unk> b"), Turn("gpt", "clear")]
    ids, labels = encode_conversation(with_unknown, TOKENIZER, label_rule="answer")
    assert learnt_text(ids, labels) == " clear<0x0A>###"
    ids, labels = encode_conversation(with_unknown, TOKENIZER, template="v1", label_rule="original")
    assert set(labels) == {IGNORE}  # padding counts as unknown there, so the counts disagree


@pytest.mark.parametrize("speaker", ["gpt", "report", "assistant", "GPT"])
def test_names_of_the_answering_speaker_are_synonyms(speaker: str) -> None:
    expected = encode_conversation([("human", "x"), ("gpt", "y")], TOKENIZER)
    assert encode_conversation([("human", "x"), (speaker, "y")], TOKENIZER) == expected


def test_numbers_are_taken_as_text_and_a_leading_answer_is_dropped_by_v1_only() -> None:
    number = [{"from": "human", "value": 3}, {"from": "gpt", "value": 4}]
    words = [{"from": "human", "value": "3"}, {"from": "gpt", "value": "4"}]
    assert encode_conversation(number, TOKENIZER) == encode_conversation(words, TOKENIZER)
    greeted = [{"from": "gpt", "value": "Hello"}, *words]
    assert encode_conversation(greeted, TOKENIZER, "v1") == encode_conversation(words, TOKENIZER, "v1")
    assert len(encode_conversation(greeted, TOKENIZER, "v0")[0]) > len(encode_conversation(words, TOKENIZER, "v0")[0])


def test_what_cannot_be_encoded_is_refused_with_the_way_out() -> None:
    with pytest.raises(InputError, match="unknown speaker 'doctor'; use human"):
        encode_conversation([("doctor", "x")], TOKENIZER)
    with pytest.raises(InputError, match="must alternate"):
        encode_conversation([("human", "x"), ("human", "y")], TOKENIZER, "v1")
    with pytest.raises(InputError, match="nothing to answer"):
        encode_prompt([], read_llama_tokens(TOKENIZER), Format(template="v0"))
    with pytest.raises(InputError, match=r"tokenizer\.model: no such file"):
        encode_conversation([("human", "x")], GOLDEN)
    with pytest.raises(UsageError, match="choose from keep, strip"):
        Format(spacing="other")


def test_plain_prompt_is_a_prefix_for_any_tokenizer() -> None:
    tokens = dataclasses.replace(read_llama_tokens(TOKENIZER), bos=None)
    format = Format(template="plain", image_token="<im_patch>", image_tokens=2)
    turns = [Turn("human", "View: <image>\nWrite."), Turn("assistant", "\nClear.")]
    ids, labels = encode(turns, tokens, format)
    prompt = encode_prompt(turns, tokens, format)
    assert ids[: len(prompt)] == prompt
    assert labels == [IGNORE] * len(prompt) + ids[len(prompt) :]
    assert ids[-1] == tokens.eos
    assert ids.count(800) == 2
