"""The policy of a second stage on rewards: its own reports of the training studies, sampled, scored and made batches.

The engine of `cxrgen generate --samples` writes them, so prompts and image features are computed once a study, and what
is drawn depends on the seed, the round and the study alone: not on the batch, nor on the number of processes. A round
is one step's studies; its reports serve `updates` steps. The loss is on the very tokens that were written, not on what
the tokenizer would make of the text again. A report that `sample_tokens` cuts off is scored as it stands.

Shapes: G studies of a micro-batch, S reports of each, R = G S rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cxrgen.core.records import Conversation, Prediction, Study
from cxrgen.evaluate.pairs import read_truth
from cxrgen.generate.decoding.reports import write_reports
from cxrgen.generate.decoding.sampling import make_sampler, study_seed
from cxrgen.generate.samples import sampled
from cxrgen.metrics.rewards import mixed
from cxrgen.model.batches import IGNORE, Sample
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.families import family_of
from cxrgen.train.data import Feed, SftData
from cxrgen.train.distributed import Processes, init_processes
from cxrgen.train.dpo import token_log_probabilities, without_dropout
from cxrgen.train.grpo import ADVANTAGES, BEFORE, REFERENCE, group_advantages, policy_loss, rows_with_loss
from cxrgen.train.second_stages import PolicyConfig
from cxrgen.train.start_weights import StartWeights
from cxrgen.train.trainer import Batch, Objective
from cxrgen.train.validate import writing

_Key = tuple[str, tuple[str, ...]]  # a study's id, and the images it is shown with


class Policy:
    """A model that learns from the rewards of its own reports. Raises UsageError for an unknown reward."""

    items = "studies"

    def __init__(self, checkpoint: Checkpoint, config: PolicyConfig, data: SftData, seed: int) -> None:
        self.checkpoint, self.config, self.folder, self.seed = checkpoint, config, data.folder, seed
        self.family, self.reward = family_of(checkpoint), mixed(config.reward)
        self.updates, self.objective = config.updates, Objective(self._loss, rows_with_loss)
        self.asked = {(each.id, each.images): each for variants in data.variants for each in variants}
        known = known_rows(data.studies, config.reward_truth)
        self.rows = dict(zip((study.study_id for study in data.studies), known))
        self.bf16 = False
        self._round, self._step = np.zeros(6), torch.zeros(3)

    def batches(self, model: Any, feed: Feed) -> Iterator[dict[str, Any]]:
        """Batches of sampled reports for ever; what `model` is now is the reference of all of them."""
        self.start, self.bf16 = StartWeights(model), feed.bf16
        return self._rounds(model, feed)

    def numbers(self, processes: Processes) -> dict[str, float]:
        """Of the last round's reports, and of the last step; of all processes together.

        `reward`, its `reward_spread` within groups, `words`, `distinct` (share of a group's reports that differ),
        `clipped` (share of tokens) and `kl` (a token's mean distance to the start, where it counts).
        """
        sums = processes.all_reduce_sum([*self._round.tolist(), *self._step.tolist()])
        self._step = torch.zeros(3)
        reward, spread, words, distinct, reports, groups, distance, clipped, tokens = sums
        reports, groups, tokens = max(1.0, reports), max(1.0, groups), max(1.0, tokens)
        own = {"reward": reward / reports, "reward_spread": spread / groups, "words": words / reports}
        own |= {"distinct": distinct / groups, "clipped": clipped / tokens}
        return own | ({"kl": distance / tokens} if self.config.kl_weight else {})

    def _loss(self, model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        loss, count, seen = policy_loss(model, batch, self.config)
        self._step = self._step.to(seen.device) + seen
        return loss, count

    def _rounds(self, model: Any, feed: Feed) -> Iterator[dict[str, Any]]:
        number, done = divmod(feed.first_step, self.updates)
        processes = init_processes()
        while some := list(islice(feed.micro, feed.sampler.accumulation)):
            self._round = np.zeros(6)
            batches = [self._batch(model, feed, samples, number, processes) for samples in some]
            for _ in range(self.updates - done):
                yield from batches
            number, done = number + 1, 0

    def _batch(
        self, model: Any, feed: Feed, samples: Sequence[Sample], number: int, processes: Processes
    ) -> dict[str, Any]:
        """Sampled reports of these studies with their advantages; studies without labels have no loss."""
        shown = [each for each in samples if any(label != IGNORE for label in each.labels)]
        rows, advantages = self._sampled(model, shown, number, processes) if shown else (list(samples), [0.0])
        batch = feed.collator(rows)
        filled = advantages + [0.0] * (len(batch["labels"]) - len(advantages))
        batch[ADVANTAGES] = torch.tensor(filled, dtype=torch.float32)  # (R,)
        if self.config.kl_weight:
            with self.start.in_place():
                batch[REFERENCE] = self._log_probabilities(model, batch, processes)
        if self.updates > 1:
            batch[BEFORE] = self._log_probabilities(model, batch, processes)
        return batch

    def _sampled(
        self, model: Any, samples: Sequence[Sample], number: int, processes: Processes
    ) -> tuple[list[Sample], list[float]]:
        """The R reports as samples, and their advantages."""
        asked = [self.asked[_key(each)] for each in samples]
        reports = self._write(model, asked, number, processes)
        each = self.config.group_size
        references = [question.turns[-1].text for question in asked for _ in range(each)]
        known = [self.rows[question.id] for question in asked for _ in range(each)]
        texts = [report.report for report in reports]
        rewards = np.array(self.reward(texts, references, known)).reshape(len(asked), each)  # (G, S)
        distinct = sum(len(set(texts[start : start + each])) / each for start in range(0, len(texts), each))
        words, spread = sum(len(text.split()) for text in texts), rewards.std(axis=1).sum()
        self._round += (rewards.sum(), spread, words, distinct, len(texts), len(asked))
        questions = [question for question in asked for _ in range(each)]
        rows = [self.family.answered(of, report.tokens, self.folder) for of, report in zip(questions, reports)]
        return rows, group_advantages(rewards, self.config).flatten().tolist()

    def _write(self, model: Any, asked: Sequence[Conversation], number: int, processes: Processes) -> list[Prediction]:
        """S reports of each study, those of a study together."""
        sampler = make_sampler(self.config.sample_temperature, seed=study_seed(self.seed, f"round {number}"))
        questions = sampled(asked, self.config.group_size)
        most = (len(questions), self.config.sample_tokens)
        with writing(model, processes, self.bf16):
            written = dict(write_reports(self.checkpoint, questions, self.folder, *most, sampler, scored=True))
        return [written[place] for place in range(len(questions))]

    def _log_probabilities(self, model: Any, batch: Batch, processes: Processes) -> torch.Tensor:
        """(R, K) of the sampled tokens by the model as it is, in its modes of training but for dropout."""
        inputs = {name: value for name, value in batch.items() if name not in (ADVANTAGES, BEFORE, REFERENCE)}
        moved = {k: v.to(processes.device) if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}
        autocast = torch.autocast(processes.device.type, torch.bfloat16, enabled=self.bf16)
        with torch.no_grad(), without_dropout(model), autocast:
            return token_log_probabilities(model, moved, self.config.sample_temperature)[0]


def known_rows(studies: Sequence[Study], truth: str) -> list[dict[str, Any]]:
    """What rewards may ask of each study: whether it has a prior, and its true findings where `truth` has them."""
    found = read_truth(Path(truth), [study.study_id for study in studies]) if truth else [{}] * len(studies)
    return [{**row, "prior_study_id": study.prior_study_id} for study, row in zip(studies, found)]


def _key(sample: Sample) -> _Key:
    return sample.id, sample.images
