"""The report that agrees most with all others of its study: minimum Bayes risk over candidates.

Candidates are samples of one checkpoint, or of several; the utility of one report, with another in the reference's
place, is a score or a weighted mean of scores. The candidate of the highest mean utility against the others is chosen,
and that mean is how sure the choice is. All pairs of a study's candidates are needed, thousands a study, so BLEU,
ROUGE-L and the rule labels of a study are counted once and compared as matrices; every other score, by `measure`.

Shapes: M different candidates of a study, G distinct n-grams among them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cxrgen.core.candidates import Candidates, Chosen
from cxrgen.core.errors import InputError, UsageError
from cxrgen.metrics import Floats, load, measure, measure_nothing, metric_of
from cxrgen.metrics.clinical.labels import PRESENT, UNCERTAIN, rule_label_table
from cxrgen.metrics.lexical import bleu, rouge
from cxrgen.metrics.lexical.lcs import common_lengths
from cxrgen.metrics.lexical.ngrams import ORDERS, Ngrams
from cxrgen.metrics.lexical.token_table import Ints, token_table

Pairwise = Callable[[Sequence[str]], Floats]  # M texts to (M, M): the row's report against the column's reference
RULE = "rule_f1_micro_14"  # of one pair: F1 over the observations that either states
NAMES = {  # of utilities that are no score's own name
    "rule": ((1.0, RULE),),
    "sum": (*((1.0, f"bleu_{order}") for order in ORDERS), (1.0, "bertscore"), (1.0, "chexbert_similarity")),
}
_PAIRS_AT_ONCE = 20_000  # measured in one call


@dataclass(frozen=True)
class Utility:
    """A weighted mean of scores; `settings` are the options of their metrics, as `measure` takes them."""

    terms: tuple[tuple[float, str], ...]
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def metrics(self) -> list[str]:
        """The metrics that give its scores, each once."""
        return list(dict.fromkeys(metric_of(score) for _, score in self.terms))


def read_utility(text: str) -> Utility:
    """A score's name, `rule`, `sum`, or a mix such as `rule+2*rouge_l`.

    Raises UsageError for an unknown score, one of which less is better, and one that no single pair of texts has.
    """
    terms: dict[str, float] = {}
    for weight, name in weighted_names(text, "--utility"):
        for own, score in NAMES.get(name, ((1.0, name),)):
            _check(score)
            terms[score] = terms.get(score, 0.0) + own * weight
    whole = sum(terms.values())
    return Utility(tuple((weight / whole, score) for score, weight in terms.items()))


def weighted_names(text: str, what: str) -> list[tuple[float, str]]:
    """The parts of a mix such as `rule+2*rouge_l`. Raises UsageError for a weight that is no number above 0."""
    found = []
    for part in text.split("+"):
        weight, star, name = part.strip().rpartition("*")
        if star and not _is_weight(weight):
            raise UsageError(f"{what} {part.strip()!r}: write a weight as in 2*rouge_l, a number above 0")
        found.append((float(weight or 1), name.strip()))
    return found


def _is_weight(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def _check(score: str) -> None:
    metric = metric_of(score)
    record, nothing = load(metric), None if load(metric).needs_truth else measure_nothing(metric)
    with np.errstate(divide="ignore", invalid="ignore"):
        names = list(nothing.aggregate(np.ones(nothing.counts.shape[1]))) if nothing else []
    if nothing is None or score not in names or nothing.better(score) != "higher":
        scores = ", ".join(name for name in names if nothing and nothing.better(name) == "higher")[:200]
        hint = f"; {metric} has {scores}" if scores and score not in names else ""
        raise UsageError(f"--utility {score}: needs a score of two texts of which more is better{hint}")
    if record.parts:
        raise UsageError(f"--utility {score}: it is made of other scores; name those, as in bleu_2+bertscore")


def choose(studies: Sequence[Candidates], way: str, utility: Utility) -> list[Chosen]:
    """One report of each study, by one of `WAYS`. Raises InputError for studies that cannot be chosen from."""
    if way == "consensus":
        found = list(consensus([each.reports for each in studies], utility))
    else:
        found = [_likeliest(each) for each in studies]
    return [Chosen(each.study_id, each.reports[best], sure) for each, (best, sure) in zip(studies, found)]


def _likeliest(study: Candidates) -> tuple[int, float]:
    means = [-math.inf if mean is None else mean for mean in study.log_probabilities]
    best = max(range(len(means)), key=lambda place: (means[place], -place))
    if means[best] == -math.inf:
        raise InputError("a study without log-probabilities: choose by consensus", detail=repr(study.study_id))
    return best, math.exp(means[best])


def consensus(studies: Sequence[Sequence[str]], utility: Utility) -> Iterator[tuple[int, float]]:
    """For each study's reports, the number of the one to keep and its mean utility against all the others.

    Of reports that are equally good the first is kept. Raises InputError for a study with fewer than two reports.
    """
    distinct = [list(dict.fromkeys(reports)) for reports in studies]
    for reports, texts, values in zip(studies, distinct, utilities(distinct, utility)):
        if len(reports) < 2:
            raise InputError("a study with one report: to choose by consensus, at least 2 are needed")
        times = Counter(reports)
        others = values @ np.array([times[text] for text in texts], dtype=np.float64) - np.diag(values)
        means = np.round(others / (len(reports) - 1), 12)  # equal ones stay equal in any order of adding
        best = min(range(len(texts)), key=lambda place: (-means[place], place))
        yield reports.index(texts[best]), float(means[best])


def utilities(studies: Sequence[Sequence[str]], utility: Utility) -> Iterator[Floats]:
    """The (M, M) utilities of each study's reports: of the row's report with the column's as its reference."""
    sizes = [len(texts) ** 2 for texts in studies]
    start = 0
    while start < len(studies):
        end = start + 1
        while end < len(studies) and sum(sizes[start : end + 1]) <= _PAIRS_AT_ONCE:
            end += 1
        some = studies[start:end]
        terms = [(weight, _matrices(score, some, utility)) for weight, score in utility.terms]
        for place in range(len(some)):
            total: Floats = sum(weight * matrices[place] for weight, matrices in terms)  # type: ignore[assignment]
            yield total
        start = end


