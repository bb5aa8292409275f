"""Rows to studies: rows of one study become one study with all its images; repeats are counted, contradictions refused.

Tables list a study once or once an image. A row that repeats an earlier one adds nothing. Rows of one study that differ
in patient, split or text contradict each other: no row is better than another, so the study is left out
(`duplicate-conflict`), or its last row is believed when the user says so. Published sets that are known to hold several
versions of one text keep the first. A study's time is that of its first image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from cxrgen.core.records import Reject, Study, View


@dataclass(frozen=True)
class StudyRow:
    """What one row of a table, or one image, says of its study."""

    row_ref: str  # "train.csv:17"
    study_id: str
    subject_id: str = ""
    split: str = ""
    order_key: str = ""
    views: tuple[View, ...] = ()
    sections: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, int] | None = None
    flags: tuple[str, ...] = ()
    sex: str = ""
    age: int | None = None


@dataclass(frozen=True)
class Merged:
    """Studies in order of first appearance, and what was odd about their rows."""

    studies: list[Study]
    rejects: list[Reject]
    repeats: int  # rows that only repeat others
    versions: int  # studies whose rows hold several versions of their text


def merge_rows(
    rows: Iterable[StudyRow], source: str, on_duplicate: str = "reject", first_text_counts: bool = False
) -> Merged:
    """One study for all rows that have its id; `on_duplicate` is "reject" or "last".

    With `first_text_counts` rows that differ in nothing but text are no contradiction: the first text is kept.
    """
    merged: dict[str, StudyRow] = {}
    conflicts: dict[str, Reject] = {}
    versions: set[str] = set()
    repeats = 0
    for row in rows:
        before = merged.get(row.study_id)
        if before is None:
            merged[row.study_id] = row
            continue
        differs_in = _contradiction(before, row)
        if differs_in == "text" and first_text_counts:
            versions.add(row.study_id)
            row, differs_in = replace(row, sections={}), ""
        if differs_in and on_duplicate == "reject":
            hint = f"rows of one study differ in {differs_in}; correct the table, or --on-duplicate last"
            conflict = Reject(row.row_ref, row.study_id, "duplicate-conflict", hint)
            conflicts.setdefault(row.study_id, conflict)
            continue
        merged[row.study_id] = _merge(before, row, last_wins=bool(differs_in))
        repeats += merged[row.study_id] == before
    studies = [_study(row, source) for row in merged.values() if row.study_id not in conflicts]
    return Merged(studies, list(conflicts.values()), repeats, len(versions))


def _study(row: StudyRow, source: str) -> Study:
    return Study(
        study_id=row.study_id,
        subject_id=row.subject_id,
        split=row.split,
        order_key=row.order_key,
        views=row.views,
        sections=dict(row.sections),
        labels=None if row.labels is None else dict(row.labels),
        flags=row.flags,
        source=source,
        sex=row.sex,
        age=row.age,
    )


def _contradiction(before: StudyRow, row: StudyRow) -> str:
    """What two rows of a study disagree about, "" for nothing; what is absent contradicts nothing."""
    for name in ("subject_id", "split"):
        one, other = getattr(before, name), getattr(row, name)
        if one and other and one != other:
            return name
    for name in before.sections.keys() & row.sections.keys():
        one, other = before.sections[name], row.sections[name]
        if one.strip() and other.strip() and one.split() != other.split():
            return "text"
    return ""


def _merge(before: StudyRow, row: StudyRow, last_wins: bool) -> StudyRow:
    seen_paths = {view.path for view in before.views}
    views = before.views + tuple(view for view in row.views if view.path not in seen_paths)
    weak, strong = (before.sections, row.sections) if last_wins else (row.sections, before.sections)
    sections = {**weak, **{name: text for name, text in strong.items() if text.strip() or name not in weak}}
    labels = before.labels if row.labels is None else {**(before.labels or {}), **row.labels}
    one, other = (row, before) if last_wins else (before, row)
    return replace(
        before,
        subject_id=one.subject_id or other.subject_id,
        split=one.split or other.split,
        order_key=min(filter(None, (before.order_key, row.order_key)), default=""),
        views=views,
        sections=sections,
        labels=labels,
        flags=tuple(dict.fromkeys(before.flags + row.flags)),
        sex=one.sex or other.sex,
        age=other.age if one.age is None else one.age,
    )
