"""Prompts drawn anew each epoch: parts of the context are left out at random, so that one checkpoint serves any subset.

Each part of each study is drawn on its own, from the seed, the epoch and the study's place alone, so the number of
processes and a resumed run change nothing. Only one epoch's samples are held at a time: encoding them anew takes a
fraction of the epoch, all subsets of half a million studies would not fit in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cxrgen.core.records import Conversation, Study
from cxrgen.model.batches import Sample
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.text.context import NOTHING, PARTS, Prior
from cxrgen.text.prompts import PromptRule
from cxrgen.train.config import DataConfig
from cxrgen.train.data import encode_data, prompt_rule, training_conversation


@dataclass(frozen=True)
class ContextDropout:
    """The studies of a run, in the order of its samples, and what may be left out of their prompts."""

    checkpoint: Checkpoint
    studies: Sequence[Study]
    priors: Mapping[str, Prior]
    data: DataConfig
    seed: int
    folder: Path  # where image paths start

    def __call__(self, epoch: int) -> list[Sample]:
        """The samples of an epoch, one a study."""
        drawn = [[each] for each in self.conversations(epoch)]
        samples, _ = encode_data(
            self.checkpoint, drawn, "cut", self.folder
        )  # shorter than the whole prompts, which were checked
        return [sample for (sample,) in samples]

    def conversations(self, epoch: int) -> list[Conversation]:
        """The studies with what is stated of them in this epoch."""
        rule = prompt_rule(self.data)
        count = len(self.studies)
        given = np.random.default_rng([self.seed, epoch, 2]).random((count, len(PARTS) - 1))
        labels = np.random.default_rng([self.seed, epoch, 3]).random((count, 1))  # the last of the parts
        kept = np.concatenate([given, labels], axis=1)  # (N, parts)
        fewer = np.random.default_rng([self.seed, epoch, 1]).random(len(self.studies)) < self.data.view_dropout
        return [
            training_conversation(
                study, self._rule(study, rule, numbers, alone), self.data.priors, self.priors.get(study.study_id)
            )
            for study, numbers, alone in zip(self.studies, kept, fewer)
        ]

    def _rule(self, study: Study, rule: PromptRule, numbers: Sequence[float], alone: bool) -> PromptRule:
        parts = [name for name, number in zip(PARTS, numbers) if number >= self.data.context_dropout]
        stated = ",".join(name for name in parts if name in rule.parts) or NOTHING
        frontal = alone and any(view.view == "frontal" for view in study.views) and rule.views == "all"
        return replace(rule, context=stated, views="frontal" if frontal else rule.views)
