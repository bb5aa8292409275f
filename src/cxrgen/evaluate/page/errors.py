"""What is wrong in each report: findings missed, invented, on the wrong side, with flipped negation; invented priors.

With a table of true findings, missed and invented are counted against it; otherwise against the rule labels of the
reference. Sides and negations are always those of the two texts. A prior is invented where the report mentions an
earlier examination and the reference does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrgen.evaluate.scores import Scores
from cxrgen.metrics.clinical.labels import ABSENT, PRESENT, UNCERTAIN, Labels, rule_label_table, side_table, snake_case
from cxrgen.text.chexpert import OBSERVATIONS
from cxrgen.text.prior_mentions import speaks_of_prior

KINDS = {  # of error: its name in words
    "missed": "missed",
    "invented": "invented",
    "side": "wrong side",
    "negation": "flipped negation",
    "prior": "invented prior",
}
_TRUE = "finding_f1_"  # beginning of the names of scores against true findings
_COLUMNS = [place for place, name in enumerate(OBSERVATIONS) if name != "No Finding"]
_KEYS = [snake_case(OBSERVATIONS[place]) for place in _COLUMNS]


@dataclass(frozen=True)
class Errors:
    """F findings of N studies: the tables (N, F) of those caught, missed and invented, and each study's errors.

    `of_study` has for each study the pairs of kind and finding; that of an invented prior is empty. `true` says
    whether findings are those of a table of true findings.
    """

    findings: tuple[str, ...]
    caught: NDArray[np.bool_]
    missed: NDArray[np.bool_]
    invented: NDArray[np.bool_]
    of_study: list[list[tuple[str, str]]]
    true: bool

    def count(self, kind: str, finding: str = "") -> int:
        """Studies with an error of a kind, of any finding or of one."""
        return sum(any(k == kind and finding in ("", f) for k, f in errors) for errors in self.of_study)


def reported(labels: Labels) -> NDArray[np.bool_]:
    """Which findings count as reported: those present or uncertain."""
    return np.isin(labels, (PRESENT, UNCERTAIN))


def errors(scores: Scores, hypotheses: Sequence[str], references: Sequence[str]) -> Errors:
    """The errors of N reports."""
    hyp, ref = (rule_label_table(texts)[:, _COLUMNS] for texts in (hypotheses, references))
    table = _true_findings(scores)
    true = table is not None
    if table is None:
        found, there = reported(hyp), reported(ref)
        table = (tuple(_KEYS), found & there, there & ~found, found & ~there)
    names, caught, missed, invented = table
    stated = [np.isin(labels, (PRESENT, ABSENT)) for labels in (hyp, ref)]
    flipped = stated[0] & stated[1] & (hyp != ref)
    sides = [side_table(texts)[:, _COLUMNS] for texts in (hypotheses, references)]
    turned = (sides[0] > 0) & (sides[1] > 0) & (sides[0] != sides[1])
    parts = (("missed", names, missed), ("invented", names, invented), ("side", _KEYS, turned))
    of_study: list[list[tuple[str, str]]] = [[] for _ in hypotheses]
    for kind, keys, where in (*parts, ("negation", _KEYS, flipped)):
        for row, column in zip(*np.nonzero(where)):
            of_study[row].append((kind, keys[column]))
    for row, (hypothesis, reference) in enumerate(zip(hypotheses, references)):
        if speaks_of_prior(hypothesis) and not speaks_of_prior(reference):
            of_study[row].append(("prior", ""))
    return Errors(names, caught, missed, invented, of_study, true)


def _true_findings(
    scores: Scores,
) -> tuple[tuple[str, ...], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Names of the true findings and the tables of hits, misses and false alarms; None without a truth."""
    measured = scores.measured.get("findings")
    if measured is None:
        return None
    columns = {name.removeprefix(_TRUE): of[0] for name, of in measured.f1.items() if len(of) == 1}
    hits, alarms, misses = (measured.counts[:, [of[part] for of in columns.values()]] > 0 for part in range(3))
    return tuple(columns), hits, misses, alarms


def in_words(key: str) -> str:
    """ "pleural_effusion" -> "pleural effusion"."""
    return key.replace("_", " ")
