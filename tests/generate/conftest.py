"""A small random model that writes reports of very different length, and studies to write about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cxrgen.model.build import NewModel, new_model
from cxrgen.model.bundle import Bundle, save_bundle
from cxrgen.model.conversation import Format
from cxrgen.records import FRONTAL, LATERAL, Conversation, Study, Turn, View, write_studies

TEXTS = ["Frontal: <image>\nLateral: <image>\nWrite the report.", "The heart is enlarged. No pleural effusion."] * 3


def make_bundle() -> Bundle:
    sizes = NewModel(image_size=32, image_tokens=4, vocabulary=300, layers=2, hidden_size=32, heads=4)
    model, processor = new_model(sizes, TEXTS, seed=0)
    with torch.no_grad():  # sharper than an untrained model: varied words, and reports of 1 to 150 tokens
        for name, value in model.named_parameters():
            if "language_model" in name and "norm" not in name:
                value.mul_(10.0)
        model.model.language_model.embed_tokens.weight[processor.tokenizer.eos_token_id].mul_(1.5)
    return Bundle(model, processor, Format(template="plain", image_tokens=4, aspect="black"))


def write_film(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 32), dtype=np.uint8)).save(path)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return make_bundle()


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Conversation]]:
    """Prompts of mixed length, with none, one or two films."""
    folder = tmp_path_factory.mktemp("films")
    conversations = []
    for number in range(23):
        images = tuple(f"{number}-{view}.png" for view in range(number % 3))
        for view, name in enumerate(images):
            write_film(folder / name, 2 * number + view)
        text = "".join("View: <image>\n" for _ in images) + "Why? " * (number % 5) + "Write the report."
        conversations.append(Conversation(f"{number:03}", images, (Turn("human", text),)))
    return folder, conversations


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as a checkpoint folder."""
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    save_bundle(folder, make_bundle())
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared set: 14 test studies of one or two films, of which three have no report, and 6 to train on."""
    folder = tmp_path_factory.mktemp("prepared")
    studies = []
    for number in range(20):
        views = []
        for kind in (FRONTAL, LATERAL)[: 1 + number % 2]:
            write_film(folder / "images" / f"{number:03}-{kind}.png", number)
            views.append(View(f"images/{number:03}-{kind}.png", kind))
        report = None if number in (2, 5, 11) else f"Heart of size {number}. No effusion."
        sections = {"indication": "Cough."} if number % 4 == 0 else {}
        split = "test" if number < 14 else "train"
        studies.append(Study(f"{number:03}", f"p{number}", split, "", tuple(views), sections, report))
    write_studies(folder / "studies.parquet", studies)
    return folder
