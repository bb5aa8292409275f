"""In which orders the page can show the studies, and which reports must not lead as the best.

Scores of single texts are kind to reports that say little: an empty set of findings agrees with another one. So a
report that names no finding, or repeats itself, comes after all others where the best are asked for.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from cxrgen.evaluate.scores import Scores
from cxrgen.evaluate.suites import study_order
from cxrgen.metrics import Floats
from cxrgen.metrics.lexical.text_stats import form_counts
from cxrgen.text.rule_labels import pieces, read_sentence
from cxrgen.text.sentences import sentences

WORST, BEST, APART, FILE = "worst first", "best first", "alike in words, unlike in findings", "as in the file"
_REPEATED = 0.2  # share of a report's word triples from which on it counts as repeating itself
_TIMES = 3  # of one sentence in a report


def orders(scores: Scores, flawed: list[str]) -> tuple[dict[str, list[int]], list[str]]:
    """Row numbers of all studies by the name of the order, and the scores that they are sorted by.

    Studies are sorted by a clinical score, ties by an overlap score, further ties by study id. `flawed` says of each
    report what is wrong with its form; where it says anything, the report comes last among the best.
    """
    defined = {name: values for name, values in scores.per_study.items() if np.isfinite(values).any()}
    chosen = study_order(defined)
    columns = [np.nan_to_num(defined[name], nan=np.inf) for name in chosen.values()]
    rows = range(scores.n)
    worst = sorted(rows, key=lambda i: (*(column[i] for column in columns), scores.study_ids[i]))
    best = worst[::-1]
    found = {WORST: worst, BEST: sorted(best, key=lambda i: bool(flawed[i]))}
    if len(chosen) == 2:
        gap = ranks(columns[1]) - ranks(columns[0])
        found[APART] = sorted(rows, key=lambda i: (-gap[i], scores.study_ids[i]))
    return {**found, FILE: list(rows)}, list(chosen.values())


def flaw(text: str) -> str:
    """What is wrong with a report's form: empty, repeats itself, names no finding; "" for none."""
    if not text.strip():
        return "empty"
    repeated, triples, _ = form_counts(text)
    same = Counter(" ".join(piece.lower().split()) for piece in sentences(text))
    if repeated > _REPEATED * triples or max(same.values()) >= _TIMES:
        return "repeats itself"
    return "" if any(read_sentence(piece)[1] for piece in pieces(text)) else "names no finding"


def ranks(values: Floats) -> Floats:
    """Ranks of N values as parts of 1, the same for equal values."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    return np.asarray(middle[inverse.reshape(-1)] / max(1, len(values) - 1), dtype=np.float64)
