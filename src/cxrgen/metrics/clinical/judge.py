"""Errors of a report as a language model lists them: one question a pair of texts, to an endpoint that the user names.

Nothing is sent unless `--judge` names an address, and to another machine only with `--judge-allow-remote`; a line says
so before the first call. A judge is a model, with mistakes of its own: `cxrgen meta` says how far one agrees with
people. What it answers is kept by the content of the pair, so that no pair is asked about twice. A pair without a
readable answer has no score: it is counted, and the values are means over the pairs that have one.

With fewer calls than pairs, studies are taken in the order of their references' hashes: the same random part of the set
for every system, and the next run goes on where this one ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrgen.core.errors import UsageError
from cxrgen.metrics import Floats, Metric, MetricResult, Option, always
from cxrgen.metrics.clinical.judge_address import address_of
from cxrgen.metrics.clinical.judge_prompt import KINDS, PROMPT, UNSCORED, Answer, Found
from cxrgen.metrics.row_cache import CACHE
from cxrgen.metrics.several import best_of, by_score

if TYPE_CHECKING:
    from cxrgen.core.retries import RetryPolicy

SCORES: dict[str, tuple[str, ...]] = {  # the kinds of error that each counts; a study's mean number
    "judge_missed": ("missing_finding",),
    "judge_invented": ("invented_finding",),
    "judge_misplaced": ("wrong_location",),
    "judge_severity": ("wrong_severity",),
    "judge_comparison": ("invented_comparison", "omitted_comparison"),
    "judge_errors": tuple(KINDS),
}
_NAMES = ("judge_matched", *SCORES, "judge_urgent")
_ANSWERED = len(_NAMES)  # column of the counts: 1 for a pair with an answer; then one for each of UNSCORED
_TRIES, _TIMEOUT, _AT_ONCE = 4, 120.0, 4


def measure(
    hypotheses: Sequence[str],
    references: Sequence[str],
    url: str = "",
    model: str = "",
    allow_remote: bool = False,
    cache: Path | None = None,
    max_calls: int | None = None,
    timeout: float = _TIMEOUT,
    at_once: int = _AT_ONCE,
    baselines: bool = False,
    retry: RetryPolicy | None = None,
) -> MetricResult:
    """Errors of N reports as the endpoint at `url` lists them; counts are (N, 12), the last four 0 or 1.

    These are: answered, broken answer, no answer, not asked. `baselines` is for those who call this: whether other
    sets of reports are to be judged as well. Raises UsageError for an address that may not be called, InputError where
    the server refuses or is not there.
    """
    signature = f"judge|prompt:{PROMPT}|model:{model}|temperature:0|level:mean of studies with an answer"
    if not hypotheses:
        return _result([], signature)
    check(
        {"url": url, "model": model, "allow_remote": allow_remote}
        | {"max_calls": max_calls, "timeout": timeout, "at_once": at_once}
    )
    from cxrgen.core.retries import RetryPolicy  # what asking needs is imported when something is asked
    from cxrgen.metrics.clinical.judge_answers import answers
    from cxrgen.metrics.clinical.judge_endpoint import Endpoint

    policy = retry or RetryPolicy(tries=_TRIES, timeout=timeout)
    endpoint = Endpoint(address_of(url), model, policy, max_calls)
    items = list(zip(hypotheses, references))
    found = answers(list(dict.fromkeys(items)), endpoint, cache, signature, at_once)
    return _result([found[item] for item in items], signature)


def check(given: Mapping[str, Any]) -> None:
    """Raise UsageError for settings under which nothing may or can be asked."""
    if not given.get("url") or not given.get("model"):
        raise UsageError("a judge needs --judge URL and --judge-model NAME")
    address = address_of(given["url"])
    if not address.local and not given.get("allow_remote"):
        raise UsageError(
            f"--judge: report texts would leave this machine for {address.shown}; "
            "give --judge-allow-remote if they may, or an address on localhost"
        )
    for name, least in (("max_calls", 0), ("timeout", 1), ("at_once", 1)):
        value = given.get(name)
        if value is not None and value < least:
            raise UsageError(f"--judge-{name.replace('_', '-')} {value}: give {least} or more")


def _result(found: Sequence[Found], signature: str) -> MetricResult:
    counts = np.array([_counts(each) for each in found], dtype=np.float64).reshape(-1, _ANSWERED + 1 + len(UNSCORED))
    noted = [each.errors if isinstance(each, Answer) else () for each in found]
    lower = frozenset(_NAMES) - {"judge_matched"}
    return MetricResult(counts, _means, signature, lower_is_better=lower, noted=noted, unscored=_unscored)


def _counts(found: Found) -> list[float]:
    if not isinstance(found, Answer):
        return [0.0] * (_ANSWERED + 1) + [float(found == why) for why in UNSCORED]
    kinds = [error.kind for error in found.errors]
    of_score = [sum(kind in counted for kind in kinds) for counted in SCORES.values()]
    urgent = sum(error.urgent for error in found.errors)
    return [len(found.matched), *of_score, urgent, 1, *(0.0 for _ in UNSCORED)]


def _means(sums: Floats) -> dict[str, Floats]:
    return {name: sums[..., column] / sums[..., _ANSWERED] for column, name in enumerate(_NAMES)}


def _unscored(counts: Floats) -> dict[str, int]:
    return {why: int(counts[:, _ANSWERED + 1 + place].sum()) for place, why in enumerate(UNSCORED)}


METRIC = Metric(
    measure,
    "clinical",
    scores=_NAMES,
    weights=True,
    by_pair=always,
    several=best_of(measure, by_score("judge_errors"), "the fewest errors"),
    headline={"judge_urgent": 15, "judge_missed": 16},
    options=(
        Option("--judge", "url", "chat endpoint of OpenAI's form that lists errors; texts are sent to it", "URL", str),
        Option("--judge-model", "model", "the model to name there", "NAME", str, "--judge"),
        Option("--judge-allow-remote", "allow_remote", "texts may leave this machine", None, bool, "--judge"),
        Option(
            "--judge-max-calls", "max_calls", "calls at most, for a random part of the studies", "N", int, "--judge"
        ),
        Option("--judge-timeout", "timeout", "seconds for an answer (default 120)", "S", float, "--judge"),
        Option("--judge-at-once", "at_once", "questions at the same time (default 4)", "N", int, "--judge"),
        Option("--judge-baselines", "baselines", "judge baselines too, for as many calls each", None, bool, "--judge"),
        CACHE,
    ),
    asked_for=lambda given: "url" in given,
    check=check,
    for_baselines=lambda given: bool(given.get("baselines")),
    keeps="judge",
)
