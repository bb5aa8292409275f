"""Report texts as sources hold them: bytes to text, marks of other programs taken out, then split into sections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from cxrgen.core.encodings import decoded
from cxrgen.core.errors import InputError, RejectError
from cxrgen.text.marks import without_marks
from cxrgen.text.sections import split_sections

LARGEST_TEXT = 1 << 18  # characters or bytes; real reports have thousands
MARKS = "marks-"  # begins the flag of a study whose text held marks: marks-html


@dataclass(frozen=True)
class ReportText:
    """The sections of a report, and a flag for each kind of marks that was taken out of it."""

    sections: dict[str, str]
    flags: tuple[str, ...] = ()


def read_text(file: IO[bytes], encoding: str = "", largest: int = LARGEST_TEXT) -> str:
    """A report's text from an open file, or as many as `largest` bytes of texts.

    Raises RejectError for a larger one (256 kB), which is no report, and for a code page that is not known.
    """
    data = file.read(largest + 1)
    if len(data) > largest:
        raise RejectError("text-too-large", f"the file is larger than {largest >> 10} kB, so it is no report")
    try:
        return decoded(data, "its text", encoding)[0]
    except InputError as error:
        raise RejectError("text-unreadable", str(error)) from None


def split_report(text: str, style: str) -> ReportText:
    """The sections of a whole report."""
    plain, flags = _plain(text)
    return ReportText(split_sections(plain, style), flags) if plain.strip() else ReportText({})


def read_sections(texts: Mapping[str, str]) -> ReportText:
    """Sections that are separate already, those without text left out."""
    sections = {}
    flags: dict[str, None] = {}
    for name, text in texts.items():
        plain, more = _plain(text)
        flags.update(dict.fromkeys(more))
        if plain.strip():
            sections[name] = plain.strip()
    return ReportText(sections, tuple(flags))


def joined(report: ReportText, columns: ReportText) -> ReportText:
    """Both, where sections of their own win over those of the whole report."""
    flags = tuple(dict.fromkeys(report.flags + columns.flags))
    return ReportText({**report.sections, **columns.sections}, flags)


def _plain(text: str) -> tuple[str, tuple[str, ...]]:
    if len(text) > LARGEST_TEXT:
        raise RejectError("text-too-large", "the text is longer than 262,144 characters, so it is no report")
    plain, kinds = without_marks(text)
    return plain, tuple(f"{MARKS}{kind}" for kind in kinds)
