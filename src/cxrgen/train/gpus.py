"""What a plan knows of GPUs, one row each, and the processor of this machine, whose speed is measured.

Memory in bytes, products in bfloat16 (dense, no sparsity) and memory traffic a second are those of the manufacturer's
data sheets (NVIDIA: H200, H100 SXM, A100 SXM, B200, L40S, L4, A10, RTX 6000 and RTX 4090); `link` is the traffic a
second between GPUs of one machine in one direction, NVLink's or PCI Express 4's. Prices change, so they are the user's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cxrgen.core.errors import UsageError, unknown

CPU = "cpu"
GPUS_IN_MACHINE = 8
BETWEEN_MACHINES = 25e9  # bytes a second for each GPU: a network card of 200 Gbit/s


@dataclass(frozen=True)
class Device:
    """What one GPU, or this machine's processor, can do; rates are a second."""

    name: str
    memory: float  # bytes; 0: not limited
    products: float  # floating-point operations of matrix products
    traffic: float  # bytes from and to its memory
    link: float = 32e9  # bytes to another device of the same machine


_NVLINK = 450e9
DEVICES = {
    each.name: each
    for each in (
        Device("B200", 180e9, 2250e12, 7.7e12, 900e9),
        Device("H200", 141e9, 989e12, 4.8e12, _NVLINK),
        Device("H100", 80e9, 989e12, 3.35e12, _NVLINK),
        Device("A100", 80e9, 312e12, 2.0e12, 300e9),
        Device("A100-40", 40e9, 312e12, 1.55e12, 300e9),
        Device("L40S", 48e9, 362e12, 0.864e12),
        Device("A6000", 48e9, 155e12, 0.768e12),
        Device("RTX4090", 24e9, 165e12, 1.01e12),
        Device("A10", 24e9, 125e12, 0.6e12),
        Device("L4", 24e9, 121e12, 0.3e12),
    )
}


def parse_gpus(text: str) -> tuple[int, str]:
    """`8xH100` to (8, "H100"), `H100` to (1, "H100"). Raises UsageError for what is not known."""
    match = re.fullmatch(r"(?:(\d+)[x*])?(.+)", text.strip(), re.IGNORECASE)
    names = {name.lower(): name for name in (*DEVICES, CPU)}
    name = names.get(match[2].lower()) if match else None
    if match is None or name is None:
        raise unknown("--gpus", text, (*(f"8x{each}" for each in DEVICES), CPU))
    count = int(match[1] or 1)
    if not count:
        raise UsageError(f"--gpus {text}: at least one")
    return count, name


def link_rate(device: Device, count: int) -> float:
    """Bytes a second that a device sends while all `count` of them exchange tensors."""
    return device.link if count <= GPUS_IN_MACHINE else min(device.link, BETWEEN_MACHINES)
