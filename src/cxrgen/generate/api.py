"""One study's report, from its images and what is known of it: `cxrgen.load(MODEL).report(images, indication=...)`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.progress import say
from cxrgen.core.records import FRONTAL, LATERAL, OTHER, UNKNOWN, Study, View
from cxrgen.generate.decoding.decode import write_reports
from cxrgen.generate.engine import make_sampler, open_on_device
from cxrgen.generate.settings import Settings, read_format, with_options
from cxrgen.imaging.views import view_class
from cxrgen.text.prompts import study_conversation, tells_prior

Paths = str | os.PathLike[str]


class ReportGenerator:
    """A checkpoint in memory, and how it writes. Raises UsageError for another engine than transformers."""

    def __init__(self, settings: Settings) -> None:
        if settings.engine != "transformers":
            raise UsageError(f"one study is written by engine transformers; {settings.engine} is for question files")
        self.settings = settings
        self.checkpoint = open_on_device(settings)

    def report(
        self,
        views: Paths | Sequence[Paths],
        indication: str | None = None,
        prior: str | None = None,
        shown: Sequence[str] | None = None,
    ) -> str:
        """The report of a study.

        `views` are the files of its images, `shown` what each of them shows (frontal, lateral, other, unknown); without
        it DICOM files say so themselves, and of others the first is taken for a frontal, the rest for laterals.
        Only what the checkpoint was trained to see is shown to it. Raises InputError for an image that cannot be read.
        """
        paths = [Path(views)] if isinstance(views, (str, os.PathLike)) else [Path(view) for view in views]
        kinds = view_kinds(paths, shown)
        sections = {"indication": indication} if indication else {}
        images = tuple(View(str(path), kind) for path, kind in zip(paths, kinds))
        study = Study("study", "", views=images, sections=sections)
        format = self.settings.format
        if prior and not tells_prior(format.prompt):
            say("this checkpoint was trained without prior reports, so the prior is left out")
        conversation = study_conversation(study, format.views, format.prompt, prior)
        if not conversation.images:
            raise InputError(
                f"no image left to show: the checkpoint takes {format.views} images, given are {', '.join(kinds)}"
            )
        settings = self.settings
        written = write_reports(
            self.checkpoint, [conversation], Path(), 1, settings.max_new_tokens, make_sampler(settings)
        )
        return next(report for _, report in written).report


def load(
    model: Paths, conv_mode: str | None = None, compat: str | None = None, views: str | None = None, **settings: Any
) -> ReportGenerator:
    """Open a checkpoint folder. `settings` are those of `Settings`: max_new_tokens, temperature, top_p, seed, dtype."""
    folder = Path(model)
    return ReportGenerator(Settings(folder, with_options(read_format(folder), conv_mode, compat, views), **settings))


def view_kinds(paths: Sequence[Path], shown: Sequence[str] | None) -> list[str]:
    """What each image shows. Raises UsageError when `shown` has another length or an unknown word."""
    if not paths:
        raise UsageError("a study without an image; give at least one")
    if shown is not None:
        known = (FRONTAL, LATERAL, OTHER, UNKNOWN)
        if len(shown) != len(paths) or not set(shown) <= set(known):
            raise UsageError(f"--image-views: one of {', '.join(known)} for each of the {len(paths)} images")
        return list(shown)
    return [_said_by_file(path) or (LATERAL if place else FRONTAL) for place, path in enumerate(paths)]


def _said_by_file(path: Path) -> str:
    """What a DICOM file says that it shows; "" for other files and other words."""
    if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
        return ""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["ViewPosition"])
    except (InvalidDicomError, OSError, ValueError):
        return ""  # whoever reads the image says what is wrong with it
    kind = view_class(str(header.get("ViewPosition", "")))
    return "" if kind == UNKNOWN else kind
