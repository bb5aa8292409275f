"""Training from tar shards (`cxrgen export-data --to shards`): only a window of studies is held at a time.

An epoch is a random order of shards; a window is the next stretch of their studies, a whole number of steps long, and
within it batches are drawn as always, grouped by length. So the order depends on seed, epoch, window and global batch
alone, never on the number of processes, and a resumed run opens the window that it needs without reading those before.
The price is that studies of distant shards never meet in a batch; the shards themselves are written in a random order.

A process unpacks the images of its own micro-batches beside the run, in the order in which shards are read, and removes
them when they have been used. A study that cannot be used (no answer left, too long) is replaced by one without loss,
so that the number of steps is known before anything is read.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrgen.core.errors import InputError, TooManyRejects
from cxrgen.core.records import SHARDS, SHARDS_FORM, Study, study_of_row
from cxrgen.core.tables import read_json
from cxrgen.model.batches import Sample, batch_order, without_loss
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.families import family_of
from cxrgen.text.context import Prior, shortened
from cxrgen.train.config import DataConfig
from cxrgen.train.data import SamplerConfig, SftData, drawn_views, encode_data, prompt_rule, steps_in_epoch, variants_of

SCRATCH = ".images"  # beside a run; with the process's number
_READ_AHEAD = 2  # micro-batches that a loader's process holds, as torch's DataLoader has it
Place = tuple[int, int]  # a shard's number, and a study's in it


@dataclass(frozen=True)
class Shards:
    """The shards of one split by their manifest."""

    folder: Path
    names: tuple[str, ...]
    studies: tuple[int, ...]  # of each shard

    @property
    def total(self) -> int:
        return sum(self.studies)

    def order(self, seed: int, epoch: int) -> list[Place]:
        """All studies of an epoch, shard after shard in a random order of shards."""
        shards = np.random.default_rng([seed, epoch, 4]).permutation(len(self.names)).tolist()
        return [(shard, number) for shard in shards for number in range(self.studies[shard])]


def read_shards(folder: Path, split: str) -> Shards:
    """The shards of a split. Raises InputError for a folder without them, or one whose files are not as written."""
    manifest = read_json(folder / SHARDS)
    listed = manifest.get("shards") if isinstance(manifest, dict) else None
    if not isinstance(listed, list) or manifest.get("cxrgen_shards") != SHARDS_FORM:
        raise InputError(f"{folder / SHARDS}: not of this version's form; export the set again")
    mine = [shard for shard in listed if shard["split"] == split]
    if not mine:
        raise InputError(f"{folder}: no shard of split {split}; nothing to train on")
    for shard in mine:
        file = folder / shard["name"]
        if not file.is_file() or file.stat().st_size != shard["bytes"]:
            raise InputError(f"{file}: missing, or not as long as {SHARDS} says; copy or export it again")
    return Shards(folder, tuple(each["name"] for each in mine), tuple(each["studies"] for each in mine))


@dataclass
class _Window:
    """Studies that are held, with where their images lie in the shards and the folder that they are unpacked to."""

    studies: list[Study]  # images named as they will lie in the scratch folder
    priors: dict[str, Prior]
    images: dict[str, tuple[Path, int, int, str]] = field(default_factory=dict)  # name -> shard, offset, size, SHA-256

    def unpack(self, names: Iterable[str], scratch: Path) -> None:
        """Write images into the scratch folder. Raises InputError for one that has changed since the export."""
        for name in names:
            target = scratch / name
            if target.exists():
                continue
            shard, offset, size, sha256 = self.images[name]
            with open(shard, "rb") as file:
                file.seek(offset)
                data = file.read(size)
            if sha256 and hashlib.sha256(data).hexdigest() != sha256:
                raise InputError(f"{shard}: the image at byte {offset} has changed; export the shard again")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)


def read_window(shards: Shards, places: Sequence[Place], name: str) -> _Window:
    """The studies at these places, in this order; their images will lie under `name` in the scratch folder."""
    window = _Window([], {})
    tars: dict[int, dict[str, tuple[int, int]]] = {}
    for shard, number in places:
        path = shards.folder / shards.names[shard]
        members = tars.get(shard)
        if members is None:
            members = tars[shard] = _members(path)
        study, prior = _record(path, members, f"{number:06}.json")
        views = []
        for view in study.views:
            if view.path not in members:
                raise InputError(f"{path}: lacks an image that its record names; export the shard again")
            place = f"{name}/{path.stem}/{view.path}"
            window.images[place] = (path, *members[view.path], view.sha256)
            views.append(replace(view, path=place))
        window.studies.append(replace(study, views=tuple(views)))
        if prior:
            window.priors[study.study_id] = prior
    return window


def _members(path: Path) -> dict[str, tuple[int, int]]:
    """Name -> (offset, size) of a tar's members."""
    try:
        with tarfile.open(path, "r:") as tar:
            return {member.name: (member.offset_data, member.size) for member in tar.getmembers()}
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{path}: no whole tar file ({type(error).__name__}); copy or export it again") from None


def _record(path: Path, members: dict[str, tuple[int, int]], name: str) -> tuple[Study, Prior | None]:
    try:
        offset, size = members[name]
        with open(path, "rb") as file:
            file.seek(offset)
            record: dict[str, Any] = json.loads(file.read(size))
        prior = record["prior"]
        return study_of_row(record["study"]), Prior(prior["report"], (), prior["days"]) if prior else None
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path}: {name} is missing or no study; export the shard again") from None


def first_studies(config: DataConfig, scratch: Path) -> SftData:
    """The studies of the first shard, images unpacked: what a run looks at before it starts."""
    shards = read_shards(config.paths[0], config.split)
    window = read_window(shards, [(0, number) for number in range(shards.studies[0])], "first")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, mode=0o700)
    window.unpack(window.images, scratch)
    return SftData(scratch, tuple(window.studies), tuple(_conversations(window, config)), ())


def _conversations(window: _Window, config: DataConfig) -> list[Any]:
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

    def _samples(self, window: _Window) -> list[list[Sample]]:
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
