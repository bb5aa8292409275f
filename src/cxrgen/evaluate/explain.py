"""Which preset of a score gives a number: papers say "BLEU-4" and mean one of several."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from cxrgen.core.errors import UsageError
from cxrgen.evaluate import metric_options
from cxrgen.evaluate.pairs import read_pairs
from cxrgen.evaluate.scores import evaluate
from cxrgen.metrics import load, metric_of
from cxrgen.metrics.cards import equal_to

_NEAREST = 8  # candidates shown


@dataclass(frozen=True)
class Candidate:
    """A score and its value on the given pairs; `gives` says whether it is the number, to its printed digits."""

    score: str
    value: float
    shown: float  # the value in the number's unit: times 100 where that is nearer
    gives: bool
    equal_to: str


def explain(options: argparse.Namespace) -> int:
    """Score --pred and --gt by every preset of the score of --explain and print those nearest to its number."""
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
    columns = (pairs.hypotheses, pairs.all_references(), pairs.study_ids, pairs.subjects, names)
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
