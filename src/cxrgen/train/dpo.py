"""Direct preference optimisation: a better report gains on a worse one, against the model as it was at the start.

The loop, sampler, images and checkpoints are those of supervised training: an item of the sampler is the better report,
and the collator puts the worse one behind it. What the starting model gives both is computed once, before the first
step, so no second model is held. TRL's trainer carries text and images of some classes by its own collator; here every
class, prompt and aspect rule that supervised training takes is taken, and a test holds the loss equal to TRL's.

Longer reports have lower log-probabilities, and a model that learns from their sums learns lengths. `ld_alpha` below 1
weighs what goes beyond the shorter report's length less (LD-DPO), `sigmoid_norm` divides by the length.

Shapes: R rows, the better report of a pair and right behind it the worse one; K kept positions; P = R / 2 pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from cxrgen.core.errors import InputError
from cxrgen.core.progress import track
from cxrgen.core.records import Reject
from cxrgen.model.batches import IGNORE, Sample, without_loss
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.families import Collator
from cxrgen.train.data import Feed, encode_data
from cxrgen.train.distributed import init_processes
from cxrgen.train.preferences import Pair
from cxrgen.train.second_stages import PreferenceConfig
from cxrgen.train.trainer import Batch, Objective, set_modes

REFERENCE = "reference"  # of a batch: the starting model's log-probabilities (R,)
_Key = tuple[str, tuple[str, ...]]  # a pair's id, and the images it is shown with


@dataclass(frozen=True)
class Preferences:
    """The worse reports of all pairs, by their better one, and how the loss is made."""

    worse: Mapping[_Key, Sample]
    config: PreferenceConfig
    updates: int = 1
    items: str = "pairs"

    @property
    def objective(self) -> Objective:
        return Objective(lambda model, batch: pair_loss(model, batch, self.config), pairs_with_loss)

    def collate(self, collator: Collator, samples: Sequence[Sample]) -> dict[str, Any]:
        """A batch of both reports of each pair; one whose better report has no labels has none."""
        rows = []
        for better in samples:
            worse = self.worse[_key(better)]
            silent = all(label == IGNORE for label in better.labels)
            rows += [better, without_loss(worse) if silent else worse]
        return collator(rows)

    def batches(self, model: Any, feed: Feed) -> Iterator[dict[str, Any]]:
        """Batches of pairs, with what `model`, as it is now, gives both reports of each."""
        return replace(feed, collator=self._paired(model, feed)).batches()

    def _paired(self, model: Any, feed: Feed) -> Collator:
        sampler, collator = feed.sampler, feed.collator
        processes = init_processes()
        items = [sample for variants in feed.samples for sample in variants]
        size = max(1, sampler.global_batch // sampler.accumulation // processes.count)
        mine = items[processes.rank :: processes.count]
        slices = [mine[start : start + size] for start in range(0, len(mine), size)]
        known: dict[_Key, tuple[float, float]] = {}
        set_modes(model)
        shown = track(slices, "log-probabilities of the start", len(slices)) if processes.is_main else slices
        autocast = torch.autocast(processes.device.type, torch.bfloat16, enabled=feed.bf16)
        with torch.no_grad(), without_dropout(model), autocast:
            for some in shown:
                batch = self.collate(collator, some)
                moved = {k: v.to(processes.device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
                sums = weighted_sums(*token_log_probabilities(model, moved), self.config.ld_alpha).tolist()
                known.update({_key(each): (sums[2 * row], sums[2 * row + 1]) for row, each in enumerate(some)})
        reference = {key: values for part in processes.all_gather(known) for key, values in part.items()}

        def with_reference(samples: Sequence[Sample]) -> dict[str, Any]:
            values = [value for each in samples for value in reference[_key(each)]]
            return {**self.collate(collator, samples), REFERENCE: torch.tensor(values)}

        return with_reference


@contextmanager
def without_dropout(model: Any) -> Iterator[None]:
    """Within this context all is as in training, but for what is drawn at random."""
    dropouts = [module for module in model.modules() if isinstance(module, torch.nn.Dropout) and module.training]
    for module in dropouts:
        module.eval()
    try:
        yield
    finally:
        for module in dropouts:
            module.train()


def encode_pairs(
    checkpoint: Checkpoint, pairs: Sequence[Pair], long: str, folder: Any, config: PreferenceConfig
) -> tuple[list[list[Sample]], Preferences, list[Reject]]:
    """The better reports as samples, the worse ones by these, and what was left out or cut.

    A pair of which one report cannot be used is left out. Raises InputError when none is left.
    """
    better, rejects = encode_data(checkpoint, [pair.better for pair in pairs], long, folder)
    worse, more = encode_data(checkpoint, [pair.worse for pair in pairs], long, folder)
    known = {_key(sample): sample for variants in worse for sample in variants}
    kept = [variants for variants in better if all(_key(sample) in known for sample in variants)]
    if not kept:
        raise InputError("of every pair one report was left out; nothing to learn from")
    lost = {reject.id for reject in rejects}
    return kept, Preferences(known, config), [*rejects, *(each for each in more if each.id not in lost)]


def _key(sample: Sample) -> _Key:
    return sample.id, sample.images


def pairs_with_loss(batch: Batch) -> int:
    """How many pairs of a batch have labels."""
    return int((batch["labels"][::2, 1:] != IGNORE).any(dim=1).sum())


def pair_loss(model: Any, batch: Batch, config: PreferenceConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss summed over the pairs of a batch, and their number; NaN where a logit is NaN or infinite."""
    inputs = {name: value for name, value in batch.items() if name != REFERENCE}
    logps, mask = token_log_probabilities(model, inputs)
    losses = preference_losses(logps, mask, batch[REFERENCE], config)  # (P,)
    counted = mask[::2].any(dim=1)
    return (losses * counted).sum(), counted.sum()


