"""One run by one process, by several of this machine, or by those that `torchrun` started on many.

Process r of n takes every n-th study, from r on. It needs none of the others, and so the reports are the same by
however many they are written. Processes of one machine are started here, one a GPU or a share of the CPU's cores; under
`torchrun` they run already, and rank 0 gathers the reports, so that nodes need no disk in common.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrgen.core.errors import InputError
from cxrgen.core.records import Conversation, Prediction
from cxrgen.core.workers import end_with_parent
from cxrgen.generate.resume import Identity, Partial, images_digest, partial_path, read_finished

if TYPE_CHECKING:
    from cxrgen.generate.settings import Settings

# The number of a question that is done and "", or what is wrong with it.
Event = tuple[int, str]


@dataclass(frozen=True)
class Job:
    """What every process of a run needs to know."""

    settings: Settings
    conversations: Sequence[Conversation]
    folder: Path
    predictions: Path
    identity: Identity

    def share(self, rank: int, count: int) -> list[int]:
        """The numbers of the questions of process `rank` of `count`; the samples of one study stay together."""
        samples = max(1, self.settings.samples)
        return [number for number in range(len(self.conversations)) if number // samples % count == rank]


def torchrun_rank() -> tuple[int, int]:
    """Rank and number of processes as torchrun gives them; (0, 1) without it."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def generate_shard(job: Job, rank: int, count: int, finished: Mapping[int, Prediction]) -> Iterator[Event]:
    """Write what process `rank` of `count` still has to, into its own file; with nothing to do, load no model."""
    numbers = [number for number in job.share(rank, count) if number not in finished]
    if not numbers:
        return
    partial = Partial(partial_path(job.predictions, rank), job.identity)
    try:
        from cxrgen.generate.engine import open_engine

        failures: list[Event] = []
        digest = cache(images_digest)  # samples of a study have the same images
        asked = [job.conversations[number] for number in numbers]
        engine = open_engine(job.settings, max(len(each.images) for each in asked))
        for index, prediction in engine(asked, job.folder, lambda index, why: failures.append((numbers[index], why))):
            partial.add(numbers[index], prediction, digest(job.folder, asked[index].images))
            yield from failures
            failures.clear()
            yield numbers[index], ""
        yield from failures
    finally:
        partial.close()


def write_in_processes(job: Job, count: int, finished: Mapping[int, Prediction]) -> Iterator[Event]:
    """The same by `count` processes of this machine.

    When one of them ends early, the others go on to their end; then InputError says so.
    """
    spawn = multiprocessing.get_context("spawn")
    ends: dict[Connection, int] = {}
    processes = []
    for rank in range(count):
        ours, theirs = spawn.Pipe(duplex=False)
        process = spawn.Process(target=_work, args=(job, rank, count, dict(finished), theirs), daemon=True)
        process.start()
        theirs.close()
        ends[ours] = rank
        processes.append(process)
    problems = []
    while ends:
        for end in wait(list(ends)):
            assert isinstance(end, Connection)
            try:
                event = end.recv()
            except EOFError:
                rank = ends.pop(end)
                processes[rank].join()
                if processes[rank].exitcode != 0:
                    code = processes[rank].exitcode
                    killed = ", killed, for lack of memory perhaps" if code == -9 else ""
                    problems.append(f"process {rank + 1} of {count} ended with code {code}{killed}")
                continue
            if isinstance(event, str):
                problems.append(event)
            else:
                yield event
    if problems:
        raise InputError(f"{problems[0]}; finished reports are kept: run again to continue")


def _work(job: Job, rank: int, count: int, finished: Mapping[int, Prediction], end: Connection) -> None:
    """What a started process does: its share; every event is sent through `end`."""
    end_with_parent()  # else it would go on alone and keep its file locked
    os.environ["LOCAL_RANK"] = str(rank)
    os.environ["LOCAL_WORLD_SIZE"] = str(count)
    try:
        for event in generate_shard(job, rank, count, finished):
            end.send(event)
    except InputError as error:
        end.send(str(error))


@contextmanager
def process_group(count: int) -> Iterator[None]:
    """The process group of the processes that torchrun started; nothing when there is one."""
    if count == 1:
        yield
        return
    import torch.distributed as distributed

    # The first to finish its share waits for the longest share, which may take days.
    distributed.init_process_group("gloo", timeout=timedelta(days=30))
    try:
        yield
        distributed.barrier()  # a rank that exits while another still communicates can abort it
    finally:
        distributed.destroy_process_group()


def broadcast_object(value: Any, count: int) -> Any:
    """The `value` of process 0, in all processes."""
    if count == 1:
        return value
    import torch.distributed as distributed

    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def write_as_launched(job: Job, rank: int, count: int, finished: dict[int, Prediction]) -> Iterator[Event]:
    """The same under torchrun: every process its share, then rank 0 gathers all reports into `finished`.

    Rank 0 yields its own events, then what failed elsewhere.
    """
    import torch.distributed as distributed

    failures = []
    for event in generate_shard(job, rank, count, finished):
        if event[1]:
            failures.append(event)
        if rank == 0:
            yield event
    mine = (read_finished(job.predictions, job.identity, job.conversations), failures)
    gathered: list[Any] | None = [None] * count if rank == 0 else None
    distributed.gather_object(mine, gathered)
    for other, (reports, failed) in enumerate(gathered or []):
        finished.update(reports)
        yield from failed if other else ()
