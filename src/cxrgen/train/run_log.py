"""The record of a run: log.jsonl always, other trackers where asked, and a page with the curves.

A line is one step or one validation. The file is only ever added to, and a resumed run first cuts it back to its
checkpoint, so that no step stands in it twice.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import write_text
from cxrgen.core.progress import say

LOG = "log.jsonl"
Line = dict[str, Any]
Tracker = Callable[[Mapping[str, float], int], None]


class RunLog:
    """Lines of numbers by step, to log.jsonl and to every tracker."""

    def __init__(self, folder: Path, trackers: Sequence[Tracker] = ()) -> None:
        self.path = folder / LOG
        self.trackers = list(trackers)

    def restart(self, step: int) -> list[Line]:
        """Forget everything after `step`; returns the lines that stay. Half a last line is dropped."""
        kept = [line for line in read_log(self.path) if line["step"] <= step]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        return kept

    def add(self, step: int, values: Mapping[str, float]) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for tracker in list(self.trackers):
            try:
                tracker(values, step)
            except Exception as error:  # whatever another's library or server may do, the training goes on
                self.trackers.remove(tracker)
                say(f"step {step}: a tracker of --report_to failed ({type(error).__name__}) and is told no more")


def read_log(path: Path) -> list[Line]:
    """All whole lines of a log; none when there is no file."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def check_trackers(names: str) -> list[str]:
    """The trackers that are asked for, by names separated by commas; `none` is no tracker.

    Raises UsageError for an unknown name and InputError for one that is not installed, before a run costs anything.
    """
    wanted = [name for each in names.split(",") if (name := each.strip()) != "none"]
    for name in wanted:
        if name not in _TRACKERS:
            raise UsageError(f"--report_to {name}: there are none, {', '.join(_TRACKERS)}")
        try:
            importlib.import_module(name)
        except ImportError:
            raise InputError(
                f"--report_to {name}: {name} is not installed (pip install {name}); log.jsonl is written in any case"
            ) from None
    return wanted


def open_trackers(names: str, folder: Path, run_name: str, told: Mapping[str, Any]) -> list[Tracker]:
    """Trackers by their names. Raises InputError for one that cannot be opened: wandb without a login, say."""
    trackers = []
    for name in check_trackers(names):
        try:
            trackers.append(_TRACKERS[name](folder, run_name or folder.name, told))
        except Exception as error:  # another's library; its first line says what it lacks
            reason = (str(error).strip().splitlines() or [""])[0]
            raise InputError(f"--report_to {name}: cannot be opened ({type(error).__name__}: {reason})") from None
    return trackers


def _tensorboard(folder: Path, run_name: str, told: Mapping[str, Any]) -> Tracker:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"))

    def track(values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return track


def _wandb_like(module_name: str) -> Callable[[Path, str, Mapping[str, Any]], Tracker]:
    """trackio keeps its runs on this machine; wandb sends them where its own settings say."""

    def open_tracker(folder: Path, run_name: str, told: Mapping[str, Any]) -> Tracker:
        module = importlib.import_module(module_name)
        module.init(project="cxrgen", name=run_name, config=dict(told))
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
    import resource

    scale = 1e9 if os.uname().sysname == "Darwin" else 1e6  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
