"""LLaVA-Med's two checkpoint layouts and the stock LLaVA layout: names, shapes and settings, one into the other.

v1.0 (and LLaVA of spring 2023) keeps one projector matrix and no vision encoder in its files; v1.5 keeps a two-layer
projector and the encoder. The stock class has two projector layers always: one matrix becomes activation "linear" and a
second layer that is the identity, which changes nothing and must stay frozen. Everything is a rename, a cast or an
added row, so weights stream through.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, MistralConfig

from cxrgen.core.errors import InputError
from cxrgen.llava_med.lazy_tensors import LazyTensor, cast, in_memory, whole
from cxrgen.model.checkpoint import LLAVA_TYPES
from cxrgen.model.folder_checks import check_config

MODEL_TYPES = (*LLAVA_TYPES, "llama")  # the last: a base, or an old delta
EMBEDDINGS, HEAD = "model.embed_tokens.weight", "lm_head.weight"
PROJECTOR, TOWER = "model.mm_projector.", "model.vision_tower.vision_tower.vision_model."
_LANGUAGE_STOCK, _PROJECTOR_STOCK = "language_model.", "multi_modal_projector."
_TOWER_STOCK = "vision_tower.vision_model."
_TEXT_FIELDS = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
    *("head_dim", "hidden_act", "max_position_embeddings", "initializer_range", "rms_norm_eps", "rope_theta"),
    *("rope_scaling", "sliding_window", "attention_bias", "attention_dropout"),
)
_NEEDED_FIELDS = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_LAYER_TENSORS = (
    "input_layernorm",
    "post_attention_layernorm",
    *(f"self_attn.{name}_proj" for name in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)


@dataclass(frozen=True)
class Layout:
    """What a checkpoint folder is, by its config.json."""

    config: Mapping[str, Any]
    stock: bool
    model_type: str

    @property
    def mistral(self) -> bool:
        text = self.config["text_config"].get("model_type") if self.stock else self.model_type
        return "mistral" in str(text)


def read_layout(folder: Path) -> Layout:
    """Read config.json. Raises InputError when it is missing, damaged, or of a model that is none of these."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise InputError(f"{folder}: no config.json, so this is no checkpoint folder; bring the one that belongs to it")
    config = check_config(Path(folder))
    model_type = config.get("model_type", "")
    if model_type not in (*MODEL_TYPES, "mistral"):
        raise InputError(f"{path}: model type {model_type!r} is none of {', '.join(MODEL_TYPES)}")
    layout = Layout(config, model_type == "llava" and "text_config" in config, model_type)
    lacking = [name for name in _NEEDED_FIELDS if text_settings(layout).get(name) is None]
    if lacking:
        raise InputError(f"{path}: {lacking[0]} is missing; bring the file that belongs to the weights")
    return layout


def original_tensors(tensors: Mapping[str, LazyTensor], layout: Layout) -> dict[str, LazyTensor]:
    """Tensors under the original's names, whichever layout they come in; the encoder, where there is one, too."""
    if not layout.stock:
        return {_bare(name): tensor for name, tensor in tensors.items() if not name.endswith("position_ids")}
    found = {_from_stock(name): tensor for name, tensor in tensors.items() if not name.endswith("position_ids")}
    layers = {name.removeprefix("linear_"): tensor for name, tensor in found.items() if name.startswith("linear_")}
    result = {name: tensor for name, tensor in found.items() if not name.startswith("linear_")}
    for name in ("1.weight", "1.bias", "2.weight", "2.bias"):
        if name not in layers:
            raise InputError(f"{_PROJECTOR_STOCK}linear_{name}: missing")
    if layout.config.get("projector_hidden_act") == "linear":
        result.update(_one_layer(layers))
    else:
        for old, new in (("1", "0"), ("2", "2")):
            result |= {f"{PROJECTOR}{new}.{part}": layers[f"{old}.{part}"] for part in ("weight", "bias")}
    return result


def stock_tensors(original: Mapping[str, LazyTensor], vocabulary: int) -> dict[str, LazyTensor]:
    """Tensors under the stock names, all in the type of the head, which has `vocabulary` rows afterwards.

    Rotary frequencies are left out, the stock class computes them.
    """
    dtype = original[HEAD].dtype
    result = {}
    for name, tensor in original.items():
        if name.endswith("rotary_emb.inv_freq"):
            continue
        if name in (EMBEDDINGS, HEAD):
            tensor = with_mean_rows(tensor, vocabulary)
        result[_to_stock(name)] = cast(tensor, dtype)
    if f"{PROJECTOR}weight" in original:
        size = original[f"{PROJECTOR}weight"].shape[0]
        result[f"{_PROJECTOR_STOCK}linear_2.weight"] = identity(size, dtype)
        result[f"{_PROJECTOR_STOCK}linear_2.bias"] = in_memory(torch.zeros(size, dtype=dtype))
    return result


