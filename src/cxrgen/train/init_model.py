"""The model that a run starts from: a checkpoint folder, two folders joined, or a new small model.

A stock LLaVA folder without cxrgen.json starts with LLaVA-Med's conversation format, any other class with its own chat
template; flags change single points of the format.
`--vision_tower` and `--pretrain_mm_mlp_adapter` load weights on top: tensors that are missing or have another shape are
an error, never skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForImageTextToText, AutoProcessor

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.progress import say
from cxrgen.llava_med.lazy_tensors import read_tensors, whole
from cxrgen.llava_med.tensor_names import EMBEDDINGS, PROJECTOR, read_projector
from cxrgen.model.adapters import add_rows
from cxrgen.model.assemble import join, join_on_meta, join_opened
from cxrgen.model.checkpoint import (
    FORMAT_FILE,
    Checkpoint,
    check_model_folder,
    open_by_chat_template,
    open_checkpoint,
)
from cxrgen.model.conversation import Format
from cxrgen.model.folder_checks import ON_META, check_config, image_tokens_of
from cxrgen.model.llama_tokenizer import IMAGE_END, IMAGE_START
from cxrgen.model.locate import base_of
from cxrgen.model.pip_weights import SMOLLM2, encoder_folder, packaged_language_model
from cxrgen.model.pooled_encoder import PooledEncoderConfig
from cxrgen.model.quantization import quantization
from cxrgen.model.templates import CHAT
from cxrgen.model.tiny import NewModel, new_language_model, new_model
from cxrgen.model.tower import ConvTowerConfig
from cxrgen.train.config import TrainableConfig
from cxrgen.train.export import merged_adapter
from cxrgen.train.model_config import ModelConfig, TinyModelConfig
from cxrgen.train.stored_types import half_type
from cxrgen.train.trainable import widen_but_frozen


def init_model(
    config: ModelConfig,
    tiny: TinyModelConfig,
    texts: Sequence[str],
    seed: int = 42,
    four_bit: bool = False,
    keep_adapter: bool = False,
    narrow: TrainableConfig | None = None,
    values: bool = True,
) -> Checkpoint:
    """Model, processor and format that a run starts from.

    `texts` train a new model's tokenizer; `four_bit` holds a checkpoint's frozen weights in four bits. An adapter is
    written into its base's weights, unless `keep_adapter`: then the run continues to train it. With `narrow`, matrices
    that stay frozen are left in the 16 bits that a checkpoint has them in. Without `values` no weights are read, and
    what is given is opened on the meta device: for a process that gets them from another one.
    """
    if not config.model_name_or_path:
        return _joined(config, tiny, seed, values) if config.language_model else _new(config, tiny, texts, seed)
    folder = Path(config.model_name_or_path)
    base = base_of(folder)
    half = half_type(folder) if narrow and base is None and not (four_bit or narrow.use_dora) else None
    checkpoint = _opened(folder, config.version, four_bit, half or torch.float32, values)
    if narrow and half:
        widen_but_frozen(checkpoint.model, narrow)
    if base is not None and not keep_adapter:
        checkpoint = replace(checkpoint, model=merged_adapter(base, folder, checkpoint.rows, values))
    model = checkpoint.model
    if config.vision_tower and values:
        _load_tower(model, config.vision_tower)
    if config.mm_vision_select_layer and isinstance(model.config.vision_config, PooledEncoderConfig):
        raise UsageError(
            "--mm_vision_select_layer: this checkpoint's encoder joins tokens of the layer that it records"
        )
    if config.mm_vision_select_layer:
        model.config.vision_feature_layer = config.mm_vision_select_layer
    checkpoint = replace(checkpoint, format=replace(checkpoint.format, **_format_changes(config)))
    if checkpoint.format.start_end:
        _add_start_end(checkpoint)
    if config.pretrain_mm_mlp_adapter and values:
        _load_projector(checkpoint, Path(config.pretrain_mm_mlp_adapter))
    return checkpoint


def _new(config: ModelConfig, tiny: TinyModelConfig, texts: Sequence[str], seed: int) -> Checkpoint:
    sizes = NewModel(**asdict(tiny))
    if config.vision_tower:
        language = new_language_model(sizes, texts, seed)
        return _checkpoint(
            config, *join_opened(*language, encoder_folder(config.vision_tower), seed, config.token_pooling)
        )
    return _checkpoint(config, *new_model(sizes, texts, seed))


def _joined(config: ModelConfig, tiny: TinyModelConfig, seed: int, values: bool) -> Checkpoint:
    """A given or packaged language model, with a given vision encoder or a new small one."""
    name = config.language_model
    language = packaged_language_model() if name == SMOLLM2 else Path(name)
    small = ConvTowerConfig(image_size=tiny.image_size, tokens=tiny.image_tokens, stem=tiny.encoder_stem)
    encoder = encoder_folder(config.vision_tower) if config.vision_tower else small
    if values:
        model, processor = join(language, encoder, seed, config.token_pooling)
    else:
        model, processor = join_on_meta(language, encoder, config.token_pooling)
    return _checkpoint(config, model, processor)


def _checkpoint(config: ModelConfig, model: Any, processor: Any) -> Checkpoint:
    tokens = image_tokens_of(model.config.to_dict())
    assert tokens is not None  # `join` takes no other encoder
    format = Format(template="plain", image_tokens=tokens, aspect="black")
    return Checkpoint(model, processor, replace(format, **_format_changes(config)))


def _format_changes(config: ModelConfig) -> dict[str, Any]:
    """The fields of the conversation format that settings change."""
    wanted = {
        "template": config.version,
        "label_rule": config.label_rule,
        "max_length": config.model_max_length,
        "aspect": config.image_aspect_ratio,
        "start_end": config.mm_use_im_start_end,
    }
    return {name: value for name, value in wanted.items() if value}


def _opened(folder: Path, version: str, four_bit: bool, dtype: torch.dtype, values: bool) -> Checkpoint:
    extra: dict[str, Any] = {"dtype": dtype, **({} if values else ON_META)}
    if four_bit:
        extra["quantization_config"] = quantization(4, torch.bfloat16, "--train_modules qlora")
    if (folder / FORMAT_FILE).is_file():
        return open_checkpoint(folder, **extra)
    settings = check_config(folder)
    tokens = image_tokens_of(settings, folder / "config.json") if settings.get("model_type") == "llava" else None
    if tokens is None or version == CHAT:
        checkpoint = open_by_chat_template(folder, **extra)
        say(f"{folder}: {type(checkpoint.model).__name__}, conversations are written by its own chat template")
        return checkpoint
    check_model_folder(folder)
    try:
        model = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, **extra)
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{folder}: the checkpoint cannot be opened: {first_line}") from None
    say(f"{folder}: no {FORMAT_FILE}, so conversations are written as LLaVA-Med v1.0 does")
    format = Format(template="v0", image_token=processor.image_token, image_tokens=tokens)
    return Checkpoint(model, processor, format)


def _load_tower(model: Any, name: str) -> None:
    """Load a vision encoder folder into the model's encoder, every tensor."""
    folder = encoder_folder(name)
    if not folder.is_dir():
        say(f"--vision_tower {name}: no folder of that name; the checkpoint's own vision encoder is used")
        return
    try:
        other = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder}: no vision encoder that transformers opens ({type(error).__name__})") from None
    weights = getattr(other, "vision_model", other).state_dict()
    wanted = model.model.vision_tower.state_dict()
    for key, value in wanted.items():
        if key not in weights or weights[key].shape != value.shape:
            raise InputError(f"{folder}: {key} is missing or has another shape than the checkpoint's vision encoder")
    model.model.vision_tower.load_state_dict({key: weights[key] for key in wanted})


