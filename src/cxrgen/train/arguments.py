"""What a training run is told: one dataclass, filled from a YAML recipe and then from flags.

A field is a recipe key and a flag of the same name (kebab-case too). Booleans may stand bare (`--bf16`) or with a value
(`--bf16 True`); a flag given twice counts once, the last time.
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

from cxrgen.errors import InputError, UsageError

_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Arguments:
    """One training run. Paths are strings so that a run can be written down and repeated."""

    data_path: str = _option("", "prepared folder, or LLaVA JSON")
    output_dir: str = _option("", "where the checkpoint goes")
    image_folder: str = _option("", "where the images of a JSON file are; default: beside it")
    model_name_or_path: str = _option("", "checkpoint to start from; none makes a new small model")
    views: str = _option("all", "films of a study that are shown: all, frontal or lateral")
    view_dropout: float = _option(
        0.0, "share of studies of several views shown with their frontal only, drawn each epoch"
    )
    train_modules: str = _option("projector+llm", "what is trained: projector, projector+llm or full")
    cache_features: bool = _option(False, "compute the frozen tower's features once and keep them in memory")
    seed: int = _option(42, "of new weights and of the order of samples")
    threads: int = _option(0, "CPU threads; 0 leaves it to torch")

    warmup_labels: str = _option("none", "labels for warming up the tower: none, rule (from the reports) or dataset")
    tower_steps: int = _option(0, "steps of the tower's warm-up")
    tower_batch_size: int = _option(32, "studies in a step of the tower's warm-up")
    tower_learning_rate: float = _option(1.5e-3, "peak learning rate of the tower's warm-up")
    text_steps: int = _option(0, "steps on texts alone before films are shown, for a new language model")

    max_steps: int = _option(-1, "training steps; -1 counts epochs instead")
    num_train_epochs: float = _option(1.0, "passes over the data")
    per_device_train_batch_size: int = _option(8, "samples a process takes at a time")
    gradient_accumulation_steps: int = _option(1, "batches in a step")
    learning_rate: float = _option(2e-5, "peak learning rate")
    weight_decay: float = _option(0.0, "AdamW's weight decay")
    warmup_ratio: float = _option(0.03, "share of the steps in which the learning rate rises")
    lr_scheduler_type: str = _option("cosine", "cosine, linear or constant")
    max_grad_norm: float = _option(1.0, "gradients are clipped to this norm")
    bf16: bool = _option(False, "compute in bfloat16 where the hardware has it")

    image_size: int = _option(128, "new model: film size in pixels")
    image_tokens: int = _option(8, "new model: tokens a film")
    vocabulary: int = _option(1000, "new model: word pieces")
    layers: int = _option(3, "new model: layers of the language model")
    hidden_size: int = _option(256, "new model: width of the language model")
    heads: int = _option(4, "new model: attention heads")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One flag a field; a flag that is not given leaves the recipe's value."""
    parser.add_argument("recipe", nargs="?", help="YAML file, or the name of a packaged one (tiny)")
    types = typing.get_type_hints(Arguments)
    for each in fields(Arguments):
        flag = "--" + each.name.replace("_", "-")
        shown = f"{each.metadata['help']} (default: {each.default!r})"
        if types[each.name] is bool:
            parser.add_argument(flag, nargs="?", const=True, type=_boolean, default=MISSING, help=shown)
        else:
            parser.add_argument(flag, type=types[each.name], default=MISSING, help=shown)


def resolve(options: argparse.Namespace) -> Arguments:
    """The recipe's values, overridden by the flags. Raises UsageError for what cannot be meant."""
    values = dict(_read_recipe(options.recipe)) if options.recipe else {}
    for each in fields(Arguments):
        given = getattr(options, each.name)
        if given is not MISSING:
            values[each.name] = given
    arguments = Arguments(**values)
    for name in ("data_path", "output_dir"):
        if not getattr(arguments, name):
            raise UsageError(f"--{name.replace('_', '-')} is needed")
    return arguments


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
    for key, value in values.items():
        if key not in types:
            near = get_close_matches(str(key), types, n=1)
            raise InputError(f"{name}: unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        values[key] = _checked(name, key, value, types[key])
    return values


def _checked(recipe: str, key: str, value: Any, kind: type) -> Any:
    """YAML reads 1e-3 as text and 1 as a whole number; both are meant as a float where one is wanted."""
    try:
        if kind is float and not isinstance(value, bool):
            return float(value)
        if type(value) is kind:
            return value
    except (TypeError, ValueError):
        pass
    raise InputError(f"{recipe}: {key} must be {kind.__name__}, not {value!r}")


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
