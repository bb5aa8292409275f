"""Errors of a report as a language model lists them: one question a pair of texts, to an endpoint that the user names.

Nothing is sent unless `--judge` names an address, and to another machine only with `--judge-allow-remote`; a line says
so before the first call. A judge is a model, with mistakes of its own: `cxrgen meta` says how far one agrees with
people. What it answers is kept by the content of the pair, so that no pair is asked about twice. A pair without a
readable answer has no score: it is counted, and the values are means over the pairs that have one.

With fewer calls than pairs, studies are taken in the order of their references' hashes: the same random part of the set
for every system, and the next run goes on where this one ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import make_folder
from cxrgen.core.journal import Journal, read_journal
from cxrgen.core.progress import say, track
from cxrgen.core.retries import RetryPolicy
from cxrgen.metrics import Floats, Metric, MetricResult, Option, always
from cxrgen.metrics.clinical.judge_endpoint import BudgetSpent, Endpoint, NoAnswer, address_of
from cxrgen.metrics.clinical.judge_prompt import KINDS, PROMPT, Answer, as_answer, messages, prompt_hash, read_answer
from cxrgen.metrics.row_cache import CACHE

SCORES: dict[str, tuple[str, ...]] = {  # the kinds of error that each counts; a study's mean number
    "judge_missed": ("missing_finding",),
    "judge_invented": ("invented_finding",),
    "judge_misplaced": ("wrong_location",),
    "judge_severity": ("wrong_severity",),
    "judge_comparison": ("invented_comparison", "omitted_comparison"),
    "judge_errors": tuple(KINDS),
}
_NAMES = ("judge_matched", *SCORES, "judge_urgent")
BROKEN, NO_ANSWER, NOT_ASKED = "broken answer", "no answer", "not asked"
UNSCORED = (BROKEN, NO_ANSWER, NOT_ASKED)
_ANSWERED = len(_NAMES)  # column of the counts: 1 for a pair with an answer; then one for each of UNSCORED
_ASKED_AGAIN = 2  # times that a broken answer is asked for
_DEAD = 3  # pairs without an answer in a row, after which the server is not asked on
_TRIES, _TIMEOUT, _AT_ONCE = 4, 120.0, 4
Item = tuple[str, str]  # a report and its reference
Found = Answer | str  # or why there is none


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
    policy = retry or RetryPolicy(tries=_TRIES, timeout=timeout)
    endpoint = Endpoint(address_of(url), model, policy, max_calls)
    items = list(zip(hypotheses, references))
    found = _answers(list(dict.fromkeys(items)), endpoint, cache, signature, at_once)
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


def _answers(
    items: Sequence[Item], endpoint: Endpoint, folder: Path | None, signature: str, at_once: int
) -> dict[Item, Found]:
    """What is known of each of different pairs, asked for where it is not kept in `folder`."""
    with ExitStack() as stack:
        kept, journal = {}, None
        if folder is not None:
            make_private(folder)
            path = folder / f"judge-{hashlib.sha256(f'{signature}|{prompt_hash()}'.encode()).hexdigest()[:16]}.jsonl"
            kept = _read_kept(path)
            journal = stack.enter_context(Journal(path))
        found: dict[Item, Found] = {item: kept[_key(item)] for item in items if _key(item) in kept}
        new = sorted((item for item in items if item not in found), key=lambda item: _key(item[1:]))
        if new:
            leave = "are sent to" if endpoint.address.local else "leave this machine for"
            to = f"{leave} {endpoint.address.shown}, model {endpoint.model}"
            say(f"judge: the texts of {len(new)} pairs {to}; {len(found)} answers kept from before")
        for item, answer in track(_asked(new, endpoint, at_once), "judge", len(new)) if new else ():
            found[item] = answer
            if journal is not None and isinstance(answer, Answer):
                journal.add({"pair": _key(item), **answer.record()})
    return found


def make_private(folder: Path) -> None:
    """Make a folder that only its owner can read; one that is there stays as it is."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700)


def _read_kept(path: Path) -> dict[str, Answer]:
    kept = {}
    for number, record in enumerate(read_journal(path), 1):
        answer = as_answer(record)
        if answer is None or not isinstance(record.get("pair"), str):
            raise InputError(f"{path}:{number}: no answer of a judge; remove the file to ask again")
        kept[record["pair"]] = answer
    return kept


def _key(texts: Sequence[str]) -> str:
    lengths = ",".join(str(len(text)) for text in texts)
    return hashlib.sha256("\0".join([lengths, *texts]).encode("utf-8", "surrogatepass")).hexdigest()


def _asked(items: Sequence[Item], endpoint: Endpoint, at_once: int) -> Iterator[tuple[Item, Found]]:
    """Each pair with its answer, as they come. Raises InputError where the server is gone."""
    pool = ThreadPoolExecutor(at_once)
    silent = 0
    try:
        waiting = {pool.submit(_ask, item, endpoint): item for item in items}
        for done in as_completed(waiting):
            answer, why = done.result()
            yield waiting[done], answer
            silent = silent + 1 if answer == NO_ANSWER else 0
            if silent >= _DEAD:
                shown = endpoint.address.shown
                raise InputError(f"{shown}: no answer to {silent} pairs in a row ({why}); start it and run again")
    finally:
        endpoint.stop()
        pool.shutdown(cancel_futures=True)


def _ask(item: Item, endpoint: Endpoint) -> tuple[Found, str]:
    """One pair's answer, and what went wrong where there is none."""
    try:
        for _ in range(_ASKED_AGAIN):
            if answer := read_answer(endpoint.ask(messages(*item))):
                return answer, ""
    except BudgetSpent:
        return NOT_ASKED, ""
    except NoAnswer as error:
        return NO_ANSWER, str(error)
    return BROKEN, ""


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
