"""Whole tensors of a sharded model for the first process alone, one at a time.

Gathering takes all processes, but only the first keeps what comes: the others need memory for one tensor, and so does
the first where the tensors go straight into a file. DDP's tensors are whole everywhere; there the others do nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from cxrgen.llava_med.lazy_tensors import LazyTensor, in_memory, written_tensors
from cxrgen.train.distributed import Processes, full_tensor


def gathered(tensors: Mapping[str, torch.Tensor], processes: Processes) -> dict[str, torch.Tensor]:
    """The whole tensors in main memory of the first process; {} in the others. All processes must call it."""
    if processes.is_main:
        return {name: full_tensor(tensor) for name, tensor in tensors.items()}
    take_part(tensors)
    return {}


def write_gathered(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a safetensors file of the whole tensors; for the first process, while the others `take_part`."""
    for _ in written_tensors(path, {name: _whole_when_written(tensor) for name, tensor in tensors.items()}):
        pass


def take_part(tensors: Mapping[str, torch.Tensor]) -> None:
    """What the other processes do meanwhile, with the same tensors in the same order."""
    for tensor in tensors.values():
        if _is_shard(tensor):
            full_tensor(tensor)


def _is_shard(tensor: torch.Tensor) -> bool:
    return hasattr(tensor, "full_tensor") and tensor.numel() > 0


def _whole_when_written(tensor: torch.Tensor) -> LazyTensor:
    """A tensor that is gathered when its first rows are asked for, and let go after its last ones."""
    if not _is_shard(tensor):
        return in_memory(tensor.detach().cpu())
    held: list[torch.Tensor] = []

    def rows(start: int, stop: int) -> torch.Tensor:
        if not held:
            held.append(full_tensor(tensor))
        part = held[0][start:stop]
        if stop == tensor.shape[0]:
            held.clear()
        return part

    return LazyTensor(tuple(tensor.shape), tensor.dtype, rows)
