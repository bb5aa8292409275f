"""A vision encoder of many tokens whose neighbouring tokens are joined, as a Hugging Face model around another one.

Blocks of `factor` x `factor` tokens become one that holds the values of all (pixel shuffle), and nothing is averaged
away; the projector learns what to make of them. RAD-DINO's 1,369 tokens an image become 361. A grid that does not
divide is filled up with zeros at its right and lower edge. The stock LLaVA class takes it as it takes any encoder: its
features are its last hidden state. The price: other programs open such a model only with this package imported.
`import cxrgen.model` registers it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from transformers.configuration_utils import PretrainedConfig
from transformers.modeling_outputs import BaseModelOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.models.auto.configuration_auto import AutoConfig
from transformers.models.auto.modeling_auto import AutoModel

from cxrgen.model.lite_encoder import LiteEncoderConfig
from cxrgen.model.tower import ConvTowerConfig


class PooledEncoderConfig(PretrainedConfig):  # type: ignore[misc]
    """`encoder` is the configuration of the encoder inside, `feature_layer` the hidden state that is read of it."""

    model_type = "cxrgen_pooled_encoder"

    def __init__(
        self,
        encoder: Any = None,
        factor: int = 2,
        feature_layer: int = -1,
        class_tokens: int = 0,
        **rest: object,
    ) -> None:
        for name in ("image_size", "patch_size", "num_channels", "hidden_size", "tokens"):  # follow from the encoder
            rest.pop(name, None)
        super().__init__(**rest)
        if encoder is None:  # transformers makes one of defaults, to compare with
            encoder = {"model_type": "clip_vision_model"}
        self.encoder = AutoConfig.for_model(**encoder) if isinstance(encoder, dict) else encoder
        self.factor, self.feature_layer, self.class_tokens = factor, feature_layer, class_tokens
        self.image_size = self.encoder.image_size
        self.patch_size = self.image_size  # what a processor would divide by; the token count is `tokens`
        self.num_channels = 3
        self.hidden_size = self.encoder.hidden_size * factor**2
        self.tokens = math.ceil(self.side / factor) ** 2

    @property
    def side(self) -> int:
        """Tokens in a row of the encoder's grid."""
        return int(self.encoder.image_size // self.encoder.patch_size)


class PooledEncoder(PreTrainedModel):  # type: ignore[misc]
    """Pixels (B, 3, S, S) to tokens (B, tokens, hidden_size)."""

    config_class = PooledEncoderConfig
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    _supports_sdpa = _supports_flash_attn = _supports_attention_backend = True

    def __init__(self, config: PooledEncoderConfig) -> None:
        super().__init__(config)
        self.encoder = AutoModel.from_config(config.encoder)
        self.post_init()

    def forward(self, pixel_values: torch.Tensor, **_: object) -> BaseModelOutput:
        outputs = self.encoder(pixel_values, output_hidden_states=True, return_dict=True)
        features = outputs.hidden_states[self.config.feature_layer][:, self.config.class_tokens :]
        pooled = joined_neighbours(features, self.config.side, self.config.factor)
        return BaseModelOutput(last_hidden_state=pooled, hidden_states=(pooled,))


def is_own_encoder(config: Any) -> bool:
    """Whether a vision_config of config.json is of a class that only this package registers."""
    own = (ConvTowerConfig.model_type, LiteEncoderConfig.model_type, PooledEncoderConfig.model_type)
    return isinstance(config, dict) and config.get("model_type") in own


def joined_neighbours(features: torch.Tensor, side: int, factor: int) -> torch.Tensor:
    """Tokens (B, side * side, C) of a grid to (B, n * n, factor * factor * C), n being side / factor rounded up."""
    missing, batch, channels = -side % factor, features.shape[0], features.shape[2]
    grid = nn.functional.pad(features.reshape(batch, side, side, channels), (0, 0, 0, missing, 0, missing))
    n = (side + missing) // factor
    blocks = grid.reshape(batch, n, factor, n, factor, channels).transpose(2, 3)  # (B, n, n, factor, factor, C)
    return blocks.reshape(batch, n * n, factor * factor * channels)


AutoConfig.register(PooledEncoderConfig.model_type, PooledEncoderConfig)
AutoModel.register(PooledEncoderConfig, PooledEncoder)
