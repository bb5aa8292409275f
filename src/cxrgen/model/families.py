"""What differs between kinds of models, behind one seam: how conversations become samples and samples batches.

Two families cover all classes. LLaVA with this package's own conversation formats (`conversation`) knows how many
tokens an image has, so its samples can be packed, its features kept, its reports written by the refilling engine. Every
other class goes by its own processor and chat template (`chat`), by messages alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from cxrgen.core.records import Conversation
from cxrgen.model.batches import IGNORE, Sample, answer_ids, collate, pack
from cxrgen.model.chat import ChatFamily
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.conversation import encode, encode_prompt
from cxrgen.model.pixels import image_pixels
from cxrgen.model.templates import CHAT

Collator = Callable[[Sequence[Sample]], dict[str, Any]]
ImageOf = Callable[[str], torch.Tensor]
_ANY_LENGTH = 10**9


class ModelFamily(Protocol):
    """How one kind of model takes conversations.

    `packs`, `caches_features` and `refills`: whether packed rows, kept features of images and the refilling engine give
    what single samples, images and `model.generate` give.
    """

    packs: bool
    caches_features: bool
    refills: bool

    def encode(self, conversation: Conversation, folder: Path) -> Sample:
        """The whole conversation, however long. Raises InputError for one that the model cannot take."""

    def answered(self, conversation: Conversation, answer: Sequence[int], folder: Path) -> Sample:
        """The question, and these tokens as its answer, which alone are learnt, up to the first special one."""

    def images_fit(self, sample: Sample) -> bool:
        """Whether every image of the sample has its tokens."""

    def collator(self, folder: Path, packing: bool = False, always_images: bool = False) -> Collator:
        """What makes a batch of samples whose images lie below `folder`; `packing` puts it into one row.

        `always_images`: a batch without images still gives every parameter a gradient, as several processes need.
        """


class LlavaFamily:
    """The stock LLaVA class under one of this package's conversation formats."""

    packs = caches_features = refills = True

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.tokenizer, self.format = checkpoint.tokenizer, replace(checkpoint.format, max_length=_ANY_LENGTH)
        self.image_processor = checkpoint.processor.image_processor
        self.model = checkpoint.model

    def encode(self, conversation: Conversation, folder: Path) -> Sample:
        ids, labels = encode(conversation.turns, self.tokenizer, self.format, len(conversation.images))
        return Sample(conversation.id, array("i", ids), array("i", labels), conversation.images)

    def answered(self, conversation: Conversation, answer: Sequence[int], folder: Path) -> Sample:
        images = conversation.images
        prompt = encode_prompt(conversation.turns[:1], self.tokenizer, self.format, len(images))
        special = {self.tokenizer.convert_tokens_to_ids(self.format.image_token), *self.tokenizer.all_special_ids}
        ids, labels = answer_ids(answer, special, self.tokenizer.pad_token_id)
        return Sample(conversation.id, array("i", prompt + ids), array("i", [IGNORE] * len(prompt) + labels), images)

    def images_fit(self, sample: Sample) -> bool:
        image = self.tokenizer.convert_tokens_to_ids(self.format.image_token)
        return sample.input_ids.count(image) == len(sample.images) * self.format.image_tokens

    def collator(self, folder: Path, packing: bool = False, always_images: bool = False) -> Collator:
        """`always_images` changes nothing here: the training loop itself adds the gradient of a blank image."""

        def image(path: str) -> torch.Tensor:
            return image_pixels([folder / path], self.image_processor, self.format)[0]

        return self.collator_of(image, packing)

    def collator_of(self, image_of: ImageOf, packing: bool = False) -> Collator:
        """The same where `image_of` gives an image's pixels or features."""
        make: Callable[..., dict[str, Any]] = collate
        if packing:
            make = partial(pack, masked=not packs_by_positions(self.model))
        pad = self.tokenizer.pad_token_id
        return lambda samples: make(samples, pad, image_of)


def packs_by_positions(model: Any) -> bool:
    """Whether the model's attention tells the samples of a row apart by positions that start anew."""
    return getattr(model.config.text_config, "_attn_implementation", "") == "flash_attention_2"


def family_of(checkpoint: Checkpoint) -> ModelFamily:
    """The family of a checkpoint. Raises InputError for a processor whose chat template cannot be used."""
    if checkpoint.format.template == CHAT:
        return ChatFamily(checkpoint.processor, checkpoint.format)
    return LlavaFamily(checkpoint)
