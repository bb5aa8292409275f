"""The recorded tiny LLaVA-Med as files that a user of the original would hold: float32, weights by formula."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

GOLDEN = Path(__file__).parents[1] / "golden" / "llava_med"
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 2048,
    "hidden_act": "silu",
}
VISION = {
    "hidden_size": 1024,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 16,
    "image_size": 28,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
    "model_type": "clip_vision_model",
}
V1_CONFIG = {
    **TEXT,
    "model_type": "llava",
    "architectures": ["LlavaLlamaForCausalLM"],
    "bos_token_id": 0,  # as old conversions of LLaMA have it: wrong, the tokenizer knows
    "eos_token_id": 1,
    "pad_token_id": -1,
    "mm_vision_tower": "openai/clip-vit-large-patch14",
    "mm_hidden_size": 1024,
    "mm_vision_select_layer": -2,
    "mm_use_im_start_end": True,
    "use_mm_proj": True,
    "tune_mm_mlp_adapter": True,
    "torch_dtype": "float32",
    "use_cache": False,
    "transformers_version": "4.28.0.dev0",
}


def _formula() -> Callable[..., Any]:
    spec = importlib.util.spec_from_file_location("tiny_weights", GOLDEN / "tiny_weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fill  # type: ignore[no-any-return]


def filled(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Float32 tensors by the recorded formula of name, shape and place."""
    tensors = {name: torch.empty(shape) for name, shape in shapes.items()}
    _formula()(tensors.items())
    return tensors


def language_shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    wide, inner = TEXT["hidden_size"], TEXT["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, wide)}
    for layer in range(TEXT["num_hidden_layers"]):
        start = f"model.layers.{layer}."
        shapes |= {f"{start}self_attn.{name}_proj.weight": (wide, wide) for name in "qkvo"}
        shapes |= {f"{start}mlp.{name}_proj.weight": (inner, wide) for name in ("gate", "up")}
        shapes[f"{start}mlp.down_proj.weight"] = (wide, inner)
        shapes |= {f"{start}{name}_layernorm.weight": (wide,) for name in ("input", "post_attention")}
    return shapes | {"model.norm.weight": (wide,), "lm_head.weight": (vocabulary, wide)}


def tower_shapes() -> dict[str, tuple[int, ...]]:
    wide, inner = VISION["hidden_size"], VISION["intermediate_size"]
    start = "vision_model."
    shapes: dict[str, tuple[int, ...]] = {
        f"{start}embeddings.class_embedding": (wide,),
        f"{start}embeddings.patch_embedding.weight": (wide, 3, 14, 14),
        f"{start}embeddings.position_embedding.weight": (5, wide),
    }
    for name in ("pre_layrnorm", "post_layernorm"):
        shapes |= {f"{start}{name}.weight": (wide,), f"{start}{name}.bias": (wide,)}
    for layer in range(VISION["num_hidden_layers"]):
        inside = f"{start}encoder.layers.{layer}."
        for name, size in (("fc1", (inner, wide)), ("fc2", (wide, inner))):
            shapes |= {f"{inside}mlp.{name}.weight": size, f"{inside}mlp.{name}.bias": size[:1]}
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            shapes |= {f"{inside}self_attn.{name}.weight": (wide, wide), f"{inside}self_attn.{name}.bias": (wide,)}
        for name in ("layer_norm1", "layer_norm2"):
            shapes |= {f"{inside}{name}.weight": (wide,), f"{inside}{name}.bias": (wide,)}
    return shapes


def write_folder(
    folder: Path, tensors: dict[str, torch.Tensor], config: dict[str, Any], tokenizer: bool = True
) -> Path:
    folder.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    if tokenizer:
        for file in (GOLDEN / "tokenizer").iterdir():
            shutil.copy(file, folder)
    return folder
