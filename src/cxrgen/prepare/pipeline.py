"""From what a source holds to the studies of a prepared set: the same few steps for every source, each counted.

A step takes studies and gives studies; what it leaves out becomes a Reject with a code, or a row of the flow chart when
leaving out is what was asked for. Steps before the images need no pixels, so mistakes in tables are found in seconds.
A study is built once by its source and replaced when it gets its split, its text and its images.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.core.files import is_file
from cxrgen.core.records import FRONTAL, UNKNOWN, Reject, Study, View
from cxrgen.imaging.names import DICOM_SUFFIXES
from cxrgen.imaging.views import view_class
from cxrgen.prepare.image_store import ImageJob, image_key
from cxrgen.prepare.splits import assign_splits, subject_of
from cxrgen.prepare.targets import labels_only, remarks, target_texts
from cxrgen.sources import Found

_MISSING_LIMIT = 0.2
_FEW_MISSING = 5  # images; fewer are no sign of a wrong folder


Views = Mapping[str, tuple[View, ...]]  # by study id


@dataclass(frozen=True)
class Settings:
    """What shapes a prepared set; recorded in recipe.json."""

    target: str = "both"
    text: str = "plain"
    priors: str = "keep"
    max_words: int = 0
    too_long: str = "reject"
    by: str = "study"
    select: str = "all"
    no_frontal: str = "reject"
    on_leak: str = "stop"
    resplit: bool = False
    valid_share: float = 0.1
    test_share: float = 0.1
    seed: int = 0
    views_by: str = ""  # packaged, or a file: the picture is asked where the source names no view


@dataclass(frozen=True)
class FlowRow:
    """A row of the flow chart: what is left after a step."""

    step: str
    studies: int
    images: int
    subjects: int


@dataclass
class Selection:
    """Studies on their way, with everything that has to be said about those that were left behind."""

    studies: list[Study]
    rejects: list[Reject] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    flow_chart: list[FlowRow] = field(default_factory=list)

    def record(
        self, step: str, studies: Sequence[Study], rejects: Sequence[Reject] = (), stored: Views | None = None
    ) -> None:
        """Go on with `studies`; the step is counted when it changed how many there are.

        `stored` has the images by study id where the studies do not have them yet.
        """
        self.studies = list(studies)
        self.rejects += rejects
        images = sum(len(study.views if stored is None else stored[study.study_id]) for study in self.studies)
        row = FlowRow(step, len(self.studies), images, len(set(map(subject_of, self.studies))))
        last = self.flow_chart[-1] if self.flow_chart else None
        if last is None or (row.studies, row.images) != (last.studies, last.images):
            self.flow_chart.append(row)


def before_images(found: Found, settings: Settings, cleaned: Mapping[str, dict[str, str]] | None = None) -> Selection:
    """Every step that needs no pixels. Raises InputError for splits that leak and texts that are not understood.

    `cleaned` has the sections by study id where they are to be stored in another form than they were read in.
    """
    selection = Selection([], list(found.rejects), list(found.notes))
    alone = sum(not study.subject_id for study in found.studies)
    if alone:
        selection.notes.append(f"{alone} studies have no patient and count as patients of their own")
    if not any(study.views for study in found.studies):
        selection.notes.append("no study has an image: a set of texts alone")
    selection.record("found", found.studies)
    selection.record("have images", *with_images(selection.studies))
    studies = _with_splits(selection, settings, cleaned or {})
    if settings.select == "mgca":
        for step, left in _mgca(studies):
            selection.record(step, left)
    else:
        selection.record("have a split", studies)
    if settings.no_frontal == "reject":
        selection.record("have a frontal or unknown view", *with_frontal(selection.studies))
    if settings.priors == "match":  # texts are made when it is known who has a prior; here it shows who has a text
        before = {study.study_id: study for study in selection.studies}
        record_targets(selection, replace(settings, priors="keep", max_words=0))
        selection.notes += remarks(selection.studies)
        selection.studies = [before[study.study_id] for study in selection.studies]
    else:
        record_targets(selection, settings)
        selection.notes += remarks(selection.studies)
    if settings.by == "image":
        shown = (FRONTAL, UNKNOWN) if settings.views_by else (FRONTAL,)  # unknown ones are asked when they are read
        selection.record("one row a frontal image", _by_image(selection.studies, shown))
    return selection


def image_jobs(studies: Sequence[Study], ask_pictures: bool = False) -> list[ImageJob]:
    """One job an image, with the question what it shows where that is unknown (`ask_pictures`).

    Raises InputError when so many are missing that the folder must be wrong.
    """
    jobs = [
        ImageJob(
            image_key(study.study_id, number), view.path, _beside(study, number), ask_pictures and view.view == UNKNOWN
        )
        for study in studies
        for number, view in enumerate(study.views)
    ]
    missing = [job.source for job in jobs if not is_file(Path(job.source))]
    if (
        missing
        and (len(missing) == len(jobs) or len(missing) >= _FEW_MISSING)
        and (len(missing) > _MISSING_LIMIT * len(jobs))
    ):
        first = Path(missing[0])
        folder = next(parent for parent in first.parents if os.path.isdir(parent))
        names = ", ".join(sorted(path.name for path in folder.iterdir())[:3]) or "nothing"
        raise InputError(
            f"{len(missing)} of {len(jobs)} images are missing; say where images are with --image-folder",
            detail=f"the first expected is {first}, and {folder} holds {names}, …",
        )
    return jobs


def dicom_places(study: Study) -> list[int]:
    """The places of a study's images that may be DICOM files by their names."""
    suffixes = ("", *DICOM_SUFFIXES)
    return [place for place, view in enumerate(study.views) if Path(view.path).suffix.lower() in suffixes]


