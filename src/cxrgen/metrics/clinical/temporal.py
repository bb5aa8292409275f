"""Words of change: does a report call a finding larger where the reference does, and does it mention earlier images?

`temporal_f1` follows Bannur et al. 2023 (BioViL-T) in form: the set of change words of each text, F1 of the two sets,
the mean over studies; two texts without any score 1. The list of words is this project's own and somewhat wider than
the published one. `temporal_f1.radeval` has RadEval's: the 44 published words, its way to clean a text, and its small
number in place of 0. RadEval also runs a tagger, but keeps only what is in the list anyway, so it is left out.

`prior_rate` is the share of reports that mention an earlier examination. A model that is not given one cannot know of
it: its statements of change are invented, as in most reports of models trained on follow-ups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from cxrgen.core.errors import unknown
from cxrgen.metrics import Metric, MetricResult, mean_of_studies
from cxrgen.metrics.several import best_of, by_score
from cxrgen.text.prior_mentions import speaks_of_prior
from cxrgen.text.sentences import sentences

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
_RADEVAL_ENDINGS = {  # the published words (Bannur et al. 2023), which RadEval looks for
    "chang": "e",
    "unchang": "ed",
    "unalter": "ed",
    "unfold": "ed",
    "stab": "le ly ility",
    "constant": "",
    "persist": "ent ence ing",
    "improv": "ed ing ement",
    "wors": "e en ened ening",
    "progress": "ion ive",
    "resol": "ved ving ution",
    "clear": "ed",
    "increas": "e ed ing",
    "decreas": "e ed ing",
    "elevat": "ed ion",
    "enlarg": "ed ing ement",
    "expand": "ed",
    "grow": "ing",
    "reduc": "ed",
    "remov": "al",
    "new": "",
    "bigger": "",
    "larger": "",
    "greater": "",
    "smaller": "",
}


def _words(endings_of: Mapping[str, str]) -> frozenset[str]:
    return frozenset(stem + ending for stem, endings in endings_of.items() for ending in endings.split(" "))


CHANGE_WORDS, RADEVAL_WORDS = _words(_ENDINGS), _words(_RADEVAL_ENDINGS)
_WORD = re.compile(r"[a-z]+")
PRESETS, DEFAULT = ("cxrgen", "radeval"), "cxrgen"
_JOINS = re.compile(r"[_-]+")  # RadEval reads these as blanks
_DROPPED = re.compile(r"[^\w\s.,:;()]")  # and removes these, so that what stood around them becomes one word
_WHOLE_WORD = re.compile(r"\w+")
_SMALL = 1e-10  # RadEval adds it to counts and denominators


def measure(hypotheses: Sequence[str], references: Sequence[str], preset: str = DEFAULT) -> MetricResult:
    """`temporal_f1` and `prior_rate` of N pairs of texts; counts are (N, 3): the pair's F1, speaks of a prior, 1.

    The preset "radeval" gives `temporal_f1.radeval` alone, with counts of (N, 2). Raises UsageError for any other.
    """
    if preset not in PRESETS:
        raise unknown("preset of temporal", preset, PRESETS)
    if preset == "radeval":
        values = [_radeval_f1(radeval_words(hyp), radeval_words(ref)) for hyp, ref in zip(hypotheses, references)]
        signature = (
            f"temporal|words:radeval, {len(RADEVAL_WORDS)}|both without:1|none shared:1e-10|level:mean of studies"
        )
        return mean_of_studies({"temporal_f1.radeval": values}, signature)
    scores = {
        "temporal_f1": [_f1(change_words(hyp), change_words(ref)) for hyp, ref in zip(hypotheses, references)],
        "prior_rate": [float(speaks_of_prior(hyp)) for hyp in hypotheses],
    }
    signature = f"temporal|words:cxrgen-1, {len(CHANGE_WORDS)}|both without:1|level:mean of studies"
    return mean_of_studies(scores, signature, lower_is_better=frozenset({"prior_rate"}))


@lru_cache(1 << 18)  # references are read again with every baseline
def change_words(text: str) -> frozenset[str]:
    """The different words of change in a text, lower case."""
    return frozenset().union(*map(_change_words_of, sentences(text)))


@lru_cache(1 << 16)  # report sentences repeat
def _change_words_of(sentence: str) -> frozenset[str]:
    return CHANGE_WORDS.intersection(_WORD.findall(sentence.lower()))


@lru_cache(1 << 18)
def radeval_words(text: str) -> frozenset[str]:
    """The different words of RadEval's list in a text as it cleans it, lower case."""
    cleaned = _DROPPED.sub("", _JOINS.sub(" ", text))
    return RADEVAL_WORDS.intersection(_WHOLE_WORD.findall(cleaned.lower()))


def _f1(hyp: frozenset[str], ref: frozenset[str]) -> float:
    return 2 * len(hyp & ref) / (len(hyp) + len(ref)) if hyp or ref else 1.0


def _radeval_f1(hyp: frozenset[str], ref: frozenset[str]) -> float:
    """F1 with RadEval's small number, which stands for 0 where one side has words and the other none of them."""
    if not ref:
        return _SMALL if hyp else 1.0
    shared = len(hyp & ref) + _SMALL
    precision, recall = shared / (len(hyp) + _SMALL), shared / (len(ref) + _SMALL)
    return 2 * precision * recall / (precision + recall + _SMALL)


METRIC = Metric(
    measure,
    "clinical",
    scores=("prior_rate",),
    presets=PRESETS,
    default_preset=DEFAULT,
    by_default=True,
    several=best_of(measure, by_score("temporal_f1"), "the best temporal_f1"),
)
