"""The callback of a run on rewards: their numbers in the log, looks at the watched sets, and the best state kept.

The best state is that with the highest reward on the held studies among those that no look has found worse; the start
is the first of them. A run that a look ends has it as its result.
"""

from __future__ import annotations

from typing import Any

from cxrgen.core.progress import say
from cxrgen.train.callbacks import RunCallback
from cxrgen.train.reward_watch import HELD, RewardWatch
from cxrgen.train.trainer import FitState, StepRecord


class PolicyCallback(RunCallback):
    """`RunCallback`, with `watch` in place of validation; the other arguments are the same."""

    def __init__(self, watch: RewardWatch, *run: Any) -> None:
        super().__init__(*run)
        self.watch, self.policy = watch, watch.policy
        self._step = self.first_step

    def on_train_begin(self, state: FitState) -> None:
        super().on_train_begin(state)
        values = self.watch.begin(state.processes)
        if self.resumed is None:
            self.best_step, self.best_value = 0, values[f"{HELD}_reward"]
            self._log_look(state, values)
            self._save(state)

    def should_stop(self) -> bool:
        """Asked to, and at the end of a round: its reports are gone with the process."""
        return super().should_stop() and self._step % self.policy.updates == 0

    def on_step_end(self, state: FitState, record: StepRecord) -> bool:
        self._step = record.step
        return super().on_step_end(state, record)

    def _values(self, state: FitState, record: StepRecord) -> dict[str, float]:
        numbers = self.policy.numbers(state.processes)
        self.note = f"reward {numbers['reward']:.3f}, {numbers['words']:.0f} words, {numbers['distinct']:.0%} distinct"
        return {**super()._values(state, record), **numbers}

    def _validation_is_due(self, state: FitState) -> bool:
        return state.step % self.policy.config.watch_steps == 0 or state.step == state.steps

    def _validate(self, state: FitState) -> bool:
        values, worse = self.watch.look(state.processes)
        self._log_look(state, values)
        if worse:
            self._end(state, worse)
            return False
        value = values[f"{HELD}_reward"]
        improved = self.best_value is None or value > self.best_value
        if improved:
            self.best_step, self.best_value = state.step, value
        return improved

    def _patience_is_over(self) -> bool:
        return self.stopped_early

    def _log_look(self, state: FitState, values: dict[str, float]) -> None:
        say(f"step {state.step}: " + ", ".join(f"{name} {number:.4f}" for name, number in values.items()))
        if state.processes.is_main:
            self.log.add(state.step, values)
            if self.page:
                self.page.update()

    def _end(self, state: FitState, worse: list[str]) -> None:
        """The run ends here; the log and its page say why."""
        self.stopped_early = True
        reason = f"stopped at step {state.step}, the reports got worse than at the start: {'; '.join(worse)}"
        say(f"{reason}; step {self.best_step} is kept")
        if state.processes.is_main:
            self.log.say(state.step, f"{reason}; the model is that of step {self.best_step}")
            if self.page:
                self.page.update()
