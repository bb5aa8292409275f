"""Studies or conversations to samples, samples to micro-batches, micro-batches to batches.

Everything is checked before the first step: whether the images exist, whether every placeholder has one, whether the
tokens fit. An answer that is too long is cut at the end of a sentence, so that the model never learns to stop within
one. Items left out are counted and listed; with more than `--max_rejects` of them the run does not start. The sampler
depends on the seed, the epoch and the global batch size alone, never on the number of processes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from cxrgen.core.errors import InputError, TooManyRejects, UsageError
from cxrgen.core.progress import say
from cxrgen.core.records import Conversation, Reject, Study, read_studies
from cxrgen.core.rejects import REJECTS
from cxrgen.model.batches import IGNORE, Sample, batch_order, without_loss
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.families import Collator, ModelFamily, family_of
from cxrgen.text.context import Prior
from cxrgen.text.llava_json import read_conversations
from cxrgen.text.prior_mentions import without_priors
from cxrgen.text.prompts import IMAGE, PromptRule, priors_by_rule, say_cut_images, shows_prior, study_conversation
from cxrgen.text.sentences import cut_at_sentence
from cxrgen.train.config import DataConfig
from cxrgen.train.distributed import machine_processes
from cxrgen.train.mixing import mixed

STUDIES = "studies.parquet"


@dataclass(frozen=True)
class SftData:
    """Supervised examples: studies (none from LLaVA JSON), and each item as the conversations it may appear in.

    `variants[i]` is the conversation by `--views`, and under view dropout also the one with frontals only.
    """

    folder: Path  # where image paths start
    studies: tuple[Study, ...]
    variants: tuple[tuple[Conversation, ...], ...]
    rejects: tuple[Reject, ...]
    priors: Mapping[str, Prior] = field(default_factory=dict)  # of the studies whose prompts state something of them


def read_sft_data(config: DataConfig) -> SftData:
    """Read a prepared folder's split, or a LLaVA JSON file as a whole; items whose images are missing are left out.

    Items of text alone stay. Raises InputError when nothing is left.
    """
    (data,) = config.paths
    folder = Path(config.image_folder or (data if data.is_dir() else data.parent))
    studies: list[Study] = []
    rejects: list[Reject] = []
    priors: dict[str, Prior] = {}
    if data.is_dir():
        all_studies = read_studies(data)
        studies = [study for study in all_studies if study.split == config.split and study.report is not None]
        rule = prompt_rule(config)
        priors = priors_by_rule(all_studies, rule)
        variants = [variants_of(study, rule, config, priors.get(study.study_id)) for study in studies]
        say_cut_images(studies, priors, rule)
    else:
        given_flags = {"context_dropout": config.context_dropout > 0, "priors": config.priors != "keep"}
        for flag, given in {**given_flags, "label_prompt": bool(config.label_prompt)}.items():
            if given:
                raise UsageError(f"--{flag} needs a prepared folder as --data_path; a JSON file has its questions")
        conversations, rejects = read_conversations(data)
        variants = [(each,) for each in conversations]
    kept, unusable = _usable(variants, folder)
    rejects += unusable
    if not kept:
        why = f"; the first left out: {rejects[0].code}, {rejects[0].hint}" if rejects else ""
        raise InputError(
            f"{data}: no study with a report in split {config.split}; nothing to train on{why}",
            detail=f"{rejects[0].id}: {rejects[0].row}" if rejects else "",
        )
    ids = {each[0].id for each in kept}
    used = tuple(study for study in studies if study.study_id in ids)
    return SftData(folder, used, tuple(kept), tuple(rejects), priors)


def prompt_rule(config: DataConfig) -> PromptRule:
    """How the run's studies are asked about."""
    return PromptRule(config.prompt, config.views, config.stated, config.prior_words, config.max_images)


def variants_of(study: Study, rule: PromptRule, config: DataConfig, prior: Prior | None) -> tuple[Conversation, ...]:
    """The conversations that a study may appear in: the full one, and under view dropout that of its frontals."""
    full = training_conversation(study, rule, config.priors, prior)
    frontal = training_conversation(study, replace(rule, views="frontal"), config.priors, prior)
    fewer = 0 < len(frontal.images) < len(full.images)
    return (full, frontal) if config.view_dropout > 0 and fewer else (full,)


def training_conversation(study: Study, rule: PromptRule, priors: str, prior: Prior | None) -> Conversation:
    """A study with its report; under `priors` "match" without what it says of an earlier study that is not shown.

    A report that says nothing else stays as it is, for an empty one would teach the model to write nothing.
    """
    if priors == "match" and study.report is not None and not shows_prior(study, rule, prior):
        study = replace(study, report=without_priors(study.report) or study.report)
    return study_conversation(study, rule, prior)


