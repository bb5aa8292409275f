"""Rewards for training on scores: plain functions `(reports, references, studies) -> floats`, usable from any trainer.

`studies` says what is known of each study, as a row of named values: the columns of findings.csv for `finding_f1`, and
`prior_study_id`, empty where there is no earlier study, for `prior_penalty`. Higher is better; scores lie from 0 to 1,
penalties from -1 to 0. A single overlap score as the only reward is known to be hacked by longer or by shorter reports,
so mix it with a clinical one and with `length_penalty`, and keep a score that is no reward to judge by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cxrgen.core.errors import UsageError, unknown
from cxrgen.metrics import load, measure, measure_nothing, metric_of
from cxrgen.metrics.consensus import RULE, weighted_names
from cxrgen.metrics.lexical import tokenizers as words
from cxrgen.metrics.lexical.ngrams import ORDERS, parts
from cxrgen.text.prior_mentions import speaks_of_prior

Studies = Sequence[Mapping[str, Any]]
Reward = Callable[[Sequence[str], Sequence[str], Studies], list[float]]


def gleu(reports: Sequence[str], references: Sequence[str], studies: Studies = ()) -> list[float]:
    """Sentence GLEU: the lesser of precision and recall of all n-grams from 1 to 4, Treebank tokens."""
    found = np.zeros(len(reports))
    for part in parts(words.treebank, reports, references):
        orders = [part.order(number) for number in ORDERS]
        matches = np.sum([order.matches() for order in orders], axis=0)
        totals = np.sum([order.totals() for order in orders], axis=0)  # (2, N): of reports and of references
        found[part.rows] = matches / np.maximum(totals.max(axis=0), 1)
    return [float(value) for value in found]


def bleu_4(reports: Sequence[str], references: Sequence[str], studies: Studies = ()) -> list[float]:
    """BLEU-4 of each report, preset coco-ptb."""
    return score("bleu_4")(reports, references, studies)


def rouge_l(reports: Sequence[str], references: Sequence[str], studies: Studies = ()) -> list[float]:
    """ROUGE-L of each report, preset coco-ptb."""
    return score("rouge_l")(reports, references, studies)


def rule_f1(reports: Sequence[str], references: Sequence[str], studies: Studies = ()) -> list[float]:
    """F1 over the 14 observations that the rule labels find in report and reference; 1 where neither has any."""
    return score(RULE)(reports, references, studies)


def finding_f1(reports: Sequence[str], references: Sequence[str], studies: Studies) -> list[float]:
    """F1 of each report against the study's true findings (synthetic studies); 1 where neither side has any."""
    result = measure("findings", reports, references, truth=studies)
    columns = [columns[0] for name, columns in result.f1.items() if result.is_single_finding(name)]
    hits, alarms, misses = (result.counts[:, list(column)].sum(axis=1) for column in zip(*columns))
    stated = 2 * hits + alarms + misses
    return [float(value) for value in np.where(stated > 0, 2 * hits / np.maximum(stated, 1), 1.0)]


def length_penalty(reports: Sequence[str], references: Sequence[str], studies: Studies = ()) -> list[float]:
    """0 for a report as long as its reference in words, down to -1 for e times as many or as few, or none."""
    found = []
    for report, reference in zip(reports, references):
        lengths = len(report.split()), len(reference.split())
        found.append(-min(1.0, abs(math.log(lengths[0] / lengths[1]))) if all(lengths) else -float(any(lengths)))
    return found


def prior_penalty(reports: Sequence[str], references: Sequence[str], studies: Studies) -> list[float]:
    """-1 for a report that speaks of an earlier study where there is none."""
    return [
        -1.0 if speaks_of_prior(report) and not study.get("prior_study_id") else 0.0
        for report, study in zip(reports, studies)
    ]


def score(name: str, **options: Any) -> Reward:
    """Any registered score as a reward, of each report by itself; `options` are those of its metric's `measure`.

    A score of which less is better counts negatively, one that is best at 1 by its distance from 1. What a pair does
    not have counts as agreement. Raises UsageError for an unknown name.
    """
    metric = metric_of(name)

    def reward(reports: Sequence[str], references: Sequence[str], studies: Studies = ()) -> list[float]:
        result = measure(metric, reports, references, **options)
        values, better = np.nan_to_num(result.per_study()[name], nan=1.0), result.better(name)
        if better == "nearer_to_1":
            values = -np.abs(values - 1)
        return [float(value) for value in (-values if better == "lower" else values)]

    reward.__name__ = name
    return reward


REWARDS: dict[str, Reward] = {
    each.__name__: each for each in (gleu, bleu_4, rouge_l, rule_f1, finding_f1, length_penalty, prior_penalty)
}


def mixed(text: str) -> Reward:
    """A weighted sum such as `rule_f1+rouge_l+0.5*length_penalty`, of `REWARDS` and registered scores."""
    terms = [(weight, _named(name)) for weight, name in weighted_names(text, "reward")]

    def reward(reports: Sequence[str], references: Sequence[str], studies: Studies = ()) -> list[float]:
        values = [[weight * value for value in each(reports, references, studies)] for weight, each in terms]
        return [sum(row) for row in zip(*values)]

    reward.__name__ = text
    return reward


def check_reward(text: str, has_truth: bool) -> None:
    """Raises UsageError for a mix with unknown names, or one that lacks the true findings or its model's weights."""
    for _, name in weighted_names(text, "reward"):
        if name in REWARDS:
            if name == finding_f1.__name__ and not has_truth:
                raise UsageError("reward finding_f1 needs the table of true findings: --reward_truth findings.csv")
            continue
        _named(name)
        record = load(metric_of(name))
        if record.needs_truth:
            raise UsageError(
                f"reward {name}: of the scores against true findings, finding_f1 is the one of each report"
            )
        if missing := record.lacks({}):
            raise UsageError(f"reward {name}: {missing}")
        nothing = measure_nothing(metric_of(name))
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = list(nothing.aggregate(np.ones(nothing.counts.shape[1])))
        if name not in scores:
            raise unknown("reward", name, [*REWARDS, *scores])


def _named(name: str) -> Reward:
    if name in REWARDS:
        return REWARDS[name]
    if name.endswith("_penalty"):
        raise unknown("reward", name, REWARDS)
    return score(name)


def for_trl(reward: Reward, reference: str = "reference") -> Callable[..., list[float]]:
    """A reward function as TRL's trainers, and ms-swift's, call it: completions, and a data column a keyword.

    The column `reference` holds the reports to compare with; all columns together are what is known of the studies.
    """

    def called(completions: Sequence[Any], **columns: Any) -> list[float]:
        reports = [each if isinstance(each, str) else _text(each[-1]["content"]) for each in completions]
        rows = {name: of for name, of in columns.items() if isinstance(of, Sequence) and len(of) == len(reports)}
        studies = [{name: of[place] for name, of in rows.items()} for place in range(len(reports))]
        return reward(reports, list(columns[reference]), studies)

    called.__name__ = getattr(reward, "__name__", "reward")
    return called


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
