"""The human turn of a study: every view named by what it shows, then what is known, then the task.

One rule for preparing, training and generating: a prompt states only the views that are given, so a model is never told
of a film it cannot see. A prompt's name is recorded with data and checkpoint; wording changes get a new name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cxrgen.records import FRONTAL, LATERAL, View

IMAGE = "<image>"
_VIEW_NAMES = {FRONTAL: "Frontal", LATERAL: "Lateral"}


def study_prompt(views: Sequence[View], indication: str | None = None, prior: str | None = None) -> str:
    """Prompt `study`: one line a view with its `<image>`, then indication and prior report where given, then the task."""
    lines = [f"{_VIEW_NAMES.get(view.view, 'View')}: {IMAGE}" for view in views]
    if indication:
        lines.append(f"Indication: {' '.join(indication.split())}")
    if prior:
        lines.append(f"Prior report: {' '.join(prior.split())}")
    return "\n".join([*lines, "Write the report."])


def original_prompt(views: Sequence[View], indication: str | None = None, prior: str | None = None) -> str:
    """Prompt `original`: one fixed sentence, then the images; neither indication nor prior."""
    return "\n".join(["Illustrate the image through a detailed medical report", *(IMAGE for _ in views)])


PROMPTS: dict[str, Callable[[Sequence[View], str | None, str | None], str]] = {
    "study": study_prompt,
    "original": original_prompt,
}
