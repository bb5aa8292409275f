from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cxrgen.generate.decode import write_reports
from cxrgen.model.build import NewModel, new_model
from cxrgen.model.bundle import Bundle
from cxrgen.model.conversation import Format, encode_prompt
from cxrgen.model.pixels import film_pixels
from cxrgen.records import Conversation, Turn

TEXTS = ["Frontal: <image>\nLateral: <image>\nWrite the report.", "The heart is enlarged. No pleural effusion."] * 3


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    sizes = NewModel(image_size=32, image_tokens=4, vocabulary=300, layers=2, hidden_size=32, heads=4)
    model, processor = new_model(sizes, TEXTS, seed=0)
    with torch.no_grad():  # sharper than an untrained model: varied words, and reports of 1 to 150 tokens
        for name, value in model.named_parameters():
            if "language_model" in name and "norm" not in name:
                value.mul_(10.0)
        model.model.language_model.embed_tokens.weight[processor.tokenizer.eos_token_id].mul_(1.5)
    return Bundle(model, processor, Format(template="plain", image_tokens=4, aspect="black"))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Conversation]]:
    """Prompts of mixed length, with none, one or two films."""
    folder = tmp_path_factory.mktemp("films")
    generator = np.random.default_rng(0)
    conversations = []
    for number in range(23):
        images = tuple(f"{number}-{view}.png" for view in range(number % 3))
        for name in images:
            Image.fromarray(generator.integers(0, 256, (32, 32), dtype=np.uint8)).save(folder / name)
        text = "".join("View: <image>\n" for _ in images) + "Why? " * (number % 5) + "Write the report."
        conversations.append(Conversation(f"{number:03}", images, (Turn("human", text),)))
    return folder, conversations


def one_by_one(bundle: Bundle, folder: Path, conversation: Conversation, most: int) -> str:
    """The reference: transformers' own generate on a single prompt."""
    tokenizer = bundle.tokenizer
    ids = torch.tensor([list(encode_prompt(conversation.turns, tokenizer, bundle.format))])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if conversation.images:
        paths = [folder / name for name in conversation.images]
        inputs["pixel_values"] = film_pixels(paths, bundle.processor.image_processor, "black")
    written = bundle.model.eval().generate(**inputs, max_new_tokens=most, do_sample=False)
    return tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True).strip()


@pytest.mark.parametrize("batch_size", [1, 3, 8, 64])
def test_batches_of_any_size_write_what_one_by_one_writes(
    bundle: Bundle, asked: tuple[Path, list[Conversation]], batch_size: int
) -> None:
    folder, conversations = asked
    most = 150  # beyond the buffer's growth, so that columns are added and forgotten
    expected = [one_by_one(bundle, folder, each, most) for each in conversations]
    written = dict(write_reports(bundle, conversations, folder, batch_size, most))
    assert sorted(written) == list(range(len(conversations)))
    assert [written[number].study_id for number in sorted(written)] == [each.id for each in conversations]
    assert [written[number].report for number in sorted(written)] == expected
    lengths = {len(text) for text in expected}
    assert len(lengths) > 5, "the test needs reports of different length to show anything"


def test_nothing_to_write(bundle: Bundle, tmp_path: Path) -> None:
    assert list(write_reports(bundle, [], tmp_path, 8, 10)) == []
