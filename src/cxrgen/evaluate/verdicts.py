"""One rule for "better" and "worse", for pages, printed tables and JSON alike.

Signs, everywhere: a *difference* is the second value less the first, in the score's own unit; of a score that is best
at 1 it is that of the distances from 1. A *gain* is the difference with its sign turned so that above 0 is better,
whichever way the score runs. Words and colours follow the gain.

A system is called better or worse only where three things hold: p, corrected for all that was compared, is below 0.05;
the 95 % interval of the difference excludes 0; and the difference can be seen at the precision that is printed. Test
and interval are made differently and may disagree at the border; then nothing is claimed.
"""

from __future__ import annotations

import math
from typing import Literal

from cxrgen.evaluate.scores import Against, Score
from cxrgen.html import number
from cxrgen.metrics import Better

Verdict = Literal["better", "worse", "no significant difference"]
Ends = tuple[float, float] | None

LEVEL = 0.05  # of p, corrected
BETTER: Verdict = "better"
WORSE: Verdict = "worse"
OPEN: Verdict = "no significant difference"
RULE = (
    "Better or worse means: p, corrected, is below 0.05, the 95 % interval excludes 0, and the difference shows in the "
    "printed digits. Anything else is no significant difference."
)


def verdict(first: float, second: float, difference: float, ends: Ends, p_corrected: float, better: Better) -> Verdict:
    """Whether the second is better than the first, by the rule above; `ends` are the difference's interval."""
    visible = number(first) != number(second) and number(difference) != number(0)
    certain = ends is not None and (ends[0] > 0 or ends[1] < 0)
    if not (visible and certain and p_corrected < LEVEL):
        return OPEN
    return BETTER if gain(difference, better) > 0 else WORSE


def gain(difference: float, better: Better) -> float:
    """How much better the second is: above 0 is better."""
    return difference if better == "higher" else -difference


def gain_ends(ends: Ends, better: Better) -> Ends:
    """The interval of the gain."""
    if ends is None:
        return None
    low, high = sorted(gain(end, better) for end in ends)
    return low, high


def against_baseline(score: Score, against: Against) -> Verdict:
    """A score's verdict against its best baseline."""
    baseline = score.value - against.difference
    if score.better == "nearer_to_1":  # the difference is one of distances; any value that far from 1 will do
        baseline = 1 + math.copysign(abs(score.value - 1) - against.difference, score.value - 1)
    ends, p = against.interval, against.p_corrected
    return verdict(baseline, score.value, against.difference, ends, p, score.better)
