"""Joined image tokens: the same values in fewer tokens, a checkpoint that opens again, refusals where none can be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.model.test_assemble import TOWERS, language
from transformers import AutoModelForImageTextToText
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from cxrgen.core.errors import InputError
from cxrgen.model.assemble import join, join_without_weights
from cxrgen.model.features import tower_features
from cxrgen.model.pooled_encoder import PooledEncoderConfig, joined_neighbours
from cxrgen.model.tower import ConvTowerConfig

__all__ = ["language"]


def write_tower(folder: Path, kind: str) -> Path:
    TOWERS[kind]().save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_neighbours_by_hand() -> None:
    """A 3 x 3 grid in blocks of 2: the lower and the right edge are filled up with zeros."""
    grid = torch.arange(1.0, 10.0)[None, :, None]  # one value a token
    expected = [[1, 2, 4, 5], [3, 0, 6, 0], [7, 8, 0, 0], [9, 0, 0, 0]]
    assert joined_neighbours(grid, 3, 2)[0].tolist() == expected
    two = torch.randn(2, 16, 5)
    joined = joined_neighbours(two, 4, 2)
    assert joined.shape == (2, 4, 20)
    assert torch.equal(joined[1, 3], torch.cat([two[1, place] for place in (10, 11, 14, 15)]))
    assert torch.equal(joined_neighbours(two, 4, 1), two)


def test_rad_dino() -> None:
    """518 pixels in patches of 14: 37 x 37 tokens of 768 values become 19 x 19."""
    from transformers import Dinov2Config

    config = PooledEncoderConfig(Dinov2Config(image_size=518, patch_size=14, hidden_size=768), 2, -1, 1)
    assert (config.tokens, config.hidden_size) == (361, 3072)


@pytest.mark.parametrize("kind", TOWERS)
def test_a_joined_model_opens_again(kind: str, language: Path, tmp_path: Path) -> None:
    tower = write_tower(tmp_path / "tower", kind)
    plain, _ = join(language, tower, seed=0)
    model, processor = join(language, tower, seed=0, pooling=2)
    pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole, pooled = (tower_features(each.eval(), pixels) for each in (plain, model))
    assert (whole.shape, pooled.shape) == ((1, 16, 16), (1, 4, 64))
    torch.testing.assert_close(pooled, joined_neighbours(whole, 4, 2))
    model.save_pretrained(tmp_path / "joined")
    again = AutoModelForImageTextToText.from_pretrained(tmp_path / "joined").eval()
    inputs = processor(text="<image> Write.", images=[Image.new("RGB", (32, 32), (90, 90, 90))], return_tensors="pt")
    assert int((inputs.input_ids == model.config.image_token_id).sum()) == 4
    with torch.no_grad():
        torch.testing.assert_close(again(**inputs).logits, model(**inputs).logits)
    settings, _ = join_without_weights(language, tower, pooling=2)
    assert settings.image_seq_length == model.config.image_seq_length == 4


def test_what_cannot_be_joined(language: Path, tmp_path: Path) -> None:
    tower = write_tower(tmp_path / "tower", "clip")
    with pytest.raises(InputError, match="no grid of patches"):
        join(language, ConvTowerConfig(image_size=32, tokens=4, hidden_size=16), seed=0, pooling=2)
    with pytest.raises(InputError, match="4 x 4 tokens an image, so --token_pooling is at most 4"):
        join(language, tower, seed=0, pooling=5)
    model, processor = join(language, tower, seed=0, pooling=2)
    model.model.vision_tower.save_pretrained(tmp_path / "pooled")
    processor.image_processor.save_pretrained(tmp_path / "pooled")
    again, _ = join(language, tmp_path / "pooled", seed=0)  # such a folder is an encoder like any other
    assert again.config.image_seq_length == 4
    with pytest.raises(InputError, match="no grid of patches"):
        join(language, tmp_path / "pooled", seed=0, pooling=2)
