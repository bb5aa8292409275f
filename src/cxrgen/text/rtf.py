"""Rich Text Format to plain text: what is written, without fonts, styles and pictures."""

from __future__ import annotations

import re

_START = re.compile(r"\s*\{\\rtf\d?")
_PART = re.compile(
    r"\\(?:(?P<word>[a-zA-Z]{1,32})(?P<number>-?\d{1,10})? ?|'(?P<code>[0-9a-fA-F]{2})|(?P<symbol>[^a-zA-Z]))"
    r"|(?P<brace>[{}])|(?P<text>[^\\{}\r\n]+)"
)
_HIDDEN = frozenset(
    {"fonttbl", "colortbl", "stylesheet", "info", "pict", "object", "header", "footer", "headerl", "headerr", "footerl"}
    | {"footerr", "themedata", "datastore", "listtable", "listoverridetable", "generator", "xmlnstbl", "fldinst"}
)
_WORDS = {
    "par": "\n", "line": "\n", "page": "\n", "sect": "\n", "row": "\n", "cell": " ", "tab": " ", "emdash": "—",
    "endash": "–", "bullet": "•", "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”",
}  # fmt: skip
_SYMBOLS = {"~": " ", "_": "-", "\\": "\\", "{": "{", "}": "}", "\n": "\n", "\r": "\n"}


def rtf_text(text: str) -> str:
    r"""The plain text of an RTF document; a text that does not start with {\rtf comes back as it is."""
    if not _START.match(text):
        return text
    page = re.search(r"\\ansicpg(\d+)", text)
    encoding = f"cp{page[1]}" if page else "cp1252"
    out: list[str] = []
    hidden = [False]  # of each open group
    skipped = 0  # characters that stand in for a Unicode one before them
    for part in _PART.finditer(text):
        if part["brace"] == "{":
            hidden.append(hidden[-1])
        elif part["brace"] == "}":
            hidden.pop()
            if not hidden:
                break
        elif part["word"] in _HIDDEN or part["symbol"] == "*":
            hidden[-1] = True
        elif not hidden[-1]:
            letters = _letters(part, encoding)
            if skipped and (part["text"] or part["code"]):
                letters, skipped = letters[skipped:], 0
            skipped = 1 if part["word"] == "u" else skipped
            out.append(letters)
    return "".join(out).strip("\n")


def _letters(part: re.Match[str], encoding: str) -> str:
    if part["text"]:
        return part["text"]
    if part["code"]:
        try:
            return bytes.fromhex(part["code"]).decode(encoding, "replace")
        except LookupError:
            return bytes.fromhex(part["code"]).decode("cp1252", "replace")
    if part["word"] == "u" and part["number"]:
        return chr(int(part["number"]) % 65536).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _WORDS.get(part["word"] or "", "") or _SYMBOLS.get(part["symbol"] or "", "")
