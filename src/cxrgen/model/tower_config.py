"""Sizes of the small vision tower (`cxrgen.model.tower`), known to AutoConfig without torch or any model class."""

from __future__ import annotations

from transformers.configuration_utils import PretrainedConfig
from transformers.models.auto.configuration_auto import AutoConfig


class ConvTowerConfig(PretrainedConfig):  # type: ignore[misc]
    """Sizes of a ConvTower; `image_size` in pixels, a multiple of 16."""

    model_type = "cxrgen_conv_tower"

    def __init__(
        self,
        image_size: int = 128,
        channels: tuple[int, int] = (96, 160),
        cell_size: int = 32,
        tokens: int = 8,
        hidden_size: int = 192,
        **rest: object,
    ) -> None:
        super().__init__(**rest)
        self.image_size = image_size
        self.channels = list(channels)
        self.cell_size = cell_size  # channels kept of each grid cell before mixing
        self.tokens = tokens
        self.hidden_size = hidden_size
        self.num_channels = 3
        self.patch_size = image_size  # what a processor would divide by; the token count is `tokens`, not a grid


AutoConfig.register(ConvTowerConfig.model_type, ConvTowerConfig)
