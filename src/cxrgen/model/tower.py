"""A small convolutional vision encoder that learns in minutes on a CPU, as a Hugging Face model.

4 x 4 pixel blocks become channels, convolutions turn them into a coarse grid, and one linear layer mixes the grid into
a few tokens. Mixed tokens see the whole image at once, so side and place are learnt early and a view costs a language
model few positions. The price: a fixed input size, and no pretrained weights. Larger models take a stock encoder (CLIP,
SigLIP, DINOv2).
Stem `strided` halves the grid within its convolutions: a small structure looks different in each of 64 places relative
to the grid, and each has to be learnt. Stem `dense` convolves at every block and keeps the maximum of 2 x 2
(max-pooling), so it needs fewer steps, each of which costs about the same (benchmarks/encoder.py measures both).
`import cxrgen.model` registers it, so that `AutoModelForImageTextToText` opens a checkpoint that holds one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers.configuration_utils import PretrainedConfig
from transformers.modeling_outputs import BaseModelOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.models.auto.configuration_auto import AutoConfig
from transformers.models.auto.modeling_auto import AutoModel

from cxrgen.core.errors import unknown

CHANNELS = {"strided": (96, 160), "dense": (48, 96, 128)}  # of the stems' convolutions of 3 x 3


class ConvTowerConfig(PretrainedConfig):  # type: ignore[misc]
    """Sizes of a ConvTower; `image_size` in pixels, a multiple of 16. A configuration without `stem` is strided."""

    model_type = "cxrgen_conv_tower"

    def __init__(
        self,
        image_size: int = 128,
        channels: Sequence[int] = (),
        cell_size: int = 32,
        tokens: int = 8,
        hidden_size: int = 192,
        stem: str = "strided",
        **rest: object,
    ) -> None:
        super().__init__(**rest)
        if stem not in CHANNELS:
            raise unknown("stem of the vision encoder", stem, CHANNELS)
        self.stem = stem
        self.image_size = image_size
        self.channels = list(channels or CHANNELS[stem])
        self.cell_size = cell_size  # channels kept of each grid cell before mixing
        self.tokens = tokens
        self.hidden_size = hidden_size
        self.num_channels = 3
        self.patch_size = image_size  # what a processor would divide by; the token count is `tokens`, not a grid


class ConvTower(PreTrainedModel):  # type: ignore[misc]
    """Pixels (B, 3, S, S), of which the first channel is read, to tokens (B, tokens, hidden_size)."""

    config_class = ConvTowerConfig
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    _no_split_modules = ("ConvTower",)

    def __init__(self, config: ConvTowerConfig) -> None:
        super().__init__(config)
        grid = config.image_size // 16
        make = _dense_stem if config.stem == "dense" else _strided_stem
        self.stem = make(config.channels, config.cell_size)
        self.mix = nn.Linear(config.cell_size * grid * grid, config.tokens * config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.post_init()

    def forward(self, pixel_values: torch.Tensor, **_: object) -> BaseModelOutput:
        cells = self.stem(pixel_values[:, :1]).flatten(1)
        tokens = self.norm(self.mix(cells).unflatten(1, (self.config.tokens, self.config.hidden_size)))
        return BaseModelOutput(last_hidden_state=tokens, hidden_states=(tokens,))


def _strided_stem(channels: Sequence[int], cells: int) -> nn.Sequential:
    """An image to a grid of blocks of 16 pixels; the order of layers is that of the names in checkpoints."""
    first, second = channels
    return nn.Sequential(
        nn.PixelUnshuffle(4),
        nn.Conv2d(16, first, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(first),
        nn.ReLU(inplace=True),
        nn.Conv2d(first, second, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(second),
        nn.ReLU(inplace=True),
        nn.Conv2d(second, cells, 1),
    )


def _dense_stem(channels: Sequence[int], cells: int) -> nn.Sequential:
    """The same grid; norms stand behind the pools, where they have a quarter of the values to read."""
    first, second, third = channels
    return nn.Sequential(
        _ChannelsLastUnshuffle(4),
        nn.Conv2d(16, first, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(first),
        nn.ReLU(inplace=True),
        nn.Conv2d(first, second, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(second),
        nn.ReLU(inplace=True),
        nn.Conv2d(second, third, 3, padding=1, bias=False),
        nn.BatchNorm2d(third),
        nn.ReLU(inplace=True),
        nn.Conv2d(third, cells, 1),
    )


class _ChannelsLastUnshuffle(nn.PixelUnshuffle):
    """Blocks of pixels as channels, each block's channels side by side in memory, which convolutions read faster."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image).contiguous(memory_format=torch.channels_last)


AutoConfig.register(ConvTowerConfig.model_type, ConvTowerConfig)
AutoModel.register(ConvTowerConfig, ConvTower)