def _usable(
    variants: Sequence[tuple[Conversation, ...]], folder: Path
) -> tuple[list[tuple[Conversation, ...]], list[Reject]]:
    """Items whose images exist and whose answers have words: an empty answer would teach the model to write nothing."""
    exists: dict[str, bool] = {}
    kept, rejects = [], []
    for each in variants:
        for image in each[0].images:
            if image not in exists:
                exists[image] = (folder / image).is_file()
        missing = [image for image in each[0].images if not exists[image]]
        turns = each[0].turns
        if turns[-1].role != "assistant" or any(turn.role == "assistant" and not turn.text.strip() for turn in turns):
            rejects.append(Reject(each[0].id, each[0].id, "answer-empty", "the item has no answer to train on"))
        elif missing:
            rejects.append(Reject(missing[0], each[0].id, "image-missing", "is --image_folder right?"))
        else:
            kept.append(each)
    return kept, rejects


_HINTS = {
    "cut": "raise --model_max_length",
    "too-long": "raise --model_max_length",
    "nothing-learnt": "the item has no answer to train on",
    "image-count": "the text has more image tokens than the item has images; remove the marks from the text",
}


def encode_data(
    checkpoint: Checkpoint, variants: Sequence[Sequence[Conversation]], long: str, folder: Path
) -> tuple[list[list[Sample]], list[Reject]]:
    """Token ids and labels of every variant; what does not fit is cut, dropped or refused as `long` says.

    `folder` is where image paths start. Raises InputError under `refuse`, and for a tokenizer with more tokens than the
    model has embeddings.
    """
    rows = checkpoint.model.get_input_embeddings().weight.shape[0]
    if len(checkpoint.tokenizer) > rows:
        raise InputError(
            f"the tokenizer has {len(checkpoint.tokenizer)} tokens, the model {rows} embeddings; "
            "use the tokenizer that belongs to the weights"
        )
    family, longest = family_of(checkpoint), checkpoint.format.max_length
    samples: list[list[Sample]] = []
    rejects: list[Reject] = []
    for each in variants:
        try:
            encoded = [_encoded(family, longest, conversation, folder, long) for conversation in each]
        except InputError as error:  # speakers or images that the template has no place for
            rejects.append(Reject(each[0].id, each[0].id, "conversation-unusable", str(error)))
            continue
        code = next((code for _, code in encoded if code), "")
        if code:
            rejects.append(Reject(each[0].id, each[0].id, code, _HINTS[code]))
        if code in ("cut", "too-long") and long == "refuse":
            raise InputError(
                f"an item is longer than {longest} tokens; {_HINTS[code]}, or --long cut", detail=f"id {each[0].id!r}"
            )
        if code in ("", "cut"):
            samples.append([sample for sample, _ in encoded])
    if not samples:
        raise InputError(f"all {len(variants)} items were left out ({rejects[0].code}); {rejects[0].hint}")
    return samples, rejects


def _encoded(
    family: ModelFamily, longest: int, conversation: Conversation, folder: Path, long: str
) -> tuple[Sample, str]:
    """The sample, and why it is not as the conversation was: "" or a key of `_HINTS`."""
    sample, code = family.encode(conversation, folder), ""
    if len(sample.input_ids) > longest:
        shorter = _cut(family, longest, conversation, folder) if long == "cut" else None
        if shorter is None:
            return Sample(conversation.id, (), (), ()), "too-long"
        sample, code = shorter, "cut"
    if not family.images_fit(sample):
        code = "image-count"
    elif all(label == IGNORE for label in sample.labels):
        code = "nothing-learnt"
    return sample, code


def _cut(family: ModelFamily, longest: int, conversation: Conversation, folder: Path) -> Sample | None:
    """The last answer with as many whole sentences as fit; None when not even one does."""
    *before, last = conversation.turns

    def encoded(text: str) -> Sample:
        return family.encode(replace(conversation, turns=(*before, replace(last, text=text))), folder)

    shorter = cut_at_sentence(last.text, lambda text: len(encoded(text).input_ids) <= longest)
    return None if shorter is None else encoded(shorter)


def without_images(conversation: Conversation) -> Conversation:
    """The same texts with no image, for the text stage of a new language model."""
    turns = tuple(replace(turn, text=turn.text.replace(IMAGE, "")) for turn in conversation.turns)
    return replace(conversation, turns=turns, images=())


def data_sources(paths: Sequence[Path], studies: Sequence[Study]) -> list[str]:
    """Where the prepared set says its studies come from, also where one of its JSON files is trained on."""
    if not paths[0].is_dir() and (paths[0].parent / STUDIES).is_file():
        studies = read_studies(paths[0].parent)
    return sorted({study.source for study in studies if study.source})


