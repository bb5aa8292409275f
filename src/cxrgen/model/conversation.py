"""Conversations to token ids and labels, by the one `Format` that a checkpoint carries in cxrgen.json.

Training and generation read the same object, so a prompt is what the model was trained on: generation starts from the
training text up to and including the answering speaker's name. Text is tokenised once; an image is a run of one id put
in between. Text is text: special tokens in the words of users are ordinary characters. Labels go by characters: a token
is learnt when it overlaps the answer or its end (rule "answer"). Rule "original" reproduces LLaVA-Med v1.0, with its
drifting borders, and with special tokens wherever they stand.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError, UsageError, unknown
from cxrgen.core.records import FRONTAL, LATERAL, Turn
from cxrgen.core.tables import read_json
from cxrgen.imaging.names import RENDERINGS
from cxrgen.imaging.stored import ImageRule
from cxrgen.model.llama_tokenizer import (
    IMAGE_END,
    IMAGE_PATCH,
    IMAGE_START,
    Pieces,
    Tokens,
    fast_pieces,
    read_llama_tokens,
    tokenize,
)
from cxrgen.model.templates import (
    ASSISTANT,
    HUMAN,
    NAMES_V0,
    QUESTION,
    SYSTEM_V0,
    TEMPLATES,
    Rendered,
    escaped,
    fill,
    render,
    speaker_of,
)
from cxrgen.text.prompts import IMAGE, PROMPTS, PromptRule

IGNORE = -100
SPACINGS = ("keep", "strip")
LABEL_RULES = ("answer", "original")
ASPECTS = ("square", "pad", "black")
VIEWS = ("all", FRONTAL, LATERAL)
MOST_IMAGE_TOKENS = 65_536  # of one image
_IMAGE = re.compile(re.escape(IMAGE))


@dataclass(frozen=True)
class Format:
    """How a checkpoint's conversations become tokens, and what it was trained to write."""

    template: str = "plain"  # plain | v0 | v1 (LLaVA-Med v1.0's two) | mistral (v1.5) | chat (the processor's own)
    spacing: str = "keep"  # keep | strip: white space beside special tokens
    image_token: str = IMAGE  # v0 and v1: <im_patch>
    image_tokens: int = 256  # tokens an image; under `chat` the processor decides
    start_end: bool = False  # <im_start> and <im_end> around an image
    label_rule: str = "answer"  # answer | original
    aspect: str = "square"  # square | pad | black: how an image becomes square
    max_length: int = 2048  # tokens
    target: str = ""  # what the report text is: findings, impression or both
    text: str = ""  # cleaning recipe of the report text
    prompt: str = "study"  # wording of the human turn
    views: str = "all"  # images of a study that are shown
    context: str = ""  # what else is stated of a study, names of `text.context.PARTS`; "": as the prompt has it
    context_dropout: float = 0.0  # share of training prompts that each part was left out of
    prior_words: int = 0  # longest prior report; 0: no limit
    max_images: int = 0  # most images a study; 0: no limit
    rendering: str = "window"  # of DICOM values: window | percentile | mimic; see `imaging.stored.ImageRule`
    longest_side: int = 0  # to which images were reduced, pixels; 0: unknown, they are taken as they are
    view_rules: str = ""  # version of the rules for view positions; "": unknown
    tokens: str = ""  # fingerprint of the tokenizer's ids, where it is known
    compat: str = ""  # v0 and v1: generation starts from this text, with the question for QUESTION, as LLaVA-Med's does

    def __post_init__(self) -> None:
        for name, value, known in (
            ("template", self.template, TEMPLATES),
            ("spacing", self.spacing, SPACINGS),
            ("label rule", self.label_rule, LABEL_RULES),
            ("aspect", self.aspect, ASPECTS),
            ("prompt", self.prompt, PROMPTS),
            ("views", self.views, VIEWS),
            ("rendering", self.rendering, RENDERINGS),
        ):
            if value not in known:
                raise unknown(name, value, known)
        if self.longest_side < 0:
            raise UsageError(f"longest_side is {self.longest_side}; it is 0 or a number of pixels")
        if not 0 <= self.context_dropout < 1:
            raise UsageError(f"context_dropout is {self.context_dropout}; it is from 0 to below 1")
        PromptRule(self.prompt, self.views, str(self.context), self.prior_words, self.max_images)  # refuses bad values
        if not 1 <= self.image_tokens <= MOST_IMAGE_TOKENS or self.max_length < 1 or not self.image_token:
            raise UsageError(
                f"image_tokens must be 1 to {MOST_IMAGE_TOKENS}, max_length at least 1, image_token a token"
            )
        if self.compat and self.compat.count(QUESTION) != 1:
            raise UsageError(f"a prompt to start from needs {QUESTION} once, where the question stands")

    @property
    def asks(self) -> PromptRule:
        """How a study is asked about."""
        return PromptRule(self.prompt, self.views, self.context, self.prior_words, self.max_images)

    @property
    def images(self) -> ImageRule:
        """How image files become pixels."""
        return ImageRule(self.rendering, self.longest_side)

    @property
    def added_tokens(self) -> tuple[str, ...]:
        """The tokens that mark images, in the order of their ids."""
        return (self.image_token, IMAGE_START, IMAGE_END) if self.start_end else (self.image_token,)