def _add_start_end(checkpoint: Checkpoint) -> None:
    """<im_start> and <im_end>, where the tokenizer lacks them: new rows are the mean of all rows before."""
    model, tokenizer = checkpoint.model, checkpoint.tokenizer
    added = tokenizer.add_tokens([IMAGE_START, IMAGE_END], special_tokens=True)
    if added:
        add_rows(model, len(tokenizer))


def _load_projector(checkpoint: Checkpoint, file: Path) -> None:
    """A projector by any of its published names, and the rows of <im_start> and <im_end> where the file has them.

    Files: LLaVA's `mm_projector.bin` (the whole embedding matrix beside the projector, or the projector alone), or
    safetensors with stock names. One matrix goes to the first layer of a linear projector.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file; give the projector's weights")
    try:
        tensors = read_projector(read_tensors(file))
    except InputError as error:
        raise InputError(str(error) if str(file) in str(error) else f"{file}: {error}") from None
    rows = tensors.pop(EMBEDDINGS, None)
    given = {_stock_layer(name): whole(tensor) for name, tensor in tensors.items()}
    projector = checkpoint.model.model.multi_modal_projector
    wanted = projector.state_dict()
    linear = checkpoint.model.config.projector_hidden_act == "linear"
    needed = {name for name in wanted if name.startswith("linear_1") or not linear}
    for name in sorted(needed | given.keys()):
        if name not in given or name not in wanted or given[name].shape != wanted[name].shape:
            raise InputError(f"{file}: the projector's {name} is missing or has another shape than the checkpoint's")
    projector.load_state_dict({name: given[name].to(wanted[name].dtype) for name in given}, strict=False)
    if rows is not None and checkpoint.format.start_end:
        _load_start_end_rows(checkpoint, whole(rows), file)
    say(f"projector from {file}")


def _stock_layer(name: str) -> str:
    """linear_1.weight for the original's `...mm_projector.weight` or `.0.weight`, linear_2.weight for `.2.weight`."""
    layer, _, kind = name.removeprefix(PROJECTOR).rpartition(".")
    return f"{'linear_2' if layer == '2' else 'linear_1'}.{kind}"


def _load_start_end_rows(checkpoint: Checkpoint, rows: torch.Tensor, file: Path) -> None:
    """`rows`: the two rows, or an embedding matrix (vocabulary, hidden) that holds them."""
    matrix = checkpoint.model.get_input_embeddings().weight
    if rows.shape[0] not in (2, matrix.shape[0]) or rows.shape[1] != matrix.shape[1]:
        raise InputError(f"{file}: embeddings {tuple(rows.shape)}, the checkpoint has {tuple(matrix.shape)}")
    ids = checkpoint.tokenizer.convert_tokens_to_ids([IMAGE_START, IMAGE_END])
    with torch.no_grad():
        matrix[ids] = (rows if rows.shape[0] == 2 else rows[ids]).to(matrix)
