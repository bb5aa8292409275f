"""Prepared set to checkpoint. `cxrgen.train.fit(model, batches, settings)` is the loop by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxrgen.train.trainer import FitSettings as FitSettings
    from cxrgen.train.trainer import fit as fit

__all__ = ["FitSettings", "fit"]


def __getattr__(name: str) -> Any:
    """`fit` and `FitSettings`, imported when they are asked for: other modules of this room do without torch."""
    if name in __all__:
        from cxrgen.train import trainer

        return getattr(trainer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
