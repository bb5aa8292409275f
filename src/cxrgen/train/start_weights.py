"""What is trained of a model, as it was at the start: the reference that a second stage is held to.

Only the trained tensors are copied, so with adapters this costs next to nothing, and no second model is held. They take
the place of the present ones for as long as the reference is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cxrgen.train.checkpoints import trained_tensors
from cxrgen.train.trainer import set_modes


class StartWeights:
    """The trained tensors of `model`, its running statistics included, as they are now."""

    def __init__(self, model: Any) -> None:
        set_modes(model)
        self._own = list(trained_tensors(model).values())
        self._start = [tensor.detach().clone() for tensor in self._own]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within this context the model is as it was at the start. For computing without gradients."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for own, start in zip(self._own, self._start):
            own.data, start.data = start.data, own.data
