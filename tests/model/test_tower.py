from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlavaForConditionalGeneration

from cxrgen.core.errors import UsageError
from cxrgen.core.files import write_json
from cxrgen.core.tables import read_json
from cxrgen.model.features import precomputed_features, tower_features
from cxrgen.model.tiny import NewModel, new_model
from cxrgen.model.tower import CHANNELS, ConvTower, ConvTowerConfig

TEXTS = ["Frontal: <image>\nWrite the report.", "The heart is enlarged. No pleural effusion."]


stems = pytest.mark.parametrize("stem", CHANNELS)


def tiny(stem: str = "strided") -> tuple:
    sizes = NewModel(image_size=32, image_tokens=4, vocabulary=300, layers=1, hidden_size=32, encoder_stem=stem)
    return new_model(sizes, TEXTS, seed=3)


def test_the_same_seed_gives_the_same_model() -> None:
    first, second = tiny()[0].state_dict(), tiny()[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "importing",
    [
        "import cxrgen.model, transformers",
        "import transformers.models.auto, cxrgen.model",
        pytest.param("import cxrgen.model, transformers.models.clip.image_processing_pil_clip", marks=pytest.mark.slow),
        pytest.param("import transformers.modeling_utils, cxrgen.model", marks=pytest.mark.slow),
        pytest.param("import cxrgen.model, transformers.models.auto.modeling_auto", marks=pytest.mark.slow),
    ],
)
def test_auto_classes_open_the_folder_in_another_process(tmp_path: Path, importing: str) -> None:
    model, processor = tiny("dense")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    code = f"""{importing}
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
assert AutoConfig.from_pretrained({str(tmp_path)!r}).vision_config.tokens == 4
model = AutoModelForImageTextToText.from_pretrained({str(tmp_path)!r})
processor = AutoProcessor.from_pretrained({str(tmp_path)!r})
print(type(model).__name__, type(processor).__name__)"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["LlavaForConditionalGeneration", "LlavaProcessor"], result.stderr


def test_processor_and_model_agree_on_the_number_of_image_tokens() -> None:
    from PIL import Image

    model, processor = tiny()
    image = Image.new("RGB", (40, 32), (90, 90, 90))
    inputs = processor(text=TEXTS[0], images=[image], return_tensors="pt")
    assert int((inputs.input_ids == model.config.image_token_index).sum()) == 4
    assert model(**inputs).logits.shape[1] == inputs.input_ids.shape[1]


@pytest.mark.parametrize("strategy", ["full", "default"])
@stems
def test_cached_features_give_the_same_logits(stem: str, strategy: str) -> None:
    model, _ = tiny(stem)
    model.config.vision_feature_select_strategy = strategy
    model.eval()
    kept = 4 if strategy == "full" else 3  # "default" drops the first position as a class token
    image = model.config.image_token_index
    ids = torch.tensor([[1, *[image] * kept, 7, 8, 9, *[image] * kept, 5]])
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(input_ids=ids, pixel_values=pixels).logits
        features = tower_features(model, pixels)
        with precomputed_features(model):
            cached = model(input_ids=ids, pixel_values=features).logits
    assert features.shape == (2, kept, 192)
    torch.testing.assert_close(cached, expected)
    assert type(model.model.vision_tower).__name__ == "ConvTower"


@stems
@pytest.mark.parametrize("size", [32, 48])
def test_every_weight_gets_a_gradient(stem: str, size: int) -> None:
    encoder = ConvTower(ConvTowerConfig(image_size=size, tokens=4, hidden_size=16, stem=stem))
    features = encoder(torch.randn(2, 3, size, size)).last_hidden_state
    assert features.shape == (2, 4, 16)
    (features * torch.randn(2, 4, 16)).sum().backward()
    assert all(each.grad is not None and each.grad.any() for each in encoder.parameters())


@stems
def test_a_saved_encoder_opens_as_it_was(tmp_path: Path, stem: str) -> None:
    encoder = ConvTower(ConvTowerConfig(image_size=32, tokens=4, hidden_size=16, stem=stem)).eval()
    encoder.save_pretrained(tmp_path)
    opened = ConvTower.from_pretrained(tmp_path).eval()
    pixels = torch.randn(3, 3, 32, 32)
    assert (opened.config.stem, opened.config.channels) == (stem, list(CHANNELS[stem]))
    assert torch.equal(opened(pixels).last_hidden_state, encoder(pixels).last_hidden_state)


def test_a_checkpoint_from_before_stems_had_names_is_strided(tmp_path: Path) -> None:
    model, _ = tiny()
    model.save_pretrained(tmp_path)
    settings = read_json(tmp_path / "config.json")
    settings["vision_config"].pop("stem", None)
    assert settings["vision_config"]["channels"] == [96, 160]
    write_json(tmp_path / "config.json", settings)
    opened = LlavaForConditionalGeneration.from_pretrained(tmp_path)
    shapes = {name: list(each.shape) for name, each in opened.model.vision_tower.named_parameters()}
    assert list(shapes.items())[:4] == [
        ("stem.1.weight", [96, 16, 3, 3]),
        ("stem.2.weight", [96]),
        ("stem.2.bias", [96]),
        ("stem.4.weight", [160, 96, 3, 3]),
    ]
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(tower_features(opened.eval(), pixels), tower_features(model.eval(), pixels))


@pytest.mark.parametrize(("stem", "same"), [("strided", False), ("dense", True)])
def test_a_dense_stem_sees_a_small_structure_alike_at_every_block(stem: str, same: bool) -> None:
    """The strongest answer of the first convolution, when a structure moves by a block of four pixels."""
    torch.manual_seed(0)
    encoder = ConvTower(ConvTowerConfig(image_size=64, stem=stem)).eval()
    image, moved = torch.zeros(2, 1, 1, 64, 64)
    image[..., 20:26, 24:30] = torch.rand(6, 6)
    moved[..., 24:30, 28:34] = image[..., 20:26, 24:30]
    strongest = [encoder.stem[:2](each).amax(dim=(2, 3)) for each in (image, moved)]
    assert torch.allclose(*strongest, atol=1e-6) == same


def test_a_stem_that_is_not_known() -> None:
    with pytest.raises(UsageError, match=r"unknown stem of the vision encoder 'dens'.*did you mean 'dense'"):
        ConvTowerConfig(stem="dens")