def check_rejects(rejects: Sequence[Reject], total: int, most: float, folder: Path) -> None:
    """Say what was left out, by reason. Raises TooManyRejects when it is more than the share `most` of `total`."""
    gone = [reject for reject in rejects if reject.code != "cut"]
    cut = len(rejects) - len(gone)
    if cut:
        say(f"{cut} of {total} answers are longer than fits and were cut at the end of a sentence")
    if not gone:
        return
    reasons = ", ".join(f"{count} {code}" for code, count in sorted(Counter(each.code for each in gone).items()))
    message = f"{len(gone)} of {total} items left out ({reasons}), listed in {folder / REJECTS}"
    if len(gone) > most * total:
        raise TooManyRejects(f"{message}; the limit is {most:.1%}, --max_rejects raises it")
    say(message)


Redraw = Callable[[int], Sequence[Sample]]  # an epoch's number to its samples, one an item


@dataclass(frozen=True)
class SamplerConfig:
    """The batch sampler: a step is `accumulation` micro-batches on each of `count` processes.

    `sizes` and `mix` are the samples of several sets and their shares in what is shown; without a mix all are shown.
    """

    global_batch: int
    accumulation: int = 1
    seed: int = 0
    view_dropout: float = 0.0
    sizes: tuple[int, ...] = ()
    mix: tuple[float, ...] = ()


def steps_in_epoch(samples: int, sampler: SamplerConfig) -> int:
    return -(-samples // sampler.global_batch)


def micro_batches(
    samples: Sequence[Sequence[Sample]],
    sampler: SamplerConfig,
    rank: int = 0,
    count: int = 1,
    first_step: int = 0,
    redraw: Redraw | None = None,
) -> Iterator[list[Sample]]:
    """One process's micro-batches for ever, epoch after epoch, from `first_step` on.

    `samples[i]` are the variants of item i: the first by `--views`, the last under view dropout; `redraw` gives those
    of an epoch instead. The last step of an epoch may be smaller and is cut evenly; a piece without samples becomes one
    without loss.
    """
    epoch, skipped = divmod(first_step, steps_in_epoch(len(samples), sampler))
    parts = sampler.accumulation * count
    while True:
        shown = redraw(epoch) if redraw else drawn_views(samples, sampler, epoch)
        if sampler.mix:
            shown = [shown[place] for place in mixed(sampler.sizes, sampler.mix, sampler.seed, epoch)]
        lengths = [len(sample.input_ids) for sample in shown]
        for step in batch_order(lengths, sampler.global_batch, sampler.seed, epoch)[skipped:]:
            pieces = np.array_split(np.array(step), parts)
            for piece in pieces[rank::count]:
                yield [shown[index] for index in piece] or [without_loss(shown[step[0]])]
        epoch, skipped = epoch + 1, 0


def drawn_views(samples: Sequence[Sequence[Sample]], sampler: SamplerConfig, epoch: int) -> list[Sample]:
    """One variant of each item, by the view dropout of an epoch."""
    fewer = np.random.default_rng([sampler.seed, epoch, 1]).random(len(samples)) < sampler.view_dropout
    return [variants[-1] if drop else variants[0] for variants, drop in zip(samples, fewer)]


GPU_WORKERS = 4  # processes that read images ahead for one GPU, unless a number is given


def with_workers(config: DataConfig, device: torch.device) -> DataConfig:
    """The same with the number of processes that read images ahead, where it was left open."""
    if config.dataloader_num_workers >= 0:
        return config
    workers = 0
    if device.type == "cuda":
        workers = max(1, min(GPU_WORKERS, len(os.sched_getaffinity(0)) // machine_processes()[1] - 1))
    return replace(config, dataloader_num_workers=workers)


@dataclass(frozen=True)
class Feed:
    """What the batches of a stage are made of: all its samples, micro-batches of these in their order, a collator."""

    samples: Sequence[Sequence[Sample]]
    micro: Iterator[list[Sample]]
    collator: Collator
    sampler: SamplerConfig
    first_step: int = 0
    workers: int = 0
    bf16: bool = False

    def batches(self) -> Iterator[dict[str, Any]]:
        return with_images(self.micro, self.collator, self.workers)


class _Images(Dataset[Any]):
    """Micro-batches to batches; an image that cannot be read comes back as the error, which crosses processes whole."""

    def __init__(self, collator: Callable[[Any], Any]) -> None:
        self.collator = collator

    def __getitems__(self, samples: Any) -> Any:
        try:
            return self.collator(samples)
        except InputError as error:
            return error


def with_images(micro: Iterable[list[Any]], collator: Callable[[Any], Any], workers: int = 0) -> Iterator[Any]:
    """What `collator` makes of each micro-batch, in order, made ahead by `workers` processes. Raises its InputError."""
    loader = DataLoader(
        _Images(collator),
        batch_sampler=micro,
        num_workers=workers,
        collate_fn=lambda batch: batch,
        pin_memory=torch.cuda.is_available(),  # copied to the GPU while it computes
        generator=torch.Generator(),  # torch's own random state must not depend on when a loader starts
        multiprocessing_context="fork" if workers else None,
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch
