"""Bytes of text files to text: UTF-8, UTF-16 by its mark, or Western European; any other code page has to be named.

An 8-bit code page cannot be recognised by its bytes: Cyrillic or Chinese text decodes as Windows-1252 without an error
and becomes nonsense that a model would learn. So Windows-1252 is believed only where the letters that it gives are
those of one Western European language and stand as letters do; everything else stops, with the option to name the page.
"""

from __future__ import annotations

import codecs
import re

from cxrgen.core.errors import InputError

_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ALPHABETS = (
    "äöüß" + "é",  # German
    "àâæçéèêëîïôœùûüÿ",  # French
    "áéíñóúüçàèòï",  # Spanish, Catalan
    "áàâãçéêíóôõúü",  # Portuguese
    "àèéìíîòóùú",  # Italian
    "áéëïíóöúüèê",  # Dutch
    "åäöéøæüèêóòôâ",  # the Nordic languages
    "áðéíóúýþæö",  # Icelandic
)
_ALPHABETS_OF_BOTH_CASES = tuple(frozenset(letters + letters.upper()) for letters in _ALPHABETS)
_LETTER = "A-Za-zÀ-ÖØ-öø-ÿŠŽŒšžœŸƒ"
_INSIDE_WORDS = re.compile(rf"(?<=[{_LETTER}])[^{_LETTER}\s!-~’‘´–—·®™°•]+(?=[{_LETTER}])|¯")  # P³uca, Herzgr„áe
_RUN = re.compile(r"[À-ÖØ-öø-ÿŠŽŒšžœŸƒ]{3,}")  # Ñåðäöå
_ICELANDIC, _ALSO_ICELANDIC = frozenset("ðþýÐÞÝ"), frozenset("áéíóúæ")  # the former alone are Turkish, misread


def decoded(data: bytes, name: str, encoding: str = "") -> tuple[str, str]:
    """(text, a remark where the encoding is unusual) of a file called `name`; `encoding` is what the user named.

    Raises InputError for bytes that are no text in it, or in a code page that is not known.
    """
    if encoding:
        return _named(data, name, encoding), ""
    if data.startswith(_MARKS):
        try:
            return data.decode("utf-16"), "read as utf-16"
        except UnicodeDecodeError:
            raise InputError(f"{name}: starts like UTF-16 and is not; export it as UTF-8") from None
    if b"\0" in data[:4096]:
        raise InputError(f"{name}: holds NUL bytes, so it is no text file; export it as UTF-8")
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        pass
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text = ""
    if not text or not is_western(text):
        raise InputError(
            f"{name}: neither UTF-8 nor Western European; the code page is not known: name it with --encoding "
            "(cp1250, cp1251, gbk, ...), or export the file as UTF-8"
        )
    lines = sum(not line.isascii() for line in text.splitlines())
    return text, f"read as cp1252, not UTF-8; {lines} lines hold letters that depend on it"


def known_encoding(name: str) -> bool:
    """Whether Python can decode text of this name."""
    try:
        return codecs.lookup(name)._is_text_encoding
    except (LookupError, ValueError):
        return False


def is_western(text: str) -> bool:
    """Whether text that was decoded as Windows-1252 reads like one Western European language."""
    letters = {letter for letter in text if letter.isalpha() and not letter.isascii() and letter not in "ªºµ"}
    if letters & _ICELANDIC and not letters & _ALSO_ICELANDIC:
        return False
    of_one_language = any(letters <= alphabet for alphabet in _ALPHABETS_OF_BOTH_CASES)
    return of_one_language and not _INSIDE_WORDS.search(text) and not _RUN.search(text)


def _named(data: bytes, name: str, encoding: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except (UnicodeError, LookupError) as error:
        raise InputError(f"{name}: is not in {encoding} ({type(error).__name__}); name another --encoding") from None
