"""The precision that weights have on disk: what a run leaves frozen keeps the one that its base has.

A base in float16 is opened in float32, which is exact, and its frozen tensors go back to 16 bits where that is exact
too: by value, so that no table of old and new names is needed and a changed tensor can never be rounded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch

from cxrgen.model.folder_checks import open_safetensors

_HALF = {"F16": torch.float16, "BF16": torch.bfloat16}


def half_types(folder: Path) -> list[torch.dtype]:
    """The types of 16 bits that a folder's weight files hold; none where they are not safetensors."""
    codes = _codes(folder)
    return [type for code, type in _HALF.items() if code in codes]


def half_type(folder: Path) -> torch.dtype | None:
    """The one type of 16 bits that all weights of a folder have; None for others, mixed ones and no safetensors."""
    codes = _codes(folder)
    return _HALF.get(codes.pop()) if len(codes) == 1 else None


def _codes(folder: Path) -> set[str]:
    codes = set()
    for path in sorted(folder.glob("*.safetensors")):
        file = open_safetensors(path)
        codes |= {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    return codes


def in_stored_types(
    state: Mapping[str, torch.Tensor], names: Collection[str], types: Sequence[torch.dtype]
) -> dict[str, torch.Tensor]:
    """The state with the float32 tensors of `names` in the first of `types` that holds their values exactly."""
    known: dict[tuple[int, torch.Size], torch.Tensor] = {}  # tensors that share memory go on to do so
    result = dict(state)
    for name in names & state.keys():
        tensor = state[name]
        if tensor.dtype == torch.float32:
            place = tensor.data_ptr(), tensor.shape
            known[place] = known[place] if place in known else _narrowed(tensor, types)
            result[name] = known[place]
    return result


def _narrowed(tensor: torch.Tensor, types: Sequence[torch.dtype]) -> torch.Tensor:
    for type in types:
        narrow = tensor.to(type)
        if torch.equal(narrow.to(tensor.dtype), tensor):
            return narrow
    return tensor
