"""What a training run is told: one dataclass, filled from a YAML recipe and then from flags.

A field is a recipe key and a flag of the same name (kebab-case too). Booleans may stand bare (`--bf16`) or with a value
(`--bf16 True`); a flag given twice counts once, the last time. The original's flags are taken as they are: those that
say the same in other words set the field that means it, and those without a meaning here give a notice.
"""

from __future__ import annotations

import argparse
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.progress import say

_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


def _option(default: Any, help: str, *, outcome: bool = True) -> Any:
    """`outcome`: another value gives another model, so a run cannot be resumed with it."""
    return field(default=default, metadata={"help": help, "outcome": outcome})


@dataclass(frozen=True)
class Arguments:
    """One training run. Paths are strings so that a run can be written down and repeated."""

    data_path: str = _option("", "prepared folder, or LLaVA JSON", outcome=False)
    output_dir: str = _option("", "where the run and its checkpoint go", outcome=False)
    image_folder: str = _option("", "where the images of a JSON file are; default: beside it", outcome=False)
    split: str = _option("train", "split of a prepared folder that is learnt from")
    model_name_or_path: str = _option("", "checkpoint to start from; none makes a new small model")
    language_model: str = _option(
        "", "new model: folder of a language model to join a tower to, or smollm2-135m for the packaged one"
    )
    vision_tower: str = _option(
        "", "folder of a vision tower that replaces the checkpoint's own, or is joined to --language_model"
    )
    pretrain_mm_mlp_adapter: str = _option("", "projector weights to start from (.bin or .safetensors)")
    version: str = _option("", "conversation template: plain, v0, v1 or mistral; default: the checkpoint's, else v0")
    label_rule: str = _option("", "answer, or original for LLaVA-Med's own labels; default: the checkpoint's")
    loss_rule: str = _option("tokens", "tokens, or original for the mean of micro-batch means")
    model_max_length: int = _option(0, "longest sample in tokens; 0: the checkpoint's, 2048 for a new model")
    long: str = _option("cut", "samples over the limit: cut at the end of a sentence, drop, or refuse")
    mm_use_im_start_end: bool = _option(False, "put <im_start> and <im_end> around an image")
    mm_vision_select_layer: int = _option(0, "hidden layer that features are read from; 0: the checkpoint's")
    image_aspect_ratio: str = _option("", "square, pad or black; default: the checkpoint's, square for others'")
    prompt: str = _option("study", "wording of the question: study, study-prior (with the report before), original")
    views: str = _option("all", "images of a study that are shown: all, frontal or lateral")
    view_dropout: float = _option(
        0.0, "share of studies of several views shown with their frontal only, drawn each epoch"
    )
    max_rejects: float = _option(0.02, "largest share of items that may be left out", outcome=False)

    train_modules: str = _option("projector+llm", "projector, llm, projector+llm, full, lora or qlora")
    train_tower: str = _option("frozen", "vision tower: frozen, last-N layers or full")
    lora_rank: int = _option(16, "rank of low-rank adapters")
    lora_alpha: int = _option(32, "scale of low-rank adapters")
    lora_dropout: float = _option(0.05, "dropout in front of low-rank adapters")
    merge_adapter: bool = _option(False, "write adapters into the weights at the end", outcome=False)
    cache_features: bool = _option(False, "compute the frozen tower's features once and keep them in memory")
    packing: bool = _option(False, "samples of a batch in one row without padding, each seeing itself only")
    gradient_checkpointing: bool = _option(False, "compute layers again in the backward pass, to save memory")
    seed: int = _option(42, "of new weights and of the order of samples")
    threads: int = _option(0, "CPU threads; 0 leaves it to torch", outcome=False)

    warmup_labels: str = _option("none", "labels for warming up the tower: none, rule (from the reports) or dataset")
    tower_steps: int = _option(0, "steps of the tower's warm-up")
    tower_batch_size: int = _option(32, "studies in a step of the tower's warm-up")
    tower_learning_rate: float = _option(1.5e-3, "peak learning rate of the tower's warm-up")
    text_steps: int = _option(0, "steps on texts alone before images are shown, for a new language model")

    max_steps: int = _option(-1, "training steps; -1 (or 0) counts epochs instead")
    num_train_epochs: float = _option(1.0, "passes over the data")
    per_device_train_batch_size: int = _option(8, "samples a process takes at a time", outcome=False)
    gradient_accumulation_steps: int = _option(1, "batches in a step", outcome=False)
    global_batch_size: int = _option(0, "samples in a step, all processes together; derives the accumulation")
    learning_rate: float = _option(2e-5, "peak learning rate")
    weight_decay: float = _option(0.0, "AdamW's weight decay")
    adam_beta1: float = _option(0.9, "AdamW's first decay")
    adam_beta2: float = _option(0.999, "AdamW's second decay")
    warmup_ratio: float = _option(0.03, "share of the steps in which the learning rate rises")
    warmup_steps: int = _option(0, "the same as a number of steps; 0: by the ratio")
    lr_scheduler_type: str = _option("cosine", "cosine, linear or constant")
    max_grad_norm: float = _option(1.0, "gradients are clipped to this norm; 0: never")
    bf16: bool = _option(False, "compute in bfloat16 where the hardware has it")
    tf32: bool = _option(False, "let float32 products use TF32 where the hardware has it")
    fsdp: str = _option("", "anything but empty: shard model and optimiser over processes (FSDP2)", outcome=False)
    dataloader_num_workers: int = _option(0, "processes that read images ahead", outcome=False)

    save_strategy: str = _option("steps", "steps or no: checkpoints to resume from", outcome=False)
    save_steps: int = _option(500, "steps between checkpoints", outcome=False)
    save_total_limit: int = _option(2, "checkpoints kept besides the best", outcome=False)
    resume: bool | str = _option(
        False, "continue from the last whole checkpoint in output_dir, or from the one that is named", outcome=False
    )
    overwrite_output_dir: bool = _option(False, "start anew where an earlier run left checkpoints", outcome=False)
    eval_strategy: str = _option("no", "steps or no: validation while training", outcome=False)
    eval_steps: int = _option(500, "steps between validations", outcome=False)
    eval_studies: int = _option(64, "validation studies, the same each time", outcome=False)
    eval_reports: bool = _option(True, "also write and score reports of these studies", outcome=False)
    eval_max_new_tokens: int = _option(256, "longest report written in validation", outcome=False)
    eval_data_path: str = _option(
        "", "LLaVA JSON to validate on; default: split valid of a prepared folder", outcome=False
    )
    per_device_eval_batch_size: int = _option(8, "studies at a time in validation", outcome=False)
    metric_for_best_model: str = _option("eval_loss", "what the best checkpoint is best at", outcome=False)
    early_stopping_patience: int = _option(0, "validations without a new best before stopping; 0: never")
    report_to: str = _option(
        "none", "besides log.jsonl: tensorboard, trackio, wandb; several with commas", outcome=False
    )
    run_name: str = _option("", "name of the run in these", outcome=False)
    logging_steps: int = _option(1, "steps between lines of log.jsonl", outcome=False)

    image_size: int = _option(128, "new model: image size in pixels")
    image_tokens: int = _option(8, "new model: tokens an image")
    vocabulary: int = _option(1000, "new model: word pieces")
    layers: int = _option(3, "new model: layers of the language model")
    hidden_size: int = _option(256, "new model: width of the language model")
    heads: int = _option(4, "new model: attention heads")


