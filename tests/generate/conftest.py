"""A small random model that writes reports of very different length, and studies to write about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from cxrgen.core.records import FRONTAL, LATERAL, Conversation, Study, Turn, View, write_studies
from cxrgen.model.checkpoint import Checkpoint, write_checkpoint
from cxrgen.model.conversation import Format
from cxrgen.model.tiny import NewModel, new_model

TEXTS = ["Frontal: <image>\nLateral: <image>\nWrite the report.", "The heart is enlarged. No pleural effusion."] * 3


def make_checkpoint() -> Checkpoint:
    sizes = NewModel(image_size=32, image_tokens=4, vocabulary=300, layers=2, hidden_size=32, heads=4)
    model, processor = new_model(sizes, TEXTS, seed=0)
    with torch.no_grad():  # sharper than an untrained model: varied words, and reports of 1 to 150 tokens
        for name, value in model.named_parameters():
            if "language_model" in name and "norm" not in name:
                value.mul_(10.0)
        model.model.language_model.embed_tokens.weight[processor.tokenizer.eos_token_id].mul_(1.5)
    return Checkpoint(model, processor, Format(template="plain", image_tokens=4, aspect="black"))


def make_clip_checkpoint() -> Checkpoint:
    """The same words by stock classes alone: CLIP's tower with its class token dropped, grouped key-value heads."""
    sizes = NewModel(image_size=56, image_tokens=16, vocabulary=300)
    _, processor = new_model(sizes, TEXTS, seed=0)
    tokenizer = processor.tokenizer
    processor.patch_size, processor.num_additional_image_tokens = 14, 1
    processor.vision_feature_select_strategy = "default"
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=2,
            image_size=56,
            patch_size=14,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "norm" not in name:
                value.mul_(4.0)
    return Checkpoint(model, processor, Format(template="plain", image_tokens=16, aspect="black"))


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 32), dtype=np.uint8)).save(path)


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return make_checkpoint()


@pytest.fixture(scope="session")
def clip_checkpoint() -> Checkpoint:
    return make_clip_checkpoint()


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Conversation]]:
    """Prompts of mixed length, with none, one or two images."""
    folder = tmp_path_factory.mktemp("images")
    conversations = []
    for number in range(23):
        images = tuple(f"{number}-{view}.png" for view in range(number % 3))
        for view, name in enumerate(images):
            write_image(folder / name, 2 * number + view)
        text = "".join("View: <image>\n" for _ in images) + "Why? " * (number % 5) + "Write the report."
        conversations.append(Conversation(f"{number:03}", images, (Turn("human", text),)))
    return folder, conversations


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as a checkpoint folder."""
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    write_checkpoint(folder, make_checkpoint())
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared set: 14 test studies of one or two images, of which three have no report, and 6 to train on."""
    folder = tmp_path_factory.mktemp("prepared")
    studies = []
    for number in range(20):
        views = []
        for kind in (FRONTAL, LATERAL)[: 1 + number % 2]:
            write_image(folder / "images" / f"{number:03}-{kind}.png", number)
            views.append(View(f"images/{number:03}-{kind}.png", kind))
        report = None if number in (2, 5, 11) else f"Heart of size {number}. No effusion."
        sections = {"indication": "Cough."} if number % 4 == 0 else {}
        split = "test" if number < 14 else "train"
        studies.append(Study(f"{number:03}", f"p{number}", split, "", tuple(views), sections, report))
    write_studies(folder / "studies.parquet", studies)
    return folder
