"""What a radiologist knows besides the images of a study: its other sections, and the study before.

Each part has a name (`--context`), and a prompt states only the parts that are asked for and there. The prior is the
patient's latest earlier study of the same split, as `cxrgen prepare` recorded it: a report of the test split never
stands in a prompt for training.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from cxrgen.core.errors import InputError, UsageError, unknown
from cxrgen.core.records import Study, View
from cxrgen.text.sentences import cut_at_sentence

LABELS = "labels"  # what the checkpoint's label reader sees in the images
SECTIONS = ("indication", "history", "technique", "comparison")
PARTS = (*SECTIONS, "prior-report", "prior-images", "gap", LABELS)
NOTHING = "none"  # the word for no part at all


@dataclass(frozen=True)
class Prior:
    """A study before: its report, its images, and how many days earlier it was made; None and () where unknown."""

    report: str | None = None
    views: tuple[View, ...] = ()
    days: int | None = None


@dataclass(frozen=True)
class Known:
    """What a prompt may state of a study: images in their order, sections by name, the study before."""

    views: tuple[View, ...]
    sections: Mapping[str, str] = field(default_factory=dict)
    prior: Prior = Prior()
    labels: str = ""  # words of `label_words`
    task: str = ""  # in place of the sentence that asks for the report


def parts_of(context: str) -> tuple[str, ...]:
    """`context` (names with commas, or "none") as names in the order of `PARTS`. Raises UsageError for others."""
    names = [name.strip() for name in context.split(",") if name.strip()]
    if names == [NOTHING]:
        return ()
    for name in names:
        if name not in PARTS:
            raise unknown("--context", name, (*PARTS, NOTHING))
    if not names:
        raise UsageError(f"--context is empty; write {NOTHING}, or names of {', '.join(PARTS)} with commas")
    return tuple(part for part in PARTS if part in names)


def known_of(
    sections: Mapping[str, str], views: tuple[View, ...], prior: Prior, parts: Collection[str], max_images: int = 0
) -> Known:
    """What of a study is stated under `parts`: `views` are its images that are shown, in their order.

    `max_images` > 0 keeps so many, those of the study first, then those of the study before.
    """
    stated = {name: sections[name] for name in SECTIONS if name in parts and sections.get(name)}
    earlier = prior.views if "prior-images" in parts else ()
    if max_images:
        views = views[:max_images]
        earlier = earlier[: max_images - len(views)]
    report = prior.report if "prior-report" in parts else None
    return Known(views, stated, Prior(report, earlier, prior.days if "gap" in parts else None))


def priors_of(studies: Sequence[Study], parts: Collection[str], max_words: int = 0) -> dict[str, Prior]:
    """Study id -> its prior, for studies that have one; empty where `parts` ask for nothing of it.

    The report is cut at the end of a sentence to at most `max_words` words (0: as it is). Raises InputError for a prior
    of another split.
    """
    if not {"prior-report", "prior-images", "gap"} & set(parts):
        return {}
    by_id = {study.study_id: study for study in studies}
    priors: dict[str, Prior] = {}
    for study in studies:
        before = by_id.get(study.prior_study_id or "")
        if before is None:
            continue
        if before.split != study.split:
            raise InputError(
                f"a study of split {study.split} has one of split {before.split} as its prior; its report would stand "
                "in a prompt of another split. Prepare the set again with `cxrgen prepare`"
            )
        priors[study.study_id] = Prior(
            shortened(before.report, max_words), before.views, days_between(before.order_key, study.order_key)
        )
    return priors


def shortened(report: str | None, max_words: int) -> str | None:
    """A report cut where a sentence ends, to at most `max_words` words; 0: as it is."""
    if report is None or not max_words or len(report.split()) <= max_words:
        return report
    return cut_at_sentence(report, lambda text: len(text.split()) <= max_words)


def days_between(earlier: str, later: str) -> int | None:
    """Days between two of `Study.order_key`; None where one of them is no date."""
    try:
        first, second = (date(int(key[:4]), int(key[4:6]), int(key[6:8])) for key in (earlier, later))
    except ValueError:
        return None
    return (second - first).days
