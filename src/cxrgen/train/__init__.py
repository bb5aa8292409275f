"""Prepared set to checkpoint: `cxrgen.train.train(make_config(data_path=..., output_dir=...))` is a whole run.

`cxrgen.train.fit(model, batches, settings)` is the loop by itself. Both are imported when they are asked for: flags and
settings of this room do without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cxrgen.train.config import TrainConfig as TrainConfig
from cxrgen.train.config import make_config as make_config

if TYPE_CHECKING:
    from cxrgen.train.pipeline import train as train
    from cxrgen.train.trainer import FitSettings as FitSettings
    from cxrgen.train.trainer import fit as fit

__all__ = ["FitSettings", "TrainConfig", "fit", "make_config", "train"]
_LAZY = {"train": "cxrgen.train.pipeline", "fit": "cxrgen.train.trainer", "FitSettings": "cxrgen.train.trainer"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