ALIASES = {  # other names of a field: the original's, and those of older and newer trainers
    "evaluation_strategy": "eval_strategy",
    "resume_from_checkpoint": "resume",
    "max_length": "model_max_length",
}
CHOICES = {
    "save_strategy": ("no", "steps"),
    "eval_strategy": ("no", "steps"),
    "long": ("cut", "drop", "refuse"),
    "views": ("all", "frontal", "lateral"),
    "image_aspect_ratio": ("", "square", "pad", "black"),
}
AT_LEAST = {
    **dict.fromkeys(("save_steps", "eval_steps", "logging_steps", "gradient_accumulation_steps"), 1),
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size", "tower_batch_size"), 1),
    **dict.fromkeys(("eval_studies", "eval_max_new_tokens", "lora_rank", "save_total_limit"), 1),
    **dict.fromkeys(("global_batch_size", "dataloader_num_workers", "warmup_steps", "tower_steps", "text_steps"), 0),
    **dict.fromkeys(("learning_rate", "weight_decay", "max_grad_norm", "warmup_ratio", "num_train_epochs"), 0),
    **dict.fromkeys(("model_max_length", "early_stopping_patience", "threads", "lora_dropout"), 0),
}
MODE_FLAGS = ("tune_mm_mlp_adapter", "freeze_backbone", "freeze_mm_mlp_adapter")  # together they name a mode
WITHOUT_MEANING = {  # the original's flags that change nothing here, and why
    "lazy_preprocess": "images are always read when they are needed, texts once at the start",
    "is_multimodal": "the checkpoint says so itself",
    "image_token_len": "the checkpoint says so itself",
    "sep_image_conv_front": "the image stays where the data put it",
    "optim": "the optimiser is AdamW",
    "adam_epsilon": "it is 1e-8",
    "fsdp_transformer_layer_cls_to_wrap": "every decoder layer is a unit of its own",
    "force_fsdp": "say --fsdp",
    "fp16": "say --bf16; float16 would need loss scaling",
    "deepspeed": "say --fsdp, which shards the same things",
    "cache_dir": "models are folders; nothing is downloaded",
    "do_train": "train trains",
    "do_eval": "say --eval_strategy steps",
    "remove_unused_columns": "there are no columns",
    "group_by_length": "batches are always grouped by length",
    "load_best_model_at_end": "the best checkpoint is kept beside the last; continue from it by hand",
    "ddp_find_unused_parameters": "every trained parameter gets a gradient",
    "local_rank": "torchrun says so in the environment",
    "save_on_each_node": "the first process writes",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One flag a field; a flag that is not given leaves the recipe's value."""
    parser.add_argument("recipe", nargs="?", help="YAML file, or the name of a packaged one (tiny)")
    types = typing.get_type_hints(Arguments)
    others: dict[str, list[str]] = {}
    for alias, name in ALIASES.items():
        others.setdefault(name, []).append(_flag(alias))
    for each in fields(Arguments):
        names = [_flag(each.name), *others.get(each.name, [])]
        shown = f"{each.metadata['help']} (default: {each.default!r})".replace("%", "%%")
        if types[each.name] in (bool, bool | str):
            kind = _boolean if types[each.name] is bool else _boolean_or_text
            parser.add_argument(*names, nargs="?", const=True, type=kind, default=MISSING, help=shown)
        else:
            parser.add_argument(*names, type=types[each.name], default=MISSING, help=shown)
    for name in MODE_FLAGS:
        parser.add_argument(_flag(name), nargs="?", const=True, type=_boolean, help=argparse.SUPPRESS)
    for name in WITHOUT_MEANING:
        parser.add_argument(_flag(name), nargs="?", const="", help=argparse.SUPPRESS)


def resolve(options: argparse.Namespace) -> Arguments:
    """The recipe's values, overridden by the flags. Raises UsageError for what cannot be meant."""
    values = dict(_read_recipe(options.recipe)) if options.recipe else {}
    for each in fields(Arguments):
        given = getattr(options, each.name)
        if given is not MISSING:
            values[each.name] = given
    values.setdefault("train_modules", _mode_named_by_flags(options, values))
    for name, reason in WITHOUT_MEANING.items():
        if getattr(options, name) is not None:
            say(f"--{name} changes nothing here: {reason}")
    arguments = Arguments(**values)
    for name in ("data_path", "output_dir"):
        if not getattr(arguments, name):
            raise UsageError(f"--{name.replace('_', '-')} is needed")
    for name, known in CHOICES.items():
        if getattr(arguments, name) not in known:
            raise UsageError(f"--{name} {getattr(arguments, name)}: there are {', '.join(filter(None, known))}")
    for name, least in AT_LEAST.items():
        if not getattr(arguments, name) >= least:
            raise UsageError(f"--{name} {getattr(arguments, name)}: at least {least}")
    return arguments


def _mode_named_by_flags(options: argparse.Namespace, values: Mapping[str, Any]) -> str:
    """The original's three switches; without any of them it trains projector and language model."""
    if options.tune_mm_mlp_adapter:
        return "projector"
    if options.freeze_backbone:
        raise UsageError("--freeze_backbone trains the head alone; say --train_modules projector or lora")
    return "llm" if options.freeze_mm_mlp_adapter else "projector+llm"


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _read_recipe(name: str) -> Mapping[str, Any]:
    path = Path(name)
    packaged = resources.files("cxrgen") / "recipes" / f"{path.stem}.yaml"
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    elif packaged.is_file():
        text = packaged.read_text(encoding="utf-8")
    else:
        raise InputError(f"{name}: neither a file nor the name of a packaged recipe")
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError(f"{name}{f':{mark.line + 1}' if mark else ''}: not YAML") from None
    if not isinstance(values, dict):
        raise InputError(f"{name}: a recipe is a list of `key: value` lines")
    types = typing.get_type_hints(Arguments)
    checked: dict[str, Any] = {}
    for given, value in values.items():
        key = ALIASES.get(given, given)
        if key not in types:
            near = get_close_matches(str(given), types, n=1)
            raise InputError(f"{name}: unknown key {given!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        checked[key] = _checked(name, key, value, types[key])
    return checked


def _checked(recipe: str, key: str, value: Any, kind: Any) -> Any:
    """YAML reads 1e-3 as text, 1 as a whole number and no as false; what is wanted decides what is meant."""
    kinds = typing.get_args(kind) or (kind,)
    try:
        if kind is float and not isinstance(value, bool):
            return float(value)
        if kind is str and value is False:
            return "no"
        if type(value) in kinds:
            return value
    except (TypeError, ValueError):
        pass
    raise InputError(f"{recipe}: {key} must be {' or '.join(each.__name__ for each in kinds)}, not {value!r}")


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _boolean_or_text(text: str) -> bool | str:
    return _boolean(text) if text.lower() in _TRUE + _FALSE else text
