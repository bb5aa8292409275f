"""A checkpoint folder: stock Hugging Face files plus cxrgen.json, which says how conversations become tokens.

Training writes it, generation reads it, so both use one format. Other tools open the folder without cxrgen.json. A
folder of another origin has none; such a model is asked by its own chat template.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText

from cxrgen.core.errors import InputError
from cxrgen.core.files import write_json
from cxrgen.core.folders import new_folder
from cxrgen.core.progress import say
from cxrgen.core.tables import read_json
from cxrgen.model.adapters import load_magnitudes, open_adapter
from cxrgen.model.chat import ChatFamily
from cxrgen.model.chat_template import chat_template
from cxrgen.model.conversation import Format, recorded_format
from cxrgen.model.folder_checks import (
    check_config,
    check_files,
    check_tensors,
    image_tokens_of,
    refuse_infinite,
    refuse_unloaded,
    weights_digest,
)
from cxrgen.model.llama_fast import checked_tokenizer, fingerprint
from cxrgen.model.llama_tokenizer import MODEL_FILE, SLOW_FILES
from cxrgen.model.locate import base_of
from cxrgen.model.processors import open_processor
from cxrgen.model.templates import CHAT

READER = "label_reader"  # folder of the label reader, where there is one
FORMAT_FILE = "cxrgen.json"
MOST_TOKENS = 8192  # of a sample, for a model that takes more; --model_max_length allows them
BASE_FILE = "base.json"  # beside an adapter: the digest of the weights that it was trained over


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to write reports: model, processor (tokenizer and image processor), format."""

    model: Any
    processor: Any
    format: Format
    slow_files: Mapping[str, bytes] = field(
        default_factory=dict
    )  # name to content, carried from checkpoint to checkpoint
    label_reader: Path | None = None  # its folder, where prompts state what it sees; likewise

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    @property
    def rows(self) -> int:
        """How many embeddings the model needs: <im_start> and <im_end> may have been added to the tokenizer."""
        return len(self.tokenizer) if self.format.start_end else 0


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint folder; `folder` is at any time the whole new checkpoint or the old one."""
    with new_folder(Path(folder), replace=True) as temporary:
        with quiet():
            checkpoint.model.save_pretrained(temporary)
        save_all_but_weights(temporary, checkpoint)


def save_all_but_weights(folder: Path, checkpoint: Checkpoint) -> None:
    """Write processor, tokenizer and cxrgen.json into an existing folder; beside an adapter, its base's digest."""
    if checkpoint.format.template != CHAT:
        template = chat_template(checkpoint.format, begin=checkpoint.tokenizer.bos_token_id is not None)
        checkpoint.processor.chat_template = checkpoint.tokenizer.chat_template = template
    with quiet():
        checkpoint.processor.save_pretrained(folder)
    for name, data in checkpoint.slow_files.items():
        (folder / name).write_bytes(data)
    if checkpoint.label_reader:
        shutil.copytree(checkpoint.label_reader, folder / READER)
    format = checkpoint.format
    if format.tokens:  # tokens may have been added since
        format = replace(format, tokens=fingerprint(checkpoint.tokenizer))
    write_json(folder / FORMAT_FILE, asdict(format))
    base = base_of(folder)
    if base is not None:
        write_json(folder / BASE_FILE, {"weights": weights_digest(base)})


