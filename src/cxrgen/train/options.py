"""One option of a training run: a dataclass field that is also a recipe key and a flag of the same name."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    at_least: float | None = None,
    metavar: str = "",
    outcome: bool = True,
) -> Any:
    """`outcome`: another value gives another model, so a run cannot be resumed with it."""
    metadata = {"help": help, "choices": choices, "at_least": at_least, "metavar": metavar, "outcome": outcome}
    return field(default=default, metadata=metadata)