def recorded_format(file: Path) -> Format:
    """The format that a checkpoint's cxrgen.json holds. Raises InputError for a file of another shape."""
    try:
        format = Format(**read_json(file))
    except (TypeError, UsageError) as error:
        raise InputError(f"{file}: no conversation format ({error})") from None
    for each in fields(format):
        if type(getattr(format, each.name)) is not type(each.default):
            raise InputError(f"{file}: no conversation format ({each.name} is {getattr(format, each.name)!r})")
    return format


def llava_med_format(template: str = "v0", start_end: bool = True, **changes: Any) -> Format:
    """The format of LLaVA-Med v1.0 checkpoints: `<im_patch>` tokens, 256 an image."""
    return Format(template=template, image_token=IMAGE_PATCH, start_end=start_end, **changes)


def encode(
    turns: Sequence[Turn], tokenizer: Any, format: Format, images: int | None = None
) -> tuple[list[int], list[int]]:
    """Token ids and labels (IGNORE where nothing is learnt) of a whole conversation, cut to `max_length`.

    `tokenizer` is `Tokens`, or a Hugging Face fast tokenizer. `images`: how many images the conversation has; so many
    `<image>` of its human turns stand for them, from the first on. None: all do. Raises InputError for speakers that
    cannot be placed, and for fewer `<image>` than images.
    """
    tokens = _tokens_of(tokenizer)
    turns = _checked(turns, format)
    if format.label_rule == "original" and format.template in ("v0", "v1"):
        rule = _original_labels_v0 if format.template == "v0" else _original_labels_v1
        return rule(turns, tokens, format)
    pieces = _learnt_pieces([escaped(turn, format.template) for turn in turns], tokens, format, images)
    ids = [*_begin(tokens), *(token for token, _ in pieces)]
    labels = [IGNORE] * len(_begin(tokens)) + [token if learnt else IGNORE for token, learnt in pieces]
    return ids[: format.max_length], labels[: format.max_length]


def encode_prompt(turns: Sequence[Turn], tokenizer: Any, format: Format, images: int | None = None) -> list[int]:
    """Token ids that generation starts from: everything before the last answer, with the answering speaker's name.

    `images` as in `encode`.
    """
    tokens = _tokens_of(tokenizer)
    turns = list(_checked(turns, format))
    if turns and speaker_of(turns[-1].role) == ASSISTANT:
        turns.pop()
    if not turns:
        raise InputError("a conversation without a human turn; nothing to answer")
    original = format.label_rule == "original" and format.template in ("v0", "v1")
    if not original:
        turns = [escaped(turn, format.template) for turn in turns]
    if format.template == "plain":
        return [*_begin(tokens), *(token for token, _ in _learnt_pieces(turns, tokens, format, images))]
    if format.compat and format.template in ("v0", "v1"):
        rendered = fill(format.compat, turns[0], turns[0].text.count(IMAGE) if images is None else images)
    else:
        rendered = render([*turns, Turn(ASSISTANT, "")], format.template)
        rendered = replace(rendered, text=rendered.text[: rendered.answers[-1][0]])
    pieces = _raw_pieces(rendered.text, tokens, format) if original else _pieces(rendered, tokens, format, images)
    return [*_begin(tokens), *(piece[0] for piece in pieces)]


