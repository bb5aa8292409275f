"""The recorded tiny LLaVA-Med, in folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.model.made import V1_CONFIG, VISION, filled, language_shapes, tower_shapes, write_folder


@pytest.fixture(scope="session")
def v1_tensors() -> dict[str, torch.Tensor]:
    """The language model and the projector."""
    shapes = language_shapes(803) | {"model.mm_projector.weight": (64, 1024), "model.mm_projector.bias": (64,)}
    return filled(shapes)


@pytest.fixture(scope="session")
def v1_folder(tmp_path_factory: pytest.TempPathFactory, v1_tensors: dict[str, torch.Tensor]) -> Path:
    """A merged v1.0 checkpoint."""
    folder = write_folder(tmp_path_factory.mktemp("v1") / "LLaVA-Med", v1_tensors, V1_CONFIG)
    (folder / "added_tokens.json").write_text(json.dumps({"<im_patch>": 800, "<im_start>": 801, "<im_end>": 802}))
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vision encoder, in a folder as a whole CLIP has it: a text half beside it, positions as numbers."""
    tensors = filled(tower_shapes())
    tensors["vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    tensors["text_model.final_layer_norm.weight"] = torch.ones(4)
    tensors["logit_scale"] = torch.tensor(4.6)
    config = {"model_type": "clip", "vision_config": VISION, "text_config": {"hidden_size": 4}}
    return write_folder(tmp_path_factory.mktemp("clip") / "clip", tensors, config, tokenizer=False)
