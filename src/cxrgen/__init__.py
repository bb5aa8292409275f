"""cxrgen: chest X-ray studies with reports in, a report-writing model and trustworthy scores out.

Importing it makes the small vision tower (`cxrgen.model.tower`) known to transformers, without importing either: the
registration waits for the moment when transformers' Auto classes are first imported. Scoring must not wait for torch,
and must run where there is none.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

__version__ = "0.1.0"

_CONFIGS = "transformers.models.auto.configuration_auto"
_MODELS = "transformers.models.auto.modeling_auto"


class _AfterAuto(importlib.abc.MetaPathFinder):
    """Finds transformers' two Auto modules as usual, and adds the registration to the end of their execution."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in (_CONFIGS, _MODELS):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                # While the model classes are still being imported, they cannot be registered; their own turn comes.
                if name == _MODELS or _MODELS not in sys.modules:
                    _register()

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def _register() -> None:
    if importlib.util.find_spec("torch") is not None:
        importlib.import_module("cxrgen.model.tower")


if _MODELS in sys.modules:
    _register()
else:
    sys.meta_path.insert(0, _AfterAuto())