def values_of_pairs(reports: Sequence[str], references: Sequence[str], utility: Utility) -> Floats:
    """The utility of each of N reports with its own reference, (N,); what a pair does not have counts as agreement."""
    total = np.zeros(len(reports))
    for weight, score in utility.terms:
        found = measure(metric_of(score), reports, references, **utility.settings.get(metric_of(score), {}))
        total += weight * np.nan_to_num(found.per_study()[score], nan=1.0)
    return total


def _matrices(score: str, studies: Sequence[Sequence[str]], utility: Utility) -> list[Floats]:
    pairwise = _pairwise(score)
    if pairwise is not None:
        return [pairwise(texts) for texts in studies]
    return by_measuring(score, studies, utility.settings.get(metric_of(score), {}))


def by_measuring(score: str, studies: Sequence[Sequence[str]], settings: Mapping[str, Any]) -> list[Floats]:
    """The same of any score, pair by pair. What no pair has, an F1 of nothing, counts as agreement: 1."""
    reports = [text for texts in studies for text in texts for _ in texts]
    references = [text for texts in studies for _ in texts for text in texts]
    values = np.nan_to_num(measure(metric_of(score), reports, references, **settings).per_study()[score], nan=1.0)
    ends = np.cumsum([len(texts) ** 2 for texts in studies])[:-1]
    return [part.reshape(len(texts), len(texts)) for texts, part in zip(studies, np.split(values, ends))]


def _pairwise(score: str) -> Pairwise | None:
    """The fast way of a score, where it has one."""
    if score == RULE:
        return _rule
    name, _, preset = score.partition(".")
    if name in (f"bleu_{order}" for order in ORDERS):
        return lambda texts: _bleu(texts, bleu.PRESETS[preset or bleu.DEFAULT])[..., int(name[-1]) - 1]
    if name == "rouge_l":
        return lambda texts: _rouge(texts, rouge.PRESETS[preset or rouge.DEFAULT])
    return None


def _rule(texts: Sequence[str]) -> Floats:
    states = np.isin(rule_label_table(texts), (PRESENT, UNCERTAIN)).astype(np.float64)  # (M, 14)
    each = states.sum(axis=1)
    stated = each[:, None] + each[None, :]
    return np.asarray(np.divide(2 * states @ states.T, stated, out=np.ones_like(stated), where=stated > 0))


def _bleu(texts: Sequence[str], preset: bleu.Preset) -> Floats:
    """BLEU-1 to BLEU-4 of all pairs, (M, M, 4)."""
    numbered = token_table(preset.words).numbered(texts)
    ngrams, count = Ngrams(numbered), len(texts)
    sums = np.ones((count, count, 10))
    for column, order in enumerate(ORDERS):
        text, ngram = ngrams.of_order(order)
        sums[..., column] = _clipped_matches(text, ngram, count)
        sums[..., 4 + column] = np.bincount(text, minlength=count)[:, None]
    sums[..., 8] = numbered.lengths[None, :]
    return (preset.study_values or preset.values)(sums)


def _clipped_matches(text: Ints, ngram: Ints, count: int) -> Floats:
    """How many n-grams each pair of M texts shares, (M, M): the sum over t of those that both have t times or more.

    einsum is the matrix product in this thread alone: these are small, and threads that wait for each other cost more.
    """
    distinct, column = np.unique(ngram, return_inverse=True)
    times = np.bincount(text * len(distinct) + column, minlength=count * len(distinct)).reshape(count, -1)  # (M, G)
    matches = np.diag(times.sum(axis=1).astype(np.float64))
    most = 1
    while times.shape[1]:
        has = times >= most
        shared = has.sum(axis=0) > 1
        times = times[:, shared]
        some = has[:, shared].astype(np.float32)
        pairs = np.einsum("ig,jg->ij", some, some)
        np.fill_diagonal(pairs, 0)
        matches += pairs
        most += 1
    return matches


def _rouge(texts: Sequence[str], preset: rouge.Preset) -> Floats:
    table, count = token_table(preset.words), len(texts)
    rows, columns = np.triu_indices(count)
    sides = (table.numbered([texts[place] for place in places.tolist()]) for places in (rows, columns))
    common = np.zeros((count, count))
    common[rows, columns] = common[columns, rows] = common_lengths(*sides)
    lengths = table.numbered(texts).lengths.astype(np.float64)
    reports, references = np.broadcast_arrays(lengths[:, None], lengths[None, :])
    return preset.joined(*preset.with_empty_words(common, reports, references))
