"""Conversation templates: turns to one text, and where in it the answers and the users' own words are.

Template `plain` has no text of its own; v0 and v1 are those of LLaVA-Med v1.0, mistral is that of v1.5; `chat` leaves
all to the model's own chat template (`model.chat`).
`INFERENCE_PROMPTS` are v1.0's other prompts, which it generates from. Text is text: a mark that ends an answer as text
(`###` of v0) is escaped in the words of users, or a report that holds it would end there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cxrgen.core.errors import InputError
from cxrgen.core.records import Turn
from cxrgen.text.prompts import IMAGE, SPEAKERS

HUMAN, ASSISTANT = "human", "assistant"
CHAT = "chat"  # the chat template of the model's own processor
TEMPLATES = ("plain", "v0", "v1", "mistral", CHAT)

_SYSTEM = (
    "A chat between a curious {0} and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the {0}'s questions."
)
_SYSTEM_V0, _SYSTEM_V1 = _SYSTEM.format("human"), _SYSTEM.format("user")
SYSTEM_V0, SYSTEM_V1 = f"{_SYSTEM_V0}\n\n", f"{_SYSTEM_V1} "  # what v0 and v1 begin with
NAMES_V0 = {HUMAN: "Human", ASSISTANT: "Assistant"}
_ESCAPES = {"v0": (re.compile("#{3,}"), "##"), "v1": (re.compile("</s>"), "< /s>")}  # marks that end an answer as text

QUESTION = "{question}"
# What LLaVA-Med v1.0 generates from, by its names; the model itself has to write the answering speaker's name first.
INFERENCE_PROMPTS = {
    "simple": f"{_SYSTEM_V0}###Human: Hi!###Assistant: Hi there!  How can I help you today?\n###Human: {QUESTION}###",
    "vicuna_v1_1": f"{_SYSTEM_V1} USER: {QUESTION} ",
    "bair_v1": f"BEGINNING OF CONVERSATION: USER: {QUESTION} ",
}

Span = tuple[int, int]  # first character, and the one after the last


@dataclass(frozen=True)
class Rendered:
    """A conversation as text.

    `answers`: of each answer, from behind the speaker's name to behind the mark that ends it. `words`: of each turn,
    its own words; `humans`: those of the human turns among them.
    """

    text: str
    answers: tuple[Span, ...]
    words: tuple[Span, ...]
    humans: tuple[Span, ...]


class _Builder:
    def __init__(self, text: str = "") -> None:
        self.text = text
        self.answers: list[Span] = []
        self.words: list[Span] = []
        self.humans: list[Span] = []

    def add_words(self, turn: Turn) -> None:
        span = (len(self.text), len(self.text) + len(turn.text))
        self.words.append(span)
        if speaker_of(turn.role) == HUMAN:
            self.humans.append(span)
        self.text += turn.text

    def done(self) -> Rendered:
        return Rendered(self.text, tuple(self.answers), tuple(self.words), tuple(self.humans))


def speaker_of(role: str) -> str:
    """human or assistant. Raises InputError for any other speaker."""
    if role.lower() not in SPEAKERS:
        raise InputError(
            f"unknown speaker {role!r}; use human for the question and gpt, report or assistant for answers"
        )
    return SPEAKERS[role.lower()]


def escaped(turn: Turn, template: str) -> Turn:
    """The turn without the marks that end an answer as text: `###` becomes `##` under v0, `</s>` `< /s>` under v1."""
    pattern, instead = _ESCAPES.get(template, (None, ""))
    return turn if pattern is None else Turn(turn.role, pattern.sub(instead, turn.text))


def render(turns: Sequence[Turn], template: str) -> Rendered:
    """The text of a conversation by its template: v0, v1 or mistral."""
    return _WRITERS[template](turns)


def _v0(turns: Sequence[Turn]) -> Rendered:
    """LLaVA's first training text: `### Name: words` a line; the next `###` ends an answer."""
    built = _Builder(SYSTEM_V0)
    for turn in turns:
        speaker = speaker_of(turn.role)
        built.text += f"### {NAMES_V0[speaker]}:"
        start = len(built.text)
        built.text += " "
        built.add_words(turn)
        built.text += "\n"
        if speaker == ASSISTANT:
            built.answers.append((start, len(built.text) + len("###")))
    built.text += "### "
    return built.done()


def _v1(turns: Sequence[Turn]) -> Rendered:
    """Vicuna 1.1: `USER: words ASSISTANT: words</s>`; a turn without words is the name alone."""
    built = _Builder(SYSTEM_V1)
    for turn in turns:
        human = speaker_of(turn.role) == HUMAN
        built.text += "USER:" if human else "ASSISTANT:"
        start = len(built.text)
        if turn.text:
            built.text += " "
            built.add_words(turn)
            built.text += " " if human else "</s>"
        if not human:
            built.answers.append((start, len(built.text)))
    return built.done()


def _mistral(turns: Sequence[Turn]) -> Rendered:
    """LLaVA-Med v1.5: `[INST] words [/INST] words </s>`, no system text."""
    built = _Builder()
    for turn in turns:
        human = speaker_of(turn.role) == HUMAN
        start = len(built.text)
        built.text += "[INST] " if human else " "
        built.add_words(turn)
        built.text += " [/INST]" if human else " </s>"
        if not human:
            built.answers.append((start, len(built.text)))
    return built.done()


_WRITERS = {"v0": _v0, "v1": _v1, "mistral": _mistral}


def fill_prompt(start: str, question: str, images: int | None = None) -> str:
    """`start` with the question as LLaVA-Med puts it there: without white space around it, its images at the end.

    `images`: how many of its `<image>` stand for images, from the first on; None: all.
    """
    count = question.count(IMAGE) if images is None else images
    words = question.replace(IMAGE, "", count).strip()
    return start.replace(QUESTION, "\n".join([words, *[IMAGE] * count]))


def fill(start: str, turn: Turn, images: int) -> Rendered:
    """`fill_prompt` with the place of the question's words."""
    text = fill_prompt(start, turn.text, images)
    first = start.index(QUESTION)
    span = (first, first + len(text) - len(start) + len(QUESTION))
    return Rendered(text, (), (span,), (span,))
