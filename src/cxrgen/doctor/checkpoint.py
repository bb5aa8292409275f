"""What a checkpoint folder is, what it lacks, and what to type next; read from its files, no model is built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import CLIPVisionConfig

from cxrgen.core.errors import InputError
from cxrgen.core.tables import read_json
from cxrgen.doctor.models import abilities, describe_model
from cxrgen.llava_med.lazy_tensors import LazyTensor, read_tensors, read_weights, whole
from cxrgen.llava_med.tensor_names import (
    EMBEDDINGS,
    HEAD,
    MODEL_TYPES,
    PROJECTOR,
    TOWER,
    Layout,
    needed_shapes,
    original_tensors,
    read_layout,
    read_projector,
    text_settings,
)
from cxrgen.model.checkpoint import FORMAT_FILE, check_model_folder, has_chat_template
from cxrgen.model.conversation import recorded_format
from cxrgen.model.families import LlavaFamily
from cxrgen.model.llama_fast import checked_tokenizer
from cxrgen.model.llama_tokenizer import MODEL_FILE
from cxrgen.model.locate import ADAPTER_CONFIG, base_of
from cxrgen.model.pooled_encoder import is_own_encoder
from cxrgen.model.templates import CHAT

Row = tuple[str, str, str]  # what, how it is, and the way out where it is lacking
STOCK, V1, V15, DELTA, BASE = (
    "stock LLaVA checkpoint",
    "LLaVA-Med v1.0 or LLaVA checkpoint in the original's layout",
    "LLaVA-Med v1.5 checkpoint in the original's layout",
    "differences (delta) of a LLaVA checkpoint, useless without their base",
    "plain language model, the base of a delta",
)


def describe(path: Path) -> tuple[str, list[Row]]:
    """Its kind, and what was looked at. Raises InputError for a path that is no checkpoint at all."""
    if path.is_file() and path.suffix in (".bin", ".safetensors"):
        return _describe_projector(path)
    if not path.is_dir():
        raise InputError(f"{path}: neither a checkpoint folder nor a projector file")
    if (path / ADAPTER_CONFIG).is_file():
        try:
            return "adapter (LoRA)", [("base", str(base_of(path)), ""), *_faults(path)]
        except InputError as error:
            return "adapter (LoRA)", [("base", "not here", str(error))]
    config = read_json(path / "config.json") if (path / "config.json").is_file() else {}
    if isinstance(config, dict) and config.get("model_type") in ("clip", "clip_vision_model"):
        return "vision encoder (CLIP)", [("use", "as --vision_tower of `cxrgen merge` and `cxrgen convert`", "")]
    if _goes_by_chat_template(path, config):
        return describe_model(path)
    layout = read_layout(path)
    try:
        tensors = original_tensors(read_weights(path), layout)
    except InputError as error:
        return "checkpoint whose weights cannot be read", [("weights", str(error), "bring these files again")]
    kind = _kind(tensors, layout)
    rows = [_sizes(tensors), *_weights(tensors, layout, kind), *_tokenizer(path, layout, kind)]
    if kind == STOCK and not any(row[2] for row in rows):
        rows += _faults(path)
    if any(row[2] for row in rows):
        return kind, rows
    works = abilities(LlavaFamily) if kind == STOCK else []
    return kind, [*rows, *works, *_opens_with(layout), _next(path, kind)]


def _goes_by_chat_template(path: Path, config: Any) -> bool:
    """Whether it is a whole model of another class than LLaVA-Med's files have, or one that was trained that way."""
    if not isinstance(config, dict):
        return False
    if (path / FORMAT_FILE).is_file():
        try:
            return recorded_format(path / FORMAT_FILE).template == CHAT
        except InputError:
            return False  # `_tokenizer` says what is wrong with it
    return bool(config.get("model_type")) and config["model_type"] not in (*MODEL_TYPES, "mistral")


def _faults(path: Path) -> list[Row]:
    """What keeps a stock or adapter folder from being opened, by its files."""
    try:
        check_model_folder(path, recorded_format(path / FORMAT_FILE) if (path / FORMAT_FILE).is_file() else None)
    except InputError as error:
        return [("cannot be opened", str(error), "bring the files that belong together")]
    return []


def _opens_with(layout: Layout) -> list[Row]:
    """How transformers alone opens a checkpoint with a vision encoder of this package's own class."""
    own = is_own_encoder(layout.config.get("vision_config"))
    return [("with transformers alone", "`import cxrgen.model` first; it registers the vision encoder", "")] * own


def _kind(tensors: Mapping[str, LazyTensor], layout: Layout) -> str:
    if layout.stock:
        return STOCK
    if not any(name.startswith(PROJECTOR) for name in tensors):
        return BASE
    norm = tensors.get("model.norm.weight")
    if norm is not None and float(whole(norm).float().abs().mean()) < 0.05:  # of a model it is about one
        return DELTA
    return V1 if f"{PROJECTOR}weight" in tensors else V15


