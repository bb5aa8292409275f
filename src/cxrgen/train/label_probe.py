"""What a vision encoder knows of labels as it is: ridge regression on its features, solved rather than trained.

A few hundred images are too few to train an encoder without learning them by heart, but enough to read one that was
trained on others. Each label is fitted to the images that it is known of. The penalty is fixed: as large as the mean
squared length of the standardised features, which is strong, as few images ask for.
"""

from __future__ import annotations

import torch

from cxrgen.model.label_reader import LinearHead
from cxrgen.train.label_sets import UNKNOWN_LABEL

_PENALTY = 1.0  # of the mean squared length of a row
_LEAST_DEVIATION = 1e-3  # of a feature: one that hardly varies is not blown up


def solved_head(features: torch.Tensor, targets: torch.Tensor, penalty: float = _PENALTY) -> LinearHead:
    """The head for features (N, V, T, C) or (N, P) and targets (N, L) of 1, 0 and UNKNOWN_LABEL."""
    rows = features.flatten(1)
    mean, deviation = rows.mean(0), rows.std(0) + _LEAST_DEVIATION
    scaled = ((rows - mean) / deviation).double()
    unknown = targets == UNKNOWN_LABEL
    alike: dict[bytes, list[int]] = {}  # labels that are known of the same studies, which are solved for together
    for number, column in enumerate(unknown.T):
        alike.setdefault(column.numpy().tobytes(), []).append(number)
    weights = torch.empty(rows.shape[1], targets.shape[1])
    for numbers in alike.values():
        known = ~unknown[:, numbers[0]]
        weights[:, numbers] = _ridge(scaled[known], targets[known][:, numbers], penalty).float()
    return LinearHead(mean, deviation, weights)


def _ridge(rows: torch.Tensor, wanted: torch.Tensor, share: float) -> torch.Tensor:
    """Weights (P, L) of a ridge regression of `wanted` (N, L) on `rows` (N, P).

    The penalty is `share` of a row's mean squared length; the smaller of two systems is solved.
    """
    count, width = rows.shape
    centred, goal = rows - rows.mean(0), (wanted - wanted.mean(0)).double()
    penalty = share * centred.square().sum() / count
    if count <= width:
        inner: torch.Tensor = torch.linalg.solve(centred @ centred.T + penalty * torch.eye(count).double(), goal)
        return centred.T @ inner
    solved: torch.Tensor = torch.linalg.solve(
        centred.T @ centred + penalty * torch.eye(width).double(), centred.T @ goal
    )
    return solved
