"""List the scores: which there are, what each needs, and which program it equals; or find out which one a number is.

`--explain bleu_4=0.29` with the two CSVs computes every preset of that score and says which of them gives the number:
papers say "BLEU-4" and mean one of several.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cxrgen.core.errors import UsageError, unknown
from cxrgen.evaluate import metric_options
from cxrgen.evaluate.pairs import read_pairs
from cxrgen.evaluate.scores import evaluate
from cxrgen.metrics import METRICS, load, measure_nothing, metric_of, scores_of
from cxrgen.metrics.cards import CARDS, Card, equal_to

_EXAMPLES = """\
examples:
  cxrgen metrics
  cxrgen metrics bleu chexbert
  cxrgen metrics --explain bleu_4=0.29 --pred pred.csv --gt gt.csv
"""
_NEAREST = 8  # candidates shown


@dataclass(frozen=True)
class Candidate:
    """A score and its value on the given pairs; `gives` says whether it is the number, to its printed digits."""

    score: str
    value: float
    shown: float  # the value in the number's unit: times 100 where that is nearer
    gives: bool
    equal_to: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("names", nargs="*", metavar="METRIC", help="those to show in full (default: all, in short)")
    parser.add_argument("--explain", metavar="SCORE=NUMBER", help="which preset gives this number on --pred and --gt")
    parser.add_argument("--pred", type=Path, metavar="CSV", help="the reports that the number is of")
    parser.add_argument("--gt", type=Path, metavar="CSV", help="their references")
    parser.add_argument("--json", action="store_true", help="print JSON")
    metric_options.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    for name in options.names:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    if options.explain:
        return _explain(options)
    found = {name: entry(name) for name in options.names or METRICS}
    if options.json:
        print(json.dumps({"schema": 1, "metrics": found}, indent=2, ensure_ascii=False))
    else:
        print("\n\n".join(in_full(name, of) for name, of in found.items()) if options.names else in_short(found))
    return 0


def entry(name: str) -> dict[str, Any]:
    """All that is known of a metric."""
    metric, card = load(name), CARDS.get(name, Card(""))
    presets = list(metric.presets) or [""]
    return {
        "what": card.what,
        "scores": [score for score in scores_of(name) if not _single_finding(name, score)],
        "presets": {preset: card.equals.get(preset, "") for preset in presets},
        "default_preset": metric.default_preset,
        "needs": card.needs,
        "by_default": metric.by_default,
        "flags": [option.flag for option in metric.options],
    }


def _single_finding(name: str, score: str) -> bool:
    return measure_nothing(name).is_single_finding(score)


def in_short(found: Mapping[str, Mapping[str, Any]]) -> str:
    """A line or two a metric, for all of them."""
    lines = []
    for name, of in found.items():
        needs = f"needs {of['needs']}" if of["needs"] else "needs nothing else"
        scores = ", ".join(of["scores"][:4]) + (", ..." if len(of["scores"]) > 4 else "")
        lines.append(f"{name:<18} {scores}")
        lines.append(f"{'':<18} {needs}; {_presets(of)}")
    lines.append("`cxrgen metrics NAME` shows one in full, with the program that each preset equals")
    return "\n".join(lines)


def _presets(of: Mapping[str, Any]) -> str:
    names = [preset for preset in of["presets"] if preset]
    if not names:
        only = of["presets"].get("", "")
        return f"equal to {only}" if only else "this project's own"
    return f"presets {', '.join(names)}"


def in_full(name: str, of: Mapping[str, Any]) -> str:
    """A metric with every preset and what it equals."""
    lines = [f"{name}: {of['what'] or 'no description'}", f"  scores: {', '.join(of['scores'])}"]
    lines.append(f"  needs: {of['needs'] or 'nothing else'}")
    for preset, equals in of["presets"].items():
        called = f"{name}.{preset}" if preset and preset != of["default_preset"] else name
        words = f"  --metrics {called}"
        lines.append(f"{words}: {equals}" if equals else words)
    return "\n".join(lines)


def _explain(options: argparse.Namespace) -> int:
    score, _, number = options.explain.partition("=")
    try:
        target = float(number.removesuffix("%"))
    except ValueError:
        raise UsageError(f"--explain {options.explain!r}: write it as SCORE=NUMBER, as in bleu_4=0.29") from None
    names = presets_of(score)
    if options.pred is None or options.gt is None:
        raise UsageError(
            f"--explain computes {', '.join(names)}; give the reports as --pred and the references as --gt"
        )
    pairs = read_pairs(options.pred, options.gt)
    settings = metric_options.settings(options, names)
    columns = (pairs.hypotheses, pairs.references, pairs.study_ids, pairs.subjects, names)
    values = evaluate(*columns, settings=settings).values()
    found = candidates(score, number, target, values)
    if options.json:
        print(json.dumps({"schema": 1, "candidates": [asdict(each) for each in found]}, indent=2, ensure_ascii=False))
    else:
        print(_as_text(options.explain, found))
    return 0


def presets_of(score: str) -> list[str]:
    """The metric of a score under every preset it has; raises UsageError for an unknown score."""
    metric = metric_of(score).partition(".")[0]
    record = load(metric)
    return [metric if p in ("", record.default_preset) else f"{metric}.{p}" for p in record.presets or [""]]


def candidates(score: str, number: str, target: float, values: Mapping[str, float]) -> list[Candidate]:
    """The scores nearest to a number, those of the asked name before others that are as near.

    A number is taken as a share or as per cent, whichever is nearer. It is given by a score that rounds to it.
    """
    digits = len(number.removesuffix("%").partition(".")[2])
    stem = score.partition(".")[0]
    found = []
    for name, value in values.items():
        shown = min((value, 100 * value), key=lambda each: abs(each - target))
        gives = round(shown, digits) == round(target, digits)
        found.append(Candidate(name, value, shown, gives, equal_to(name)))
    asked = [each for each in found if each.score.partition(".")[0] == stem]
    others = [each for each in found if each.gives and each not in asked]
    return [*sorted(asked, key=lambda each: abs(each.shown - target)), *others][:_NEAREST]


def _as_text(asked: str, found: Sequence[Candidate]) -> str:
    width = max(len(each.score) for each in found)
    lines = []
    for each in found:
        mark = "*" if each.gives else " "
        lines.append(f"{mark} {each.score:<{width}}  {each.shown:.4f}  {each.equal_to}".rstrip())
    given = [each.score for each in found if each.gives]
    nothing = f"none gives {asked}: other texts, another cleaning, or another program"
    lines.append(f"* gives {asked}" if given else nothing)
    return "\n".join(lines)
