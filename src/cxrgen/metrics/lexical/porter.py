"""Porter's stemmer with nltk's departures, which rouge-score and so RadEval rest on.

Porter 1980, "An algorithm for suffix stripping". nltk departs from it in a few irregular words, "-ies" and "-ied" of
short words, "y" after a consonant, "-alli", "-fulli" and "-logi". Written here, and tested against nltk, so that one
preset of one score needs no further package.
"""

from __future__ import annotations

import re
from functools import lru_cache

_IRREGULAR = {
    "sky": "sky skies",
    "die": "dying",
    "lie": "lying",
    "tie": "tying",
    "news": "news",
    "inning": "innings inning",
    "outing": "outings outing",
    "canning": "cannings canning",
    "howe": "howe",
    "proceed": "proceed",
    "exceed": "exceed",
    "succeed": "succeed",
}
_STEM_OF = {word: stem for stem, words in _IRREGULAR.items() for word in words.split()}


def _table(rows: str) -> tuple[tuple[str, str], ...]:
    return tuple((old, new) for old, _, new in (row.partition(">") for row in rows.split()))


# The first suffix that fits is the only one tried. The stem before it must have a vowel followed by a consonant.
_SECOND = _table(
    "ational>ate tional>tion enci>ence anci>ance izer>ize bli>ble alli>al entli>ent eli>e ousli>ous ization>ize"
    " ation>ate ator>ate alism>al iveness>ive fulness>ful ousness>ous aliti>al iviti>ive biliti>ble fulli>ful logi>log"
)
_THIRD = _table("icate>ic ative> alize>al iciti>ic ical>ic ful> ness>")
_FOURTH = re.findall(r"\w+", "al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize")
_VOWELS = frozenset("aeiou")


@lru_cache(1 << 15)
def stem(word: str) -> str:
    """The stem of a lower-case word."""
    if word in _STEM_OF:
        return _STEM_OF[word]
    if len(word) <= 2:
        return word
    word = _past_and_present(_plural(word))
    if word.endswith("y") and len(word) > 2 and _kinds(word)[-2] == "c":
        word = word[:-1] + "i"
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        word = word[:-2]
    word = _fourth(_replaced(_replaced(word, _SECOND), _THIRD))
    return _last(word)


def _kinds(word: str) -> str:
    """A "v" for each vowel and a "c" for each consonant; y is a consonant at the start and after a vowel."""
    kinds = ""
    for letter in word:
        vowel = letter in _VOWELS or (letter == "y" and kinds[-1:] == "c")
        kinds += "v" if vowel else "c"
    return kinds


def _measure(word: str) -> int:
    return _kinds(word).count("vc")


def _is_short(word: str) -> bool:
    """Ends consonant, vowel, consonant other than w, x, y; or is vowel, consonant alone."""
    kinds = _kinds(word)
    return kinds == "vc" or (kinds.endswith("cvc") and word[-1] not in "wxy")


def _plural(word: str) -> str:
    if word.endswith("ies"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _past_and_present(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    ending = re.search("(?:ed|ing)$", word)
    if ending is None or "v" not in _kinds(word[: ending.start()]):
        return word
    word = word[: ending.start()]
    if word.endswith(("at", "bl", "iz")):
        return word + "e"
    if len(word) >= 2 and word[-1] == word[-2] and _kinds(word)[-1] == "c":
        return word if word[-1] in "lsz" else word[:-1]
    return word + "e" if _measure(word) == 1 and _is_short(word) else word


def _replaced(word: str, table: tuple[tuple[str, str], ...]) -> str:
    for old, new in table:
        if word.endswith(old):
            before = word[:-3] if old == "logi" else word[: -len(old)]  # "logi": the stem with its l counts
            return word[: -len(old)] + new if _measure(before) > 0 else word
    return word


def _fourth(word: str) -> str:
    for suffix in _FOURTH:
        if word.endswith(suffix):
            before = word[: -len(suffix)]
            goes = _measure(before) > 1 and (suffix != "ion" or before[-1] in "st")
            return before if goes else word
    return word


def _last(word: str) -> str:
    if word.endswith("e"):
        before = word[:-1]
        measure = _measure(before)
        if measure > 1 or (measure == 1 and not _is_short(before)):
            word = before
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word