def identity(size: int, dtype: torch.dtype) -> LazyTensor:
    """The identity matrix, row by row."""

    def rows(start: int, stop: int) -> torch.Tensor:
        block = torch.zeros(stop - start, size, dtype=dtype)
        block[torch.arange(stop - start), torch.arange(start, stop)] = 1
        return block

    return LazyTensor((size, size), dtype, rows)


def tower_tensors(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """The vision half of a CLIP folder, under the original's names; text half and positions are left out."""
    bare = {name.removeprefix("vision_model."): tensor for name, tensor in tensors.items()}
    parts = ("embeddings.", "encoder.", "pre_layrnorm.", "post_layernorm.")
    found = {TOWER + name: tensor for name, tensor in bare.items() if name.startswith(parts)}
    return {name: tensor for name, tensor in found.items() if not name.endswith("position_ids")}


def read_projector(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """A projector file under the original's names: the original's or stock ones, one layer or two, with rows or not."""
    found = {}
    for name, tensor in tensors.items():
        original = name.replace("multi_modal_projector.linear_1.", "mm_projector.0.")
        original = original.replace("multi_modal_projector.linear_2.", "mm_projector.2.")
        match = re.fullmatch(r"(?:.*mm_projector\.)?((?:[02]\.)?(?:weight|bias))", original)
        if match:
            found[PROJECTOR + match[1]] = tensor
        elif name.endswith("embed_tokens.weight"):
            found[EMBEDDINGS] = tensor
    if not ({f"{PROJECTOR}weight", f"{PROJECTOR}0.weight"} & found.keys()):
        raise InputError(f"no mm_projector weights in it, only {', '.join(sorted(tensors)[:3])}")
    return found


def check_complete(original: Mapping[str, LazyTensor], text: Mapping[str, Any], vision: Mapping[str, Any]) -> None:
    """Raises InputError naming the first tensor that is missing, of another shape, or more than the classes take."""
    needed = needed_shapes(original, text, vision)
    for name, shape in needed.items():
        if name not in original:
            raise InputError(f"{name}: missing from the weights")
        if original[name].shape != shape:
            raise InputError(f"{name}: shape {list(original[name].shape)}, by the settings it is {list(shape)}")
    for name in original:
        if name not in needed and not name.endswith("rotary_emb.inv_freq"):
            raise InputError(f"{name}: not a tensor of this model; is it a checkpoint of another kind?")


def needed_shapes(
    original: Mapping[str, LazyTensor], text: Mapping[str, Any], vision: Mapping[str, Any]
) -> dict[str, tuple[int, ...]]:
    """Every tensor of a model of these sizes and its shape; rows of the vocabulary as they are."""
    hidden, inner = text["hidden_size"], text["intermediate_size"]
    size = text.get("head_dim") or hidden // text["num_attention_heads"]
    queries, keys = size * text["num_attention_heads"], size * (text.get("num_key_value_heads") or 0)
    keys = keys or queries
    shapes: list[tuple[int, ...]] = [(hidden,), (hidden,)]  # in the order of _LAYER_TENSORS
    shapes += [(queries, hidden), (keys, hidden), (keys, hidden), (hidden, queries)]
    shapes += [(inner, hidden), (inner, hidden), (hidden, inner)]
    vocabulary = original[EMBEDDINGS].shape[0] if EMBEDDINGS in original else text.get("vocab_size", 0)
    needed: dict[str, tuple[int, ...]] = {EMBEDDINGS: (vocabulary, hidden), HEAD: (vocabulary, hidden)}
    needed["model.norm.weight"] = (hidden,)
    for layer in range(text["num_hidden_layers"]):
        for name, shape in zip(_LAYER_TENSORS, shapes):
            needed[f"model.layers.{layer}.{name}.weight"] = shape
    if not vision:
        return needed
    width, wide = vision["hidden_size"], vision["intermediate_size"]
    two = f"{PROJECTOR}0.weight" in original
    for name, before in (("0.", width), ("2.", hidden)) if two else (("", width),):
        needed |= {f"{PROJECTOR}{name}weight": (hidden, before), f"{PROJECTOR}{name}bias": (hidden,)}
    patch, grid = vision["patch_size"], vision["image_size"] // vision["patch_size"]
    tower: dict[str, tuple[int, ...]] = {
        "embeddings.class_embedding": (width,),
        "embeddings.patch_embedding.weight": (width, 3, patch, patch),
        "embeddings.position_embedding.weight": (grid * grid + 1, width),
    }
    norms = ["pre_layrnorm", "post_layernorm"]
    for layer in range(vision["num_hidden_layers"]):
        inside = f"encoder.layers.{layer}."
        norms += [f"{inside}layer_norm1", f"{inside}layer_norm2"]
        linear = {f"self_attn.{name}": (width, width) for name in ("k_proj", "v_proj", "q_proj", "out_proj")}
        for name, both in (linear | {"mlp.fc1": (wide, width), "mlp.fc2": (width, wide)}).items():
            tower |= {f"{inside}{name}.weight": both, f"{inside}{name}.bias": both[:1]}
    for name in norms:
        tower |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return needed | {TOWER + name: shape for name, shape in tower.items()}


def text_settings(layout: Layout) -> dict[str, Any]:
    """The language model's fields of config.json; its special token ids come from the tokenizer instead.

    A stock config.json leaves out what equals the defaults of the language model's class.
    """
    source = layout.config
    if layout.stock:
        defaults = (MistralConfig if layout.mistral else LlamaConfig)()
        source = {name: getattr(defaults, name) for name in (*_NEEDED_FIELDS, "num_key_value_heads")}
        source |= layout.config["text_config"]
    found = {name: source[name] for name in _TEXT_FIELDS if source.get(name) is not None}
    turning = source.get("rope_parameters") or {}
    if "rope_theta" in turning:
        found["rope_theta"] = turning["rope_theta"]
    return found


def vision_settings(original: Mapping[str, LazyTensor], config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The encoder's settings: its config.json, or what the shapes of its tensors say of a CLIP of OpenAI's."""
    if config is not None:
        return dict(config.get("vision_config") or config)
    try:
        positions = original[f"{TOWER}embeddings.position_embedding.weight"].shape[0]
        width, _, patch, _ = original[f"{TOWER}embeddings.patch_embedding.weight"].shape
        inner = original[f"{TOWER}encoder.layers.0.mlp.fc1.weight"].shape[0]
    except KeyError as error:
        raise InputError(f"{error.args[0]}: missing from the vision encoder") from None
    layers = {int(match[1]) for match in (re.search(r"encoder\.layers\.(\d+)\.", name) for name in original) if match}
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": len(layers),
        "num_attention_heads": max(1, width // 64),
        "patch_size": patch,
        "image_size": round((positions - 1) ** 0.5) * patch,
        "hidden_act": "quick_gelu",
    }


def _to_stock(name: str) -> str:
    if name.startswith(TOWER):
        return _TOWER_STOCK + name.removeprefix(TOWER)
    if name.startswith(PROJECTOR):
        rest = name.removeprefix(PROJECTOR)
        number, _, part = rest.rpartition(".")
        return f"{_PROJECTOR_STOCK}linear_{'2' if number == '2' else '1'}.{part}"
    return _LANGUAGE_STOCK + name


def _from_stock(name: str) -> str:
    """The original's name; projector layers keep `linear_1`. Takes the names of every transformers version."""
    name = re.sub(r"^model\.(?=vision_tower|multi_modal_projector)", "", name)
    if name.startswith("vision_tower."):
        return TOWER + name.removeprefix("vision_tower.").removeprefix("vision_model.")
    if name.startswith(_PROJECTOR_STOCK):
        return name.removeprefix(_PROJECTOR_STOCK)
    if name.startswith("model.language_model."):
        return "model." + name.removeprefix("model.language_model.")
    return name.removeprefix(_LANGUAGE_STOCK)


def _bare(name: str) -> str:
    """v1.5 files name the encoder with or without one level more."""
    return re.sub(r"^model\.vision_tower\.(?:vision_tower\.)?(?:vision_model\.)?", TOWER, name)


def _one_layer(layers: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Two linear layers with nothing between them are one: exactly the first where the second is the identity."""
    second, bias = whole(layers["2.weight"]), whole(layers["2.bias"])
    if torch.equal(second, torch.eye(len(second), dtype=second.dtype)) and not bias.any():
        return {f"{PROJECTOR}{part}": layers[f"1.{part}"] for part in ("weight", "bias")}
    weight = second.float() @ whole(layers["1.weight"]).float()
    shift = second.float() @ whole(layers["1.bias"]).float() + bias.float()
    dtype = second.dtype
    return {f"{PROJECTOR}weight": in_memory(weight.to(dtype)), f"{PROJECTOR}bias": in_memory(shift.to(dtype))}


def with_mean_rows(tensor: LazyTensor, count: int) -> LazyTensor:
    """The tensor with `count` rows; new ones are the mean of the old. As a head row that can never be the largest."""
    if count <= tensor.count:
        return tensor

    def rows(start: int, stop: int) -> torch.Tensor:
        known = tensor.rows(start, min(stop, tensor.count)) if start < tensor.count else None
        if stop <= tensor.count and known is not None:
            return known
        mean = mean_row(tensor).expand(stop - max(start, tensor.count), -1)
        return mean if known is None else torch.cat([known, mean])

    return LazyTensor((count, *tensor.shape[1:]), tensor.dtype, rows)


def mean_row(tensor: LazyTensor) -> torch.Tensor:
    """Mean of all rows, (1, C)."""
    total = torch.zeros(tensor.shape[1], dtype=torch.float64)
    for start in range(0, tensor.count, 512):
        total += tensor.rows(start, min(start + 512, tensor.count)).sum(dim=0, dtype=torch.float64)
    return (total / tensor.count).to(tensor.dtype)[None]
