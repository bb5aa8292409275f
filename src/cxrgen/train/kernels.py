"""Faster kernels where hardware and packages have them; where they do not, a notice and torch's own.

Nothing here changes what is trained, only how it is computed: results differ by rounding. None is of use on a CPU.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import torch

from cxrgen.core.progress import say
from cxrgen.train.config import OptimConfig


def use_kernels(model: Any, config: OptimConfig) -> None:
    """Set attention, Liger's kernels and compilation of a model as `config` says, as far as they can be had."""
    if config.attn_implementation:
        model.set_attn_implementation(_attention(config.attn_implementation))
    if config.use_liger_kernel and _can("--use_liger_kernel", "liger_kernel"):
        liger = importlib.import_module("liger_kernel.transformers")
        # The loss is computed from logits at supervised positions, so Liger's own losses are left out.
        liger._apply_liger_kernel_to_instance(model=model, cross_entropy=False, fused_linear_cross_entropy=False)
    if config.torch_compile and config.fsdp:
        say("--torch_compile: not with --fsdp; the model is not compiled")
    elif config.torch_compile and _can("--torch_compile"):
        model.forward = torch.compile(model.forward, dynamic=True)  # batches differ in length


def _attention(name: str) -> str:
    """`name`, or torch's own where its package or a GPU is missing."""
    package = "flash_attn" if name == "flash_attention_2" else ""
    return name if not package or _can(f"--attn_implementation {name}", package, "sdpa") else "sdpa"


def adamw(name: str, groups: list[dict[str, Any]], betas: tuple[float, float]) -> torch.optim.Optimizer:
    """AdamW by its name in `config.OPTIMIZERS`, or torch's own where that cannot be had."""
    if name == "adamw_8bit" and _can(f"--optim {name}", "bitsandbytes", "adamw_torch"):
        made: torch.optim.Optimizer = importlib.import_module("bitsandbytes.optim").AdamW8bit(
            groups, lr=0.0, betas=betas
        )
        return made
    fused = name == "adamw_torch_fused" and _can(f"--optim {name}", instead="adamw_torch")
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, **({"fused": True} if fused else {}))


def _can(flag: str, package: str = "", instead: str = "") -> bool:
    """Whether a GPU and the package are there; a notice where not."""
    missing = "no GPU here" if not torch.cuda.is_available() else ""
    if package and importlib.util.find_spec(package) is None:
        missing = f"{package} is not installed"
    if missing:
        say(f"{flag}: {missing}; " + (f"{instead} takes its place" if instead else "it changes nothing"))
    return not missing
