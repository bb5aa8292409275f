"""From what a source holds to the studies of a prepared set: the same few steps for every source, each counted.

A step takes studies and gives studies; what it leaves out becomes a Reject with a code, or a row of the waterfall when
leaving out is what was asked for. Steps before the images need no pixels, so mistakes in tables are found in seconds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.core.records import FRONTAL, UNKNOWN, Reject, Study, View
from cxrgen.imaging.views import class_views, order_views
from cxrgen.prepare.image_store import ImageJob, StoredImage, image_key, look_alike
from cxrgen.prepare.prior_studies import link_priors
from cxrgen.prepare.splits import assign_splits, with_subjects
from cxrgen.prepare.targets import remarks, target_texts
from cxrgen.sources import Found

_MISSING_LIMIT = 0.2
_FEW_MISSING = 5  # images; fewer are no sign of a wrong folder


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


@dataclass(frozen=True)
class Count:
    """A row of the waterfall: what is left after a step."""

    step: str
    studies: int
    images: int
    subjects: int


@dataclass
class Chosen:
    """Studies on their way, with everything that has to be said about those that were left behind."""

    studies: list[Study]
    rejects: list[Reject] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    waterfall: list[Count] = field(default_factory=list)

    def after(self, step: str, studies: Sequence[Study], rejects: Sequence[Reject] = ()) -> None:
        """Go on with `studies`; the step is counted when it changed how many there are."""
        self.studies = list(studies)
        self.rejects += rejects
        images = sum(len(study.views) for study in self.studies)
        count = Count(step, len(self.studies), images, len({study.subject_id for study in self.studies}))
        last = self.waterfall[-1] if self.waterfall else None
        if last is None or (count.studies, count.images) != (last.studies, last.images):
            self.waterfall.append(count)


def before_images(found: Found, settings: Settings) -> Chosen:
    """Every step that needs no pixels. Raises InputError for splits that leak and texts that are not understood."""
    studies, alone = with_subjects(found.studies)
    chosen = Chosen([], list(found.rejects), list(found.notes))
    if alone:
        chosen.notes.append(f"{alone} studies have no patient and count as patients of their own")
    if not any(study.views for study in studies):
        chosen.notes.append("no study has an image: a set of texts alone")
    chosen.after("found", studies)
    chosen.after("have images", *_with_images(chosen.studies))
    studies, how = assign_splits(
        chosen.studies, settings.valid_share, settings.test_share, settings.seed, settings.resplit
    )
    chosen.notes.append(f"splits: {how}")
    studies = [class_views(study) for study in studies]
    if settings.select == "mgca":
        for step, left in _mgca(studies):
            chosen.after(step, left)
    else:
        chosen.after("have a split", studies)
    if settings.no_frontal == "reject":
        chosen.after("have a frontal or unknown view", *_with_frontal(chosen.studies))
    if settings.priors == "match":  # the limit holds for what is left when it is known who has a prior
        _target(chosen, replace(settings, priors="keep", max_words=0))
    else:
        _target(chosen, settings)
    chosen.notes += remarks(chosen.studies)
    if settings.by == "image":
        chosen.after("one row a frontal image", _by_image(chosen.studies))
    return chosen


def image_jobs(studies: Sequence[Study], private: bool = False) -> list[ImageJob]:
    """One job an image; raises InputError when so many are missing that the folder must be wrong.

    With `private` the error names no file, for a file's name may be a patient's.
    """
    jobs = [
        ImageJob(image_key(study.study_id, number), view.path)
        for study in studies
        for number, view in enumerate(study.views)
    ]
    missing = [job.source for job in jobs if not Path(job.source).is_file()]
    if (
        missing
        and (len(missing) == len(jobs) or len(missing) >= _FEW_MISSING)
        and (len(missing) > _MISSING_LIMIT * len(jobs))
    ):
        first = Path(missing[0])
        folder = next(parent for parent in first.parents if parent.is_dir())
        holds = ", ".join(sorted(path.name for path in folder.iterdir())[:3]) or "nothing"
        names = "" if private else f"; the first expected is {first}, and {folder} holds {holds}, …"
        raise InputError(
            f"{len(missing)} of {len(jobs)} images are missing{names}; say where images are with --image-folder"
        )
    return jobs


def after_images(chosen: Chosen, images: dict[str, StoredImage], settings: Settings) -> None:
    """Give studies their stored images; leave out images that could not be read, and studies without any left."""
    read, rejects, repeated = [], [], 0
    for study in chosen.studies:
        views: list[View] = []
        for number, view in enumerate(study.views):
            image = images[image_key(study.study_id, number)]
            if image.code:
                rejects.append(Reject(Path(view.path).name, study.study_id, image.code, image.hint))
            elif any(image.sha256 == other.sha256 for other in views):
                repeated += 1
            else:
                views.append(
                    replace(view, path=image.path, width=image.width, height=image.height, sha256=image.sha256)
                )
        if views or not study.views:
            flags = study.flags + (("images-alike",) if _some_alike(study, images) else ())
            read.append(order_views(replace(study, views=tuple(views), flags=flags)))
        else:
            rejects.append(
                Reject(f"study {study.study_id}", study.study_id, "no-image", "none of its images is usable")
            )
    unusual = Counter(note for image in images.values() for note in image.notes)
    chosen.notes += [f"{n} images: {note}" for note, n in sorted(unusual.items())]
    if repeated:
        chosen.notes.append(f"{repeated} images stand twice in their study and are kept once")
    chosen.after("have an image that can be read", read, rejects)
    if settings.no_frontal == "reject":
        chosen.after("have a frontal or unknown view that can be read", *_with_frontal(chosen.studies))
    chosen.after("share no image with another split", *_without_shared(chosen, settings.on_leak))
    if settings.by == "study":
        chosen.studies = link_priors(chosen.studies)  # only now is it known which studies are there
    if settings.priors == "match":
        _target(chosen, settings)


def _some_alike(study: Study, images: Mapping[str, StoredImage]) -> bool:
    """Does a study hold two images that look like one exposure, processed twice? They are marked and both kept."""
    mine = [images[image_key(study.study_id, number)] for number in range(len(study.views))]
    looks = list({image.sha256: image.look for image in mine if image.path}.values())
    return any(look_alike(one, other) for one, other in combinations(looks, 2))


def _target(chosen: Chosen, settings: Settings) -> None:
    targeted = target_texts(
        chosen.studies, settings.target, settings.text, settings.priors, settings.max_words, settings.too_long
    )
    chosen.after(f"have a text ({settings.target}) or are for testing", targeted.studies, targeted.rejects)


def _with_images(studies: Sequence[Study]) -> tuple[list[Study], list[Reject]]:
    """Studies with images; where no study has any, the set is one of texts alone and all stay."""
    if not any(study.views for study in studies):
        return list(studies), []
    rejects = [
        Reject(f"study {study.study_id}", study.study_id, "image-missing", "the study has no image")
        for study in studies
        if not study.views
    ]
    return [study for study in studies if study.views], rejects


def _with_frontal(studies: Sequence[Study]) -> tuple[list[Study], list[Reject]]:
    """Studies with an image that is, or may be, a frontal; those without images are another step's business."""

    def may_be(study: Study) -> bool:
        return not study.views or any(view.view in (FRONTAL, UNKNOWN) for view in study.views)

    hint = "no image of the study is a frontal; --no-frontal keep takes it all the same"
    rejects = [
        Reject(f"study {study.study_id}", study.study_id, "no-frontal", hint) for study in studies if not may_be(study)
    ]
    return [study for study in studies if may_be(study)], rejects


