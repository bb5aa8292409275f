"""Conversations to the embeddings that generation starts from; each image's features are computed once.

The features of the last few images are kept: in question files many questions ask about one image.

Shapes: N images, T image tokens of one image, C hidden size, r rows of one call, q positions of the longest of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from cxrgen.core.errors import InputError
from cxrgen.core.records import Conversation
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.conversation import encode_prompt
from cxrgen.model.pixels import image_pixels

_KEPT = 64  # images whose features stay in memory
_TOWER_BATCH = 16  # images that go through the vision encoder at a time


@dataclass(frozen=True)
class Prompt:
    """Token ids with a run of image tokens for each image; `words` is how many come before the first image."""

    number: int  # index of the conversation
    ids: list[int]
    words: int
    images: tuple[str, ...]


class Images:
    """Image features (T, C) as the language model takes them, from files below `folder`, kept for later studies."""

    def __init__(self, checkpoint: Checkpoint, folder: Path) -> None:
        self.checkpoint, self.folder = checkpoint, folder
        self.pixels: dict[str, torch.Tensor] = {}  # read, not yet encoded
        self.features: OrderedDict[str, torch.Tensor] = OrderedDict()

    def read(self, name: str) -> None:
        """Read an image from its file. Raises InputError when it cannot be."""
        if name in self.features:
            self.features.move_to_end(name)
        elif name not in self.pixels:
            processor, format = self.checkpoint.processor.image_processor, self.checkpoint.format
            self.pixels[name] = image_pixels([self.folder / name], processor, format)[0]

    def of(self, names: Sequence[str]) -> torch.Tensor:
        """Features (N, T, C), in the order of `names`."""
        model = self.checkpoint.model
        fresh = [name for name in dict.fromkeys(names) if name not in self.features]
        for start in range(0, len(fresh), _TOWER_BATCH):
            some = fresh[start : start + _TOWER_BATCH]
            for name in some:  # may have been dropped since it was read
                self.read(name)
            pixels = torch.stack([self.pixels.pop(name) for name in some]).to(model.device, model.dtype)
            self.features.update(zip(some, model.model.get_image_features(pixel_values=pixels).pooler_output))
        found = torch.stack([self.features[name] for name in names])
        while len(self.features) > _KEPT:
            self.features.popitem(last=False)
        return found


def read_prompt(checkpoint: Checkpoint, images: Images, number: int, conversation: Conversation) -> Prompt:
    """The prompt of one conversation, its images read. Raises InputError for what the model cannot take."""
    ids = encode_prompt(conversation.turns[:1], checkpoint.tokenizer, checkpoint.format, len(conversation.images))
    image = checkpoint.model.config.image_token_id
    expected = len(conversation.images) * checkpoint.format.image_tokens
    if ids.count(image) != expected:
        raise InputError(
            f"{ids.count(image)} image tokens for {len(conversation.images)} images, needed are {expected}"
        )
    for place, name in enumerate(conversation.images, 1):
        try:
            images.read(name)
        except InputError as error:
            raise InputError(f"image {place}: {error}", error.detail) from None
    return Prompt(number, ids, ids.index(image) if image in ids else len(ids), conversation.images)


def embed(checkpoint: Checkpoint, images: Images, prompts: Sequence[Prompt], done: int) -> torch.Tensor:
    """Embeddings (r, q, C) of what follows the first `done` tokens of each prompt, padded on the right."""
    width = max(len(prompt.ids) for prompt in prompts) - done
    ids = torch.zeros((len(prompts), width), dtype=torch.long)  # (r, q)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt.ids) - done] = torch.tensor(prompt.ids[done:])
    embeddings: torch.Tensor = checkpoint.model.get_input_embeddings()(ids.to(checkpoint.model.device))
    names = [name for prompt in prompts for name in prompt.images]
    if names:
        is_image = (ids == checkpoint.model.config.image_token_id).to(embeddings.device)  # (r, q)
        features = images.of(names).to(embeddings.dtype)  # (N, T, C), in the order of the image tokens
        embeddings = embeddings.masked_scatter(is_image[:, :, None], features)
    return embeddings
