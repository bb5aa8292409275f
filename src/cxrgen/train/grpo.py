"""Group relative policy optimisation: a sampled report gains by how much better it is than others of its study.

Several reports of a study are sampled and rewarded, and each one's advantage is its reward less the group's mean, so no
second model has to guess what a report is worth. `dr_grpo` (Liu et al. 2025) stops there and divides every report's sum
over tokens by the same number. `grpo`, the original, divides by the group's standard deviation, which makes much of
studies whose reports hardly differ, and by each report's own length, which punishes a bad report less the longer it is:
such models write ever longer reports. A ratio of probabilities is clipped, as in PPO, where the same reports serve
several steps. The distance to the starting model is estimated token by token: exp(d) - d - 1, never negative.

Shapes: G studies, S reports of each, R rows (their reports), K kept positions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from cxrgen.metrics import Floats
from cxrgen.model.batches import IGNORE
from cxrgen.train.dpo import token_log_probabilities
from cxrgen.train.second_stages import PolicyConfig
from cxrgen.train.trainer import Batch

ADVANTAGES, BEFORE, REFERENCE = "advantages", "before", "reference"  # of a batch: (R,), (R, K) and (R, K)
_LEAST_SPREAD = 1e-4  # added to a group's standard deviation


def group_advantages(rewards: Floats, config: PolicyConfig) -> Floats:
    """What each of the (G, S) rewards is above its group's mean."""
    above = rewards - rewards.mean(axis=1, keepdims=True)
    if config.policy_loss == "grpo":
        above = above / (rewards.std(axis=1, ddof=1, keepdims=True) + _LEAST_SPREAD)
    return np.asarray(above)


def rows_with_loss(batch: Batch) -> int:
    """How many reports of a batch are learnt from."""
    return int((batch["labels"][:, 1:] != IGNORE).any(dim=1).sum())


def policy_losses(
    logps: torch.Tensor,
    mask: torch.Tensor,
    before: torch.Tensor,
    reference: torch.Tensor | None,
    advantages: torch.Tensor,
    config: PolicyConfig,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Losses of R reports (R,); of each token (R, K) its distance to the start, and whether it was clipped.

    `before` (R, K) are the log-probabilities when the reports were sampled, `reference` those by the starting model.
    """
    gain = advantages[:, None]  # (R, 1)
    ratio = torch.exp(logps - before)  # (R, K)
    held = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
    losses = -torch.minimum(ratio * gain, held * gain)
    clipped = (ratio * gain > held * gain) & mask
    distance = torch.zeros_like(logps)
    if reference is not None:
        behind = reference - logps
        distance = torch.exp(behind) - behind - 1
        losses = losses + config.kl_weight * distance
    lengths = mask.sum(dim=1).clamp(min=1) if config.policy_loss == "grpo" else config.sample_tokens
    return (losses * mask).sum(dim=1) / lengths, distance * mask, clipped


def policy_loss(model: Any, batch: Batch, config: PolicyConfig) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The loss summed over the reports of a batch, and their number; NaN where a logit is NaN or infinite.

    Then, as one tensor (3,), sums over its tokens: distance to the start, tokens that were clipped, all tokens.
    """
    inputs = {name: value for name, value in batch.items() if name not in (ADVANTAGES, BEFORE, REFERENCE)}
    logps, mask = token_log_probabilities(model, inputs, config.sample_temperature)
    before = batch.get(BEFORE, logps.detach())
    losses, distance, clipped = policy_losses(logps, mask, before, batch.get(REFERENCE), batch[ADVANTAGES], config)
    seen = torch.stack([distance.sum(), clipped.sum(), mask.sum()]).detach()
    return losses.sum(), mask.any(dim=1).sum(), seen
