"""What a vision encoder knows of labels as it is: ridge regression on its features, solved rather than trained.

A few hundred images are too few to train an encoder without learning them by heart, but enough to read one that was
trained on others. Each label is fitted to the images that it is known of. The penalty is fixed: as large as the mean
squared length of the standardised features, which is strong, as few images ask for.
"""

from __future__ import annotations

import torch
from torch import nn

from cxrgen.train.label_sets import UNKNOWN_LABEL

_PENALTY = 1.0  # of the mean squared length of a row
_LEAST_DEVIATION = 1e-3  # of a feature: one that hardly varies is not blown up


class LinearHead(nn.Module):
    """Features (B, V, T, C) of V views to numbers (B, L), larger where a label is likelier; no log-odds."""

    mean: torch.Tensor
    deviation: torch.Tensor
    weights: torch.Tensor

    def __init__(self, mean: torch.Tensor, deviation: torch.Tensor, weights: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.register_buffer("weights", weights)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = (features.flatten(1) - self.mean) / self.deviation
        return scaled @ self.weights


def solved_head(features: torch.Tensor, targets: torch.Tensor) -> LinearHead:
    """The head for features (N, V, T, C) and targets (N, L) of 1, 0 and UNKNOWN_LABEL."""
    rows = features.flatten(1)
    mean, deviation = rows.mean(0), rows.std(0) + _LEAST_DEVIATION
    scaled = ((rows - mean) / deviation).double()
    columns = [_ridge(scaled[known], column[known]) for column, known in zip(targets.T, targets.T != UNKNOWN_LABEL)]
    return LinearHead(mean, deviation, torch.stack(columns, 1).float())


def _ridge(rows: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Weights (P,) of a ridge regression of `wanted` (N,) on `rows` (N, P); the smaller of two systems is solved."""
    count, width = rows.shape
    centred, goal = rows - rows.mean(0), (wanted - wanted.mean()).double()
    penalty = _PENALTY * centred.square().sum() / count
    if count <= width:
        inner: torch.Tensor = torch.linalg.solve(centred @ centred.T + penalty * torch.eye(count).double(), goal)
        return centred.T @ inner
    solved: torch.Tensor = torch.linalg.solve(
        centred.T @ centred + penalty * torch.eye(width).double(), centred.T @ goal
    )
    return solved
