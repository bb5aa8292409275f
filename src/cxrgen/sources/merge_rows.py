"""Rows to studies: rows of one study become one study with all its images; repeats are counted, contradictions refused.

Tables list a study once or once an image. A row that repeats an earlier one adds nothing. Rows of one study that differ
in patient, split or text contradict each other: no row is better than another, so the study is left out
(`duplicate-conflict`), or its last row is believed when the user says so. Its time is that of its first image.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cxrgen.core.records import Reject, Study


def gather(rows: Iterable[tuple[str, Study]], on_duplicate: str = "reject") -> tuple[list[Study], list[Reject], int]:
    """(studies in order of first appearance, rejects, rows that only repeat others) from (place, part of a study).

    `on_duplicate` is "reject" or "last".
    """
    studies: dict[str, Study] = {}
    conflicts: dict[str, str] = {}
    repeats = 0
    for place, part in rows:
        known = studies.get(part.study_id)
        if known is None:
            studies[part.study_id] = part
            continue
        reason = _contradiction(known, part)
        if reason and on_duplicate == "reject":
            conflicts.setdefault(part.study_id, f"{place}\0{reason}")
            continue
        merged = _merge(known, part, last_wins=bool(reason))
        repeats += merged == known
        studies[part.study_id] = merged
    rejects = []
    for study_id, text in conflicts.items():
        place, reason = text.split("\0")
        hint = f"rows of one study differ in {reason}; correct the table, or --on-duplicate last"
        rejects.append(Reject(place, study_id, "duplicate-conflict", hint))
        del studies[study_id]
    return list(studies.values()), rejects, repeats


def _contradiction(known: Study, part: Study) -> str:
    """What two parts of a study disagree about, "" for nothing; what is absent contradicts nothing."""
    for name in ("subject_id", "split"):
        one, other = getattr(known, name), getattr(part, name)
        if one and other and one != other:
            return name
    for name in known.sections.keys() & part.sections.keys():
        one, other = known.sections[name], part.sections[name]
        if one.strip() and other.strip() and one.split() != other.split():
            return "text"
    return ""


def _merge(known: Study, part: Study, last_wins: bool) -> Study:
    there = {view.path for view in known.views}
    views = known.views + tuple(view for view in part.views if view.path not in there)
    first, second = (known.sections, part.sections) if last_wins else (part.sections, known.sections)
    sections = {**first, **{name: text for name, text in second.items() if text.strip() or name not in first}}
    labels = known.labels if part.labels is None else {**(known.labels or {}), **part.labels}
    one, other = (part, known) if last_wins else (known, part)
    return replace(
        known,
        subject_id=one.subject_id or other.subject_id,
        split=one.split or other.split,
        order_key=min(filter(None, (known.order_key, part.order_key)), default=""),
        views=views,
        sections=sections,
        labels=labels,
        sex=one.sex or other.sex,
        age=other.age if one.age is None else one.age,
    )
