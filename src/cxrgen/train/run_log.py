"""The log of a run: log.jsonl always, other trackers where asked.

A line is one step or one validation. Lines are only appended; a resumed run first cuts the file back to its checkpoint,
so that no step is in it twice.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError, unknown
from cxrgen.core.journal import Journal, read_journal, write_journal
from cxrgen.core.progress import say
from cxrgen.train.config import names_in
from cxrgen.train.watch_config import TRACKERS, LogConfig

LOG = "log.jsonl"
Line = dict[str, Any]
Tracker = Callable[[Mapping[str, float], int], None]


class RunLog:
    """Lines of numbers by step, to log.jsonl and to every tracker."""

    def __init__(self, folder: Path, trackers: Sequence[Tracker] = (), every: int = 1) -> None:
        self.path, self.every = folder / LOG, every  # every: steps between lines
        self.trackers = list(trackers)

    def restart(self, step: int) -> list[Line]:
        """Drop everything after `step`; returns the lines that stay."""
        kept = [line for line in read_journal(self.path) if line["step"] <= step]
        write_journal(self.path, kept, private=False)
        return kept

    def say(self, step: int, note: str) -> None:
        """A line of words, for log.jsonl and the page alone."""
        with Journal(self.path, private=False) as journal:
            journal.add({"step": step, "note": note})

    def add(self, step: int, values: Mapping[str, float]) -> None:
        with Journal(self.path, private=False) as journal:
            journal.add({"step": step, **values})
        for tracker in list(self.trackers):
            try:
                tracker(values, step)
            except Exception as error:  # whatever a third-party library or server raises, the training continues
                self.trackers.remove(tracker)
                say(f"step {step}: a tracker of --report_to failed ({type(error).__name__}) and is disabled")


def check_trackers(report_to: str) -> list[str]:
    """The trackers of `--report_to`; `none` is no tracker.

    Raises UsageError for an unknown name and InputError for one that is not installed, before a run costs anything.
    """
    wanted = [name for name in names_in(report_to) if name != "none"]
    for name in wanted:
        if name not in _TRACKERS:
            raise unknown("--report_to", name, TRACKERS)
        try:
            importlib.import_module(name)
        except ImportError:
            raise InputError(
                f"--report_to {name}: {name} is not installed (pip install {name}); log.jsonl is written in any case"
            ) from None
    return wanted


def open_trackers(config: LogConfig, folder: Path, settings: Mapping[str, Any]) -> list[Tracker]:
    """The trackers of a run. Raises InputError for one that cannot be opened: wandb without a login, say."""
    trackers = []
    for name in check_trackers(config.report_to):
        try:
            trackers.append(_TRACKERS[name](folder, config.run_name or folder.name, settings))
        except Exception as error:  # a third-party library; its first line says what it lacks
            reason = (str(error).strip().splitlines() or [""])[0]
            raise InputError(f"--report_to {name}: cannot be opened ({type(error).__name__}: {reason})") from None
    return trackers


def _tensorboard(folder: Path, run_name: str, settings: Mapping[str, Any]) -> Tracker:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"))

    def track(values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return track


def _wandb_like(module_name: str) -> Callable[[Path, str, Mapping[str, Any]], Tracker]:
    """trackio keeps its runs on this machine; wandb sends them where its own settings say."""

    def open_tracker(folder: Path, run_name: str, settings: Mapping[str, Any]) -> Tracker:
        module = importlib.import_module(module_name)
        module.init(project="cxrgen", name=run_name, config=dict(settings))
        return lambda values, step: module.log(dict(values), step=step)

    return open_tracker


_TRACKERS: dict[str, Callable[[Path, str, Mapping[str, Any]], Tracker]] = {
    "tensorboard": _tensorboard,
    "trackio": _wandb_like("trackio"),
    "wandb": _wandb_like("wandb"),
}


def memory_gigabytes(device_type: str) -> float:
    """The most memory used so far: of the device for CUDA, of this process otherwise."""
    if device_type == "cuda":
        import torch

        return float(torch.cuda.max_memory_allocated()) / 1e9
    try:  # getrusage's value begins with what the process had that started this one
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return float(status.split("VmHWM:")[1].split()[0]) / 1e6
    except (OSError, IndexError):
        import resource

        scale = 1e9 if os.uname().sysname == "Darwin" else 1e6  # bytes there, kilobytes elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