def encode_conversation(
    turns: Sequence[Any],
    tokenizer_dir: str | Path,
    template: str = "v0",
    image_tokens: int = 256,
    start_end: bool = True,
    spacing: str = "keep",
    label_rule: str = "answer",
    max_length: int = 2048,
) -> tuple[list[int], list[int]]:
    """Token ids and labels of one LLaVA conversation, by a Llama tokenizer folder and LLaVA-Med v1.0's rules.

    `turns`: `Turn`s, LLaVA records {"from", "value"} or pairs (speaker, text). `template` "v0" is the text that the
    original's training commands make, "v1" the Vicuna 1.1 form. `spacing` "strip" and "keep" are the tokenizers of
    transformers before and since 4.34. `label_rule` "original" gives the original's labels, drifting borders included.
    """
    if template not in ("v0", "v1"):
        raise unknown("template", template, ("v0", "v1"))
    format = llava_med_format(
        template, start_end, spacing=spacing, image_tokens=image_tokens, label_rule=label_rule, max_length=max_length
    )
    tokens = read_llama_tokens(Path(tokenizer_dir), format.added_tokens)
    return encode([_turn(each) for each in turns], tokens, format)


def _turn(given: Any) -> Turn:
    if isinstance(given, Turn):
        return given
    if isinstance(given, Mapping):
        if "from" not in given or "value" not in given:
            raise InputError(f"a turn has the keys {sorted(map(str, given))}, needed are 'from' and 'value'")
        return Turn(str(given["from"]), "" if given["value"] is None else str(given["value"]))
    role, text = given
    return Turn(str(role), "" if text is None else str(text))


def _checked(turns: Sequence[Turn], format: Format) -> Sequence[Turn]:
    """The turns that the template takes: v1 drops a leading answer, and its speakers must alternate."""
    speakers = [speaker_of(turn.role) for turn in turns]
    if format.template in ("v1", "mistral"):
        if speakers[:1] == [ASSISTANT]:
            turns, speakers = turns[1:], speakers[1:]
        if any(speaker != (HUMAN, ASSISTANT)[number % 2] for number, speaker in enumerate(speakers)):
            raise InputError(f"template {format.template}: human and answering turns must alternate")
    return turns


def _tokens_of(tokenizer: Any) -> Tokens:
    return tokenizer if isinstance(tokenizer, Tokens) else fast_pieces(tokenizer)


def _begin(tokens: Tokens) -> list[int]:
    return [] if tokens.bos is None else [tokens.bos]


def _pieces(rendered: Rendered, tokens: Tokens, format: Format, images: int | None) -> Pieces:
    """Ids with character offsets; each `<image>` that stands for an image is its run of placeholders.

    Special tokens and other `<image>` in the words of users are ordinary text.
    """
    marks = [match.start() for span in rendered.humans for match in _IMAGE.finditer(rendered.text, *span)]
    if images is not None and images > len(marks):
        raise InputError(f"{len(marks)} {IMAGE} in the human turns for {images} images; give each image one")
    wanted = frozenset(marks[:images])

    def is_text(place: int, mark: str) -> bool:
        if mark == IMAGE:
            return place not in wanted
        return any(start <= place and place + len(mark) <= stop for start, stop in rendered.words)

    return tokenize(rendered.text, tokens, format.spacing, {IMAGE: _image_ids(tokens, format, wanted)}, is_text)


def _image_ids(tokens: Tokens, format: Format, wanted: Collection[int]) -> list[int]:
    image = [tokens.id_of(format.image_token)] * format.image_tokens if wanted else []
    return [tokens.id_of(IMAGE_START), *image, tokens.id_of(IMAGE_END)] if image and format.start_end else image


