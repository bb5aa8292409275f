"""Predictions and references to scores with confidence intervals, and a page to look at.

`evaluate` is the stable entry point; it is imported on first use so that `import cxrgen.evaluate` stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxrgen.evaluate.scores import Score as Score
    from cxrgen.evaluate.scores import Scores as Scores
    from cxrgen.evaluate.scores import evaluate as evaluate

__all__ = ["Score", "Scores", "evaluate"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from cxrgen.evaluate import scores

        return getattr(scores, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
