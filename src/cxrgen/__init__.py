"""cxrgen: chest X-ray studies with reports in, a report-writing model and trustworthy scores out.

Importing it makes the small vision tower (`cxrgen.model.tower`) known to transformers, without importing either: the
registration waits for the moments when transformers' own modules have been imported. Scoring must not wait for torch,
and must run where there is none.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxrgen.generate.single import Writer

__version__ = "0.1.0"

_REGISTRATIONS = {  # our module, and what must have been imported whole before it can register its class
    "cxrgen.model.tower_config": ("transformers.models.auto.configuration_auto",),
    "cxrgen.model.tower": ("transformers.modeling_utils", "transformers.models.auto.modeling_auto"),
}
_AWAITED = {name for names in _REGISTRATIONS.values() for name in names}


class _AfterImport(importlib.abc.MetaPathFinder):
    """Finds the awaited modules as usual, and adds the registration to the end of their execution."""

    def __init__(self) -> None:
        self.done = {name for name in _AWAITED if name in sys.modules}

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in _AWAITED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                self.done.add(name)
                self.register()

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec

    def register(self) -> None:
        for ours, awaited in _REGISTRATIONS.items():
            if self.done.issuperset(awaited) and importlib.util.find_spec("torch") is not None:
                importlib.import_module(ours)


def load(model: str | os.PathLike[str], **options: Any) -> Writer:
    """A checkpoint that writes reports: `load(MODEL).report(["frontal.png"], indication="Cough.")`; needs torch.

    Options are those of `cxrgen.generate.single.load`.
    """
    from cxrgen.generate.single import load as open_writer

    return open_writer(model, **options)


_finder = _AfterImport()
_finder.register()
sys.meta_path.insert(0, _finder)
