"""Choosing among candidates by consensus: our time for all pairs of a study at once, against measuring pair by pair.

1,000 studies of 64 different reports each: an Open-I report (without the table, a made-up one) of which a third of the
sentences are exchanged for those of others, as samples differ. The reference measures every pair by the metric itself,
which is vectorised too; it runs on a few of the studies, turn about with ours, and must choose the same reports.
`ratio` is the reference's time over ours, both utilities together, and `parts` has the seconds of all 1,000 studies.
`limit_fraction` is the time of cutting all reports at blanks over ours.

    python benchmarks/choose.py [--quick] [--reports reports.csv]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxrgen.core.progress import say
from cxrgen.core.tables import read_csv
from cxrgen.metrics.consensus import by_measuring, consensus, read_utility
from cxrgen.text.sentences import sentences

UTILITIES = {"bleu_4": "bleu_4", "rule": "rule_f1_micro_14", "rouge_l": "rouge_l"}
COUNTED = ("bleu_4", "rule")
LIMIT = 30.0  # seconds for bleu_4 and for rule
REPLACED = 0.3  # of sentences
COMPARED = 3  # studies that the reference chooses for
Studies = Sequence[Sequence[str]]


def reports(path: Path | None) -> list[list[str]]:
    """The sentences of many reports."""
    if path is not None:
        return [sentences(f"{row.cells['findings']} {row.cells['impression']}") for row in read_csv(path).rows]
    draw = random.Random(0)
    places = ("left lower lobe", "right lower lobe", "left apex", "right middle lobe", "lingula", "both bases")
    findings = ("opacity", "atelectasis", "effusion", "consolidation", "nodule", "pneumothorax", "edema", "scarring")
    forms = ("There is {} in the {}.", "No {} in the {}.", "Stable {}, {}.", "The {} of the {} has improved.")
    return [
        [draw.choice(forms).format(draw.choice(findings), draw.choice(places)) for _ in range(8)] for _ in range(500)
    ]


def candidates(texts: Sequence[Sequence[str]], studies: int, samples: int) -> list[list[str]]:
    draw = random.Random(1)
    pool = [sentence for text in texts for sentence in text]
    made = []
    for number in range(studies):
        base, found = texts[number % len(texts)], dict[str, None]()
        while len(found) < samples:
            kept = [draw.choice(pool) if draw.random() < REPLACED else sentence for sentence in base]
            found[" ".join([*kept, draw.choice(pool)])] = None
        made.append(list(found))
    return made


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def pair_by_pair(studies: Studies, score: str) -> list[int]:
    """The reference: the mean over the other candidates of the metric's own value of each pair."""
    chosen = []
    for values in by_measuring(score, studies, {}):
        means = (values.sum(axis=1) - np.diag(values)) / (len(values) - 1)
        chosen.append(int(np.round(means, 12).argmax()))
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--reports", type=Path, metavar="CSV", help="real texts: columns findings and impression")
    options = parser.parse_args()
    studies = candidates(reports(options.reports), 30 if options.quick else 1_000, 64)
    some = studies[:COMPARED]
    ours, theirs, parts = 0.0, 0.0, {}
    for name, score in UTILITIES.items():
        utility = read_utility(name)
        theirs_seconds, expected = timed(lambda score=score: pair_by_pair(some, score))  # type: ignore[misc]
        seconds, chosen = timed(lambda utility=utility: [best for best, _ in consensus(studies, utility)])  # type: ignore[misc]
        if chosen[:COMPARED] != expected:
            raise SystemExit(f"{name}: the choice differs from that of pair by pair")
        parts[name] = round(seconds, 2)
        say(f"{name}: {seconds:.1f} s for {len(studies)} studies; pair by pair {theirs_seconds / len(some):.2f} s each")
        if name in COUNTED:
            ours, theirs = ours + seconds / len(studies), theirs + theirs_seconds / len(some)
    blanks, _ = timed(lambda: [text.split() for texts in studies for text in texts])
    machine = {"cpus": os.cpu_count(), "python": platform.python_version()}
    result = {
        "name": "choose",
        "ratio": round(theirs / ours, 1),
        "parts": {**parts, "studies": len(studies), "limit_seconds": LIMIT},
        "limit_fraction": round(blanks / (ours * len(studies)), 4),
        "machine": machine,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
