"""What one micro-batch costs: bytes kept for the backward pass, and floating-point operations, without any weights.

Model and batch are torch's fake tensors, which have shapes and types and no memory. A forward and a backward pass are
run without and with one decoder layer; the difference is a layer, and all others cost the same. Attention counts as
a fused kernel does: it keeps queries, keys, values and its output, never the matrix of all pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import AttentionInterface

from cxrgen.model.features import precomputed_features
from cxrgen.model.parts import find_parts

_FUSED = "counted"


@dataclass(frozen=True)
class BatchShape:
    """Sizes of a micro-batch: samples, tokens of the longest, positions with a loss, images and tokens of each."""

    rows: int
    length: int
    learnt: int
    images: int = 0

    @property
    def positions(self) -> int:
        return self.rows * self.length


@dataclass(frozen=True)
class Work:
    """Bytes kept for the backward pass, operations with gradients, and those of the forward pass."""

    kept: float = 0.0
    operations: float = 0.0
    forward: float = 0.0

    def plus(self, other: Work, times: float = 1.0) -> Work:
        """The sum of both, the other taken so many times."""
        return Work(
            self.kept + times * other.kept,
            self.operations + times * other.operations,
            self.forward + times * other.forward,
        )


@dataclass(frozen=True)
class Cost:
    """Of a micro-batch: all outside the decoder layers, and each of `layers` layers."""

    outside: Work
    layer: Work
    layers: int

    def kept(self, between: float = 0.0) -> float:
        """Most bytes at a time; given the bytes `between` two layers, layers are computed again in turn."""
        if between:
            return self.outside.kept + self.layers * between + self.layer.kept
        return self.outside.kept + self.layers * self.layer.kept

    def operations(self, again: bool = False) -> float:
        """Floating-point operations; `again`: layers are computed a second time in the backward pass."""
        layer = self.layer.operations + (self.layer.forward if again else 0.0)
        return self.outside.operations + self.layers * layer


class _FusedAttention(torch.autograd.Function):
    """Shapes, kept tensors and operations of a fused kernel, forward 4 B H L L D, backward five halves of it."""

    operations = 0.0

    @staticmethod
    def forward(context: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        batch, heads, length, width = query.shape
        context.operations = 4.0 * batch * heads * length * key.shape[2] * width
        _FusedAttention.operations += context.operations
        output = torch.empty_like(query)
        context.save_for_backward(query, key, value, output)
        return output

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        _FusedAttention.operations += 2.5 * context.operations
        return tuple(torch.empty_like(each) for each in context.saved_tensors[:3])


def _attention(_: nn.Module, query: Any, key: Any, value: Any, *__: Any, **___: Any) -> tuple[Any, None]:
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (each.to(torch.get_autocast_dtype("cpu")) for each in (query, key, value))
    return _FusedAttention.apply(query, key, value).transpose(1, 2).contiguous(), None  # type: ignore[no-untyped-call]


AttentionInterface.register(_FUSED, _attention)


def on_fake_processor(model: Any) -> FakeTensorMode:
    """Move a model on the meta device to fake tensors, in place: only these know autocast. Shared weights stay so."""
    mode = FakeTensorMode()
    known: dict[int, nn.Parameter] = {}
    with mode:
        for module in model.modules():
            for name, each in module._parameters.items():
                if each is not None and id(each) not in known:
                    known[id(each)] = nn.Parameter(torch.empty(each.shape, dtype=each.dtype), each.requires_grad)
                module._parameters[name] = None if each is None else known[id(each)]
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
    return mode


def batch_cost(
    model: Any, mode: FakeTensorMode, shape: BatchShape, bf16: bool, images: tuple[Work, Work], layers: int
) -> Cost:
    """The cost of a micro-batch of a fake model whose parameters are marked; `images` is `image_work`'s.

    The model may have fewer than its `layers` decoder layers, but one.
    """
    outside, one = (_measured(model, mode, bf16, partial(_logits, model, shape), count) for count in (0, 1))
    layer = one.plus(outside, -1)
    if shape.images:
        outside = outside.plus(images[0]).plus(images[1], shape.images)
    return Cost(outside, layer, layers)


def image_work(model: Any, mode: FakeTensorMode, bf16: bool, features: bool) -> tuple[Work, Work]:
    """Vision encoder and projector: what comes once, and what comes for each image; `features` are given or computed.

    Classes whose encoders take grids or crops are not run: for them nothing is counted here.
    """
    if model.config.model_type != "llava":
        return Work(), Work()
    one, two = (_measured(model, mode, bf16, partial(_images, model, count, features), 0) for count in (1, 2))
    each = two.plus(one, -1)
    return one.plus(each, -1), each


def _measured(model: Any, mode: FakeTensorMode, bf16: bool, call: Callable[[], torch.Tensor], layers: int) -> Work:
    """The work of `call` and of its backward pass, the model having its first `layers` decoder layers."""
    own = {each.untyped_storage()._cdata for each in model.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage  # held, so that no other gets its place
        return tensor

    _FusedAttention.operations = 0.0
    model.set_attn_implementation(_FUSED)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with mode, _first_layers(model, layers), FlopCounterMode(display=False) as counter, hooks:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            result = call()
        forward = counter.get_total_flops() + _FusedAttention.operations
        bytes_kept = float(sum(storage.nbytes() for storage in kept.values()))
        if result.requires_grad:
            result.sum().backward()  # type: ignore[no-untyped-call]
        operations = counter.get_total_flops() + _FusedAttention.operations
    model.zero_grad()
    return Work(bytes_kept, float(operations), float(forward))


@contextmanager
def _first_layers(model: Any, count: int) -> Iterator[None]:
    language = model.get_submodule(find_parts(model).language)
    whole = language.layers
    language.layers = nn.ModuleList(list(whole)[:count])
    try:
        yield
    finally:
        language.layers = whole


def _logits(model: Any, shape: BatchShape) -> torch.Tensor:
    """Logits (B, K, V) at K positions, as training computes them; images have been made embeddings before."""
    embeddings = model.get_input_embeddings()(torch.zeros(shape.rows, shape.length, dtype=torch.long))
    learns = any(each.requires_grad for each in model.parameters())
    if learns and not embeddings.requires_grad:  # what comes before the layers is trained
        embeddings.requires_grad_()
    hidden = model.get_submodule(find_parts(model).language)(
        inputs_embeds=embeddings, use_cache=False
    ).last_hidden_state
    result: torch.Tensor = model.get_output_embeddings()(hidden[:, : shape.learnt])
    return result


def _images(model: Any, count: int, features: bool) -> torch.Tensor:
    """Embeddings (T, width) of so many images together."""
    config = model.config
    side, context = config.vision_config.image_size, nullcontext()
    images = torch.empty(count, 3, side, side)
    if features:
        images = torch.empty(count, config.image_seq_length, config.vision_config.hidden_size)
        context = precomputed_features(model)  # type: ignore[assignment]
    with context:
        found = model.model.get_image_features(pixel_values=images).pooler_output
    return torch.cat(list(found)).flatten(0, -2)
