"""What happens between two steps of a run: logging, checkpoints, validation, stopping.

`fit` knows nothing of files; it calls this watcher. SIGTERM, which schedulers send before they take a machine away,
lets the step finish, writes a checkpoint and leaves with exit code 143. An image that has gone while training does the
same with exit code 1. A loss that is no number writes nothing: the checkpoint before it is the last good one.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError, Interrupted
from cxrgen.core.progress import say
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.train.checkpoints import load_checkpoint, prune, save_checkpoint
from cxrgen.train.run_log import RunLog, memory_gigabytes
from cxrgen.train.trainer import FitState, StepRecord, Watcher
from cxrgen.train.validate import Subset, validate


@dataclass(frozen=True)
class WatchSettings:
    """When to do what; 0 steps is never."""

    folder: Path
    told: Mapping[str, Any]  # what a resumed run may not change
    save_steps: int = 0
    keep: int = 2
    eval_steps: int = 0
    best_by: str = "eval_loss"
    patience: int = 0
    logging_steps: int = 1
    bf16: bool = False


class RunWatcher(Watcher):
    """A run's folder, kept up to date while `fit` trains."""

    def __init__(
        self,
        settings: WatchSettings,
        bundle: Checkpoint,
        subset: Subset | None,
        log: RunLog,
        resumed: tuple[Path, Mapping[str, Any]] | None,
    ) -> None:
        self.settings, self.bundle, self.subset, self.log, self.resumed = settings, bundle, subset, log, resumed
        remembered = dict(resumed[1]["more"]) if resumed else {}
        self.best_step: int | None = remembered.get("best_step")
        self.best_value: float | None = remembered.get("best_value")
        self.since_best: int = remembered.get("since_best", 0)
        self.first_step = int(resumed[1]["step"]) if resumed else 0
        self._asked_to_stop = False
        self._clock = time.monotonic()

    def begin(self, state: FitState) -> None:
        signal.signal(signal.SIGTERM, self._stop)
        if self.resumed:
            load_checkpoint(self.resumed[0], state, self.first_step)
            say(f"going on after step {self.first_step}")
        if state.processes.first:
            self.log.restart(self.first_step)
        self._clock = time.monotonic()

    def end(self) -> None:
        """SIGTERM has its usual meaning again."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def stops(self) -> bool:
        return self._asked_to_stop

    def after(self, state: FitState, record: StepRecord) -> bool:
        now = time.monotonic()
        speed, self._clock = record.tokens / max(1e-9, now - self._clock), now
        memory = memory_gigabytes(state.processes.device.type)
        self.note = f"loss {record.loss:.3f}, lr {record.learning_rate:.2g}, {speed:.0f} tokens/s, {memory:.1f} GB"
        if state.processes.first and record.step % self.settings.logging_steps == 0:
            values = {"loss": record.loss, "learning_rate": record.learning_rate, "supervised": record.supervised}
            values |= {"gradient_norm": record.gradient_norm, "tokens": record.tokens}
            self.log.add(record.step, {**values, "tokens_per_second": round(speed, 1), "memory_gb": round(memory, 3)})
        every = self.settings.eval_steps
        improved = bool(every and self.subset and record.step % every == 0) and self._validate(state)
        every = self.settings.save_steps
        if every and (improved or record.step % every == 0):
            self._save(state)
        self._clock += time.monotonic() - now  # neither validating nor saving makes the next step slower
        if self.settings.patience and self.since_best >= self.settings.patience:
            say(
                f"no better {self.settings.best_by} in {self.since_best} validations; "
                f"the best was after step {self.best_step}"
            )
            return True
        return False

    def interrupted(self, state: FitState, reason: InputError | None) -> None:
        if state.step:
            self._save(state)
        if reason is None:
            raise Interrupted(f"stopped after step {state.step} as asked; --resume goes on from there")
        say(f"the run stops after step {state.step}; put the data right and --resume goes on from there")

    def _validate(self, state: FitState) -> bool:
        """Whether this validation is the best so far."""
        assert self.subset is not None
        values = validate(self.bundle, self.subset, state.processes, self.settings.bf16)
        if self.settings.best_by not in values:
            raise InputError(f"--metric_for_best_model {self.settings.best_by}: there are {', '.join(values)}")
        if state.processes.first:
            self.log.add(state.step, values)
        value = values[self.settings.best_by]
        down = self.settings.best_by.endswith("loss")
        improved = self.best_value is None or (value < self.best_value if down else value > self.best_value)
        self.since_best = 0 if improved else self.since_best + 1
        if improved:
            self.best_step, self.best_value = state.step, value
        say(f"step {state.step}: " + ", ".join(f"{name} {number:.4f}" for name, number in values.items()))
        return improved

    def _save(self, state: FitState) -> None:
        more = {"best_step": self.best_step, "best_value": self.best_value, "since_best": self.since_best}
        save_checkpoint(self.settings.folder, state, self.settings.told, more)
        if state.processes.first:
            prune(self.settings.folder, self.settings.keep, self.best_step)

    def _stop(self, *_: object) -> None:
        self._asked_to_stop = True