def _mgca(studies: Sequence[Study]) -> list[tuple[str, list[Study]]]:
    """The selection of MGCA's script, step by step: images called PA or AP, a findings or impression, two splits."""
    frontals = [
        replace(study, views=tuple(view for view in study.views if view.raw_view in ("PA", "AP"))) for study in studies
    ]
    with_images = [study for study in frontals if study.views]
    with_text = [study for study in with_images if any(study.sections.get(name) for name in ("findings", "impression"))]
    joined = [replace(study, split="train" if study.split == "train" else "valid") for study in with_text]
    return [("MGCA: images are PA or AP", with_images), ("MGCA: have findings or impression", joined)]


def _by_image(studies: Sequence[Study]) -> list[Study]:
    """One row a frontal image, named as the image's file, as the original trains; ids that collide get the study's."""
    rows = []
    stems = Counter(Path(view.path).stem for study in studies for view in study.views)
    for study in studies:
        for view in study.views:
            if view.view == FRONTAL:
                stem = Path(view.path).stem
                name = stem if stems[stem] == 1 else f"{study.study_id}-{stem}"
                rows.append(replace(study, study_id=name, views=(view,)))
    return rows


def _without_shared(chosen: Chosen, on_leak: str) -> tuple[list[Study], list[Reject]]:
    """Mark studies that share an image with another; an image in two splits stops, or costs the training study."""
    holders: defaultdict[str, list[Study]] = defaultdict(list)
    for study in chosen.studies:
        for view in study.views:
            holders[view.sha256].append(study)
    shared = [studies for studies in holders.values() if len(studies) > 1]
    marked = {study.study_id for studies in shared for study in studies}
    leaks = [studies for studies in shared if len({study.split for study in studies}) > 1]
    if leaks and on_leak == "stop":
        one, other = leaks[0][0].study_id, leaks[0][1].study_id
        raise InputError(
            f"image-shared: {len(leaks)} images are in studies of two splits (first: {one} and {other}); "
            "correct the source, or --on-leak drop leaves out the training studies"
        )
    if marked:
        chosen.notes.append(f"image-shared: {len(marked)} studies share an image with another study; one text is wrong")
    order = ("train", "valid", "test")
    dropped = set()
    for studies in leaks:
        latest = max(order.index(study.split) for study in studies)
        dropped |= {study.study_id for study in studies if order.index(study.split) < latest}
    rejects = [
        Reject(f"study {name}", name, "image-shared", "a study of a test or validation split has the same image")
        for name in sorted(dropped)
    ]
    kept = [
        replace(study, flags=(*study.flags, "image-shared")) if study.study_id in marked else study
        for study in chosen.studies
        if study.study_id not in dropped
    ]
    return kept, rejects