def _beside(study: Study, number: int) -> str:
    """The first DICOM image of a study, for each of its others; else ""."""
    places = dicom_places(study)
    return study.views[places[0]].path if number in places[1:] else ""


def record_targets(selection: Selection, settings: Settings) -> None:
    """The step that gives studies their report, and leaves out those without one."""
    targeted = target_texts(
        selection.studies, settings.target, settings.text, settings.priors, settings.max_words, settings.too_long
    )
    if labels_only(selection.studies):
        selection.notes.append("no study has a report: a set of labels, for --warmup_labels dataset and --warmup_data")
    selection.record(f"have a text ({settings.target}) or are for testing", targeted.studies, targeted.rejects)


def with_images(studies: Sequence[Study]) -> tuple[list[Study], list[Reject]]:
    """Studies with images; where no study has any, the set is one of texts alone and all stay."""
    if not any(study.views for study in studies):
        return list(studies), []
    rejects = [
        Reject(f"study {study.study_id}", study.study_id, "image-missing", "the study has no image")
        for study in studies
        if not study.views
    ]
    return [study for study in studies if study.views], rejects


def with_frontal(studies: Sequence[Study], stored: Views | None = None) -> tuple[list[Study], list[Reject]]:
    """Studies with an image that is, or may be, a frontal; those without any image pass.

    `stored` has the images by study id where the studies do not have them yet.
    """

    def may_be(study: Study) -> bool:
        views = study.views if stored is None else stored[study.study_id]
        return not views or any(view.view in (FRONTAL, UNKNOWN) for view in views)

    hint = "no image of the study is a frontal; --no-frontal keep takes it all the same"
    rejects = [
        Reject(f"study {study.study_id}", study.study_id, "no-frontal", hint) for study in studies if not may_be(study)
    ]
    return [study for study in studies if may_be(study)], rejects


def _with_splits(selection: Selection, settings: Settings, cleaned: Mapping[str, dict[str, str]]) -> list[Study]:
    """The studies with patient, split, classed views, and sections as they are stored."""
    split_of, how = assign_splits(
        selection.studies,
        settings.valid_share,
        settings.test_share,
        settings.seed,
        settings.resplit,
        fill_valid=not _as_published(settings),
    )
    selection.notes.append(f"splits: {how}")
    return [
        replace(
            study,
            subject_id=subject_of(study),
            split=split_of[study.study_id],
            views=tuple(map(_classed, study.views)),
            sections=cleaned.get(study.study_id, study.sections),
        )
        for study in selection.studies
    ]


def _as_published(settings: Settings) -> bool:
    """Whether the rows of train must stay those that a published set or model has."""
    return "mgca" in (settings.text, settings.select) or settings.text == "original" or settings.by == "image"


def _classed(view: View) -> View:
    """The image with its class; one that the source itself gave stays."""
    return replace(view, view=view_class(view.raw_view)) if view.view == UNKNOWN else view


def _mgca(studies: Sequence[Study]) -> list[tuple[str, list[Study]]]:
    """The selection of MGCA's script, step by step: images called PA or AP, a findings or impression, two splits."""
    frontals = [
        replace(study, views=tuple(view for view in study.views if view.raw_view in ("PA", "AP"))) for study in studies
    ]
    kept = [study for study in frontals if study.views]
    with_text = [study for study in kept if any(study.sections.get(name) for name in ("findings", "impression"))]
    joined = [replace(study, split="train" if study.split == "train" else "valid") for study in with_text]
    return [("MGCA: images are PA or AP", kept), ("MGCA: have findings or impression", joined)]


def _by_image(studies: Sequence[Study], shown: Sequence[str]) -> list[Study]:
    """One row a frontal image, named as the image's file, as the original trains; ids that collide get the study's."""
    rows = []
    stems = Counter(Path(view.path).stem for study in studies for view in study.views)
    for study in studies:
        for view in study.views:
            if view.view in shown:
                stem = Path(view.path).stem
                name = stem if stems[stem] == 1 else f"{study.study_id}-{stem}"
                rows.append(replace(study, study_id=name, views=(view,)))
    return rows
