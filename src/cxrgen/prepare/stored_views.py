"""Studies get their stored images: unreadable and repeated ones left out, look-alikes and shared ones marked.

Only now is it known which studies there are, so each also gets the id of its prior here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.core.records import FRONTAL, SPLITS, UNKNOWN, Reject, Study, View
from cxrgen.imaging.patients import several_patients
from cxrgen.imaging.views import order_views
from cxrgen.prepare.image_store import OTHER_PATIENT, StoredImage, image_key, is_near_duplicate
from cxrgen.prepare.pipeline import Selection, Settings, Views, dicom_places, record_targets, with_frontal
from cxrgen.prepare.prior_studies import prior_ids

_Images = Mapping[str, StoredImage]


def after_images(selection: Selection, images: _Images, settings: Settings) -> None:
    """Give studies their stored images; leave out images that could not be read, and studies without any left."""
    stored = {study.study_id: _stored(study, images) for study in selection.studies}
    selection.notes += _remarks(selection.studies, images, stored)
    readable = [study for study in selection.studies if stored[study.study_id] or not study.views]
    selection.record("have an image that can be read", readable, _unreadable(selection.studies, images, stored), stored)
    if settings.by == "image" and settings.views_by:
        frontals = [study for study in selection.studies if stored[study.study_id][0].view == FRONTAL]
        selection.record("show a frontal by their picture", frontals, stored=stored)
    if settings.no_frontal == "reject":
        step = "have a frontal or unknown view that can be read"
        selection.record(step, *with_frontal(selection.studies, stored), stored)
    shared, rejects = _shared(selection, stored, settings.on_leak)
    dropped = {reject.id for reject in rejects}
    kept = [study for study in selection.studies if study.study_id not in dropped]
    priors = prior_ids(kept) if settings.by == "study" else {}
    studies = []
    for study in kept:
        alike = ("images-alike",) if _some_alike(study, images) else ()
        marks = ("image-shared",) if study.study_id in shared else ()
        prior = priors.get(study.study_id)
        flags = study.flags + alike + marks
        studies.append(replace(study, views=stored[study.study_id], flags=flags, prior_study_id=prior))
    selection.record("share no image with another split", studies, rejects)
    if settings.priors == "match":
        record_targets(selection, settings)


def _mine(study: Study, images: _Images) -> list[StoredImage]:
    return [images[image_key(study.study_id, number)] for number in range(len(study.views))]


def _stored(study: Study, images: _Images) -> tuple[View, ...]:
    """The images of a study that could be read, each once, in the fixed order; none of a study of two patients."""
    if _of_two_patients(study, images):
        return ()
    views = {
        image.sha256: _seen(
            replace(view, path=image.path, width=image.width, height=image.height, sha256=image.sha256), image
        )
        for view, image in reversed(list(zip(study.views, _mine(study, images))))
        if not image.code
    }
    return order_views(tuple(reversed(views.values())))


def _seen(view: View, image: StoredImage) -> View:
    """The view with what its picture shows, where that was asked and decided."""
    if image.view in ("", UNKNOWN):
        return view
    return replace(view, view=image.view, by_picture=image.confidence)


def _of_two_patients(study: Study, images: _Images) -> list[str]:
    """Names of a study's first image and of those of another patient; [] where there are none."""
    places = [number for number, image in enumerate(_mine(study, images)) if image.code == OTHER_PATIENT]
    return [Path(study.views[place].path).name for place in (dicom_places(study)[0], *places)] if places else []


def _unreadable(studies: Sequence[Study], images: _Images, stored: Views) -> list[Reject]:
    rejects = []
    for study in studies:
        for view, image in zip(study.views, _mine(study, images)):
            if image.code:
                rejects.append(Reject(Path(view.path).name, study.study_id, image.code, image.hint))
        if strangers := _of_two_patients(study, images):
            hint = several_patients(strangers)
            rejects.append(Reject(f"study {study.study_id}", study.study_id, OTHER_PATIENT, hint))
        elif study.views and not stored[study.study_id]:
            hint = "none of its images is usable"
            rejects.append(Reject(f"study {study.study_id}", study.study_id, "no-image", hint))
    return rejects


def _remarks(studies: Sequence[Study], images: _Images, stored: Views) -> list[str]:
    unusual = Counter(note for image in images.values() for note in image.notes)
    readable = sum(not image.code for study in studies for image in _mine(study, images))
    repeated = readable - sum(map(len, stored.values()))
    return [
        *(f"{n} images: {note}" for note, n in sorted(unusual.items())),
        *_pictures_asked(images),
        *([f"{repeated} images stand twice in their study and are kept once"] if repeated else []),
    ]


def _pictures_asked(images: _Images) -> list[str]:
    """One line on what the pictures of unknown views show; [] where none was asked."""
    shown = Counter(image.view for image in images.values() if image.view)
    if not shown:
        return []
    undecided = shown.pop(UNKNOWN, 0)
    decided = ", ".join(f"{count} {view}" for view, count in sorted(shown.items())) or "none"
    return [f"views by picture: {decided}; {undecided} of {shown.total() + undecided} undecided, which stay unknown"]


def _some_alike(study: Study, images: _Images) -> bool:
    """Does a study hold two images that look like one exposure, processed twice? They are marked and both kept."""
    hashes = list({image.sha256: image.dhash for image in _mine(study, images) if image.path}.values())
    return any(is_near_duplicate(one, other) for one, other in combinations(hashes, 2))


def _shared(selection: Selection, stored: Views, on_leak: str) -> tuple[set[str], list[Reject]]:
    """Ids of studies that share an image with another; an image in two splits stops, or costs the training study."""
    holders: defaultdict[str, list[Study]] = defaultdict(list)
    for study in selection.studies:
        for view in stored[study.study_id]:
            holders[view.sha256].append(study)
    shared = [studies for studies in holders.values() if len(studies) > 1]
    marked = {study.study_id for studies in shared for study in studies}
    leaks = [studies for studies in shared if len({study.split for study in studies}) > 1]
    if leaks and on_leak == "stop":
        one, other = leaks[0][0].study_id, leaks[0][1].study_id
        raise InputError(
            f"image-shared: {len(leaks)} images are in studies of two splits; "
            "correct the source, or --on-leak drop leaves out the training studies",
            detail=f"the first are {one} and {other}",
        )
    if marked:
        note = f"image-shared: {len(marked)} studies share an image with another study; one text is wrong"
        selection.notes.append(note)
    return marked, _left_out(leaks)


def _left_out(leaks: Sequence[Sequence[Study]]) -> list[Reject]:
    """Of the studies that share an image, those of every split but the last one."""
    dropped = set()
    for studies in leaks:
        latest = max(SPLITS.index(study.split) for study in studies)
        dropped |= {study.study_id for study in studies if SPLITS.index(study.split) < latest}
    hint = "a study of a test or validation split has the same image"
    return [Reject(f"study {name}", name, "image-shared", hint) for name in sorted(dropped)]
