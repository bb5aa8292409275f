"""One study's report, from its images and what is known of it: `cxrgen.load(MODEL).report(images, indication=...)`."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.progress import say
from cxrgen.core.records import Study, View
from cxrgen.generate.decoding.reports import write_reports
from cxrgen.generate.decoding.sampling import make_sampler
from cxrgen.generate.engine import open_on_device
from cxrgen.generate.given_images import GivenImage, as_files
from cxrgen.generate.label_prompt import reader_of
from cxrgen.generate.run_checkpoint import ready_folder
from cxrgen.generate.settings import Settings, named_folder, read_format, with_options
from cxrgen.imaging.stored import refuse_two_patients, views_of_study
from cxrgen.imaging.views import VIEW_RULES, order_views
from cxrgen.text.context import NOTHING, Prior
from cxrgen.text.prompts import study_conversation

Paths = str | os.PathLike[str]


class ReportGenerator:
    """A checkpoint in memory, and how it writes. Raises UsageError for engine vllm."""

    def __init__(self, settings: Settings) -> None:
        if settings.engine == "vllm":
            raise UsageError("one study is written by engine auto; vllm is for question files")
        if settings.samples:
            raise UsageError("one study gets one report; samples are for question files (`cxrgen generate --samples`)")
        self.settings = settings
        self.reader = reader_of(settings)
        self.checkpoint = open_on_device(settings)
        self.sampler = make_sampler(settings.temperature, settings.top_p, settings.seed)

    def report(
        self,
        views: GivenImage | Sequence[GivenImage],
        indication: str | None = None,
        prior: str | None = None,
        shown: Sequence[str] | None = None,
        *,
        history: str | None = None,
        technique: str | None = None,
        comparison: str | None = None,
        prior_images: GivenImage | Sequence[GivenImage] = (),
        prior_shown: Sequence[str] | None = None,
        gap: int | None = None,
    ) -> str:
        """The report of a study.

        `views` are its images in any order: files, Pillow images, or arrays (H, W) of uint8, uint16 or float. `shown`
        is what each of them shows (frontal, lateral, other, unknown, or a word such as PA); without it DICOM files are
        asked, and of others the first is taken for a frontal, the rest for laterals. Images are read, named and ordered
        as in the set that the checkpoint was trained on, and only those are shown that it was trained to see. `prior`
        is the report of the study before, `prior_images` and `prior_shown` are its images, `gap` is the days between
        the two. Raises InputError for an image that cannot be read, and UsageError for what the checkpoint was not
        trained to be given.
        """
        given = {"indication": indication, "history": history, "technique": technique, "comparison": comparison}
        sections = {name: text for name, text in given.items() if text}
        with as_files(views) as files, as_files(prior_images) as prior_files:
            before = Prior(prior or None, self._views(prior_files, prior_shown) if prior_files else (), gap)
            self._check_known(sections, before)
            if prior_files:
                refuse_two_patients([*files, *prior_files])
            study = Study("study", "", views=self._views(files, shown), sections=sections)
            return self._written(study, before)

    def _written(self, study: Study, before: Prior) -> str:
        format = self.settings.format
        if format.view_rules not in ("", VIEW_RULES):
            say(
                f"trained on views by rules {format.view_rules}, here they are by rules {VIEW_RULES}; see --image-views"
            )
        if self.reader is not None:
            (study,) = self.reader.with_labels([study], self.settings.asks, Path())
        conversation = study_conversation(study, self.settings.asks, before)
        if not conversation.images:
            raise InputError(
                f"no image left to show: the checkpoint takes {format.views} images, given are "
                f"{', '.join(view.view for view in study.views)}; --image-views says what images show"
            )
        most = self.settings.max_new_tokens
        try:
            written = write_reports(self.checkpoint, [conversation], Path(), 1, most, self.sampler)
            return next(report for _, report in written).report
        except InputError as error:  # its caller has named the images
            raise InputError(error.shown(show_values=True)) from None

    def _views(self, paths: Sequence[Path], shown: Sequence[str] | None) -> tuple[View, ...]:
        return order_views(views_of_study(paths, shown, self.settings.format.images))

    def _check_known(self, sections: Collection[str], prior: Prior) -> None:
        """Raises UsageError for what the checkpoint was not trained to be given."""
        given = {"prior-report": bool(prior.report), "prior-images": bool(prior.views), "gap": prior.days is not None}
        parts = self.settings.format.asks.parts
        for part in (*sections, *(name for name, is_given in given.items() if is_given)):
            if part not in parts:
                known = ", ".join(parts) or NOTHING
                raise UsageError(f"a prompt of this checkpoint states no {part}; leave it out (it states: {known})")


def load(
    model: Paths,
    conv_mode: str | None = None,
    compat: str | None = None,
    views: str | None = None,
    context: str | None = None,
    **settings: Any,
) -> ReportGenerator:
    """Open a checkpoint folder, or any image-text model by its folder or name on the hub.

    `settings` are those of `Settings`: max_new_tokens, temperature, top_p, seed, dtype, question.
    """
    folder = ready_folder(named_folder(Path(model)))
    format = with_options(read_format(folder), conv_mode, compat, views, context)
    return ReportGenerator(Settings(folder, format, **settings))