def open_checkpoint(folder: Path, dtype: torch.dtype = torch.float32, **how: Any) -> Checkpoint:
    """Open a checkpoint folder. Raises InputError naming what is missing, damaged or does not belong together.

    A Llama-style tokenizer is compared with its `tokenizer.model` first, and replaced when it gives other ids.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a checkpoint written by `cxrgen train` or `cxrgen convert`")
    base = base_of(folder)
    for name in (FORMAT_FILE,) if base else ("config.json", FORMAT_FILE):
        if name == FORMAT_FILE and base is None:
            check_stock(folder)
        if not (folder / name).is_file():
            raise InputError(f"{folder}: no {name} and no chat template, so how to ask this model is not known")
    return _opened(folder, recorded_format(folder / FORMAT_FILE), dtype, **how)


def open_by_chat_template(folder: Path, dtype: torch.dtype = torch.float32, **how: Any) -> Checkpoint:
    """Open a model folder of any origin, to be asked by its own chat template. Raises InputError as the other does."""
    return _opened(folder, chat_format(folder), dtype, **how)


def open_model_folder(folder: Path, dtype: torch.dtype = torch.float32, **how: Any) -> Checkpoint:
    """Open a checkpoint, or a folder of another origin by its own chat template. Raises InputError as these do."""
    recorded = (Path(folder) / FORMAT_FILE).is_file() or not has_chat_template(Path(folder))
    return (open_checkpoint if recorded else open_by_chat_template)(folder, dtype, **how)


def has_chat_template(folder: Path) -> bool:
    """Whether the folder holds a chat template for its processor."""
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    file = folder / "processor_config.json"
    content = read_json(file) if file.is_file() else {}
    return isinstance(content, dict) and bool(content.get("chat_template"))


def chat_format(folder: Path) -> Format:
    """The format of a model folder without cxrgen.json: its own chat template, as many tokens as it has positions."""
    config = check_config(folder)
    text = config.get("text_config") or config
    positions = text.get("max_position_embeddings") or config.get("max_position_embeddings") or MOST_TOKENS
    return Format(template=CHAT, max_length=min(positions, MOST_TOKENS))


def _opened(folder: Path, format: Format, dtype: torch.dtype, **how: Any) -> Checkpoint:
    check_model_folder(folder, format)
    try:
        with quiet():
            processor = open_processor(folder)
            if format.template == CHAT:
                _check_chat(folder, processor, format)
            elif format.template != "plain":
                _check_tokenizer(folder, processor, format)
            rows = len(processor.tokenizer) if format.start_end else 0
            model = _open_model(folder, dtype, rows, **how)
    except _UNOPENED as error:
        raise _unopened(folder, error) from None
    slow_files = {name: (folder / name).read_bytes() for name in SLOW_FILES if (folder / name).is_file()}
    reader = folder / READER if (folder / READER).is_dir() else None
    return Checkpoint(model, processor, format, slow_files, reader)


def check_model_folder(folder: Path, format: Format | None = None) -> None:
    """Everything that can be said of a checkpoint's, or of any model folder's, files before their weights are read.

    Raises InputError naming what is missing, damaged or does not belong together.
    """
    base = base_of(folder)
    weights = base or folder
    config = check_config(weights)
    check_stock(weights)
    check_files(folder)
    if base is not None:
        check_files(base)
        _check_base(folder, base)
    if format is not None and format.template != CHAT:
        _check_image_tokens(folder, config, format)
    try:
        with quiet():
            check_tensors(weights)
    except _UNOPENED as error:
        raise _unopened(weights, error) from None


def _check_base(folder: Path, base: Path) -> None:
    """Raises InputError when the base has other weights than the adapter was trained over; old adapters do not say."""
    file = folder / BASE_FILE
    recorded = read_json(file) if file.is_file() else None
    if recorded is not None and (not isinstance(recorded, dict) or recorded.get("weights") != weights_digest(base)):
        raise InputError(f"{folder}: was trained over other weights than those in {base}; bring its own base")


def _check_image_tokens(folder: Path, config: Mapping[str, Any], format: Format) -> None:
    tokens = image_tokens_of(config, folder / "config.json")
    if tokens is not None and tokens != format.image_tokens:
        raise InputError(
            f"{folder / FORMAT_FILE}: image_tokens is {format.image_tokens}, the vision encoder of config.json gives "
            f"{tokens}; bring the files that belong together"
        )


def _open_model(folder: Path, dtype: torch.dtype, rows: int, **how: Any) -> Any:
    base = base_of(folder)
    if base is not None:
        model, info = open_adapter(folder, base, rows, dtype, **how)
    else:
        model, info = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, local_files_only=True, output_loading_info=True, **how
        )
    load_magnitudes(folder, model, info)
    refuse_unloaded(folder, info)
    refuse_infinite(folder, [*model.named_parameters(), *model.named_buffers()])
    return model


# What transformers, peft and safetensors raise for files that are damaged or not theirs.
_UNOPENED = (
    *(OSError, ValueError, LookupError, TypeError, RuntimeError, AttributeError, ArithmeticError, ImportError),
    *(SafetensorError, StrictDataclassError),
)


def _unopened(folder: Path, error: Exception) -> InputError:
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return InputError(f"{folder}: the checkpoint cannot be opened: {first_line}")


def _check_chat(folder: Path, processor: Any, format: Format) -> None:
    """Raises InputError for a processor that takes no messages. Where no token pads, the end token does."""
    for name in ("tokenizer", "image_processor"):
        if not hasattr(processor, name):
            raise InputError(f"{folder}: {type(processor).__name__} has no {name}; give an image-text model")
    if processor.tokenizer.pad_token_id is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    try:
        ChatFamily(processor, format)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None


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