def _sizes(tensors: Mapping[str, LazyTensor]) -> Row:
    parameters = sum(each.bytes // each.dtype.itemsize for each in tensors.values())
    types = sorted({str(each.dtype).removeprefix("torch.") for each in tensors.values()})
    size = sum(each.bytes for each in tensors.values()) / 1e9
    return "weights", f"{len(tensors)} tensors, {parameters / 1e6:,.1f} M values, {size:.2f} GB, {', '.join(types)}", ""


def _weights(tensors: Mapping[str, LazyTensor], layout: Layout, kind: str) -> list[Row]:
    """Whether all tensors of the language model, and of a CLIP encoder that should be there, are there."""
    vision: Mapping[str, Any] = layout.config.get("vision_config", {}) if kind == STOCK else {}
    clip = vision.get("model_type") == "clip_vision_model"
    needed = needed_shapes(tensors, text_settings(layout), CLIPVisionConfig(**vision).to_dict() if clip else {})
    if layout.config.get("tie_word_embeddings"):
        needed.pop(HEAD, None)
    missing = [name for name in needed if name not in tensors]
    other = [name for name in needed if name in tensors and tensors[name].shape != needed[name]]
    rows: list[Row] = []
    if missing:
        rows.append(("missing tensors", f"{missing[0]} and {len(missing) - 1} more", "bring all shards of the weights"))
    if other:
        shape = list(tensors[other[0]].shape)
        rows.append(("tensors of another shape", f"{other[0]} {shape}", "bring the config.json that belongs to them"))
    if kind == V1:
        tower = layout.config.get("mm_vision_tower", "not named")
        rows.append(("vision encoder", f"in none of the original's v1.0 files; the config says {tower}", ""))
    elif kind in (STOCK, V15) and not any(name.startswith(TOWER) for name in tensors):
        rows.append(("vision encoder", "missing from the weights", "bring all shards of the weights"))
    return rows


def _tokenizer(path: Path, layout: Layout, kind: str) -> list[Row]:
    """Tokenizer files, cxrgen.json, and whether the fast tokenizer gives the ids that the weights know."""
    if kind != STOCK:
        present = (path / MODEL_FILE).is_file()
        return [("tokenizer", "present", "")] if present else [("tokenizer", f"no {MODEL_FILE}", f"bring {MODEL_FILE}")]
    if not (path / FORMAT_FILE).is_file() and has_chat_template(path):
        own = "asked by its own chat template; trained by LLaVA-Med's prompt, or by its own with --version chat"
        return [("conversation format", f"no {FORMAT_FILE}: {own}", "")]
    if not (path / FORMAT_FILE).is_file():
        way = f"`cxrgen convert {path} OUT --to stock` writes one"
        return [("conversation format", f"no {FORMAT_FILE}, so train and generate cannot know it", way)]
    try:
        format = recorded_format(path / FORMAT_FILE)
    except InputError as error:
        return [("conversation format", str(error), f"bring {FORMAT_FILE} again")]
    state = f"template {format.template}, {format.image_tokens} {format.image_token} an image, images {format.aspect}"
    rows: list[Row] = [("conversation format", state, "")]
    if format.template == "plain":
        return rows
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        _, different = checked_tokenizer(path, tokenizer, format)
    except (InputError, OSError, ValueError) as error:
        return [*rows, ("tokenizer", str(error).splitlines()[0], f"bring {MODEL_FILE} and the JSON files beside it")]
    state = f"replaced at load by {MODEL_FILE}: {different}" if different else "gives the ids that the weights know"
    return [*rows, ("tokenizer", state, "")]


def _next(path: Path, kind: str) -> Row:
    commands = {
        STOCK: f"`cxrgen generate --model-name {path}`, `cxrgen train --model_name_or_path {path}`",
        V1: f"`cxrgen convert {path} OUT --to stock --vision_tower CLIP`",
        V15: f"`cxrgen convert {path} OUT --to stock`",
        DELTA: f"`cxrgen merge --base LLAMA --delta {path} --target OUT --vision_tower CLIP`",
        BASE: f"`cxrgen merge --base {path} --delta DELTA --target OUT --vision_tower CLIP`",
    }
    return "next", commands[kind], ""


def _describe_projector(path: Path) -> tuple[str, list[Row]]:
    tensors = read_projector(read_tensors(path))
    layers = "one layer (v1.0)" if f"{PROJECTOR}weight" in tensors else "two layers (v1.5)"
    shape = list(next(each.shape for name, each in tensors.items() if name.endswith(("r.weight", "0.weight"))))
    rows: list[Row] = [("projector", f"{layers}, {shape}", "")]
    if EMBEDDINGS in tensors:
        rows.append(("embedding rows", str(tensors[EMBEDDINGS].count), ""))
    rows.append(("next", f"`cxrgen convert CHECKPOINT OUT --to stock --projector {path}`", ""))
    return "projector file", rows
