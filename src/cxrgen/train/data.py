"""Conversations to samples that can be learnt from, and what had to be left out.

Everything is looked at before the first step: whether the images are there, whether every placeholder has one, whether
the tokens fit. An answer that is too long is cut at the end of a sentence, so that the model never learns to stop
within one. Left-out items are counted and listed; more than `--max-rejects` of them and the run does not start.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from cxrgen.core.errors import InputError, TooManyRejects
from cxrgen.core.progress import say
from cxrgen.core.records import Conversation, Reject, Study, read_studies
from cxrgen.model.batches import IGNORE, Sample, batch_order, collate, pack, without_loss
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.conversation import encode
from cxrgen.text.llava_json import read_conversations
from cxrgen.text.prompts import IMAGE, prior_reports, study_conversation
from cxrgen.text.sentences import cut_at_sentence

LONG = ("cut", "drop", "refuse")


@dataclass(frozen=True)
class Material:
    """What is learnt from: studies (none from LLaVA JSON), and each item as the conversations it may appear in.

    `variants[i]` is the conversation as asked for, and under view dropout also the one with frontals only.
    """

    folder: Path  # where image paths start
    studies: tuple[Study, ...]
    variants: tuple[tuple[Conversation, ...], ...]
    rejects: tuple[Reject, ...]


def read_material(
    data: Path, folder: Path | None, split: str, views: str, view_dropout: float = 0.0, prompt: str = "study"
) -> Material:
    """Read a prepared folder's `split`, or a LLaVA JSON file as a whole; items whose images are missing are left out.

    Items of text alone stay. Raises InputError when nothing is left.
    """
    studies: list[Study] = []
    rejects: list[Reject] = []
    if data.is_dir():
        folder = folder or data
        everyone = read_studies(data)
        studies = [study for study in everyone if study.split == split and study.report is not None]
        priors = prior_reports(everyone, prompt)
        variants = [_shown(study, views, view_dropout, prompt, priors.get(study.study_id)) for study in studies]
    else:
        folder = folder or data.parent
        conversations, rejects = read_conversations(data)
        variants = [(each,) for each in conversations if len(each.turns) > 1]
    there: dict[str, bool] = {}
    kept = []
    for each in variants:
        for image in each[0].images:
            if image not in there:
                there[image] = (folder / image).is_file()
        missing = [image for image in each[0].images if not there[image]]
        if missing:
            rejects.append(Reject(missing[0], each[0].id, "image-missing", "is --image_folder right?"))
        else:
            kept.append(each)
    if not kept:
        why = f"; the first left out: {rejects[0].id}: {rejects[0].row}: {rejects[0].hint}" if rejects else ""
        raise InputError(f"{data}: no study with a report in split {split}; nothing to learn from{why}")
    ids = {each[0].id for each in kept}
    return Material(folder, tuple(study for study in studies if study.study_id in ids), tuple(kept), tuple(rejects))


def _shown(study: Study, views: str, view_dropout: float, prompt: str, prior: str | None) -> tuple[Conversation, ...]:
    full = study_conversation(study, views, prompt, prior)
    frontal = study_conversation(study, "frontal", prompt, prior)
    return (full, frontal) if view_dropout > 0 and 0 < len(frontal.images) < len(full.images) else (full,)


def encode_material(
    bundle: Checkpoint, variants: Sequence[Sequence[Conversation]], long: str
) -> tuple[list[list[Sample]], list[Reject]]:
    """Token ids and labels of every variant; what does not fit is cut, dropped or refused as `long` says.

    Raises InputError under `refuse`, and for a tokenizer with more tokens than the model has embeddings.
    """
    rows = bundle.model.get_input_embeddings().weight.shape[0]
    if len(bundle.tokenizer) > rows:
        raise InputError(
            f"the tokenizer has {len(bundle.tokenizer)} tokens, the model {rows} embeddings; "
            "bring the tokenizer that belongs to the weights"
        )
    samples: list[list[Sample]] = []
    rejects: list[Reject] = []
    for each in variants:
        encoded = [_encoded(bundle, conversation, long) for conversation in each]
        if any(codes := [code for _, code in encoded if code]):
            hint = "raise --model_max_length" if codes[0] != "nothing-learnt" else "the item has no answer to learn"
            reject = Reject(each[0].id, each[0].id, codes[0], hint)
            if long == "refuse" and codes[0] != "nothing-learnt":
                raise InputError(f"{each[0].id}: longer than {bundle.format.max_length} tokens; {hint}, or --long cut")
            rejects.append(reject)
            if codes[0] != "cut":
                continue
        samples.append([sample for sample, _ in encoded])
    if not samples:
        raise InputError(f"all {len(variants)} items were left out ({rejects[0].code}); {rejects[0].hint}")
    return samples, rejects


def _encoded(bundle: Checkpoint, conversation: Conversation, long: str) -> tuple[Sample, str]:
    """The sample, and why it is not as the conversation was: "", cut, too-long or nothing-learnt."""
    open_format = replace(bundle.format, max_length=10**9)
    ids, labels = encode(conversation.turns, bundle.tokenizer, open_format)
    code = ""
    if len(ids) > bundle.format.max_length:
        shorter = _cut(bundle, conversation, open_format) if long == "cut" else None
        if shorter is None:
            return Sample(conversation.id, (), (), ()), "too-long"
        ids, labels = shorter
        code = "cut"
    if all(label == IGNORE for label in labels):
        code = "nothing-learnt"
    return Sample(conversation.id, array("i", ids), array("i", labels), conversation.images), code


def _cut(bundle: Checkpoint, conversation: Conversation, open_format: Any) -> tuple[list[int], list[int]] | None:
    """The last answer with as many whole sentences as fit; None when not even one does."""
    *before, last = conversation.turns

    def encoded(text: str) -> tuple[list[int], list[int]]:
        return encode([*before, replace(last, text=text)], bundle.tokenizer, open_format)

    shorter = cut_at_sentence(last.text, lambda text: len(encoded(text)[0]) <= bundle.format.max_length)
    return None if shorter is None else encoded(shorter)


def without_images(conversation: Conversation) -> Conversation:
    """The same words with no image: what a new language model learns to spell from."""
    turns = tuple(replace(turn, text=turn.text.replace(IMAGE, "")) for turn in conversation.turns)
    return replace(conversation, turns=turns, images=())


def check_rejects(rejects: Sequence[Reject], total: int, most: float, folder: Path) -> None:
    """Say what was left out, by reason. Raises TooManyRejects when it is more than the share `most` of `total`."""
    gone = [reject for reject in rejects if reject.code != "cut"]
    cut = len(rejects) - len(gone)
    if cut:
        say(f"{cut} of {total} answers are longer than fits and were cut at the end of a sentence")
    if not gone:
        return
    reasons = ", ".join(f"{count} {code}" for code, count in sorted(Counter(each.code for each in gone).items()))
    message = f"{len(gone)} of {total} items left out ({reasons}), listed in {folder / 'rejects.csv'}"
    if len(gone) > most * total:
        raise TooManyRejects(f"{message}; that is more than --max-rejects {most:g} allows")
    say(message)


ImageOf = Callable[[str], torch.Tensor]


@dataclass(frozen=True)
class Order:
    """How a run walks through its samples; a step is `accumulation` micro-batches on each of `count` processes."""

    global_batch: int
    accumulation: int = 1
    seed: int = 0
    view_dropout: float = 0.0


def steps_in_epoch(samples: int, order: Order) -> int:
    return -(-samples // order.global_batch)


def micro_batches(
    samples: Sequence[Sequence[Sample]], order: Order, rank: int = 0, count: int = 1, first_step: int = 0
) -> Iterator[list[Sample]]:
    """One process's micro-batches for ever, epoch after epoch, from `first_step` on.

    `samples[i]` are the variants of item i: the first as asked for, the last shown under view dropout. The last step of
    an epoch may be smaller and is cut evenly; a piece without samples becomes one that teaches nothing.
    """
    epoch, skipped = divmod(first_step, steps_in_epoch(len(samples), order))
    parts = order.accumulation * count
    while True:
        generator = np.random.default_rng([order.seed, epoch, 1])
        fewer = generator.random(len(samples)) < order.view_dropout
        shown = [variants[-1] if drop else variants[0] for variants, drop in zip(samples, fewer)]
        lengths = [len(sample.input_ids) for sample in shown]
        for step in batch_order(lengths, order.global_batch, order.seed, epoch)[skipped:]:
            pieces = np.array_split(np.array(step), parts)
            for piece in pieces[rank::count]:
                yield [shown[index] for index in piece] or [without_loss(shown[step[0]])]
        epoch, skipped = epoch + 1, 0


class _Images(Dataset[Any]):
    """Micro-batches to batches; an image that cannot be read comes back as the error, which crosses processes whole."""

    def __init__(self, pad: int, image_of: ImageOf, packing: bool) -> None:
        self.pad, self.image_of, self.packing = pad, image_of, packing

    def __getitems__(self, samples: list[Sample]) -> Any:
        try:
            return (pack if self.packing else collate)(samples, self.pad, self.image_of)
        except InputError as error:
            return error


def with_images(
    micro: Iterable[list[Sample]], pad: int, image_of: ImageOf, packing: bool = False, workers: int = 0
) -> Iterator[dict[str, Any]]:
    """Batches as the model takes them, in order, read ahead by `workers` processes. Raises InputError for an image."""
    loader = DataLoader(
        _Images(pad, image_of, packing),
        batch_sampler=micro,
        num_workers=workers,
        collate_fn=lambda batch: batch,
        generator=torch.Generator(),  # torch's own random state must not depend on when a loader starts
        multiprocessing_context="fork" if workers else None,
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch
