"""The model that a training starts from: a checkpoint folder, two folders joined, or a new small model.

A stock LLaVA folder without cxrgen.json starts with LLaVA-Med's conversation format; flags change single points of it.
`--vision_tower` and `--pretrain_mm_mlp_adapter` bring weights of their own and are really loaded: tensors that are
missing or have another shape are an error, never skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForImageTextToText, AutoProcessor

from cxrgen.core.errors import InputError
from cxrgen.core.progress import say
from cxrgen.model.assemble import image_tokens, join
from cxrgen.model.checkpoint import FORMAT_FILE, Checkpoint, check_stock, open_checkpoint
from cxrgen.model.conversation import Format
from cxrgen.model.llama_tokenizer import IMAGE_END, IMAGE_START
from cxrgen.model.pip_weights import SMOLLM2, packaged_language_model
from cxrgen.model.tiny import NewModel, new_model
from cxrgen.model.tower import ConvTowerConfig
from cxrgen.train.config import Arguments
from cxrgen.train.trainable import mode_of


def start(arguments: Arguments, texts: Sequence[str]) -> Checkpoint:
    """Model, processor and format as the arguments ask for; `texts` are what a new model's tokenizer is learnt from."""
    if not arguments.model_name_or_path:
        return _joined(arguments) if arguments.language_model else _new(arguments, texts)
    bundle = _opened(arguments)
    model = bundle.model
    if arguments.vision_tower:
        _load_tower(model, arguments.vision_tower)
    if arguments.mm_vision_select_layer:
        model.config.vision_feature_layer = arguments.mm_vision_select_layer
    bundle = replace(bundle, format=replace(bundle.format, **_asked(arguments)))
    if bundle.format.start_end:
        _add_start_end(bundle)
    if arguments.pretrain_mm_mlp_adapter:
        _load_projector(bundle, Path(arguments.pretrain_mm_mlp_adapter))
    return bundle


def _new(arguments: Arguments, texts: Sequence[str]) -> Checkpoint:
    sizes = NewModel(
        image_size=arguments.image_size,
        image_tokens=arguments.image_tokens,
        vocabulary=arguments.vocabulary,
        layers=arguments.layers,
        hidden_size=arguments.hidden_size,
        heads=arguments.heads,
    )
    model, processor = new_model(sizes, texts, arguments.seed)
    format = Format(template="plain", image_tokens=sizes.image_tokens, aspect="black")
    return Checkpoint(model, processor, replace(format, **_asked(arguments)))


def _joined(arguments: Arguments) -> Checkpoint:
    """A given or packaged language model, with a given tower or a new small one."""
    name = arguments.language_model
    language = packaged_language_model() if name == SMOLLM2 else Path(name)
    small = ConvTowerConfig(image_size=arguments.image_size, tokens=arguments.image_tokens)
    model, processor = join(language, Path(arguments.vision_tower) if arguments.vision_tower else small, arguments.seed)
    format = Format(template="plain", image_tokens=image_tokens(model.config.vision_config), aspect="black")
    return Checkpoint(model, processor, replace(format, **_asked(arguments)))


def _asked(arguments: Arguments) -> dict[str, Any]:
    """The points of the format that flags change."""
    wanted = {
        "template": arguments.version,
        "label_rule": arguments.label_rule,
        "max_length": arguments.model_max_length,
        "aspect": arguments.image_aspect_ratio,
        "start_end": arguments.mm_use_im_start_end,
        "prompt": arguments.prompt if arguments.prompt != "study" else "",
        "views": arguments.views if arguments.views != "all" else "",
    }
    return {name: value for name, value in wanted.items() if value}


def _opened(arguments: Arguments) -> Checkpoint:
    folder = Path(arguments.model_name_or_path)
    if (folder / "adapter_config.json").is_file():
        raise InputError(
            f"{folder}: an adapter; training starts from whole weights: its own run again with --resume "
            "--merge_adapter True merges it"
        )
    quantised = mode_of(arguments.train_modules).four_bit
    extra: dict[str, Any] = {"quantization_config": four_bits()} if quantised else {}
    if (folder / FORMAT_FILE).is_file():
        return open_checkpoint(folder, **extra)
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no config.json; give a folder that holds a checkpoint")
    check_stock(folder)
    try:
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, local_files_only=True, **extra)
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{folder}: the checkpoint cannot be opened: {first_line}") from None
    say(f"{folder}: no {FORMAT_FILE}, so conversations are written as LLaVA-Med v1.0 does")
    vision = model.config.vision_config
    format = Format(
        template="v0", image_token=processor.image_token, image_tokens=(vision.image_size // vision.patch_size) ** 2
    )
    return Checkpoint(model, processor, format)


def four_bits() -> Any:
    """How QLoRA holds frozen weights (Dettmers et al. 2023). Raises InputError without CUDA or bitsandbytes."""
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None or not torch.cuda.is_available():
        raise InputError("--train_modules qlora needs a CUDA device and bitsandbytes (pip install bitsandbytes)")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=["vision_tower", "multi_modal_projector", "lm_head"],
    )


