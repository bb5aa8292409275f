"""The fast tokenizer against the recorded slow ones, and what happens to one that gives other ids."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.made import GOLDEN

from cxrgen.core.errors import InputError
from cxrgen.core.records import Turn
from cxrgen.llava_med.convert_layout import convert
from cxrgen.llava_med.layouts import ConvertOptions
from cxrgen.model.checkpoint import open_checkpoint
from cxrgen.model.conversation import encode, llava_med_format
from cxrgen.model.llama_fast import checked_tokenizer, fast_tokenizer, first_difference
from cxrgen.model.llama_tokenizer import read_llama_tokens, tokenize

TOKENS = read_llama_tokens(GOLDEN / "tokenizer")
FAST = {spacing: fast_tokenizer(GOLDEN / "tokenizer", TOKENS, spacing) for spacing in ("keep", "strip")}
RECORDED = {
    spacing: json.loads((GOLDEN / f"tokens_regime_{name}.json").read_text())
    for name, spacing in (("a", "strip"), ("b", "keep"))
}


@pytest.mark.parametrize("spacing", FAST)
def test_recorded_prompts_have_the_recorded_ids(spacing: str) -> None:
    """The text as any tool would hand it to the tokenizer, image tokens written out."""
    for prompt in RECORDED[spacing]["inference_prompts"]:
        if prompt["use_im_start_end"]:
            assert FAST[spacing](prompt["prompt"])["input_ids"] == prompt["ids_slow"]


@pytest.mark.parametrize("spacing", FAST)
@pytest.mark.parametrize("template", ["v0", "v1"])
def test_training_samples_have_the_recorded_ids_and_labels(spacing: str, template: str) -> None:
    regime = RECORDED[spacing]
    conversations = json.loads((GOLDEN / "conversations.json").read_text())[regime["assistant_role_name"]]
    turns = {
        each["id"]: [Turn(turn["from"], turn["value"]) for turn in each["conversations"]] for each in conversations
    }
    seen = 0
    for config in regime["configs"]:
        if (config["version_flag"], config["use_im_start_end"], config["bos_token_id"]) != (template, True, 1):
            continue
        if config["pad_mode"] == "add":
            continue
        format = llava_med_format(
            template,
            spacing=spacing,
            image_tokens=config["image_token_len"],
            label_rule="original",
            max_length=config["model_max_length"],
        )
        for sample in config["samples"]:
            if "input_ids" in sample:
                ids, labels = encode(turns[sample["id"]], FAST[spacing], format)
                assert (ids, labels) == (sample["input_ids"], sample["labels"])
                seen += 1
    assert seen


WORDS = ["a", "the lung", "é", "漢", " ", "  ", "\n", "\t", "###", "</s>", "<unk>", "1.5", "\u2581", "ing", "\r\n"]


@pytest.mark.parametrize("spacing", FAST)
@settings(max_examples=150, deadline=None)
@given(parts=st.lists(st.sampled_from([*WORDS, "<im_start>", "<im_patch>", "<im_end>"]), max_size=14))
def test_any_text_has_the_slow_tokenizers_ids(spacing: str, parts: list[str]) -> None:
    text = "".join(parts)
    expected = [piece[0] for piece in tokenize(text, TOKENS, spacing, {})]
    assert FAST[spacing](text, add_special_tokens=False)["input_ids"] == expected


@pytest.mark.parametrize("spacing", FAST)
def test_it_is_the_same_after_saving_and_opening_by_transformers(tmp_path: Path, spacing: str) -> None:
    from transformers import AutoTokenizer

    FAST[spacing].save_pretrained(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    assert first_difference(opened, TOKENS, spacing) == ""
    other = "keep" if spacing == "strip" else "strip"
    assert "other ids on probe text 1" in first_difference(opened, TOKENS, other)
    assert opened.decode(opened("No pneumothorax.\nNormal.")["input_ids"], skip_special_tokens=True) == (
        "No pneumothorax.\nNormal."
    )


@pytest.fixture
def stock(tmp_path: Path, v1_folder: Path, clip_folder: Path) -> Path:
    convert(str(v1_folder), tmp_path / "stock", "stock", str(clip_folder), options=ConvertOptions(spacing="keep"))
    return tmp_path / "stock"


def spoil(folder: Path) -> None:
    """What a newer library class makes of the file: no blank in front of text behind a special token."""
    described = json.loads((folder / "tokenizer.json").read_text())
    described["normalizer"] = None
    described["pre_tokenizer"] = {
        "type": "Metaspace",
        "replacement": "\u2581",
        "prepend_scheme": "first",
        "split": False,
    }
    (folder / "tokenizer.json").write_text(json.dumps(described))


def test_a_tokenizer_with_other_ids_is_replaced_at_load(stock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert first_difference(open_checkpoint(stock).tokenizer, TOKENS, "keep") == ""
    assert "takes its place" not in capsys.readouterr().err
    spoil(stock)
    assert first_difference(open_checkpoint(stock).tokenizer, TOKENS, "keep") == ""
    assert "other ids on probe text" in capsys.readouterr().err


def test_a_tokenizer_that_cannot_be_checked_is_refused(stock: Path) -> None:
    """No tokenizer.model beside it, and ids that differ from the recorded ones."""
    (stock / "tokenizer.model").unlink()
    assert open_checkpoint(stock).format.tokens
    spoil(stock)
    with pytest.raises(InputError, match=r"other ids than .* bring tokenizer\.model"):
        open_checkpoint(stock)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    class Other:
        def get_added_vocab(self) -> dict[str, int]:
            return {"<s>": 1}

    with pytest.raises(InputError, match=r"the tokenizer has no <im_patch>, .* bring tokenizer\.model"):
        checked_tokenizer(tmp_path, Other(), llava_med_format())


def test_ids_beyond_the_pieces_must_follow_on(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "tokenizer/tokenizer.model", tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<im_patch>": 900}))
    with pytest.raises(InputError, match="<im_patch> has id 900, but only 800 pieces"):
        fast_tokenizer(tmp_path, read_llama_tokens(tmp_path, ("<im_patch>",)), "keep")


def test_generation_and_training_encode_by_the_checkpoints_tokenizer(stock: Path) -> None:
    checkpoint = open_checkpoint(stock)
    turns: list[Any] = [Turn("human", "What?\n<image>"), Turn("assistant", "Clear.\n2.5 cm")]
    assert encode(turns, checkpoint.tokenizer, checkpoint.format) == encode(turns, TOKENS, checkpoint.format)
