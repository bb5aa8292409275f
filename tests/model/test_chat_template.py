"""Other tools ask a checkpoint by its chat template as we do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.generate.conftest import make_checkpoint, make_clip_checkpoint
from transformers import AutoProcessor, pipeline

from cxrgen.core.records import FRONTAL, LATERAL, OTHER, Conversation, Study, Turn, View
from cxrgen.generate.decoding.decode import write_reports
from cxrgen.model.chat_template import messages_of
from cxrgen.model.checkpoint import Checkpoint, write_checkpoint
from cxrgen.model.conversation import encode_prompt, llava_med_format
from cxrgen.model.llama_fast import fast_tokenizer
from cxrgen.model.llama_tokenizer import read_llama_tokens
from cxrgen.text.prompts import PromptRule, study_conversation

TOKENIZER = Path(__file__).parents[1] / "golden" / "llava_med" / "tokenizer"
VIEWS = (FRONTAL, LATERAL, OTHER)


def write_image(path: Path, seed: int) -> str:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (56, 56, 3), dtype=np.uint8)).save(path)
    return str(path)


def asked(folder: Path, count: int, sections: dict[str, str], prompt: str) -> Conversation:
    views = tuple(View(write_image(folder / f"{n}.png", n), kind) for n, kind in enumerate(VIEWS[:count]))
    return study_conversation(Study("1", "p", views=views, sections=sections), PromptRule(prompt))


def of_template(template: str, start_end: bool, spacing: str) -> Checkpoint:
    """A checkpoint with LLaVA-Med's tokens, or with its own under template plain."""
    checkpoint = make_clip_checkpoint()
    if template == "plain":
        return checkpoint
    format = llava_med_format(template, start_end, image_tokens=16, spacing=spacing)
    tokens = read_llama_tokens(TOKENIZER, format.added_tokens)
    checkpoint.processor.tokenizer = fast_tokenizer(TOKENIZER, tokens, spacing)
    checkpoint.processor.image_token = format.image_token
    checkpoint.processor.image_token_id = tokens.special[format.image_token]
    return replace(checkpoint, format=format)


@pytest.mark.parametrize(
    ("template", "start_end", "spacing"),
    [
        ("plain", False, "keep"),
        *(
            (template, start_end, spacing)
            for template in ("v0", "v1", "mistral")
            for start_end in (False, True)
            for spacing in ("keep", "strip")
        ),
    ],
)
def test_the_chat_template_gives_our_prompt(tmp_path: Path, template: str, start_end: bool, spacing: str) -> None:
    checkpoint = of_template(template, start_end, spacing)
    write_checkpoint(tmp_path / "model", checkpoint)
    processor = AutoProcessor.from_pretrained(tmp_path / "model")
    for count in (1, 2, 3):
        for sections in ({}, {"indication": "Cough, 3 days.\n#### Fever?"}):
            for prompt in ("study", "original"):
                each = asked(tmp_path, count, sections, prompt)
                messages = messages_of(each.turns, each.images)
                inputs = processor.apply_chat_template(
                    messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
                )
                expected = encode_prompt(each.turns, checkpoint.tokenizer, checkpoint.format, count)
                assert inputs["input_ids"][0].tolist() == expected
                assert len(inputs["pixel_values"]) == count


def test_text_alone_and_several_turns(tmp_path: Path) -> None:
    checkpoint = of_template("v1", True, "keep")
    write_checkpoint(tmp_path / "model", checkpoint)
    tokenizer = AutoProcessor.from_pretrained(tmp_path / "model").tokenizer
    turns = [Turn("human", "Hello."), Turn("gpt", "Hi."), Turn("human", "Why?")]
    ids = tokenizer.apply_chat_template(messages_of(turns), add_generation_prompt=True, return_dict=True)["input_ids"]
    assert ids == encode_prompt(turns, checkpoint.tokenizer, checkpoint.format)
    with pytest.raises(Exception, match="roles user and assistant"):
        tokenizer.apply_chat_template([{"role": "system", "content": "x"}])


@pytest.mark.parametrize("make", [make_checkpoint, make_clip_checkpoint])
def test_the_stock_pipeline_writes_what_generate_writes(tmp_path: Path, make: type[Checkpoint]) -> None:
    checkpoint = make()
    write_checkpoint(tmp_path / "model", checkpoint)
    studies = [asked(tmp_path, count, {"indication": "Cough."}, "study") for count in (1, 2, 3)]
    ours = [report for study in studies for _, report in write_reports(checkpoint, [study], Path(), 1, 40)]
    writer = pipeline("image-text-to-text", model=str(tmp_path / "model"), dtype="float32")
    theirs = [
        writer(text=messages_of(study.turns, study.images), max_new_tokens=40, return_full_text=False)[0]
        for study in studies
    ]
    assert [each["generated_text"].strip() for each in theirs] == [each.report for each in ours]
    assert any(each.report for each in ours)
