"""Small changes of training images under which their labels stay true, for the warm-up of a vision encoder.

`shift` moves an image by a few pixels, which is enough for thousands of studies. `strong` also turns and scales it and
changes brightness and contrast: a few hundred images are otherwise learnt by heart. `mirror` does this and mirrors half
of the images, which only labels that name no side allow. All is drawn from one generator, so a run can be repeated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import torch
from torch import nn

from cxrgen.core.errors import UsageError

_SHIFT = 4  # pixels; images are moved by up to this much in each direction
_SIDES = re.compile(r"\b(?:left|right|\w*dextro\w*|situs)\b", re.IGNORECASE)
_MOVE, _SCALE, _ANGLE, _CONTRAST = 0.08, 0.1, 8 * math.pi / 180, 0.2  # largest changes under `strong`


def augmented(images: torch.Tensor, how: str, generator: torch.Generator) -> torch.Tensor:
    """Images (N, S, S) uint8 changed at random, `how` being one of `config.AUGMENTS`."""
    if how == "shift":
        return _shifted(images, _SHIFT, generator)
    return _strong(images, how == "mirror", generator)


def check_mirror(how: str, labels: Iterable[str]) -> None:
    """Raises UsageError where images would be mirrored though a label names a side of the body."""
    named = [name for name in labels if _SIDES.search(name)]
    if how == "mirror" and named:
        raise UsageError(
            f"--tower_augment mirror: {len(named)} labels name a side, which a mirrored image has on the other; "
            "use --tower_augment strong",
            detail=named[0],
        )


def _shifted(images: torch.Tensor, most: int, generator: torch.Generator) -> torch.Tensor:
    """Each image moved by up to `most` pixels, its edge repeated."""
    side = images.shape[-1]
    padded = nn.functional.pad(images[:, None].float(), (most,) * 4, mode="replicate")[:, 0].to(images.dtype)
    corners = torch.randint(0, 2 * most + 1, (len(images), 2), generator=generator).tolist()
    return torch.stack([image[y : y + side, x : x + side] for image, (y, x) in zip(padded, corners)])


def _strong(images: torch.Tensor, mirror: bool, generator: torch.Generator) -> torch.Tensor:
    """One affine map and one line of grey values an image."""
    draw = torch.rand(7, len(images), generator=generator) * 2 - 1
    angle, scale, side = draw[0] * _ANGLE, 1 + draw[1] * _SCALE, torch.where(draw[2] < 0, -1.0, 1.0)
    side = side if mirror else torch.ones_like(side)
    across = torch.stack([scale * side * angle.cos(), -scale * angle.sin(), draw[3] * _MOVE], 1)
    down = torch.stack([scale * side * angle.sin(), scale * angle.cos(), draw[4] * _MOVE], 1)
    grid = nn.functional.affine_grid(
        torch.stack([across, down], 1), [len(images), 1, *images.shape[-2:]], align_corners=False
    )
    moved = nn.functional.grid_sample(images[:, None].float(), grid, padding_mode="border", align_corners=False)[:, 0]
    middle = moved.mean(dim=(1, 2), keepdim=True)
    contrast, light = (1 + draw[5] * _CONTRAST), draw[6] * _CONTRAST * 128
    changed = (moved - middle) * contrast[:, None, None] + middle + light[:, None, None]
    return changed.round().clamp(0, 255).to(images.dtype)
