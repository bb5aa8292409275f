"""List the scores: which there are, what each needs, and which program it equals; or find out which one a number is.

`--explain bleu_4=0.29` with the two CSVs computes every preset of that score and says which of them gives the number:
papers say "BLEU-4" and mean one of several.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrgen.core.errors import unknown
from cxrgen.evaluate import metric_options
from cxrgen.metrics import METRICS, load, measure_nothing, scores_of
from cxrgen.metrics.cards import CARDS, Card

_EXAMPLES = """\
examples:
  cxrgen metrics
  cxrgen metrics bleu chexbert
  cxrgen metrics --explain bleu_4=0.29 --pred pred.csv --gt gt.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("names", nargs="*", metavar="METRIC", help="those to show in full (default: all, in short)")
    explained = parser.add_argument_group("which preset gives a number")
    explained.add_argument(
        "--explain", metavar="SCORE=NUMBER", help="which preset gives this number on --pred and --gt"
    )
    explained.add_argument("--pred", type=Path, metavar="CSV", help="the reports that the number is of")
    explained.add_argument("--gt", type=Path, metavar="CSV", help="their references")
    parser.add_argument("--json", action="store_true", help="print JSON")
    metric_options.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    for name in options.names:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    if options.explain:
        from cxrgen.evaluate.explain import explain  # which scores texts; the list needs none of that

        return explain(options)
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