def _learnt_pieces(turns: Sequence[Turn], tokens: Tokens, format: Format, images: int | None) -> list[tuple[int, bool]]:
    """Every token after the begin token, and whether it belongs to an answer or its end."""
    if format.template == "plain":
        return _plain_pieces(turns, tokens, format, images)
    rendered = render(turns, format.template)
    result = []
    for token, start, stop in _pieces(rendered, tokens, format, images):
        # A token of no width, such as the first bytes of a character, stands at its start.
        learnt = any(start < last and max(stop, start + 1) > first for first, last in rendered.answers)
        result.append((token, learnt))
    return result


def _plain_pieces(turns: Sequence[Turn], tokens: Tokens, format: Format, images: int | None) -> list[tuple[int, bool]]:
    """Turns tokenised one by one, so that any tokenizer gives the prompt as a prefix."""
    result: list[tuple[int, bool]] = []
    left = images
    for turn in turns:
        answer = speaker_of(turn.role) == ASSISTANT
        text = turn.text if answer else turn.text + "\n"
        span = ((0, len(text)),)
        count = None if left is None else 0 if answer else min(left, turn.text.count(IMAGE))
        rendered = Rendered(text, (), span, () if answer else span)
        result += [(piece[0], answer) for piece in _pieces(rendered, tokens, format, count)]
        result += [(tokens.eos, True)] * answer
        left = None if left is None or count is None else left - count
    if left:
        raise InputError(f"{images} images, but {left} of them have no {IMAGE} in the human turns")
    return result


def _raw_pieces(text: str, tokens: Tokens, format: Format) -> Pieces:
    """Ids with character offsets as the original has them: special tokens and `<image>` wherever they stand."""
    return tokenize(text, tokens, format.spacing, {IMAGE: _image_ids(tokens, format, [0] if IMAGE in text else [])})


def _original_labels_v0(turns: Sequence[Turn], tokens: Tokens, format: Format) -> tuple[list[int], list[int]]:
    """Every turn's length is counted on its own tokens, as if it stood alone; where that differs, borders drift.

    The speaker's name is learnt, and so are two tokens of every human turn, meant to be the stop mark.
    """

    def ids_of(text: str) -> list[int]:
        return [*_begin(tokens), *(piece[0] for piece in _raw_pieces(text, tokens, format))][: format.max_length]

    def length(text: str) -> int:
        return sum(token != tokens.pad for token in ids_of(text))

    ids = ids_of(render(turns, "v0").text)
    labels = list(ids)
    place = length(SYSTEM_V0)
    labels[:place] = [IGNORE] * len(labels[:place])
    for turn in turns:
        piece = f"### {NAMES_V0[speaker_of(turn.role)]}: {turn.text}\n"
        stop = place + length(piece)
        if turn.role == HUMAN:  # in this spelling only
            labels[place + 2 : stop] = [IGNORE] * len(labels[place + 2 : stop])
        place = stop
    return ids, labels


def _original_labels_v1(turns: Sequence[Turn], tokens: Tokens, format: Format) -> tuple[list[int], list[int]]:
    """Rounds are cut at `</s>` and counted one by one; when the counts disagree, nothing at all is learnt."""

    def ids_of(text: str) -> list[int]:
        return [*_begin(tokens), *(piece[0] for piece in _raw_pieces(text, tokens, format))]

    text = render(turns, "v1").text
    ids = ids_of(text)[: format.max_length]
    labels = list(ids)
    labels[:1] = [IGNORE]
    place = 1
    for each in text.split("</s>"):
        parts = each.split(" ASSISTANT: ")
        if len(parts) != 2:
            break
        human = place + len(ids_of(parts[0] + " ASSISTANT: ")) - 2
        labels[place:human] = [IGNORE] * len(labels[place:human])
        place += len(ids_of(each))
    labels[place:] = [IGNORE] * len(labels[place:])
    if place < format.max_length and place != sum(token != tokens.pad for token in ids):
        labels = [IGNORE] * len(labels)
    return ids, labels
