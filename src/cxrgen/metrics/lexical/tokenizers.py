"""How each scorer of the field cuts a text into words, which is half of why one report has five BLEU values.

Every function takes one text and gives the tokens that the scorer would count. What they give is kept as numbers by
`token_table`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from cxrgen.metrics.lexical.porter import stem
from cxrgen.metrics.lexical.ptb import piece_tokens, pieces
from cxrgen.metrics.lexical.token_table import CutAgain, InPieces
from cxrgen.text.cleaning import r2gen_iu, r2gen_mimic

_KEPT = 1 << 15
_SIGNS_13A = re.compile(r"([{-~\[-` -&(-+:-@/])")
_AFTER_NO_DIGIT_13A = re.compile(r"([^0-9])([.,])")
_BEFORE_NO_DIGIT_13A = re.compile(r"([.,])([^0-9])")
_DASH_13A = re.compile(r"([0-9])(-)")
_LETTERS_AND_DIGITS = re.compile(r"[a-z0-9]+")


treebank_line = InPieces(pieces, piece_tokens)
"""Treebank tokens as the tokeniser's line has them: one can hold a no-break space."""
treebank = CutAgain(treebank_line)
"""Treebank tokens, cut again at no-break spaces, as the COCO scorers split the tokeniser's line."""


def blanks(text: str) -> list[str]:
    """Cut at white space and nothing else: case and punctuation stay."""
    return text.split()


def cleaned_mimic(text: str) -> tuple[str, ...]:
    """R2Gen's cleaning for MIMIC-CXR, then white space; a full stop is a word. Nothing is cut or made `<unk>`."""
    return tuple(r2gen_mimic(text, "").split())


def cleaned_iu(text: str) -> tuple[str, ...]:
    """R2Gen's cleaning for IU X-ray, then white space."""
    return tuple(r2gen_iu(text, "").split())


def report_metric(text: str) -> tuple[str, ...]:
    """CXR-Report-Metric: lower case, a blank before each dot, cut at single blanks; line breaks stay inside words."""
    return tuple(word for word in text.lower().replace(".", " .").split(" ") if word)


def mteval_13a(text: str) -> tuple[str, ...]:
    """sacrebleu's default, the rules of mteval-v13a; case is kept."""
    line = text.rstrip().replace("<skipped>", "").replace("-\n", "")
    if "&" in line:
        for entity, sign in (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
            line = line.replace(entity, sign)
    return tuple(word for piece in line.split() for word in _piece_13a(piece))


@lru_cache(_KEPT)
def _piece_13a(piece: str) -> tuple[str, ...]:
    """The words of a piece between blanks; none of the rules looks beyond one."""
    line = _SIGNS_13A.sub(r" \1 ", f" {piece} ")
    line = _AFTER_NO_DIGIT_13A.sub(r"\1 \2 ", line)
    line = _BEFORE_NO_DIGIT_13A.sub(r" \1 \2", line)
    return tuple(_DASH_13A.sub(r"\1 \2 ", line).split())


def rouge_score(text: str) -> tuple[str, ...]:
    """The package rouge-score: lower case, runs of a-z and 0-9; other letters vanish."""
    return tuple(_LETTERS_AND_DIGITS.findall(text.lower()))


def rouge_score_stems(text: str) -> tuple[str, ...]:
    """rouge-score with its stemmer: words of more than three letters are cut to Porter's stem."""
    return tuple(stem(word) if len(word) > 3 else word for word in rouge_score(text))
