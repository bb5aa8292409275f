"""Llama's sentencepiece vocabulary, tokenised as the two generations of slow tokenizers did.

Library tokenizers have changed more than once since LLaVA-Med, and then a model gets other ids than it was trained on
without any error. So text is cut at special tokens here, and each part goes to sentencepiece itself. The two
generations differ in one thing, `spacing`: "strip" removes white space beside a special token (transformers before
4.34), "keep" leaves it (since then). Other tokenizers take part through `fast_pieces`, where they give the same ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError

IMAGE_PATCH, IMAGE_START, IMAGE_END = "<im_patch>", "<im_start>", "<im_end>"
MODEL_FILE = "tokenizer.model"
SLOW_FILES = (MODEL_FILE, "added_tokens.json", "special_tokens_map.json")  # what `read_llama_tokens` goes by
Pieces = list[tuple[int, int, int]]  # (token id, first character, character after the last)


@dataclass(frozen=True)
class Tokens:
    """What conversations need of a tokenizer: its special tokens, and ids with character offsets for plain text."""

    special: Mapping[str, int]  # text is cut at these before `pieces` sees it
    bos: int | None
    eos: int
    pad: int
    pieces: Callable[[str], Pieces]
    no_strip: frozenset[str] = frozenset()  # special tokens beside which "strip" leaves the white space

    def id_of(self, token: str) -> int:
        """The id of a special token. Raises InputError when the tokenizer has none of that name."""
        if token not in self.special:
            raise InputError(f"the tokenizer has no token {token}; is this the tokenizer of a LLaVA checkpoint?")
        return self.special[token]


def read_llama_tokens(folder: Path, wanted: tuple[str, ...] = (IMAGE_PATCH, IMAGE_START, IMAGE_END)) -> Tokens:
    """Read `tokenizer.model` and the JSON files beside it; needs sentencepiece, not torch.

    Begin, end, unknown and padding tokens are those of special_tokens_map.json, then tokenizer_config.json, then
    Llama's own (padding = unknown). `wanted` tokens that the folder does not know take the next free ids in order, as
    training did. Raises InputError for a missing or damaged file.
    """
    import sentencepiece

    folder = Path(folder)
    file = folder / MODEL_FILE
    if not file.is_file():
        raise InputError(f"{file}: no such file; bring the sentencepiece model that belongs to the weights")
    try:
        model = sentencepiece.SentencePieceProcessor(model_file=str(file))
    except (RuntimeError, OSError):
        raise InputError(f"{file}: no sentencepiece model; is it a placeholder of an unfinished download?") from None
    added, named = _added_tokens(folder), _named_tokens(folder)
    special, no_strip = dict(added), set()
    defaults = {"bos_token": model.bos_id(), "eos_token": model.eos_id(), "unk_token": model.unk_id()}
    ids: dict[str, int] = {}
    for name in ("bos_token", "eos_token", "unk_token", "pad_token"):
        text, flexible = named.get(name, ("", True))
        if not text and name == "pad_token":
            ids[name] = ids["unk_token"]
            continue
        text = text or model.id_to_piece(defaults[name])
        ids[name] = special.setdefault(text, added.get(text, model.piece_to_id(text)))
        if not flexible:
            no_strip.add(text)
    following = max([model.get_piece_size() - 1, *special.values()]) + 1
    for token in wanted:
        if token not in special:
            special[token], following = following, following + 1

    def pieces(text: str) -> Pieces:
        found = model.encode(text, return_type="offset_mapping")
        return [(token, start, stop) for token, (start, stop) in zip(found["ids"], found["offsets"])]

    return Tokens(special, ids["bos_token"], ids["eos_token"], ids["pad_token"], pieces, frozenset(no_strip))


def fast_pieces(tokenizer: Any) -> Tokens:
    """A Hugging Face fast tokenizer as `Tokens`; end falls back to begin, padding to end.

    Special tokens in what `pieces` gets are ordinary text, as they are for sentencepiece.
    """
    eos = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.bos_token_id
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else eos
    special = {text: token for text, token in tokenizer.get_added_vocab().items() if token is not None}
    no_strip = {each.content for each in tokenizer.added_tokens_decoder.values() if not (each.lstrip and each.rstrip)}

    def pieces(text: str) -> Pieces:
        options = {"split_special_tokens": True} if any(mark in text for mark in special) else {}  # they are text here
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False, **options)
        return [(token, start, stop) for token, (start, stop) in zip(found["input_ids"], found["offset_mapping"])]

    return Tokens(special, tokenizer.bos_token_id, eos, pad, pieces, frozenset(no_strip))


def tokenize(
    text: str,
    tokens: Tokens,
    spacing: str,
    inserts: Mapping[str, list[int]],
    is_text: Callable[[int, str], bool] = lambda place, mark: False,
) -> Pieces:
    """Ids of `text` with character offsets, without a begin token.

    `inserts` maps placeholders such as `<image>` to the ids that stand there; they are cut like special tokens. Where
    `is_text(first character, mark)`, a special token or placeholder is ordinary text.
    """
    result: Pieces = []
    end, before = 0, ""  # of the last cut: the character after it, and its mark
    for start, mark in [*_cuts(text, {*tokens.special, *inserts}, is_text), (len(text), "")]:
        first, last = end, start
        if spacing == "strip":
            if before and before not in tokens.no_strip:
                first = last - len(text[first:last].lstrip())
            if mark and mark not in tokens.no_strip:
                last = max(first, first + len(text[first:last].rstrip()))
        if first < last:
            result += [(token, first + begin, first + stop) for token, begin, stop in tokens.pieces(text[first:last])]
        ids = inserts[mark] if mark in inserts else [tokens.special[mark]] if mark else []
        result += [(token, start, start + len(mark)) for token in ids]
        end, before = start + len(mark), mark
    return result


def _cuts(text: str, marks: Collection[str], is_text: Callable[[int, str], bool]) -> list[tuple[int, str]]:
    """Where special tokens and placeholders stand, the longest first where several could."""
    pattern = "|".join(map(re.escape, sorted(marks, key=len, reverse=True)))
    found = re.finditer(pattern, text) if marks else ()
    return [(match.start(), match[0]) for match in found if not is_text(match.start(), match[0])]


def _added_tokens(folder: Path) -> dict[str, int]:
    """Tokens beyond the sentencepiece model: old checkpoints have added_tokens.json, new ones tokenizer_config.json."""
    added = {str(text): int(token) for text, token in _read_object(folder / "added_tokens.json").items()}
    for token, entry in _read_object(folder / "tokenizer_config.json").get("added_tokens_decoder", {}).items():
        added.setdefault(str(entry["content"]), int(token))
    return added


def _named_tokens(folder: Path) -> dict[str, tuple[str, bool]]:
    """Name to (text, white space beside it may be stripped): plain strings may, records say so themselves."""
    named = {}
    for file in ("tokenizer_config.json", "special_tokens_map.json"):  # the second wins
        for name, value in _read_object(folder / file).items():
            if isinstance(value, str) and name.endswith("_token"):
                named[name] = (value, True)
            elif isinstance(value, dict) and "content" in value:
                named[name] = (str(value["content"]), bool(value.get("lstrip")) and bool(value.get("rstrip")))
    return named


def _read_object(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{file}: not a JSON object; bring the tokenizer files again")
    return value
