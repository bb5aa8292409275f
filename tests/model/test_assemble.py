from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    LlamaConfig,
    LlamaForCausalLM,
    SiglipVisionConfig,
    SiglipVisionModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from cxrgen.core.errors import InputError
from cxrgen.model.assemble import join
from cxrgen.model.tiny import learn_tokenizer
from cxrgen.model.tower import ConvTowerConfig

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
TOWERS: dict[str, Any] = {
    "clip": lambda: CLIPVisionModel(CLIPVisionConfig(**SMALL, intermediate_size=32)),
    "siglip": lambda: SiglipVisionModel(SiglipVisionConfig(**SMALL, intermediate_size=32)),
    "dinov2": lambda: Dinov2Model(Dinov2Config(**SMALL, mlp_ratio=2)),
}


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language")
    tokenizer = learn_tokenizer(["The heart is enlarged."], 280)
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", [*TOWERS, "conv"])
def test_a_joined_model_keeps_both_halves_and_opens_again(kind: str, language: Path, tmp_path: Path) -> None:
    tower: Any = ConvTowerConfig(image_size=32, tokens=4, hidden_size=16)
    if kind in TOWERS:
        tower = tmp_path / "tower"
        pretrained = TOWERS[kind]()
        pretrained.save_pretrained(tower)
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(tower)
    model, processor = join(language, tower, seed=0)
    model.eval()
    text = LlamaForCausalLM.from_pretrained(language).eval()
    ids = torch.tensor([[5, 9, 7, 30]])
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=ids).logits[..., : text.vocab_size], text(input_ids=ids).logits)
        if kind in TOWERS:
            pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
            expected = pretrained.eval()(pixels).last_hidden_state
            torch.testing.assert_close(model.model.vision_tower(pixels).last_hidden_state, expected)
    image = Image.new("RGB", (32, 32), (90, 90, 90))
    inputs = processor(text="<image> <image> Write.", images=[image, image], return_tensors="pt")
    model.save_pretrained(tmp_path / "joined")
    processor.save_pretrained(tmp_path / "joined")
    again = AutoModelForImageTextToText.from_pretrained(tmp_path / "joined").eval()
    with torch.no_grad():
        torch.testing.assert_close(again(**inputs).logits, model(**inputs).logits)
    inputs_again = AutoProcessor.from_pretrained(tmp_path / "joined")(
        text="<image> <image> Write.", images=[image, image], return_tensors="pt"
    )
    assert torch.equal(inputs_again.input_ids, inputs.input_ids)


def test_folders_that_cannot_be_joined_are_named(language: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        join(tmp_path / "absent", ConvTowerConfig(), seed=0)
    with pytest.raises(InputError, match="unknown vision encoder 'llama'"):
        join(language, language, seed=0)
