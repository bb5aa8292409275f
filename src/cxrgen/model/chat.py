"""Conversations for any image-text model whose processor has a chat template: messages in, the model's own inputs out.

The template says how turns become text, the processor which tokens and tensors an image becomes; nothing here knows a
class. A conversation is encoded twice: before a run with blank images of the same sizes, which give the same tokens
and cost no reading, and for each batch with the images themselves, when both must agree.
Labels go by position: the prompt of an answer, as generation starts from it, must be a prefix of the whole text, and
what follows as far as the mark that ends the turn is learnt. A template that writes no such mark gets the tokenizer's
end token behind every answer, or the model would never learn to stop.
"""

from __future__ import annotations

import copy
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from PIL import Image

from cxrgen.core.errors import InputError
from cxrgen.core.records import Conversation, Turn
from cxrgen.model.batches import IGNORE, Sample, answer_ids, merge_inputs, with_answer
from cxrgen.model.chat_template import messages_of
from cxrgen.model.conversation import Format
from cxrgen.model.pixels import image_size, open_image
from cxrgen.model.templates import ASSISTANT, HUMAN, speaker_of
from cxrgen.text.prompts import IMAGE

Messages = list[dict[str, Any]]
_PROBE = (Turn(HUMAN, "Write."), Turn(ASSISTANT, "The heart"))
NOT_EXACT = "exact for class llava alone; other classes keep positions and masks of their images to themselves"
_BLANK_SIDE = 64  # pixels of an image that stands for none
_REMEMBERED = 4096  # combinations of image sizes


