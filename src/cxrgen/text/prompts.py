"""The human turn of a study: every view named by what it shows, then what is known, then the task.

One rule for preparing, training and generating: a prompt states only the views that are given, so a model never reads
of an image that it cannot see. A prompt's name is recorded with data and checkpoint; wording changes get a new name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cxrgen.core.errors import unknown
from cxrgen.core.records import FRONTAL, LATERAL, Conversation, Study, Turn, View
from cxrgen.text.special_tokens import IMAGE as IMAGE
from cxrgen.text.special_tokens import without_special_tokens

SPEAKERS = {  # as conversation files name them (in any case), and as `Turn.role` does
    "human": "human",
    "user": "human",
    "assistant": "assistant",
    "gpt": "assistant",
    "report": "assistant",
}
_VIEW_NAMES = {FRONTAL: "Frontal", LATERAL: "Lateral"}


def study_prompt(views: Sequence[View], indication: str | None = None, prior: str | None = None, task: str = "") -> str:
    """A line a view with its `<image>`, indication and prior report where given, then the task."""
    lines = [f"{_VIEW_NAMES.get(view.view, 'View')}: {IMAGE}" for view in views]
    if indication:
        lines.append(f"Indication: {_one_line(indication)}")
    if prior:
        lines.append(f"Prior report: {_one_line(prior)}")
    return "\n".join([*lines, task or "Write the report."])


def _one_line(text: str) -> str:
    return " ".join(without_special_tokens(text).split())


def original_prompt(
    views: Sequence[View], indication: str | None = None, prior: str | None = None, task: str = ""
) -> str:
    """Prompt `original`: one fixed sentence, then the images; neither indication nor prior."""
    return "\n".join([task or "Illustrate the image through a detailed medical report", *(IMAGE for _ in views)])


PROMPTS: dict[str, Callable[[Sequence[View], str | None, str | None, str], str]] = {
    "study": lambda views, indication, prior, task: study_prompt(views, indication, task=task),
    "study-prior": study_prompt,
    "original": original_prompt,
}


def tells_prior(prompt: str) -> bool:
    """Whether a prompt of this name holds the text of the report before."""
    return prompt == "study-prior"


def prior_reports(studies: Sequence[Study], prompt: str) -> dict[str, str]:
    """Study id to the report of the study before, whatever its split; empty where the prompt has none."""
    if not tells_prior(prompt):
        return {}
    reports = {study.study_id: study.report for study in studies if study.report is not None}
    return {study.study_id: reports[study.prior_study_id] for study in studies if study.prior_study_id in reports}


def shown_views(study: Study, views: str) -> tuple[View, ...]:
    """The study's images that are shown under `views`: all, frontal or lateral."""
    if views not in ("all", FRONTAL, LATERAL):
        raise unknown("--views", views, ("all", FRONTAL, LATERAL))
    return tuple(view for view in study.views if views in ("all", view.view))


def study_conversation(
    study: Study, views: str = "all", prompt: str = "study", prior: str | None = None, task: str = ""
) -> Conversation:
    """A study as the conversation that a report writer has about it; no answer turn where there is no report.

    `prior` is the text of the report before; prompt `study-prior` includes it, the others do not. `task` replaces the
    sentence that asks for the report.
    """
    if prompt not in PROMPTS:
        raise unknown("--prompt", prompt, PROMPTS)
    shown = shown_views(study, views)
    turns = [Turn("human", PROMPTS[prompt](shown, study.sections.get("indication"), prior, task))]
    if study.report is not None:
        turns.append(Turn("assistant", without_special_tokens(study.report)))
    return Conversation(study.study_id, tuple(view.path for view in shown), tuple(turns))
