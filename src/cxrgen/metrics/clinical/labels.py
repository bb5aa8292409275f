"""F1 over the 14 CheXpert observations, for any labeller: rules or CheXbert.

Three counts an observation and study (hits, false alarms, misses) carry every average. Papers differ in two choices
that move the numbers by many points and are seldom stated, so both stand in the signature here: what an uncertain label
counts as, and whether an observation nobody has counts as 0 in the macro average or is left out of it. What uncertain
counts as is a preset of the metrics, the same names for either labeller.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cxrgen.core.errors import unknown
from cxrgen.metrics import Columns, Floats
from cxrgen.text.chexpert import OBSERVATIONS
from cxrgen.text.rule_labels import pieces, read_sentence

Uncertain = Literal["positive", "negative", "ignore", "own-class"]
Empty = Literal["zero", "skip"]
Labels = NDArray[np.int8]

UNCERTAIN_RULES: dict[str, Uncertain] = {  # name of the preset: what an uncertain label counts as
    "uncertain-positive": "positive",
    "uncertain-negative": "negative",
    "uncertain-ignore": "ignore",
    "uncertain-own-class": "own-class",
}
USUAL_RULE = "uncertain-positive"
PRESENT, ABSENT, UNCERTAIN, BLANK = 1, 0, -1, -2
LEFT, RIGHT = 1, 2
_LEFT = re.compile(r"\b(?:left(?:-sided)?|lingula\w*)\b")
_RIGHT = re.compile(r"\bright(?:-sided)?\b|\bmiddle lobe\b")
_BOTH = re.compile(r"\bbilateral\w*|\bbibasilar\b|\bboth\b|\bbi\w*basal\b")
_UNSIDED = ("No Finding", "Cardiomegaly", "Enlarged Cardiomediastinum", "Support Devices")
FIVE = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
_COLUMN = {name: column for column, name in enumerate(OBSERVATIONS)}
_FIVE_COLUMNS = [OBSERVATIONS.index(name) for name in FIVE]


def snake_case(observation: str) -> str:
    """ "Pleural Effusion" -> "pleural_effusion", as metric names spell it."""
    return re.sub(r"[^a-z0-9]+", "_", observation.lower()).strip("_")


def rule_label_table(texts: Sequence[str]) -> Labels:
    """The rule labels of N texts as an (N, 14) table of PRESENT, ABSENT, UNCERTAIN and BLANK."""
    facts = np.array([_read(text)[0] for text in texts], dtype=np.int64)
    stated = [_has(facts, _FIRST_BIT[kind]) for kind in (PRESENT, UNCERTAIN, ABSENT)]
    labels = np.select(stated, [PRESENT, UNCERTAIN, ABSENT], BLANK).astype(np.int8)
    labels[facts & (_ABNORMAL | _WORDS) == _WORDS, _COLUMN["No Finding"]] = PRESENT
    return labels


def side_table(texts: Sequence[str]) -> Labels:
    """On which side N texts have each observation, (N, 14): LEFT or RIGHT where it is on one side only, else 0."""
    sides = np.array([_read(text)[1] for text in texts], dtype=np.int64)
    left, right = (_has(sides, _FIRST_SIDE_BIT[side]) for side in (LEFT, RIGHT))
    return np.select([left & ~right, right & ~left], [LEFT, RIGHT], 0).astype(np.int8)


# What a text states, in bits: one for each observation that is present, uncertain, absent; on the left, on the right.
_SIZE = len(OBSERVATIONS)
_FIRST_BIT = {PRESENT: 0, UNCERTAIN: _SIZE, ABSENT: 2 * _SIZE}
_FIRST_SIDE_BIT = {LEFT: 0, RIGHT: _SIZE}
_ABNORMAL, _WORDS = 1 << 3 * _SIZE, 1 << 3 * _SIZE + 1  # something but devices is present or uncertain; has words


@lru_cache(1 << 18)  # references are read again with every baseline, and several metrics ask for the same text
def _read(text: str) -> tuple[int, int]:
    """The facts and the sides of a text: those of all its sentences."""
    facts, sides = _WORDS if any(map(str.isalnum, text)) else 0, 0
    for piece in pieces(text):
        more, where = _read_piece(piece)
        facts |= more
        sides |= where
    return facts, sides


@lru_cache(1 << 16)
def _read_piece(piece: str) -> tuple[int, int]:
    """The facts and the sides of one sentence."""
    sentence, stated = read_sentence(piece)
    facts, sides, where = 0, 0, sides_named(sentence) if stated else 0
    for name, value in stated:
        if value and name != "Support Devices":
            facts |= _ABNORMAL
        if name in _COLUMN:  # "other" is abnormal and none of the 14
            facts |= 1 << _FIRST_BIT[value] + _COLUMN[name]
            if value == PRESENT and name not in _UNSIDED:
                sides |= sum(1 << first + _COLUMN[name] for side, first in _FIRST_SIDE_BIT.items() if where & side)
    return facts, sides


def _has(bits: NDArray[np.int64], first: int) -> NDArray[np.bool_]:
    """From N numbers: which of the bits of the observations, from a `first` one on, they have, (N, 14)."""
    return (bits[:, None] >> np.arange(first, first + _SIZE) & 1).astype(np.bool_)


def sides_named(sentence: str) -> int:
    """The sides that a sentence in lower case names: LEFT, RIGHT, both (LEFT | RIGHT) or none (0)."""
    if _BOTH.search(sentence):
        return LEFT | RIGHT
    return (LEFT if _LEFT.search(sentence) else 0) | (RIGHT if _RIGHT.search(sentence) else 0)


def label_table(labels: Sequence[Mapping[str, int]]) -> Labels:
    """N dicts (1 present, 0 absent, -1 uncertain, no key: not mentioned) as an (N, 14) table; not mentioned is -2."""
    rows = [[row.get(name, BLANK) for name in OBSERVATIONS] for row in labels]
    return np.array(rows, dtype=np.int8).reshape(len(rows), len(OBSERVATIONS))


def uncertain_rule(preset: str, metric: str) -> Uncertain:
    """What an uncertain label counts as by a preset; raises UsageError, naming the metric, for an unknown one."""
    if preset not in UNCERTAIN_RULES:
        raise unknown(f"preset of {metric}", preset, UNCERTAIN_RULES)
    return UNCERTAIN_RULES[preset]


def f1_counts(hypotheses: Labels, references: Labels, uncertain: Uncertain = "positive") -> Floats:
    """Hits, false alarms and misses of (N, 14) tables as counts of shape (N, 42): 14 hits, 14 false alarms, 14 misses.

    `uncertain` says what an uncertain label is. "ignore" leaves an observation out of a study when either side is
    uncertain of it. "own-class" asks for the same answer: uncertain against uncertain is a hit, uncertain against
    present a false alarm and a miss, which is micro F1 over the classes present and uncertain of each observation.
    """
    positive = (PRESENT, UNCERTAIN) if uncertain in ("positive", "own-class") else (PRESENT,)
    hyp, ref = np.isin(hypotheses, positive), np.isin(references, positive)
    if uncertain == "ignore":
        certain = (hypotheses != UNCERTAIN) & (references != UNCERTAIN)
        hyp, ref = hyp & certain, ref & certain
    hits = hyp & ref
    if uncertain == "own-class":
        hits &= hypotheses == references
    return np.concatenate([hits, hyp & ~hits, ref & ~hits], axis=-1).astype(np.float64)


def f1_values(sums: Floats, prefix: str, empty: Empty) -> dict[str, Floats]:
    """`{prefix}_{micro,macro,weighted}_{14,5}` and `{prefix}_{observation}` from sums of shape (..., 42).

    An observation that neither side has is NaN by itself; in the averages it is 0 ("zero", as scikit-learn counts it)
    or left out ("skip").
    """
    hits, alarms, misses = (sums[..., start : start + 14] for start in (0, 14, 28))
    values = {}
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean over no observation is NaN, as it should be
        each = 2 * hits / (2 * hits + alarms + misses)
        in_averages = np.nan_to_num(each) if empty == "zero" else each
        for size, columns in ((14, list(range(14))), (5, _FIVE_COLUMNS)):
            hit, wrong = hits[..., columns].sum(-1), (alarms + misses)[..., columns].sum(-1)
            support = (hits + misses)[..., columns]
            values[f"{prefix}_micro_{size}"] = 2 * hit / (2 * hit + wrong)
            values[f"{prefix}_macro_{size}"] = np.nanmean(in_averages[..., columns], axis=-1)
            weighted = (np.nan_to_num(each[..., columns]) * support).sum(-1) / support.sum(-1)
            values[f"{prefix}_weighted_{size}"] = weighted
    for column, name in enumerate(OBSERVATIONS):
        values[f"{prefix}_{snake_case(name)}"] = each[..., column]
    return values


def study_agreement(counts: Floats) -> dict[str, Floats]:
    """What `f1_counts` of N studies (N, 42) say of each study alone: F1 over its 14 and over five observations, and
    whether all five are answered alike (1) or not (0).

    A study in which neither side has an observation has an F1 of 0, as scikit-learn counts it.
    """
    hits, alarms, misses = (counts[:, start : start + 14] for start in (0, 14, 28))
    found: dict[str, Floats] = {}
    for size, columns in ((14, list(range(14))), (5, _FIVE_COLUMNS)):
        hit, wrong = hits[:, columns].sum(axis=1), (alarms + misses)[:, columns].sum(axis=1)
        found[f"f1_samples_{size}"] = 2 * hit / np.maximum(2 * hit + wrong, 1)
        if size == 5:
            found["exact_match_5"] = (wrong == 0).astype(np.float64)
    return found


def f1_columns(prefix: str, ending: str = "") -> dict[str, tuple[Columns, ...]]:
    """The columns of `f1_counts` behind the F1 of each observation and behind the macro averages, by their names."""
    columns = [(start, 14 + start, 28 + start) for start in range(14)]
    found = {f"{prefix}_{snake_case(name)}{ending}": (columns[place],) for place, name in enumerate(OBSERVATIONS)}
    averages = {14: tuple(columns), 5: tuple(columns[place] for place in _FIVE_COLUMNS)}
    return found | {f"{prefix}_macro_{size}{ending}": some for size, some in averages.items()}


def label_cosine(hypotheses: Labels, references: Labels) -> Floats:
    """Cosine of two label vectors a study, shape (N,): present 1, uncertain 0.5, else 0.

    Two vectors of zeros are equal (1); one of zeros against another is 0.
    """
    hyp, ref = ((table == PRESENT) + 0.5 * (table == UNCERTAIN) for table in (hypotheses, references))
    lengths = np.linalg.norm(hyp, axis=-1) * np.linalg.norm(ref, axis=-1)
    both_empty = ~hyp.any(axis=-1) & ~ref.any(axis=-1)
    cosine = np.divide((hyp * ref).sum(-1), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.where(both_empty, 1.0, cosine)
