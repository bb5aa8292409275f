"""Words of change: does a report call a finding larger where the reference does, and does it mention earlier images?

`temporal_f1` follows Bannur et al. 2023 (BioViL-T) and RadEval in form: the set of change words of each text, F1 of the
two sets, the mean over studies; two texts without any score 1. RadEval also runs a tagger, which only finds words that
are in its list already, so it is left out. The list here is this project's own and somewhat wider, so values are
close to RadEval's and not the same.

`prior_rate` is the share of reports that mention an earlier examination. A model that is not given one cannot know of
it: its statements of change are invented, as in most reports of models trained on follow-ups.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from cxrgen.metrics import Metric, MetricResult, mean_of_studies
from cxrgen.text.prior_mentions import speaks_of_prior

_ENDINGS = {  # stems and the endings they take
    "chang": "e es ed ing",
    "unchang": "ed ing",
    "alter": "ed ation ations",
    "unalter": "ed",
    "stab": "le ly ility ilized ilised",
    "unstab": "le",
    "persist": "s ed ing ent ently ence",
    "constant": "",
    "improv": "e es ed ing ement ements",
    "wors": "e en ens ened ening",
    "deteriorat": "e es ed ing ion",
    "progress": "es ed ing ion ive ively",
    "regress": "es ed ing ion",
    "resol": "ve ves ved ving ution",
    "clear": "ed ing ance",
    "increas": "e es ed ing ingly",
    "decreas": "e es ed ing",
    "enlarg": "e es ed ing ement",
    "expand": "ed ing",
    "grow": "s n ing th",
    "grew": "",
    "shr": "ink inks inking unk unken",
    "reduc": "e es ed ing tion",
    "diminish": "es ed ing",
    "remov": "ed al",
    "new": " ly",
    "recur": "red rent rence",
    "bigger": "",
    "larger": "",
    "greater": "",
    "smaller": "",
}
CHANGE_WORDS = frozenset(stem + ending for stem, endings in _ENDINGS.items() for ending in endings.split(" "))
_WORD = re.compile(r"[a-z]+")


def measure(hypotheses: Sequence[str], references: Sequence[str]) -> MetricResult:
    """`temporal_f1` and `prior_rate` of N pairs of texts; counts are (N, 3): the pair's F1, speaks of a prior, 1."""
    scores = {
        "temporal_f1": [_f1(change_words(hyp), change_words(ref)) for hyp, ref in zip(hypotheses, references)],
        "prior_rate": [float(_speaks_of_prior(hyp)) for hyp in hypotheses],
    }
    signature = f"temporal|words:cxrgen-1, {len(CHANGE_WORDS)}|both without:1|level:mean of studies"
    return mean_of_studies(scores, signature, lower_is_better=frozenset({"prior_rate"}))


@lru_cache(1 << 18)  # references are read again with every baseline
def change_words(text: str) -> frozenset[str]:
    """The different words of change in a text, lower case."""
    return CHANGE_WORDS.intersection(_WORD.findall(text.lower()))


@lru_cache(1 << 18)
def _speaks_of_prior(text: str) -> bool:
    return speaks_of_prior(text)


def _f1(hyp: frozenset[str], ref: frozenset[str]) -> float:
    return 2 * len(hyp & ref) / (len(hyp) + len(ref)) if hyp or ref else 1.0


METRIC = Metric(measure, "clinical", scores=("prior_rate",), by_default=True)
