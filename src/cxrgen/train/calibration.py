"""How fast this machine's processor is at a layer of a batch's own shape, an optimiser's step and reading images."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.pixels import image_pixels
from cxrgen.model.templates import CHAT
from cxrgen.train.gpus import CPU, Device

_ROUNDS = 5
_PARAMETERS = 4_000_000  # that the measured optimiser's step is for
OPTIMIZER_BYTES = 72.0  # moved for a trained parameter: clipping, decay, two moments, the step; 18 floats


def this_processor(positions: int, width: int, inner: int, rank: int) -> Device:
    """Rates of this processor, in float32: of a layer's products with all that lies between them, and of AdamW's step.

    The layer is a norm and a gated MLP of `width` and `inner`, forward and backward. Its matrices are trained, or, with
    a `rank`, frozen beside trained low-rank adapters.
    """
    rows = torch.randn(positions, width, requires_grad=True)
    gate, up, down = (_matrix(*sizes, rank) for sizes in ((width, inner), (width, inner), (inner, width)))

    def layer() -> None:
        normed = rows * rows.pow(2).mean(-1, keepdim=True).add(1e-6).rsqrt()
        inside = torch.nn.functional.silu(_product(normed, gate)) * _product(normed, up)
        (rows + _product(inside, down)).sum().backward()  # type: ignore[no-untyped-call]

    operations = (4.0 if rank else 6.0) * 3 * positions * width * inner
    matrix = torch.nn.Parameter(torch.randn(_PARAMETERS // 2000, 2000))
    optimizer = torch.optim.AdamW([matrix], lr=0.0)

    def step() -> None:
        matrix.grad = torch.ones_like(matrix)
        torch.nn.utils.clip_grad_norm_([matrix], 1.0)
        optimizer.step()

    return Device(CPU, 0, operations / _usual(layer), OPTIMIZER_BYTES * _PARAMETERS / _usual(step))


def _matrix(rows: int, columns: int, rank: int) -> list[torch.Tensor]:
    """A trained matrix, or a frozen one and the two of its adapter."""
    sizes = [(rows, columns), *([(rows, rank), (rank, columns)] if rank else [])]
    return [
        torch.randn(*each).div_(each[0]).requires_grad_(not rank or bool(number)) for number, each in enumerate(sizes)
    ]


def _product(left: torch.Tensor, matrices: list[torch.Tensor]) -> torch.Tensor:
    whole, *adapter = matrices
    return left @ whole + 2.0 * (left @ adapter[0] @ adapter[1]) if adapter else left @ whole


def image_seconds(checkpoint: Checkpoint | None, images: Sequence[Path]) -> float:
    """Seconds to read one image and to bring it to the model's size; 0 where there is nothing to measure."""
    if checkpoint is None or not images or checkpoint.format.template == CHAT:
        return 0.0
    processor = checkpoint.processor.image_processor
    start = time.perf_counter()
    for image in images:
        image_pixels([image], processor, checkpoint.format)
    return (time.perf_counter() - start) / len(images)


def _usual(call: Callable[[], Any]) -> float:
    """Seconds of a call, the median of a few after the first."""
    seconds = []
    for _ in range(_ROUNDS + 1):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])
