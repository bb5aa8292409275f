"""Drafts from the reports of the training images that are most like a study's first image.

They are right more often than drafts from all reports. But every training image must be read and go through the tower
before the first report, which takes longer than it saves in a run over a usual test set. So it is not the default but
asked for (`--drafts nearest`). `benchmarks/drafts.py` measures both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch

from cxrgen.core.errors import InputError
from cxrgen.core.progress import say, track
from cxrgen.generate.decoding.ngram_drafts import Drafts
from cxrgen.generate.decoding.prefill import Images, Prompt
from cxrgen.model.features import in_slices

_REPORTS = 64  # of the nearest images; fewer lack words, more are less alike
_TOGETHER = 16  # training images read at a time
_POSITIONS, _CHANNELS = 32, 64  # what is kept of an image's features: 8 KB


class NearestDrafts:
    """Training reports by their images, which are compared by what the language model sees of them."""

    def __init__(self, images: Images, names: Sequence[str], reports: Sequence[Sequence[int]]) -> None:
        """`names` are the images of `reports`. An image that cannot be read is counted on the screen and left out."""
        images.checkpoint.model.eval()
        rows: list[torch.Tensor] = []
        self.reports: list[Sequence[int]] = []
        known = list(zip(names, reports))
        slices = list(in_slices(known, _TOGETHER))
        for some in track(slices, "reading training images for drafts", len(slices)):
            readable = [(name, report) for name, report in some if _is_read(images, name)]
            if readable:
                rows.append(_summaries(images, [name for name, _ in readable]))
            self.reports += [report for _, report in readable]
        if len(self.reports) < len(known):
            say(f"{len(known) - len(self.reports)} training images cannot be read; their reports give no drafts")
        self.features = torch.cat(rows) if rows else torch.zeros(0, 1)
        self.mean = self.features.mean(dim=0)
        self.features = torch.nn.functional.normalize(self.features - self.mean, dim=1)

    def __call__(self, images: Images, prompt: Prompt) -> Drafts:
        """The store for one study; of a study without an image it is empty."""
        if not prompt.images or not self.reports:
            return Drafts([])
        alike = self.features @ (_summaries(images, prompt.images[:1])[0] - self.mean)
        nearest = alike.topk(min(_REPORTS, len(self.reports))).indices.tolist()
        return Drafts([self.reports[place] for place in nearest])


def _is_read(images: Images, name: str) -> bool:
    try:
        images.read(name)
    except InputError:
        return False
    return True


@torch.inference_mode()
def _summaries(images: Images, names: Sequence[str]) -> torch.Tensor:
    """The images' features (N, T, C) by fixed random directions, of which there are few: (N, F) float32 on the CPU.

    Random directions keep distances nearly as they are (Johnson and Lindenstrauss 1984).
    """
    features = images.of(names).float().cpu()
    positions, channels = features.shape[1:]
    if channels > _CHANNELS:
        features = features @ _directions(channels, _CHANNELS)
    if positions > _POSITIONS:
        features = _directions(positions, _POSITIONS).T @ features
    return features.flatten(1)


@lru_cache
def _directions(size: int, kept: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(size, kept, generator=generator) / math.sqrt(kept)
