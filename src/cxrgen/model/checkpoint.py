"""A checkpoint folder: stock Hugging Face files plus cxrgen.json, which says how conversations become tokens.

Training writes it, generation reads it, so both use one format. Other tools open the folder without cxrgen.json.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor

from cxrgen.core.errors import InputError
from cxrgen.core.files import write_json
from cxrgen.core.progress import say
from cxrgen.core.tables import read_json
from cxrgen.model.conversation import Format, recorded_format
from cxrgen.model.llama_fast import checked_tokenizer, fingerprint
from cxrgen.model.llama_tokenizer import MODEL_FILE, SLOW_FILES

FORMAT_FILE = "cxrgen.json"


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to write reports: model, processor (tokenizer and image processor), format."""

    model: Any
    processor: Any
    format: Format
    slow_files: Mapping[str, bytes] = field(
        default_factory=dict
    )  # name to content, carried from checkpoint to checkpoint

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint beside its place and rename it, so that `folder` is a whole checkpoint or the old one."""
    folder = Path(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with quiet():
            checkpoint.model.save_pretrained(temporary)
        save_all_but_weights(temporary, checkpoint)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save_all_but_weights(folder: Path, checkpoint: Checkpoint) -> None:
    """Write processor, tokenizer and cxrgen.json into an existing folder."""
    with quiet():
        checkpoint.processor.save_pretrained(folder)
    for name, data in checkpoint.slow_files.items():
        (folder / name).write_bytes(data)
    format = checkpoint.format
    if format.tokens:  # tokens may have been added since
        format = replace(format, tokens=fingerprint(checkpoint.tokenizer))
    write_json(folder / FORMAT_FILE, asdict(format))


def open_checkpoint(folder: Path, dtype: torch.dtype = torch.float32, **how: Any) -> Checkpoint:
    """Open a checkpoint folder. Raises InputError naming what is missing when it is none.

    A Llama-style tokenizer is compared with its `tokenizer.model` first, and replaced when it gives other ids.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a checkpoint written by `cxrgen train` or `cxrgen convert`")
    if (folder / "config.json").is_file():
        check_stock(folder)
    adapter = (folder / "adapter_config.json").is_file()  # names its base, which transformers then opens first
    for name in (FORMAT_FILE,) if adapter else ("config.json", FORMAT_FILE):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: no {name}, so this is no checkpoint of cxrgen")
    if not [*folder.glob("*.safetensors")]:
        raise InputError(f"{folder}: no *.safetensors, so the weights are missing")
    format = recorded_format(folder / FORMAT_FILE)
    try:
        with quiet():
            processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
            # torchvision, where it is installed, resizes a little differently.
            processor.image_processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
            if format.template != "plain":
                _check_tokenizer(folder, processor, format)
            model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, local_files_only=True, **how)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{folder}: the checkpoint cannot be opened: {first_line}") from None
    slow_files = {name: (folder / name).read_bytes() for name in SLOW_FILES if (folder / name).is_file()}
    return Checkpoint(model, processor, format, slow_files)


def _check_tokenizer(folder: Path, processor: Any, format: Format) -> None:
    processor.tokenizer, reason = checked_tokenizer(folder, processor.tokenizer, format)
    if reason:
        say(f"{folder}: the tokenizer is not the one that the weights know ({reason}); {MODEL_FILE} takes its place")


def check_stock(folder: Path) -> None:
    """Raises InputError for the original's layouts, which transformers would open as another, untrained model."""
    config = read_json(folder / "config.json")
    if isinstance(config, dict) and "text_config" not in config and config.get("model_type") in LLAVA_TYPES:
        raise InputError(
            f"{folder}: the original's layout; make it stock with `cxrgen convert {folder} OUT --to stock`"
        )


class quiet:
    """Keeps transformers' loading bars and advice off the screen; its errors still come as exceptions."""

    def __enter__(self) -> None:
        self.level = transformers.logging.get_verbosity()
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        transformers.logging.set_verbosity(self.level)
        transformers.logging.enable_progress_bar()


LLAVA_TYPES = ("llava", "custom_llava", "llava_llama", "llava_mistral")
