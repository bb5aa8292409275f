"""A Llama-style `tokenizer.model` as a fast tokenizer with the same ids, for every tool that reads tokenizer.json.

What library classes make of the same file has changed several times. Here the fast tokenizer is put together from the
sentencepiece pieces, its special tokens strip white space or not as `spacing` says, and it is used only after it gave
the slow tokenizer's ids on probe texts. One that does not, from whatever source, is replaced, or refused where there is
no `tokenizer.model` to replace it from.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from cxrgen.core.errors import InputError
from cxrgen.model.conversation import Format
from cxrgen.model.llama_tokenizer import MODEL_FILE, Tokens, read_llama_tokens, tokenize

PROBES = (
    "The heart is normal in size.",
    "Question?\n<im_start><im_patch><im_patch><im_end>\nAnswer.",
    "### Human: what is shown?\n### Assistant: No pneumothorax.\n### ",
    "###Human: Hi!###Assistant: Hi there!  How can I help you today?\n###",
    "USER: a <im_patch> b ASSISTANT: yes</s>USER: c ASSISTANT: no</s>",
    "[INST] <image>\nDescribe. [/INST] 2.5 cm nodule, 1/3 </s>",
    "  two  blanks,\ttab,\r\nlines\n\n\n",
    "caf\u00e9 \u6f22\u5b57 \U0001fac1 \u2265 \u2581 <unk> end ",
)


def fast_tokenizer(folder: Path, tokens: Tokens, spacing: str) -> PreTrainedTokenizerFast:
    """The fast tokenizer of `folder`'s tokenizer.model and the special tokens of `tokens`, begin token in front.

    Raises InputError when it cannot give the same ids as sentencepiece itself.
    """
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / MODEL_FILE))
    count = model.get_piece_size()
    pieces = [model.id_to_piece(number) for number in range(count)]
    plain = [n for n in range(count) if not (model.is_control(n) or model.is_unknown(n) or model.is_byte(n))]
    fallback = any(model.is_byte(number) for number in range(count))
    bpe = BPE(
        {piece: number for number, piece in enumerate(pieces)},
        _merges({pieces[number]: model.get_score(number) for number in plain}),
        unk_token=pieces[model.unk_id()],
        fuse_unk=True,
        byte_fallback=fallback,
    )
    result = Tokenizer(bpe)
    result.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    result.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    for text, number in sorted(tokens.special.items(), key=lambda item: item[1]):
        strips = spacing == "strip" and text not in tokens.no_strip
        result.add_special_tokens([AddedToken(text, lstrip=strips, rstrip=strips, normalized=False, special=True)])
        if result.token_to_id(text) != number:
            raise InputError(f"{folder}: token {text} has id {number}, but only {count} pieces come before it")
    names = {number: text for text, number in tokens.special.items()}
    named = {"eos_token": names[tokens.eos], "pad_token": names[tokens.pad], "unk_token": pieces[model.unk_id()]}
    if tokens.bos is not None:
        begin = named["bos_token"] = names[tokens.bos]
        result.post_processor = processors.TemplateProcessing(f"{begin} $A", None, [(begin, tokens.bos)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=result, padding_side="left", clean_up_tokenization_spaces=False, **named
    )
    different = first_difference(wrapped, tokens, spacing)
    if different:
        raise InputError(f"{folder / MODEL_FILE}: no fast tokenizer gives its ids: {different}")
    return wrapped


def checked_tokenizer(folder: Path, tokenizer: Any, format: Format) -> tuple[Any, str]:
    """`tokenizer` if it gives the ids of `folder`'s tokenizer.model, else one that does; and the reason, or "".

    Without a tokenizer.model the ids of the probe texts must be those that `format` records. Raises InputError where
    they are not, or the tokenizer lacks an image token: a model that sees other ids than it learnt writes nonsense.
    """
    if (folder / MODEL_FILE).is_file():
        tokens = read_llama_tokens(folder, format.added_tokens)
        different = first_difference(tokenizer, tokens, format.spacing)
        return (fast_tokenizer(folder, tokens, format.spacing), different) if different else (tokenizer, "")
    missing = [token for token in format.added_tokens if token not in tokenizer.get_added_vocab()]
    reason = f"has no {missing[0]}, so it is another model's" if missing else ""
    if not missing and format.tokens and fingerprint(tokenizer) != format.tokens:
        reason = "gives other ids than the one that the weights know"
    if reason:
        raise InputError(f"{folder}: the tokenizer {reason}; bring {MODEL_FILE} and the JSON files beside it")
    return tokenizer, ""


def fingerprint(tokenizer: Any) -> str:
    """A short hash of the ids of the probe texts."""
    ids = [list(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in PROBES]
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]


def first_difference(tokenizer: Any, tokens: Tokens, spacing: str) -> str:
    """What is different about a fast tokenizer, by special tokens and probe texts; "" when nothing is."""
    if (tokenizer.bos_token_id, tokenizer.eos_token_id) != (tokens.bos, tokens.eos):
        return f"begin and end are {tokenizer.bos_token_id}, {tokenizer.eos_token_id}, not {tokens.bos}, {tokens.eos}"
    for number, text in enumerate(PROBES):
        expected = [piece[0] for piece in tokenize(text, tokens, spacing, {})]
        given = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        if given != expected:
            place = next((n for n, pair in enumerate(zip(given, expected)) if pair[0] != pair[1]), len(expected))
            return f"other ids on probe text {number}, from token {place} on"
    return ""


def _merges(scores: dict[str, float]) -> list[tuple[str, str]]:
    """Pairs that join into a piece, best piece first: sentencepiece joins any two neighbours that make one."""
    found = []
    for piece, score in scores.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in scores and right in scores:
                found.append((-score, left, right))
    found.sort(key=lambda each: each[0])
    return [(left, right) for _, left, right in found]
