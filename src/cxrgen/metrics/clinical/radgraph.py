"""RadGraph F1: the entities and relations that two reports share, in the four definitions that papers use.

simple: entities as (words, label). partial: also whether the entity has any relation; most papers' "F1-RadGraph".
complete: each relation with its target's words. combined: mean of entity F1 and relation F1, the part of RadCliQ. All
are F1 of sets, per report, then the mean over reports; where either report has no entity the score is 0, so the mean
can be below 1 even for a perfect copy.

Annotations come from the package radeval (see `radeval.py`): RadGraph-XL for the first three as radeval scores them,
the original RadGraph for combined, the model that RadCliQ was fitted with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cxrgen.core.progress import say
from cxrgen.metrics import Metric, MetricResult, mean_of_studies
from cxrgen.metrics.clinical.radeval import RADEVAL, run_radeval

Entities = Mapping[str, Mapping[str, Any]]  # by number: "tokens", "label", "relations" [[type, number of target], ...]
NAMES = ("radgraph_simple", "radgraph_partial", "radgraph_complete")


def measure(
    hypotheses: Sequence[str], references: Sequence[str], python: Path | None = None, lower: bool = False
) -> MetricResult:
    """`radgraph_{simple,partial,complete}` by RadGraph-XL; counts are (N, 4): the three values and 1.

    `python` is the Python that has radeval, None this one. `lower` compares words without case, as radgraph's
    repository does by now; its published packages, and radeval, keep case. Raises InputError where radeval or the
    model is missing.
    """
    known = _annotations(python, "radgraph-xl", (*hypotheses, *references))
    rows = [reward(known[hyp], known[ref], lower) for hyp, ref in zip(hypotheses, references)]
    scores = dict(zip(NAMES, np.array(rows, dtype=np.float64).reshape(len(rows), len(NAMES)).T))
    signature = f"radgraph|model:radgraph-xl|case:{'lower' if lower else 'kept'}|level:mean of studies"
    return mean_of_studies(scores, signature)


def measure_combined(hypotheses: Sequence[str], references: Sequence[str], python: Path | None = None) -> MetricResult:
    """`radgraph_combined` by the original RadGraph; counts are (N, 2): the value and 1."""
    known = _annotations(python, "radgraph", (*hypotheses, *references))
    values = [combined(known[hyp], known[ref]) for hyp, ref in zip(hypotheses, references)]
    return mean_of_studies(
        {"radgraph_combined": values}, "radgraph_combined|model:radgraph|case:kept|level:mean of studies"
    )


def reward(hyp: Entities, ref: Entities, lower: bool = False) -> tuple[float, float, float]:
    """simple, partial and complete F1 of two annotated reports (Jain et al. 2021, Delbrouck et al. 2022)."""
    if not hyp or not ref:
        return 0.0, 0.0, 0.0
    simple, partial, complete = (f1(*sets) for sets in zip(_sets(hyp, lower), _sets(ref, lower)))
    return simple, partial, complete


def _sets(entities: Entities, lower: bool) -> tuple[set[Any], set[Any], set[Any]]:
    """What the simple, the partial and the complete F1 compare."""
    simple: set[Any] = set()
    partial: set[Any] = set()
    complete: set[Any] = set()
    for entity in entities.values():
        words = entity["tokens"].lower() if lower else entity["tokens"]
        simple.add((words, entity["label"]))
        partial.add((words, entity["label"], bool(entity["relations"])))
        if not entity["relations"]:
            complete.add((words, entity["label"]))
        for kind, target in entity["relations"]:  # compared without case in every version
            complete.add((words.lower(), entity["label"], kind, entities[target]["tokens"].lower()))
    return simple, partial, complete


def combined(hyp: Entities, ref: Entities) -> float:
    """Mean of entity F1 and relation F1, as CXR-Report-Metric computes it for RadCliQ (Yu et al. 2023)."""
    entities, relations = zip(_graph(hyp), _graph(ref))
    return (f1(*entities) + f1(*relations)) / 2


def _graph(entities: Entities) -> tuple[set[Any], set[Any]]:
    """The sets of entities and of relations."""
    named = {number: (entity["tokens"], entity["label"]) for number, entity in entities.items()}
    relations = {
        (named[number], named[target], kind)
        for number, entity in entities.items()
        for kind, target in entity["relations"]
    }
    return set(named.values()), relations


def f1(hyp: set[Any], ref: set[Any]) -> float:
    """F1 of two sets; 0 where both are empty."""
    return 2 * len(hyp & ref) / (len(hyp) + len(ref)) if hyp or ref else 0.0


@lru_cache(maxsize=2)
def _annotated(python: Path | None, model: str) -> dict[str, Entities]:
    """The annotations made so far; references are the same for every baseline."""
    return {"": {}}


def _annotations(python: Path | None, model: str, texts: Sequence[str]) -> dict[str, Entities]:
    """Entities of each text; a blank text has none and is not sent to the model."""
    known = _annotated(python, model)
    new = [text for text in dict.fromkeys(texts) if text not in known]
    known.update({text: {} for text in new if not text.strip()})
    new = [text for text in new if text not in known]
    if new:
        found = run_radeval(model, {"texts": new}, python)
        left_out = sum(entities is None for entities in found)
        if left_out:
            say(f"{model}: {left_out} reports could not be annotated; they count as reports without entities")
        known.update({text: entities or {} for text, entities in zip(new, found)})
    return known


METRIC = Metric(
    measure, "clinical", options=(RADEVAL,), headline={"radgraph_partial": 20}, study_order={"radgraph_partial": 2}
)
COMBINED = Metric(measure_combined, "clinical", options=(RADEVAL,))
