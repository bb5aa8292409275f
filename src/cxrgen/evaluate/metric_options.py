"""The flags of `cxrgen evaluate` that belong to metrics, and the metrics that they ask for.

Which flags there are, the metrics say themselves (`cxrgen.metrics.Option`). No metric with weights is measured unless
asked for: by its name in --metrics, or by a flag that brings its weights and nothing else (--chexbert, --encoder).
Weights are local files; nothing is fetched from a network here.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxrgen.core.errors import UsageError
from cxrgen.metrics import Metric, Option, load, load_all

Settings = dict[str, dict[str, Any]]  # name of a metric: what its `measure` is called with


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags = parser.add_argument_group("weights", "files and programs that some metrics need")
    for option in _all_options().values():
        if option.metavar is None:
            flags.add_argument(option.flag, action="store_true", default=None, help=option.help)
        else:
            flags.add_argument(option.flag, type=option.type, metavar=option.metavar, help=option.help)


def settings(options: argparse.Namespace, metrics: Sequence[str]) -> Settings:
    """The options of each metric that has any; `metrics` are those chosen by name.

    Holds the chosen metrics, those that a flag asks for, and the parts of either. Raises UsageError for a flag that no
    metric would use, and InputError for an encoder folder without config.json.
    """
    given = {flag: getattr(options, flag[2:].replace("-", "_")) for flag in _all_options()}
    given = {flag: value for flag, value in given.items() if value is not None}
    for flag in given:
        required = _all_options()[flag].requires
        if required and required not in given:
            raise UsageError(f"{flag} is a setting of {required}; give {required} as well")
    asked = [name for name, metric in load_all().items() if metric.asked_for(_keywords(metric, given))]
    names = list(dict.fromkeys([*metrics, *asked]))
    names += [part for name in names for part in load(name).parts if part not in names]
    used = {option.flag for name in names for option in load(name).options}
    for flag in given:
        if flag not in used:
            users = [name for name, metric in load_all().items() if flag in {option.flag for option in metric.options}]
            raise UsageError(f"{flag} serves {', '.join(users)}; name those to measure with --metrics")
    found = {name: _keywords(load(name), given) for name in names}
    for name in names:
        load(name).check(found[name])
    for name in names:
        if parts := load(name).parts:
            found[name]["settings"] = {part: found[part] for part in parts if found[part]}
    return {name: keywords for name, keywords in found.items() if keywords}


def kept_in(found: Settings, metrics: Sequence[str], folder: Path) -> Settings:
    """The same settings, with the folder of results as the place where metrics keep what they were given no other for.

    A metric that keeps something is not to be paid for twice, so it needs no flag for that.
    """
    places = {name: {"cache": folder / load(name).keeps} for name in metrics if load(name).keeps}
    return found | {name: place | found.get(name, {}) for name, place in places.items()}


def _keywords(metric: Metric, given: Mapping[str, Any]) -> dict[str, Any]:
    return {option.keyword: given[option.flag] for option in metric.options if option.flag in given}


def _all_options() -> dict[str, Option]:
    return {option.flag: option for metric in load_all().values() for option in metric.options}
