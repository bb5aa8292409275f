"""RadGraph F1: the entities and relations that two reports share, in the four definitions that papers use.

simple: entities as (words, label). partial: also whether the entity has any relation; most papers' "F1-RadGraph".
complete: each relation with its target's words. combined: mean of entity F1 and relation F1, the part of RadCliQ. All
are F1 of sets, per report, then the mean over reports; where either report has no entity the score is 0, so the mean
can be below 1 even for a perfect copy.

Annotations come from the package radeval (see `clinical`): RadGraph-XL for the first three as radeval scores them,
the original RadGraph for combined, the model that RadCliQ was fitted with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from cxrgen.core.progress import say
from cxrgen.metrics import Floats, Measured
from cxrgen.metrics.clinical.radeval import run_radeval

Entities = Mapping[str, Mapping[str, Any]]  # by number: "tokens", "label", "relations" [[type, number of target], ...]
NAMES = ("radgraph_simple", "radgraph_partial", "radgraph_complete")


def measure(
    hypotheses: Sequence[str], references: Sequence[str], python: Path | None = None, lower: bool = False
) -> Measured:
    """`radgraph_{simple,partial,complete}` by RadGraph-XL; counts are (N, 4): the three values and 1.

    `python` is the Python that has radeval, None this one. `lower` compares words without case, as radgraph's
    repository does by now; its published packages, and radeval, keep case. Raises InputError where radeval or the
    model is missing.
    """
    known = _annotations(python, "radgraph-xl", (*hypotheses, *references))
    rows = [(*reward(known[said], known[wanted], lower), 1) for said, wanted in zip(hypotheses, references)]
    counts = np.array(rows, dtype=np.float64).reshape(len(rows), 4)
    signature = f"radgraph|model:radgraph-xl|case:{'lower' if lower else 'kept'}|level:mean of studies"
    return Measured(counts, partial(_means, names=NAMES), signature)


def measure_combined(hypotheses: Sequence[str], references: Sequence[str], python: Path | None = None) -> Measured:
    """`radgraph_combined` by the original RadGraph; counts are (N, 2): the value and 1."""
    known = _annotations(python, "radgraph", (*hypotheses, *references))
    rows = [(combined(known[said], known[wanted]), 1) for said, wanted in zip(hypotheses, references)]
    counts = np.array(rows, dtype=np.float64).reshape(len(rows), 2)
    signature = "radgraph_combined|model:radgraph|case:kept|level:mean of studies"
    return Measured(counts, partial(_means, names=("radgraph_combined",)), signature)


def _means(sums: Floats, names: Sequence[str]) -> dict[str, Floats]:
    return {name: sums[..., place] / sums[..., -1] for place, name in enumerate(names)}


def reward(said: Entities, wanted: Entities, lower: bool = False) -> tuple[float, float, float]:
    """simple, partial and complete F1 of two annotated reports (Jain et al. 2021, Delbrouck et al. 2022)."""
    if not said or not wanted:
        return 0.0, 0.0, 0.0
    one, other = _marks(said, lower), _marks(wanted, lower)
    simple, some, every = (f1(first, second) for first, second in zip(one, other))
    return simple, some, every


def _marks(entities: Entities, lower: bool) -> tuple[set[Any], set[Any], set[Any]]:
    simple: set[Any] = set()
    some: set[Any] = set()
    every: set[Any] = set()
    for entity in entities.values():
        words = entity["tokens"].lower() if lower else entity["tokens"]
        simple.add((words, entity["label"]))
        some.add((words, entity["label"], bool(entity["relations"])))
        if not entity["relations"]:
            every.add((words, entity["label"]))
        for kind, target in entity["relations"]:  # compared without case in every version
            every.add((words.lower(), entity["label"], kind, entities[target]["tokens"].lower()))
    return simple, some, every


def combined(said: Entities, wanted: Entities) -> float:
    """Mean of entity F1 and relation F1, as CXR-Report-Metric computes it for RadCliQ (Yu et al. 2023)."""
    (things, links), (other_things, other_links) = _graph(said), _graph(wanted)
    return (f1(things, other_things) + f1(links, other_links)) / 2


def _graph(entities: Entities) -> tuple[set[Any], set[Any]]:
    named = {number: (entity["tokens"], entity["label"]) for number, entity in entities.items()}
    links = {
        (named[number], named[target], kind)
        for number, entity in entities.items()
        for kind, target in entity["relations"]
    }
    return set(named.values()), links


def f1(said: set[Any], wanted: set[Any]) -> float:
    """F1 of two sets; 0 where both are empty."""
    return 2 * len(said & wanted) / (len(said) + len(wanted)) if said or wanted else 0.0


@lru_cache(maxsize=2)
def _known(python: Path | None, model: str) -> dict[str, Entities]:
    """The annotations made so far; references are the same for every floor."""
    return {"": {}}


def _annotations(python: Path | None, model: str, texts: Sequence[str]) -> dict[str, Entities]:
    """Entities of each text; a blank text has none and is not sent to the model."""
    known = _known(python, model)
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
