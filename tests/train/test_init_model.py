"""Weights that a run brings with it: a tower given as a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.train.material import opened, small
from transformers import AutoModel, CLIPModel, CLIPTextConfig, CLIPVisionConfig

from cxrgen.core.errors import InputError


@pytest.mark.parametrize("whole", [False, True], ids=["vision model", "with its text model"])
def test_a_tower_from_a_folder(llava: Path, prepared: Path, tmp_path: Path, whole: bool) -> None:
    settings = {"model_name_or_path": str(llava), "version": "v1"}
    own = opened(small(prepared, tmp_path / "out", **settings)).model
    config = own.config.vision_config
    torch.manual_seed(5)
    text = CLIPTextConfig(vocab_size=50, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    other = CLIPModel._from_config(_clip(text, config)) if whole else AutoModel.from_config(config)
    other.save_pretrained(tmp_path / "tower")
    given = opened(small(prepared, tmp_path / "out", **settings, vision_tower=str(tmp_path / "tower"))).model
    expected = getattr(other, "vision_model", other).state_dict()
    found = given.model.vision_tower.state_dict()
    assert {name.removeprefix("vision_model.") for name in expected} == found.keys()
    for name, value in expected.items():
        assert torch.equal(found[name.removeprefix("vision_model.")], value)
    assert any(not torch.equal(own.model.vision_tower.state_dict()[name], found[name]) for name in found)
    assert torch.equal(own.lm_head.weight, given.lm_head.weight)


def test_a_folder_that_is_no_fitting_tower(llava: Path, prepared: Path, tmp_path: Path) -> None:
    settings = {"model_name_or_path": str(llava), "version": "v1", "vision_tower": str(tmp_path)}
    with pytest.raises(InputError, match="no vision encoder that transformers opens"):
        opened(small(prepared, tmp_path / "out", **settings))
    wide = CLIPVisionConfig(hidden_size=32, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2)
    AutoModel.from_config(wide).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="is missing or has another shape"):
        opened(small(prepared, tmp_path / "out", **settings))


def _clip(text: CLIPTextConfig, vision: CLIPVisionConfig) -> object:
    from transformers import CLIPConfig

    return CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)