def _load_tower(model: Any, name: str) -> None:
    """Weights of a tower folder into the model's tower, all of them."""
    folder = Path(name)
    if not folder.is_dir():
        say(f"--vision_tower {name}: no folder of that name; the checkpoint's own tower is used")
        return
    try:
        other = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder}: no vision tower that transformers opens ({type(error).__name__})") from None
    weights = getattr(other, "vision_model", other).state_dict()
    wanted = model.model.vision_tower.state_dict()
    for key, value in wanted.items():
        if key not in weights or weights[key].shape != value.shape:
            raise InputError(f"{folder}: {key} is missing or has another shape than the checkpoint's tower")
    model.model.vision_tower.load_state_dict({key: weights[key] for key in wanted})


def _add_start_end(bundle: Checkpoint) -> None:
    """<im_start> and <im_end>, where the tokenizer lacks them: new rows are the mean of all rows before."""
    model, tokenizer = bundle.model, bundle.tokenizer
    added = tokenizer.add_tokens([IMAGE_START, IMAGE_END], special_tokens=True)
    before = model.get_input_embeddings().weight.shape[0]
    if not added or len(tokenizer) <= before:
        return
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for matrix in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
            matrix[before:] = matrix[:before].mean(dim=0)


def _load_projector(bundle: Checkpoint, file: Path) -> None:
    """A projector by any of its published names, and the rows of <im_start> and <im_end> where the file has them.

    Files: LLaVA's `mm_projector.bin` (the whole embedding matrix beside the projector, or the projector alone), or
    safetensors with stock names. One matrix goes to the first layer of a linear projector.
    """
    weights = _read_tensors(file)
    short = {"0": "linear_1", "2": "linear_2", "linear_1": "linear_1", "linear_2": "linear_2"}
    found: dict[str, torch.Tensor] = {}
    embeddings = None
    for key, value in weights.items():
        *path, kind = key.split(".")
        if "projector" in key:
            found[f"{short.get(path[-1], 'linear_1')}.{kind}"] = value
        elif path[-1:] == ["embed_tokens"]:
            embeddings = value
    projector = bundle.model.model.multi_modal_projector
    wanted = projector.state_dict()
    needed = {
        name for name in wanted if name.startswith("linear_1") or bundle.model.config.projector_hidden_act != "linear"
    }
    for name in sorted(needed | found.keys()):
        if name not in found or name not in wanted or found[name].shape != wanted[name].shape:
            raise InputError(f"{file}: the projector's {name} is missing or has another shape than the checkpoint's")
    projector.load_state_dict({name: found[name].to(wanted[name].dtype) for name in found}, strict=False)
    if embeddings is not None and bundle.format.start_end:
        matrix = bundle.model.get_input_embeddings().weight
        if embeddings.shape[0] not in (2, matrix.shape[0]) or embeddings.shape[1] != matrix.shape[1]:
            raise InputError(f"{file}: embeddings {tuple(embeddings.shape)}, the checkpoint has {tuple(matrix.shape)}")
        ids = bundle.tokenizer.convert_tokens_to_ids([IMAGE_START, IMAGE_END])
        with torch.no_grad():
            matrix[ids] = (embeddings if embeddings.shape[0] == 2 else embeddings[ids]).to(matrix)
    say(f"projector from {file}")


def _read_tensors(file: Path) -> dict[str, torch.Tensor]:
    if not file.is_file():
        raise InputError(f"{file}: no such file; bring the projector's weights")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever a damaged or malicious file provokes
        raise InputError(f"{file}: no tensors can be read from it ({type(error).__name__})") from None
    if not isinstance(loaded, dict):
        raise InputError(f"{file}: holds no named tensors")
    return {str(key): value for key, value in loaded.items() if isinstance(value, torch.Tensor)}
