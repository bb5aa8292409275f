"""The lower part of EfficientNet-Lite0 as a vision encoder: it has seen a million photographs, and is quick on a CPU.

Its layers are depthwise convolutions between 1 x 1 ones (Tan and Le 2019; the Lite variant has no attention over
channels). Weights learnt on ImageNet are packaged (`pip_weights`). A few hundred X-rays cannot replace the statistics
of a million photographs, so batch normalisation keeps the packaged ones, in training too. Layers above the eleventh
block name what is in photographs, and know less of X-rays. A token has the channels of two depths, averaged over a
sixteenth of the image. `import cxrgen.model` registers it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from transformers.configuration_utils import PretrainedConfig
from transformers.modeling_outputs import BaseModelOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.models.auto.configuration_auto import AutoConfig
from transformers.models.auto.modeling_auto import AutoModel

GRID = 4  # tokens in each direction
_LOWER = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80))
_UPPER = ((3, 5, 1, 6, 112),)  # blocks, kernel, stride of the first, times as many channels inside, channels
_STEM, _CHANNELS = 32, (80, 112)


class LiteEncoderConfig(PretrainedConfig):  # type: ignore[misc]
    """Size of the images of a LiteEncoder, in pixels, a multiple of 16."""

    model_type = "cxrgen_lite_encoder"

    def __init__(self, image_size: int = 224, **rest: object) -> None:
        super().__init__(**rest)
        self.image_size = image_size
        self.patch_size = image_size // GRID
        self.hidden_size = sum(_CHANNELS)
        self.num_channels = 3
        self.tokens = GRID**2


class _SamePad(nn.Conv2d):
    """A convolution whose output is the input's size over the stride; what is odd is padded right and below."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        across, down = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in pixels.shape[:-3:-1])
        ends = (across // 2, across - across // 2, down // 2, down - down // 2)
        return super().forward(nn.functional.pad(pixels, ends))


def _layer(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True) -> list[nn.Module]:
    convolution = _SamePad(before, after, kernel, stride, groups=groups, bias=False)
    normal = nn.BatchNorm2d(after, eps=1e-3, momentum=0.01)
    return [convolution, normal, nn.ReLU6(inplace=True)] if act else [convolution, normal]


class _Block(nn.Module):
    """Widened, seen by each channel on its own, narrowed; added to its input where both have one shape."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, wider: int) -> None:
        super().__init__()
        inside = before * wider
        widened = _layer(before, inside, 1) if wider > 1 else []
        seen = _layer(inside, inside, kernel, stride, groups=inside)
        self.path = nn.Sequential(*widened, *seen, *_layer(inside, after, 1, act=False))
        self.added = stride == 1 and before == after

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.path(pixels)
        return out + pixels if self.added else out


def _blocks(stages: Iterable[tuple[int, int, int, int, int]], before: int) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    for count, kernel, stride, wider, channels in stages:
        for number in range(count):
            blocks.append(_Block(before, channels, kernel, 1 if number else stride, wider))
            before = channels
    return blocks


class LiteEncoder(PreTrainedModel):  # type: ignore[misc]
    """Pixels (B, 3, S, S) to tokens (B, 16, 192), row by row."""

    config_class = LiteEncoderConfig
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    _no_split_modules = ("_Block",)

    def __init__(self, config: LiteEncoderConfig) -> None:
        super().__init__(config)
        self.lower = nn.Sequential(*_layer(3, _STEM, 3, 2), *_blocks(_LOWER, _STEM))
        self.upper = nn.Sequential(*_blocks(_UPPER, _CHANNELS[0]))
        self.post_init()

    def train(self, mode: bool = True) -> LiteEncoder:
        """As for any module, but batch normalisation keeps its statistics."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, pixel_values: torch.Tensor, **_: object) -> BaseModelOutput:
        lower = self.lower(pixel_values)
        depths = [nn.functional.adaptive_avg_pool2d(each, GRID) for each in (lower, self.upper(lower))]
        tokens = torch.cat(depths, 1).flatten(2).transpose(1, 2)
        return BaseModelOutput(last_hidden_state=tokens, hidden_states=(tokens,))


AutoConfig.register(LiteEncoderConfig.model_type, LiteEncoderConfig)
AutoModel.register(LiteEncoderConfig, LiteEncoder)
