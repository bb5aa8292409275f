"""Flags and recipes to a `TrainConfig`: a YAML recipe first, then the flags that are given.

Boolean flags work with or without a value (`--bf16`, `--bf16 True`); of a flag that is given twice the last counts. The
original's flags are accepted: those that say the same in other words set the field that means it, and those without a
meaning here are ignored with a notice.
"""

from __future__ import annotations

import argparse
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from cxrgen.core.errors import InputError, UsageError, unknown
from cxrgen.core.progress import say
from cxrgen.train.config import TrainConfig, make_config, options, parts
from cxrgen.train.recipes_command import recipe_texts

PATHS = str | tuple[str, ...]  # the type of a field that takes one path or several
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")
_METAVARS = {int: "N", float: "X", str: "TEXT", bool: "true|false"}

ALIASES = {  # other names of a field: the original's, and those of older and newer trainers
    "evaluation_strategy": "eval_strategy",
    "resume_from_checkpoint": "resume",
    "max_length": "model_max_length",
    "lora_r": "lora_rank",
}
MODE_FLAGS = ("tune_mm_mlp_adapter", "freeze_backbone", "freeze_mm_mlp_adapter", "lora_enable")  # they name a mode
WITHOUT_MEANING = {  # flags of the original and of LLaVA 1.5 that change nothing here, and why
    "lazy_preprocess": "images are always read when they are needed, texts once at the start",
    "is_multimodal": "the checkpoint says so itself",
    "image_token_len": "the checkpoint says so itself",
    "sep_image_conv_front": "the image stays where the data put it",
    "adam_epsilon": "it is 1e-8",
    "fsdp_transformer_layer_cls_to_wrap": "every decoder layer is a unit of its own",
    "force_fsdp": "use --fsdp",
    "fp16": "use --bf16; float16 would need loss scaling",
    "deepspeed": "use --fsdp, which shards the same things",
    "cache_dir": "models are folders; nothing is downloaded",
    "do_train": "the command trains",
    "do_eval": "use --eval_strategy steps",
    "remove_unused_columns": "there are no columns",
    "group_by_length": "batches are always grouped by length",
    "group_by_modality_length": "batches are always grouped by length",
    "load_best_model_at_end": "the best checkpoint is kept beside the last; continue from it by hand",
    "ddp_find_unused_parameters": "every trained parameter gets a gradient",
    "local_rank": "torchrun sets it in the environment",
    "save_on_each_node": "the first process writes",
    "mm_projector_type": "the checkpoint's projector is kept; a new one has two layers",
    "mm_use_im_patch_token": "the image token is the checkpoint's",
    "mm_vision_select_feature": "the checkpoint says whether the class token is dropped",
    "mm_patch_merge_type": "an image is one square",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One flag a field, in groups by the configuration's parts; a flag that is not given leaves the recipe's value."""
    parser.add_argument("recipe", nargs="?", help="YAML file, or a packaged one by name: `cxrgen recipes` lists them")
    for title, kind in parts().values():
        group = parser.add_argument_group(title)
        for option in fields(kind):
            _add_flag(group, option, typing.get_type_hints(kind)[option.name])
    group = parser.add_argument_group("the run as a whole")
    for option in fields(TrainConfig):
        if "title" not in option.metadata:
            _add_flag(group, option, typing.get_type_hints(TrainConfig)[option.name])
    group.add_argument("--show-values", action="store_true", help="messages may show ids and paths of the data")
    for name in MODE_FLAGS:
        parser.add_argument(_flag(name), nargs="?", const=True, type=_boolean, help=argparse.SUPPRESS)
    for name in WITHOUT_MEANING:
        parser.add_argument(_flag(name), nargs="?", const="", help=argparse.SUPPRESS)


def _add_flag(group: Any, option: Any, kind: Any) -> None:
    names = [_flag(option.name), *(_flag(alias) for alias, name in ALIASES.items() if name == option.name)]
    shown = option.metadata["help"] + ("" if option.default in ("", False) else f" (default: {option.default})")
    choices = [choice for choice in option.metadata["choices"] if choice]
    metavar = "{" + ",".join(choices) + "}" if choices else option.metadata["metavar"] or _METAVARS.get(kind, "VALUE")
    more: dict[str, Any] = {"default": MISSING, "help": shown.replace("%", "%%"), "metavar": metavar}
    if kind in (bool, bool | str):
        more |= {"nargs": "?", "const": True, "metavar": "true|false" if kind is bool else "CHECKPOINT"}
        group.add_argument(*names, type=_boolean if kind is bool else _boolean_or_text, **more)
    elif kind == PATHS:
        group.add_argument(*names, nargs="+", **more)
    else:
        group.add_argument(*names, type=_share if option.name == "max_rejects" else kind, **more)


def resolve(given: argparse.Namespace, needed: Sequence[str] = ("data_path", "output_dir")) -> TrainConfig:
    """The recipe's values, overridden by the flags. Raises UsageError for unusable and missing values."""
    values = dict(_read_recipe(given.recipe)) if given.recipe else {}
    for option in options():
        value = getattr(given, option.name)
        if value is not MISSING:
            values[option.name] = _paths(value) if isinstance(value, list) else value
    values.setdefault("train_modules", _mode_of_flags(given))
    for name, reason in WITHOUT_MEANING.items():
        if getattr(given, name) is not None:
            say(f"--{name} changes nothing here: {reason}")
    for name in needed:
        if name == "data_path" and values.get("warmup_data"):
            continue  # labels alone
        if not values.get(name):
            raise UsageError(f"--{name.replace('_', '-')} is needed")
    return make_config(values)


def recipe_config(recipe: Path) -> TrainConfig:
    """The configuration of a recipe file alone."""
    return make_config(_read_recipe(str(recipe)))


def _mode_of_flags(given: argparse.Namespace) -> str:
    """The mode by the original's switches; without any of them projector and language model are trained."""
    if given.tune_mm_mlp_adapter:
        return "projector"
    if given.lora_enable:
        return "lora"
    if given.freeze_backbone:
        raise UsageError("--freeze_backbone trains the head alone; use --train_modules projector or lora")
    return "llm" if given.freeze_mm_mlp_adapter else "projector+llm"


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _read_recipe(name: str) -> Mapping[str, Any]:
    path = Path(name)
    packaged = recipe_texts().get(path.name.removesuffix(".yaml"))
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    elif packaged is not None:
        text = packaged
    else:
        raise unknown("recipe", name, (*recipe_texts(), "a YAML file"))
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError(f"{name}{f':{mark.line + 1}' if mark else ''}: not YAML") from None
    if not isinstance(values, dict):
        raise InputError(f"{name}: a recipe is a list of `key: value` lines")
    return _checked_recipe(name, values)


def _checked_recipe(name: str, values: Mapping[Any, Any]) -> dict[str, Any]:
    kinds = _kinds()
    checked: dict[str, Any] = {}
    for given, value in values.items():
        key = ALIASES.get(given, given)
        if key not in kinds:
            near = get_close_matches(str(given), kinds, n=1)
            raise InputError(f"{name}: unknown key {given!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        checked[key] = _coerced(name, key, value, kinds[key])
    return checked


def _kinds() -> dict[str, Any]:
    """Flat name -> type; where an option has the name of a part (`optim`), the option counts."""
    kinds: dict[str, Any] = {}
    for kind in (TrainConfig, *(kind for _, kind in parts().values())):
        kinds |= typing.get_type_hints(kind)
    return {option.name: kinds[option.name] for option in options()}


def _coerced(recipe: str, key: str, value: Any, kind: Any) -> Any:
    """YAML reads 1e-3 as text, 1 as a whole number and no as false; the field's type decides."""
    kinds = typing.get_args(kind) or (kind,)
    try:
        if key == "max_rejects":
            return _share(str(value))
        if kind is float and not isinstance(value, bool):
            return float(value)
        if kind is str and value is False:
            return "no"
        if kind == PATHS and isinstance(value, list) and all(isinstance(each, str) for each in value):
            return _paths(value)
        if type(value) in kinds:
            return value
    except (TypeError, ValueError, argparse.ArgumentTypeError):
        pass
    wanted = "a path or a list of paths" if kind == PATHS else " or ".join(each.__name__ for each in kinds)
    raise InputError(f"{recipe}: {key} must be {wanted}, not {value!r}")


def _paths(given: list[str]) -> str | tuple[str, ...]:
    """One path as a text, several as a tuple."""
    return given[0] if len(given) == 1 else tuple(given)


def _share(text: str) -> float:
    from cxrgen.core.rejects import share  # imports pyarrow, which --help does without

    return share(text)


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _boolean_or_text(text: str) -> bool | str:
    return _boolean(text) if text.lower() in _TRUE + _FALSE else text