class ChatFamily:
    """A model with its own chat template. Raises InputError for a processor without one, or one that cannot be used."""

    packs = caches_features = refills = False

    def __init__(self, processor: Any, format: Format) -> None:
        self.processor, self.format, self.tokenizer = processor, format, processor.tokenizer
        if not getattr(processor, "chat_template", None):
            raise InputError(
                f"{type(processor).__name__} has no chat template, so how a question is put to this model is not "
                "known; take a checkpoint tuned for conversations, or put its chat_template.jinja into the folder"
            )
        special = _special_ids(self.tokenizer)
        self.special = frozenset(special.values())
        longest_first = sorted(special, key=len, reverse=True)
        self.words = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self.blank = copy.copy(processor)
        self.blank.image_processor = _BySize(processor.image_processor)
        self.end = ""
        if not self._end_marks():
            self.end = self.tokenizer.eos_token or ""
            if not self._end_marks():
                raise InputError("neither the chat template nor the tokenizer has a mark that ends an answer")

    @property
    def stop_tokens(self) -> frozenset[int]:
        """The tokens that end an answer, as training has them."""
        return frozenset(self._end_marks()[:1])

    def encode(self, conversation: Conversation, folder: Path) -> Sample:
        """Ids and labels of a whole conversation. Raises InputError for one that the model cannot take."""
        messages = self._messages(conversation.turns, self._blank_images(conversation, folder))
        ids = self._inputs(self.blank, messages, prompt=False)["input_ids"][0].tolist()
        labels = self._labels(messages, ids)
        return Sample(conversation.id, array("i", ids), array("i", labels), conversation.images, conversation.turns)

    def answered(self, conversation: Conversation, answer: Sequence[int], folder: Path) -> Sample:
        """The question, and these tokens as its answer up to the first special one, which are learnt."""
        messages = self._messages(conversation.turns[:1], self._blank_images(conversation, folder))
        prompt = self._inputs(self.blank, messages, prompt=True)["input_ids"][0].tolist()
        ids, labels = answer_ids(answer, self.special, self.tokenizer.pad_token_id)
        labels = [IGNORE] * len(prompt) + labels
        return Sample(
            conversation.id, array("i", prompt + ids), array("i", labels), conversation.images, conversation.turns[:1]
        )

    def images_fit(self, sample: Sample) -> bool:
        """Whether each image has its tokens; the processor would not have gone on otherwise."""
        return True

    def collator(
        self, folder: Path, packing: bool = False, always_images: bool = False
    ) -> Callable[[Sequence[Sample]], dict[str, Any]]:
        """What makes a batch, padded on the right; with `always_images` one without any gets a blank one, without loss.

        Raises InputError for packing: these classes keep positions and masks of images to themselves.
        """
        if packing:
            raise InputError(f"--packing: {NOT_EXACT}; leave it out")

        def collate(samples: Sequence[Sample]) -> dict[str, Any]:
            rows = [self._row(sample, folder) for sample in samples]
            if always_images and not any(sample.images for sample in samples):
                rows.append(self._blank_row())
            batch = merge_inputs(rows, self.tokenizer.pad_token_id)
            return {**batch, "ids": [sample.id for sample in samples]}

        return collate

    def prompt_inputs(self, conversation: Conversation, folder: Path) -> dict[str, torch.Tensor]:
        """The model's inputs (a batch of one) that an answer to the first turn starts from."""
        images = self.open_images(conversation, folder)
        return self._inputs(self.processor, self._messages(conversation.turns[:1], images), prompt=True)

    def prompt_length(self, conversation: Conversation, folder: Path) -> int:
        """Tokens of the prompt, those of images included."""
        messages = self._messages(conversation.turns[:1], self._blank_images(conversation, folder))
        return int(self._inputs(self.blank, messages, prompt=True)["input_ids"].shape[1])

    def prompt_ids(self, conversation: Conversation) -> list[int]:
        """The prompt's ids with one placeholder an image, for engines that widen it themselves."""
        images: list[Any] = list(conversation.images)
        return self._ids_of(self._rendered(self._messages(conversation.turns[:1], images), prompt=True))

    def open_images(self, conversation: Conversation, folder: Path) -> list[Image.Image]:
        """The conversation's images after the checkpoint's image rule."""
        return _of_each(lambda path: open_image(path, self.format), conversation.images, folder)

    def _blank_images(self, conversation: Conversation, folder: Path) -> list[Image.Image]:
        return _of_each(lambda path: Image.new("RGB", image_size(path, self.format)), conversation.images, folder)

    def _row(self, sample: Sample, folder: Path) -> dict[str, torch.Tensor]:
        images = _of_each(lambda path: open_image(path, self.format), sample.images, folder)
        asks = speaker_of(sample.turns[-1].role) == HUMAN  # the answer has no text, only tokens
        inputs = self._inputs(self.processor, self._messages(sample.turns, images), prompt=asks)
        if asks:
            inputs = with_answer(inputs, sample.input_ids[inputs["input_ids"].shape[1] :])
        if inputs["input_ids"][0].tolist() != list(sample.input_ids):
            what = "images of an item have other sizes than when the run began; leave the files unchanged"
            raise InputError(what, detail=f"id {sample.id!r}")
        weights = {"weights": torch.tensor([list(sample.weights)])} if sample.weights else {}
        return {**inputs, "labels": torch.tensor([list(sample.labels)]), **weights}

    def _blank_row(self) -> dict[str, torch.Tensor]:
        image = Image.new("RGB", (_BLANK_SIDE, _BLANK_SIDE))
        inputs = self._inputs(self.processor, self._messages((Turn(HUMAN, IMAGE), _PROBE[1]), [image]), prompt=False)
        return {**inputs, "labels": torch.full_like(inputs["input_ids"], IGNORE)}

    def _messages(self, turns: Sequence[Turn], images: Sequence[Any]) -> Messages:
        marks = sum(turn.text.count(IMAGE) for turn in turns if speaker_of(turn.role) == HUMAN)
        if marks < len(images):
            raise InputError(f"{len(images)} images, but {len(images) - marks} have no {IMAGE} in the human turns")
        messages = messages_of(turns, images)
        for message in messages:
            for part in message["content"]:
                if part["type"] == "text":
                    part["text"] = self._plain(part["text"])
            if message["role"] == "assistant" and self.end:
                message["content"].append({"type": "text", "text": self.end})
        return messages

    def _plain(self, text: str) -> str:
        """Text in which the tokenizer's special tokens are words: `[image]` for `<image>`."""

        def instead(match: re.Match[str]) -> str:
            brackets = match[0].translate({ord("<"): "[", ord(">"): "]", ord("["): "(", ord("]"): ")"})
            return brackets if brackets != match[0] else f"{match[0][0]} {match[0][1:]}"

        return self.words.sub(instead, text)

    def _labels(self, messages: Messages, ids: list[int]) -> list[int]:
        """Labels of the expanded `ids`: places are counted from the end, behind all images."""
        whole = self._ids_of(self._rendered(messages, prompt=False))
        labels = [IGNORE] * len(ids)
        spans = [self._answer(messages, number, whole) for number, each in enumerate(messages) if _answers(each)]
        if spans and ids[len(ids) - len(whole) + spans[0][0] :] != whole[spans[0][0] :]:
            raise InputError("an image behind the first answer; put all images into the first question")
        for start, stop in spans:
            first, last = start - len(whole), stop - len(whole)
            labels[len(ids) + first : len(ids) + last] = ids[len(ids) + first : len(ids) + last]
        return labels

    def _answer(self, messages: Messages, number: int, whole: Sequence[int]) -> tuple[int, int]:
        """From the first token of an answer to the one behind its end mark, in the ids with one token an image."""
        prompt = self._ids_of(self._rendered(messages[:number], prompt=True))
        last = number == len(messages) - 1
        upto = list(whole) if last else self._ids_of(self._rendered(messages[: number + 1], prompt=False))
        marks = [place for place in range(len(prompt), len(upto)) if upto[place] in self.special]
        stop = marks[-1] + 1 if marks else len(upto)
        if upto[: len(prompt)] != prompt or list(whole[:stop]) != upto[:stop]:
            raise InputError(
                "the chat template does not begin a conversation with the prompt that generation starts from "
                "(templates that write thoughts do not); use a checkpoint or a chat_template.jinja that does"
            )
        return len(prompt), stop

    def _end_marks(self) -> list[int]:
        """The special tokens that follow the text of an answer."""
        messages = self._messages(_PROBE, ())
        whole = self._ids_of(self._rendered(messages, prompt=False))
        start, stop = self._answer(messages, 1, whole)
        return [token for token in whole[start:stop] if token in self.special]

    def _rendered(self, messages: Messages, prompt: bool) -> str:
        try:
            text: str = self.processor.apply_chat_template(messages, add_generation_prompt=prompt, tokenize=False)
        except TemplateError as error:
            raise InputError(f"the chat template refuses this conversation: {error}") from None
        return text

    def _ids_of(self, text: str) -> list[int]:
        begin = self.tokenizer.bos_token
        begun = begin is not None and text.startswith(begin)
        return list(self.tokenizer(text, add_special_tokens=not begun)["input_ids"])

    def _inputs(self, processor: Any, messages: Messages, prompt: bool) -> dict[str, torch.Tensor]:
        how = {"add_generation_prompt": prompt, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
        try:
            return dict(processor.apply_chat_template(messages, **how))
        except TemplateError as error:
            raise InputError(f"the chat template refuses this conversation: {error}") from None
        except (ValueError, TypeError, LookupError) as error:
            raise InputError(
                f"{type(processor).__name__} cannot take this conversation ({type(error).__name__})"
            ) from None


def _of_each(make: Callable[[Path], Image.Image], names: Sequence[str], folder: Path) -> list[Image.Image]:
    """`make` of each file. Raises InputError that says which image of the item it was."""
    images = []
    for place, name in enumerate(names, 1):
        try:
            images.append(make(folder / name))
        except InputError as error:
            raise InputError(f"image {place}: {error}", error.detail) from None
    return images


def _answers(message: Mapping[str, Any]) -> bool:
    return bool(message["role"] == "assistant")


def _special_ids(tokenizer: Any) -> dict[str, int]:
    return {str(token): number for number, token in tokenizer.added_tokens_decoder.items() if token.special}


class _BySize:
    """In place of an image processor: images of the same sizes give the same, computed once, without the pixels."""

    def __init__(self, image_processor: Any) -> None:
        self.image_processor = image_processor
        self.known: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.image_processor, name)

    def __call__(self, images: Any, **how: Any) -> Any:
        key = repr(_sizes(images))
        if key not in self.known:
            if len(self.known) >= _REMEMBERED:
                self.known.clear()
            result = self.image_processor(images, **how)
            for name, value in result.items():
                if isinstance(value, torch.Tensor) and value.is_floating_point():
                    result[name] = torch.zeros(1, dtype=value.dtype).expand(value.shape)
            self.known[key] = result
        return copy.copy(self.known[key])


def _sizes(images: Any) -> Any:
    return images.size if isinstance(images, Image.Image) else [_sizes(each) for each in images]