def token_log_probabilities(model: Any, batch: Batch, temperature: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (R, K) of the supervised tokens, 0 elsewhere, and where they are supervised (R, K)."""
    targets = batch["labels"][:, 1:]
    keep = (targets != IGNORE).any(dim=0).nonzero().squeeze(1)
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "ids")}
    logits = model(**inputs, logits_to_keep=keep, use_cache=False).logits.float()  # (R, K, V)
    kept = targets[:, keep]  # (R, K)
    shown = (logits / temperature).transpose(1, 2)  # (R, V, K)
    losses = torch.nn.functional.cross_entropy(shown, kept, ignore_index=IGNORE, reduction="none")
    return torch.where(torch.isfinite(logits).all(), -losses, torch.nan), kept != IGNORE


def weighted_sums(logps: torch.Tensor, mask: torch.Tensor, ld_alpha: float) -> torch.Tensor:
    """Log-probabilities of R reports (R,); tokens beyond the shorter one's length of a pair weigh `ld_alpha`."""
    lengths = mask.sum(dim=1)  # (R,)
    shared = torch.minimum(lengths[::2], lengths[1::2]).repeat_interleave(2)  # (R,)
    weights = torch.where(mask.cumsum(dim=1) <= shared[:, None], 1.0, ld_alpha) * mask  # (R, K)
    return (logps * weights).sum(dim=1)


def preference_losses(
    logps: torch.Tensor, mask: torch.Tensor, reference: torch.Tensor, config: PreferenceConfig
) -> torch.Tensor:
    """-log sigmoid(beta * (what the better report gained - what the worse one gained)), (P,).

    `reference` (R,) are the weighted sums of the starting model.
    """
    gained = weighted_sums(logps, mask, config.ld_alpha) - reference  # (R,)
    if config.pair_loss == "sigmoid_norm":
        gained = gained / mask.sum(dim=1).clamp(min=1)
    return -torch.nn.functional.logsigmoid(config.beta * (gained[::2] - gained[1::2]))
