"""Answers of a judge: those that are kept, and the others asked for, several at a time.

An answer goes to disk as it comes, by the content of its pair, so a run that ends early loses none. The texts' hashes
name the pairs; the answers hold words of the reports, so only their owner can read them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.core.files import make_folder
from cxrgen.core.journal import Journal, read_journal
from cxrgen.core.progress import say, track
from cxrgen.metrics.clinical.judge_endpoint import BudgetSpent, Endpoint, NoAnswer
from cxrgen.metrics.clinical.judge_prompt import (
    BROKEN,
    NO_ANSWER,
    NOT_ASKED,
    Answer,
    Found,
    as_answer,
    messages,
    prompt_hash,
    read_answer,
)

_ASKED_AGAIN = 2  # times that a broken answer is asked for
_DEAD = 3  # pairs without an answer in a row, after which the server is not asked on
Item = tuple[str, str]  # a report and its reference


def answers(
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
            limit = "" if endpoint.calls is None else f", in {endpoint.calls} calls at most"
            to = f"{leave} {endpoint.address.shown}, model {endpoint.model}{limit}"
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
