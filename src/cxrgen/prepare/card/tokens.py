"""How long the texts of a set are in a model's tokens, and how many would not fit (`--tokenizer MODEL`).

Counted with the tokenizer alone, so no weights are read: the words of prompt and report, and what the model's
cxrgen.json says an image takes. A template's few words are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.records import Study
from cxrgen.prepare.card.quantiles import quantiles
from cxrgen.text.prompts import IMAGE, PromptRule, priors_by_rule, study_conversation

_LIMITS = (256, 512, 1024, 2048)  # tokens; lengths that models are trained with


@dataclass(frozen=True)
class Tokens:
    """A model's way to count."""

    count: Callable[[str], int]  # a text's number of tokens
    image: int = 0  # tokens that an image takes; 0 where the folder does not say
    longest: int | None = None  # tokens of a conversation; None where the folder does not say


def read_tokenizer(model: Path) -> Tokens:
    """How the model in a folder counts tokens; a tokenizer.json alone serves too.

    Raises UsageError when the library is missing, InputError when the folder holds no tokenizer.json.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise UsageError('--tokenizer needs the tokenizers library: pip install "cxrgen[model]"') from None
    file = model / "tokenizer.json" if model.is_dir() else model
    try:
        encode = Tokenizer.from_file(str(file)).encode
    except Exception:  # the library raises nothing narrower, for missing and for damaged files
        raise InputError(f"{file}: no tokenizer that can be read; give the folder of a model") from None
    format = _settings(file.parent / "cxrgen.json")
    image, longest = format.get("image_tokens"), format.get("max_length")
    return Tokens(
        lambda text: len(encode(text, add_special_tokens=False).ids),
        image if isinstance(image, int) else 0,
        longest if isinstance(longest, int) else None,
    )


def _settings(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def token_numbers(studies: Sequence[Study], tokens: Tokens, prompt: str) -> dict[str, Any]:
    """Quantiles of the tokens of findings, impression, report, prompt (images not counted) and the whole with images.

    `longer_than` is the share of studies whose whole is above usual lengths and above the model's own, which would be
    cut or left out in training.
    """
    rule = PromptRule(prompt)
    priors = priors_by_rule(studies, rule)
    prompts = [study_conversation(study, rule, priors.get(study.study_id)).turns[0].text for study in studies]
    asked = [tokens.count(text.replace(IMAGE, "")) for text in prompts]
    written = [tokens.count(study.report or "") for study in studies]
    whole = [
        ask + answer + tokens.image * len(study.views)
        for ask, answer, study in zip(asked, written, studies)
        if study.report
    ]
    lengths = {
        **{name: [tokens.count(study.sections[name]) for study in studies if study.sections.get(name)]
           for name in ("findings", "impression")},
        "report": [length for length, study in zip(written, studies) if study.report],
        "prompt": asked,
        "prompt, images and report": whole,
    }  # fmt: skip
    limits = sorted({*_LIMITS, *([tokens.longest] if tokens.longest else [])})
    return {
        "quantiles": {name: quantiles(held) for name, held in lengths.items()},
        "tokens_an_image": tokens.image,
        "longest": tokens.longest,
        "longer_than": {str(limit): _above(whole, limit) for limit in limits} if whole else {},
    }


def _above(lengths: Sequence[int], limit: int) -> float:
    return round(sum(length > limit for length in lengths) / len(lengths), 4)
