"""What can be done with a model folder of any class: its parts, its chat template, the modes and engines that work.

The model is built without memory for its weights. The table of docs/models.md is made here, from the same facts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from cxrgen.core.errors import InputError
from cxrgen.model.chat import ChatFamily
from cxrgen.model.checkpoint import FORMAT_FILE, chat_format, check_model_folder
from cxrgen.model.conversation import recorded_format
from cxrgen.model.families import LlavaFamily, ModelFamily
from cxrgen.model.parts import LANGUAGE, PROJECTOR, VISION, find_parts
from cxrgen.model.processors import open_processor
from cxrgen.model.templates import CHAT
from cxrgen.train.trainable import MODES

Row = tuple[str, str, str]  # what, how it is, and the way out where it is lacking
# Classes that tests train and write with, by model_type; others go the same way when their parts are found.
TRIED = {
    "llava": "LLaVA, LLaVA-Med",
    "gemma3": "Gemma 3, MedGemma",
    "qwen2_vl": "Qwen2-VL",
    "qwen2_5_vl": "Qwen2.5-VL",
    "qwen3_vl": "Qwen3-VL",
    "internvl": "InternVL 3",
    "idefics3": "Idefics3",
    "smolvlm": "SmolVLM",
    "llava_next": "LLaVA-NeXT (1.6)",
    "llava_onevision": "LLaVA-OneVision",
}
_UNOPENED = (OSError, ValueError, TypeError, LookupError, ImportError, RuntimeError, AttributeError)
_HEADER = ("class", "`model_type`", "train", "LoRA", "QLoRA", "packing", "cached features", "engine `auto`", "vLLM")


def describe_model(path: Path) -> tuple[str, list[Row]]:
    """Class of a stock folder that goes by its own chat template, and what was looked at."""
    try:
        check_model_folder(path)
        model = _without_memory(path)
    except InputError as error:
        return "image-text model", [("cannot be opened", str(error), "bring the files that belong together")]
    kind = f"image-text model of class {type(model).__name__}"
    rows = [_size(model), *_parts(model), _template(path)]
    if any(way_out for _, _, way_out in rows):
        return kind, rows
    return kind, [*rows, *abilities(ChatFamily), _next(path)]


def abilities(family: type[ModelFamily]) -> list[Row]:
    """What works for models of a family, a row each."""
    batches = "padded or packed" if family.packs else "padded; --packing is refused"
    features = "may be kept (--cache_features)" if family.caches_features else "computed in each step"
    return [
        ("training modes", f"{', '.join(MODES)} (qlora needs CUDA)", ""),
        ("training batches", f"{batches}; features of a frozen vision encoder {features}", ""),
        ("generation", f"{_engine(family)}; --engine vllm where vLLM knows the class", ""),
    ]


def _engine(family: type[ModelFamily]) -> str:
    return "refilled batches" if family.refills else "`model.generate` in static batches"


def models_table() -> str:
    """The table of docs/models.md."""
    lines = [_line(_HEADER), _line(["---"] * len(_HEADER))]
    for model_type, name in TRIED.items():
        family: type[ModelFamily] = LlavaFamily if model_type == "llava" else ChatFamily
        marks = ["yes" if able else "no" for able in (family.packs, family.caches_features)]
        lines.append(_line([name, f"`{model_type}`", "yes", "yes", "needs CUDA", *marks, _engine(family), "yes"]))
    return "\n".join(lines)


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _without_memory(path: Path) -> Any:
    try:
        with torch.device("meta"):
            return AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(path, local_files_only=True))
    except _UNOPENED as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: no image-text model that transformers builds: {first_line}") from None


def _size(model: Any) -> Row:
    return "size", f"{sum(each.numel() for each in model.parameters()) / 1e6:,.1f} M parameters", ""


def _parts(model: Any) -> list[Row]:
    try:
        parts = find_parts(model)
    except InputError as error:
        return [("parts", str(error), "it can be asked (`cxrgen generate`), not trained")]
    counts = dict.fromkeys((VISION, PROJECTOR, LANGUAGE), 0)
    for name, parameter in model.named_parameters():
        counts[parts.part_of(name)] = counts.get(parts.part_of(name), 0) + parameter.numel()
    names = {VISION: parts.vision, PROJECTOR: ", ".join(parts.projector), LANGUAGE: parts.language}
    titles = {VISION: "vision encoder", PROJECTOR: "projector", LANGUAGE: "language model"}
    return [(titles[part], f"{names[part]}, {counts[part] / 1e6:,.1f} M parameters", "") for part in titles]


def _template(path: Path) -> Row:
    """Whether conversations can be written by the folder's own chat template."""
    try:
        recorded = path / FORMAT_FILE
        format = recorded_format(recorded) if recorded.is_file() else chat_format(path)
        if format.template == CHAT:
            ChatFamily(open_processor(path), format)
    except (InputError, *_UNOPENED) as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return "chat template", f"cannot be used: {first_line}", "bring a processor with a chat template"
    return "chat template", "its own; the prompt is a prefix of the conversation, and answers end with a mark", ""


def _next(path: Path) -> Row:
    train = f"`cxrgen train --model_name_or_path {path} --data_path PREPARED --output_dir OUT`"
    return "next", f"`cxrgen generate --model-name {path} --question-file PREPARED`, {train}", ""
