"""Texts of a set with pseudonyms: without what the studies' headers and tables, and rules, say is a person's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from cxrgen.core.records import Study
from cxrgen.sources import Found
from cxrgen.text.private import ID, PrivateValue, common_words, without_private

PRIVATE_SECTIONS = ("history", "signature", "preamble")  # a person's story, who signed, and what stands above the text


def cleaned_sections(found: Found, kept: Collection[str] = ()) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Study -> its cleaned sections without those that are not stored, and notes on what was removed.

    `kept` are sections of `PRIVATE_SECTIONS` that are stored all the same.
    """
    dropped = [name for name in PRIVATE_SECTIONS if name not in kept]
    common = common_words(text for study in found.studies for text in study.sections.values())
    removed: Counter[str] = Counter()
    sections_dropped: Counter[str] = Counter()
    cleaned: dict[str, dict[str, str]] = {}
    for study in found.studies:
        values = [*found.private.get(study.study_id, ()), *_ids(study)]
        cleaned[study.study_id] = {}
        for name, text in study.sections.items():
            if name.removeprefix("earlier ") in dropped:
                sections_dropped[name] += 1
                continue
            cleaned[study.study_id][name], counts = without_private(text, values, common)
            removed += counts
    said = ", ".join(f"{kind} {count}" for kind, count in sorted(removed.items())) or "nothing"
    notes = [f"removed from texts, now ___: {said}; look at what is left before the set goes anywhere"]
    if sections_dropped:
        said = ", ".join(f"{name} {count}" for name, count in sorted(sections_dropped.items()))
        notes.append(f"sections not stored (--keep-sections): {said}")
    return cleaned, notes


def _ids(study: Study) -> list[PrivateValue]:
    return [PrivateValue(ID, value) for value in (study.study_id, study.subject_id) if value]
