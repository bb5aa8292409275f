"""Prompts by name, as LLaVA-Med's `--conv-mode` has them, or from a file that holds one.

A file is a JSON object as LLaVA's `Conversation.dict()` gives it: system, roles, messages, sep, sep2. So a prompt whose
wording is not part of this package, LLaVA-Med's `default` with its long example or a fork's own, is used all the same.
`question_end` may be added: text behind every question, as LLaVA-Med's `simple_legacy` has it.
"""

from __future__ import annotations

import os
from pathlib import Path

from cxrgen.core.errors import InputError, UsageError, unknown
from cxrgen.core.tables import read_json
from cxrgen.model.templates import INFERENCE_PROMPTS, QUESTION
from cxrgen.text.prompts import IMAGE

# Template, which says where a report ends, and the text to start from where it is not the template's.
_BROKEN = "\ufffd"  # what `read_json` makes of half a surrogate pair: the file does not say what is meant
_MODES = {
    "simple": ("v0", INFERENCE_PROMPTS["simple"]),
    "vicuna_v1_1": ("v1", INFERENCE_PROMPTS["vicuna_v1_1"]),
    "bair_v1": ("v1", INFERENCE_PROMPTS["bair_v1"]),
    "mistral_instruct": ("mistral", ""),
    "v0": ("v0", ""),
    "v1": ("v1", ""),
    "plain": ("plain", ""),
}
_BY_FILE = ("default", "simple_legacy", "multimodal", "llava_v1")  # LLaVA-Med has these as well
ORIGINAL = {
    "v0": INFERENCE_PROMPTS["simple"],
    "v1": INFERENCE_PROMPTS["vicuna_v1_1"],
}  # what a checkpoint of this template is asked there


def conversation_mode(asked: str | os.PathLike[str]) -> tuple[str, str]:
    """Template and start of a mode's name or file. Raises UsageError for another name, InputError for another file."""
    name = os.fspath(asked)
    if name.endswith(".json"):
        return _read_mode(Path(name))
    if name not in _MODES:
        if name in _BY_FILE:
            raise UsageError(
                f"--conv-mode {name}: its wording is LLaVA-Med's own; give it as FILE.json (docs/generation.md)"
            )
        raise unknown("--conv-mode", name, (*_MODES, "FILE.json"))
    return _MODES[name]


def _read_mode(path: Path) -> tuple[str, str]:
    mode = read_json(path)
    try:
        system, sep, sep2 = mode["system"], mode["sep"], mode.get("sep2")
        (human, assistant), end = mode["roles"], mode.get("question_end", "")
        said = [(role, "" if text is None else text) for role, text in mode["messages"]]
        if not all(isinstance(each, list) for each in (mode["roles"], mode["messages"], *mode["messages"])):
            raise TypeError("roles, messages and each of these are lists")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: no conversation as LLaVA's Conversation.dict() gives it ({error!r})") from None
    texts = (system, human, assistant, end, *(text for turn in said for text in turn))
    if not all(isinstance(text, str) and _BROKEN not in text for text in texts):
        raise InputError(f"{path}: system, roles, messages and question_end are texts")
    if any(mark in text for text in texts for mark in (QUESTION, IMAGE)):
        raise InputError(f"{path}: {QUESTION} and {IMAGE} are put in where the question stands; leave them out")
    if (sep, sep2) not in (("###", None), (" ", "</s>")):
        raise InputError(f"{path}: unknown separators {sep!r}, {sep2!r}; choose from '###', null and ' ', '</s>'")
    seps = (sep, sep2 or sep)
    turns = [*said, (human, QUESTION + end)]
    text = "".join(
        f"{role}: {words}{seps[place % 2]}" if words else f"{role}:" for place, (role, words) in enumerate(turns)
    )
    return "v1" if sep2 else "v0", f"{system}{sep}{text}"
