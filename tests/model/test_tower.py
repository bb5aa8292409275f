from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cxrgen.model.features import precomputed_features, tower_features
from cxrgen.model.tiny import NewModel, new_model

TEXTS = ["Frontal: <image>\nWrite the report.", "The heart is enlarged. No pleural effusion."]


def tiny() -> tuple:
    return new_model(NewModel(image_size=32, image_tokens=4, vocabulary=300, layers=1, hidden_size=32), TEXTS, seed=3)


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
    model, processor = tiny()
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
def test_cached_features_give_the_same_logits(strategy: str) -> None:
    model, _ = tiny()
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
