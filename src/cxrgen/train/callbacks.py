"""The callback of a run: logging, checkpoints, validation, early stopping and SIGTERM between two steps.

`fit` knows nothing of files; it calls this callback. SIGTERM, which schedulers send before they take a machine away,
lets the step finish, writes a checkpoint and ends with exit code 143. An image that vanishes while training does the
same with exit code 1. A NaN or infinite loss writes nothing: the checkpoint before it is the last good one.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError, Interrupted
from cxrgen.core.progress import say
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.train.checkpoints import ResumePoint, load_checkpoint, prune, save_checkpoint
from cxrgen.train.config import CheckpointConfig
from cxrgen.train.run_log import RunLog, memory_gigabytes
from cxrgen.train.run_page import RunPage
from cxrgen.train.trainer import Callback, FitState, StepRecord
from cxrgen.train.validate import Subset, validate_sets
from cxrgen.train.watch_config import EvalConfig
from cxrgen.train.watchdog import Watchdog


@dataclass(frozen=True)
class Validation:
    """The studies of each set that are validated, when, and the precision."""

    subsets: Mapping[str, Subset]
    config: EvalConfig
    bf16: bool = False


class RunCallback(Callback):
    """Keeps a run's folder up to date while `fit` trains."""

    def __init__(
        self,
        config: CheckpointConfig,
        fingerprint: Mapping[str, Any],
        checkpoint: Checkpoint,
        log: RunLog,
        validation: Validation | None = None,
        resumed: ResumePoint | None = None,
        watchdog: Watchdog | None = None,
        page: RunPage | None = None,
    ) -> None:
        self.config, self.fingerprint, self.checkpoint, self.log = config, fingerprint, checkpoint, log
        self.validation, self.resumed, self.watchdog, self.page = validation, resumed, watchdog, page
        self.folder = Path(config.output_dir)
        remembered = resumed.remembered if resumed else {}
        self.best_step: int | None = remembered.get("best_step")
        self.best_value: float | None = remembered.get("best_value")
        self.since_best: int = remembered.get("since_best", 0)
        self.first_step = resumed.step if resumed else 0
        self.stopped_early = False
        self._asked_to_stop = False
        self._clock = time.monotonic()

    def on_train_begin(self, state: FitState) -> None:
        signal.signal(signal.SIGTERM, self._stop)
        if self.resumed:
            load_checkpoint(self.resumed.path, state, self.first_step)
            say(f"resuming after step {self.first_step}")
        if state.processes.is_main:
            self.log.restart(self.first_step if self.resumed else -1)
            if self.page:
                self.page.restart(self.first_step)
                self.page.update()
        self._clock = time.monotonic()

    def close(self) -> None:
        """SIGTERM has its usual meaning again."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def should_stop(self) -> bool:
        return self._asked_to_stop

    def on_step_end(self, state: FitState, record: StepRecord) -> bool:
        now = time.monotonic()
        speed, self._clock = record.tokens / max(1e-9, now - self._clock), now
        self._log(state, record, speed)
        improved = self._validate(state) if self._validation_is_due(state) else False
        saves = self.config.save_strategy == "steps"
        if saves and (improved or record.step % self.config.save_steps == 0):
            self._save(state)
        self._clock += time.monotonic() - now  # neither validating nor saving makes the next step slower
        return self._patience_is_over()

    def on_interrupt(self, state: FitState, reason: InputError | None) -> None:
        if state.step:
            self._save(state)
        if reason is None:
            raise Interrupted(f"stopped after step {state.step} by SIGTERM; --resume continues from there")
        say(f"the run stops after step {state.step}; repair the data, then --resume continues from there")

    @property
    def best_checkpoint(self) -> Path | None:
        """The checkpoint that was best in validation, where it was saved."""
        folder = self.folder / f"checkpoint-{self.best_step}"
        return folder if self.best_step is not None and folder.is_dir() else None

    def _log(self, state: FitState, record: StepRecord, speed: float) -> None:
        memory = memory_gigabytes(state.processes.device.type)
        self.note = f"loss {record.loss:.3f}, lr {record.learning_rate:.2g}, {speed:.0f} tokens/s, {memory:.1f} GB"
        values = self._values(state, record)
        if state.processes.is_main and record.step % self.log.every == 0:
            self.log.add(record.step, {**values, "tokens_per_second": round(speed, 1), "memory_gb": round(memory, 3)})

    def _values(self, state: FitState, record: StepRecord) -> dict[str, float]:
        """What the log has of a step; called on all processes."""
        values = {"loss": record.loss, "learning_rate": record.learning_rate, "supervised": record.supervised}
        return values | {"gradient_norm": record.gradient_norm, "tokens": record.tokens}

    def _validation_is_due(self, state: FitState) -> bool:
        return self.validation is not None and state.step % self.validation.config.eval_steps == 0

    def _validate(self, state: FitState) -> bool:
        """Whether this validation is the best so far."""
        assert self.validation is not None
        name = self.validation.config.metric_for_best_model
        validated = validate_sets(self.checkpoint, self.validation.subsets, state.processes, self.validation.bf16)
        values = validated.values
        if state.processes.is_main:
            self.log.add(state.step, values)
            if self.page:
                first = next(iter(self.validation.subsets.values()))
                self.page.keep_examples(state.step, first.conversations, validated.reports, first.folder)
                self.page.update()
        if not math.isfinite(values["eval_loss"]):
            raise InputError(
                f"step {state.step}: the validation loss is {values['eval_loss']}; lower the learning rate, or look at "
                "the validation studies"
            )
        value, lower_is_better = values[name], name.endswith("loss")
        improved = self.best_value is None or (value < self.best_value if lower_is_better else value > self.best_value)
        self.since_best = 0 if improved else self.since_best + 1
        if improved:
            self.best_step, self.best_value = state.step, value
        say(f"step {state.step}: " + ", ".join(f"{name} {number:.4f}" for name, number in values.items()))
        return improved

    def _patience_is_over(self) -> bool:
        config = self.validation.config if self.validation else EvalConfig()
        if not config.early_stopping_patience or self.since_best < config.early_stopping_patience:
            return False
        say(
            f"{config.metric_for_best_model} has not improved in {self.since_best} validations; "
            f"the best was after step {self.best_step}"
        )
        self.stopped_early = True
        return True

    def _save(self, state: FitState) -> None:
        remembered: dict[str, Any] = {"best_step": self.best_step, "best_value": self.best_value}
        remembered |= {"since_best": self.since_best, "format": asdict(self.checkpoint.format)}
        with self.watchdog.busy() if self.watchdog else nullcontext():
            save_checkpoint(self.folder, state, self.fingerprint, remembered)
            if state.processes.is_main:
                prune(self.folder, self.config.save_total_limit, self.best_step)

    def _stop(self, *_: object) -> None:
        self._asked_to_stop = True
