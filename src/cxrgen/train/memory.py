"""What a run needs at least, from config.json alone: memory of a device, and seconds of its longest save.

The model is built without memory, so a run that cannot fit is refused before weights are read. Counted are weights,
gradients and AdamW's two moments in float32, and DDP's copy of the gradients; activations and adapters come on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from cxrgen.core.errors import InputError, UsageError
from cxrgen.model.locate import base_of
from cxrgen.model.parts import VISION, find_parts
from cxrgen.train.config import OptimConfig, TrainableConfig
from cxrgen.train.model_config import ModelConfig
from cxrgen.train.trainable import mode_of

GB = 1e9
SLOWEST_DISK = 100e6  # bytes a second, of a busy network disk, its hash included
_FOUR_BITS = 0.516  # bytes: NF4 with doubly quantised scales
_MARGIN = 2.0  # for gathering what is written
_MOST = 1024  # processes that are suggested


@dataclass(frozen=True)
class Shares:
    """Bytes that each device holds through a whole step; `copies` are DDP's of the gradients."""

    weights: float
    gradients: float
    optimizer: float
    copies: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.copies


@dataclass(frozen=True)
class Sizes:
    """Numbers of parameters; `moments` is the optimiser's bytes for each that is trained.

    Of the frozen ones, `in_float32` stay so in any case (embeddings), and `in_4_bits` are quantised.
    """

    trained: int
    frozen: int
    moments: int = 8
    frozen_in_16_bits: bool = False
    in_float32: int = 0
    in_4_bits: int = 0

    @property
    def at_start(self) -> float:
        """Bytes of the weights before any is sharded: whole, what is frozen as it is held in training."""
        return 4.0 * self.trained + self.frozen_bytes

    @property
    def read_in_float32(self) -> float:
        """Bytes of the weights in main memory where they are not read in 16 bits."""
        return 4.0 * (self.trained + self.frozen - self.in_4_bits) + _FOUR_BITS * self.in_4_bits

    @property
    def frozen_bytes(self) -> float:
        rest = self.frozen - self.in_float32 - self.in_4_bits
        return 4.0 * self.in_float32 + _FOUR_BITS * self.in_4_bits + rest * (2 if self.frozen_in_16_bits else 4)

    def shares(self, processes: int, sharded: bool) -> Shares:
        share = processes if sharded else 1
        copies = 4.0 * self.trained if processes > 1 and not sharded else 0.0
        weights = (4.0 * self.trained + self.frozen_bytes) / share
        return Shares(weights, 4.0 * self.trained / share, self.moments * self.trained / share, copies)

    def bytes_each(self, processes: int, sharded: bool) -> float:
        """The least that each device must hold at its fullest; sharded, it never holds the whole model."""
        least = self.shares(processes, sharded).total
        return least if sharded else max(self.at_start, least)

    @property
    def checkpoint_bytes(self) -> float:
        """Of a checkpoint to resume from: what is trained and two moments, in float32."""
        return 12.0 * self.trained

    @property
    def longest_save(self) -> float:
        """Seconds to write the larger one of checkpoint and model."""
        return max(self.checkpoint_bytes, 4.0 * (self.trained + self.frozen)) / SLOWEST_DISK


def model_sizes(start: ModelConfig, trainable: TrainableConfig, optim: OptimConfig) -> Sizes | None:
    """Of the model that a run starts from; None for a new one, one in four bits, and one that cannot be opened."""
    mode = mode_of(trainable.train_modules)
    if not start.model_name_or_path or mode.four_bit:
        return None
    folder = Path(start.model_name_or_path)
    try:
        settings = AutoConfig.from_pretrained(base_of(folder) or folder, local_files_only=True)
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(settings)
        parts = find_parts(model)
    except (InputError, OSError, ValueError, LookupError, TypeError, RuntimeError, AttributeError):
        return None  # opening it says what is wrong
    counts = dict.fromkeys(("", *mode.parts), 0)
    for name, parameter in model.named_parameters():
        part = parts.part_of(name)
        counts[part if part in mode.parts and part != VISION else ""] += parameter.numel()
    trained = sum(counts.values()) - counts[""]
    return Sizes(trained, counts[""], moment_bytes(optim), optim.bf16)


def moment_bytes(optim: OptimConfig) -> int:
    """Bytes of the optimiser's state for each trained parameter."""
    return 2 if optim.optim == "adamw_8bit" else 8


def device_memory(device: torch.device) -> int | None:
    """Bytes of a GPU; None for a processor, whose memory has no such limit."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None


def check_memory(
    trainable: TrainableConfig, optim: OptimConfig, sizes: Sizes | None, processes: int, device: torch.device
) -> None:
    """Raises UsageError for a run that a device's memory cannot hold, with what would fit."""
    there = device_memory(device)
    if sizes is None or there is None:
        return
    sharded = bool(optim.fsdp) and processes > 1
    needed = sizes.bytes_each(processes, sharded)
    if needed > there:
        raise UsageError(
            f"--train_modules {trainable.train_modules}: {_gb(needed)} on each device at least (weights, "
            f"gradients, optimiser), it has {_gb(there)}; {_way_out(sizes, processes, there)}"
        )


def _way_out(sizes: Sizes, processes: int, there: int) -> str:
    enough = next((count for count in range(2, _MOST) if sizes.bytes_each(count, True) <= there), None)
    frozen = Sizes(0, sizes.trained + sizes.frozen, frozen_in_16_bits=sizes.frozen_in_16_bits)
    ways = []
    if enough is not None and enough <= processes:
        ways.append(f"--fsdp full_shard ({_gb(sizes.bytes_each(processes, True))} on each of {processes})")
    elif enough is not None:
        ways.append(f"--fsdp full_shard on {enough} devices")
    if frozen.bytes_each(1, False) <= there:
        ways.append(f"--train_modules lora ({_gb(frozen.bytes_each(1, False))})")
    else:
        ways.append("--train_modules qlora")
    return ", or ".join(ways)


def _gb(amount: float) -> str:
    return f"{amount / GB:.0f} GB"


def collective_timeout(ddp_timeout: int, sizes: Sizes | None) -> float:
    """Seconds that a collective call may take: `ddp_timeout`, or more where the others wait longer for a save."""
    return max(ddp_timeout, _MARGIN * sizes.longest_save if sizes else 0.0)
