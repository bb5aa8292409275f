"""RadGraph F1: the entities and relations that two reports share, in the four definitions that papers use.

simple: entities as (words, label). partial: also whether the entity has any relation; most papers' "F1-RadGraph".
complete: each relation with its target's words. combined: mean of entity F1 and relation F1, the part of RadCliQ. All
are F1 of sets, per report, then the mean over reports; where either report has no entity the score is 0, so the mean
can be below 1 even for a perfect copy.

Annotations come from the package radeval (see `radeval.py`): RadGraph-XL for the first three as radeval scores them,
the original RadGraph for combined, the model that RadCliQ was fitted with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cxrgen.core.progress import say
from cxrgen.metrics import Floats, Metric, MetricResult, always, mean_of_studies
from cxrgen.metrics.clinical.radeval import RADEVAL, lacks
from cxrgen.metrics.clinical.radeval_process import RadEval, radeval
from cxrgen.metrics.row_cache import CACHE, Item, kept_rows
from cxrgen.metrics.several import best_of, by_score

Entities = Mapping[str, Mapping[str, Any]]  # by number: "tokens", "label", "relations" [[type, number of target], ...]
NAMES = ("radgraph_simple", "radgraph_partial", "radgraph_complete")


def measure(
    hypotheses: Sequence[str],
    references: Sequence[str],
    python: Path | None = None,
    cache: Path | None = None,
    lower: bool = False,
) -> MetricResult:
    """`radgraph_{simple,partial,complete}` by RadGraph-XL; counts are (N, 4): the three values and 1.

    `python` is the Python that has radeval, None this one. `lower` compares words without case, as radgraph's
    repository does by now; its published packages, and radeval, keep case. Raises InputError where radeval or the
    model is missing.
    """
    details = f"case:{'lower' if lower else 'kept'}"
    by_sets = partial(reward, lower=lower)
    return _by_annotations("radgraph", "radgraph-xl", NAMES, by_sets, details, (hypotheses, references), python, cache)


def measure_combined(
    hypotheses: Sequence[str], references: Sequence[str], python: Path | None = None, cache: Path | None = None
) -> MetricResult:
    """`radgraph_combined` by the original RadGraph; counts are (N, 2): the value and 1."""
    texts, names = (hypotheses, references), ("radgraph_combined",)
    return _by_annotations(
        "radgraph_combined", "radgraph", names, lambda *pair: (combined(*pair),), "case:kept", texts, python, cache
    )


def _by_annotations(
    metric: str,
    model: str,
    names: tuple[str, ...],
    compare: Callable[[Entities, Entities], tuple[float, ...]],
    details: str,
    texts: tuple[Sequence[str], Sequence[str]],
    python: Path | None,
    cache: Path | None,
) -> MetricResult:
    """The means of what `compare` says of the annotations of each pair of texts."""
    signature = f"{metric}|model:{model}|{details}|level:mean of studies"
    if not texts[0]:
        return mean_of_studies({name: [] for name in names}, signature)
    known: dict[str, Entities] = {"": {}}
    with radeval(model, python) as process:

        def compute(items: list[Item]) -> Floats:
            _annotate(process, [text for item in items for text in item], known)
            return np.array([compare(known[hyp], known[ref]) for hyp, ref in items], dtype=np.float64)

        signature = f"{metric}|model:{model}|{process.signature}|{details}|level:mean of studies"
        folder = cache if process.weights else None
        rows = kept_rows(list(zip(*texts)), compute, len(names), signature, folder)
    return mean_of_studies(dict(zip(names, rows.T)), signature)


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


def _annotate(process: RadEval, texts: Sequence[str], known: dict[str, Entities]) -> None:
    """Make the entities of each text known; a blank text has none and is not sent to the model."""
    new = [text for text in dict.fromkeys(texts) if text not in known]
    known.update({text: {} for text in new if not text.strip()})
    new = [text for text in new if text not in known]
    if new:
        found = process.ask({"texts": new})
        left_out = sum(entities is None for entities in found)
        if left_out:
            say(f"{process.metric}: {left_out} reports could not be annotated; they count as reports without entities")
        known.update({text: entities or {} for text, entities in zip(new, found, strict=True)})


METRIC = Metric(
    measure,
    "clinical",
    several=best_of(measure, by_score("radgraph_partial"), "the best radgraph_partial"),
    options=(RADEVAL, CACHE),
    weights=True,
    by_pair=always,
    lacks=partial(lacks, "radgraph-xl"),
    headline={"radgraph_partial": 20},
    study_order={"radgraph_partial": 2},
)
COMBINED = Metric(
    measure_combined,
    "clinical",
    several=best_of(measure_combined, by_score("radgraph_combined"), "the best radgraph_combined"),
    options=(RADEVAL, CACHE),
    weights=True,
    by_pair=always,
    lacks=partial(lacks, "radgraph"),
)
