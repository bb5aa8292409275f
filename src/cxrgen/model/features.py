"""Vision features computed once: a frozen encoder gives the same features in every epoch, so they are kept.

The features are those before the projector. While training on them, the encoder is replaced by a module that returns
its input, so that everything from the projector on is the stock forward pass.

Shapes: N images, S pixels a side, T tokens of one image, C hidden size of the encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutput


def tower_features(model: Any, pixel_values: torch.Tensor) -> torch.Tensor:
    """Pixel values (N, 3, S, S) to the features (N, T, C) that the projector would see (class token dropped)."""
    config = model.config
    class_token = config.vision_feature_select_strategy == "default"
    return encoder_features(model.model.vision_tower, pixel_values, config.vision_feature_layer, class_token)


def encoder_features(encoder: Any, pixel_values: torch.Tensor, layer: int, class_token: bool) -> torch.Tensor:
    """The same of a vision encoder alone: its hidden states of a layer, without the class token that it has."""
    outputs = encoder(pixel_values, output_hidden_states=True, return_dict=True)
    features: torch.Tensor = outputs.hidden_states[layer]
    return features[:, 1:] if class_token else features


class _PrecomputedFeatures(nn.Module):
    """Replaces the vision encoder; returns the features (N, T, C) that it is given, in the encoder's form."""

    def __init__(self, tower: nn.Module, class_token: bool) -> None:
        super().__init__()
        self.tower = [tower]  # in a list, so that it is no part of the model meanwhile
        self.class_token = class_token

    def forward(self, features: torch.Tensor, **_: object) -> BaseModelOutput:
        if features.dtype == torch.float16:  # as they lie on disk
            features = features.float()
        if self.class_token:  # the model drops the first position
            features = nn.functional.pad(features, (0, 0, 1, 0))
        return BaseModelOutput(last_hidden_state=features, hidden_states=(features, features))


@contextmanager
def precomputed_features(model: Any) -> Iterator[None]:
    """Within this context the model takes features (N, T, C) as its `pixel_values`."""
    tower = model.model.vision_tower
    model.model.vision_tower = _PrecomputedFeatures(tower, model.config.vision_feature_select_strategy == "default")
    try:
        yield
    finally:
        model.model.vision_tower = tower


@contextmanager
def raw_pixels(model: Any) -> Iterator[None]:
    """Within this context the model takes images again, also inside `precomputed_features`."""
    stand_in = getattr(model.model, "vision_tower", None)
    if not isinstance(stand_in, _PrecomputedFeatures):
        yield
        return
    model.model.vision_tower = stand_in.tower[0]
    try:
        yield
    finally:
        model.model.vision_tower = stand_in


def in_slices(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """`items` in consecutive slices of `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
