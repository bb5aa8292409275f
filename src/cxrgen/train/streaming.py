"""Training from shards (`cxrgen export-data --to shards`): only a window of studies is held at a time.

An epoch is a random order of shards; a window is the next stretch of their studies, a whole number of steps long, and
within it batches are drawn as always, grouped by length. So the order depends on seed, epoch, window and global batch
alone, never on the number of processes, and a resumed run opens the window that it needs without reading those before.
The price is that studies of distant shards never meet in a batch; the shards themselves are written in a random order.

A process unpacks the images of its own micro-batches beside the run, in the order in which shards are read, and removes
them when they have been used. A study that cannot be used (no answer left, too long) is replaced by one without loss,
so that the number of steps is known before anything is read.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrgen.core.errors import TooManyRejects
from cxrgen.model.batches import Sample, batch_order, without_loss
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.families import family_of
from cxrgen.text.context import shortened
from cxrgen.train.config import DataConfig
from cxrgen.train.data import SamplerConfig, SftData, drawn_views, encode_data, prompt_rule, steps_in_epoch, variants_of
from cxrgen.train.shards import Place, Window, read_shards, read_window

SCRATCH = ".images"  # beside a run; with the process's number
_READ_AHEAD = 2  # micro-batches that a loader's process holds, as torch's DataLoader has it


def first_studies(config: DataConfig, scratch: Path) -> SftData:
    """The studies of the first shard, images unpacked: what a run looks at before it starts."""
    shards = read_shards(config.paths[0], config.split)
    window = read_window(shards, [(0, number) for number in range(shards.studies[0])], "first")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, mode=0o700)
    window.unpack(window.images, scratch)
    return SftData(scratch, tuple(window.studies), tuple(_conversations(window, config)), ())


def _conversations(window: Window, config: DataConfig) -> list[Any]:
    rule = prompt_rule(config)
    priors = {
        name: replace(prior, report=shortened(prior.report, config.prior_words))
        for name, prior in window.priors.items()
    }
    return [variants_of(study, rule, config, priors.get(study.study_id)) for study in window.studies]


class Stream:
    """One process's micro-batches of a run over shards."""

    def __init__(self, checkpoint: Checkpoint, config: DataConfig, scratch: Path) -> None:
        self.checkpoint, self.config, self.scratch = checkpoint, config, scratch
        self.shards = read_shards(config.paths[0], config.split)
        self._unpacks_all = not family_of(checkpoint).packs  # its samples depend on the sizes of images
        self._used: deque[tuple[Path, int]] = deque()  # folders of windows that are over, and when they were
        self._yielded = 0

    @property
    def total(self) -> int:
        return self.shards.total

    def micro_batches(
        self, sampler: SamplerConfig, rank: int = 0, count: int = 1, first_step: int = 0
    ) -> Iterator[list[Sample]]:
        """As `data.micro_batches` gives them, for ever, epoch after epoch, from `first_step` on."""
        steps = -(-self.config.streaming_window // sampler.global_batch)  # of a window
        size = steps * sampler.global_batch
        windows = -(-self.total // size)
        epoch, skipped = divmod(first_step, steps_in_epoch(self.total, sampler))
        while True:
            order = self.shards.order(sampler.seed, epoch)
            for number in range(skipped // steps, windows):
                serial = epoch * windows + number
                places = order[number * size : (number + 1) * size]
                yield from self._of_window(places, sampler, serial, rank, count, skipped % steps)
                skipped = 0
            epoch, skipped = epoch + 1, 0

    def _of_window(
        self, places: Sequence[Place], sampler: SamplerConfig, serial: int, rank: int, count: int, skipped: int
    ) -> Iterator[list[Sample]]:
        window = read_window(self.shards, places, str(serial))
        if self._unpacks_all:
            window.unpack(window.images, self.scratch)
        shown = drawn_views(self._samples(window), sampler, serial)
        lengths = [len(sample.input_ids) for sample in shown]
        for step in batch_order(lengths, sampler.global_batch, sampler.seed, serial)[skipped:]:
            pieces = np.array_split(np.array(step), sampler.accumulation * count)
            for piece in pieces[rank::count]:
                micro = [shown[index] for index in piece] or [without_loss(shown[step[0]])]
                window.unpack((name for sample in micro for name in sample.images), self.scratch)
                self._yielded += 1
                yield micro
        self._used.append((self.scratch / str(serial), self._yielded))
        self._remove_used()

    def _samples(self, window: Window) -> list[list[Sample]]:
        """The variants of each study; those of one that cannot be used are another's, without loss."""
        conversations = _conversations(window, self.config)
        samples, rejects = encode_data(self.checkpoint, conversations, self.config.long, self.scratch)
        gone = [reject for reject in rejects if reject.code != "cut"]
        if len(gone) > self.config.max_rejects * len(conversations):
            raise TooManyRejects(
                f"{len(gone)} of {len(conversations)} studies of a window cannot be used ({gone[0].code}: "
                f"{gone[0].hint}); the limit is {self.config.max_rejects:.1%}, --max_rejects raises it"
            )
        by_id = {variants[0].id: variants for variants in samples}
        instead = [without_loss(samples[0][0])]
        return [by_id.get(study.study_id, instead) for study in window.studies]

    def _remove_used(self) -> None:
        """Remove images of windows whose last micro-batch no loader can still hold."""
        held = _READ_AHEAD * self.config.dataloader_num_workers + 2
        while self._used and self._yielded - self._used[0][1] >= held:
            shutil.rmtree(self._used.popleft()[0], ignore_errors=True)
