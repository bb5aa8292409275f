"""The human turn of a study: every view named by what it shows, then what is known, then the task.

One rule for preparing, training and generating: a prompt states only what is given, so a model never reads of an image
that it cannot see. A prompt's name is recorded with data and checkpoint; wording changes get a new name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cxrgen.core.errors import UsageError, unknown
from cxrgen.core.progress import say
from cxrgen.core.records import FRONTAL, LATERAL, Conversation, Study, Turn, View
from cxrgen.text.context import LABELS, SECTIONS, Known, Prior, known_of, parts_of, priors_of
from cxrgen.text.label_words import stated_words
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
_PRIOR_NAMES = {FRONTAL: "Prior frontal image", LATERAL: "Prior lateral image"}


def study_prompt(known: Known) -> str:
    """A line an image with its `<image>`, those of the study before behind; what is known, a line each; the task."""
    prior = known.prior
    when = "" if prior.days is None else f", {_days_earlier(prior.days)}"
    lines = [f"{_VIEW_NAMES.get(view.view, 'View')}: {IMAGE}" for view in known.views]
    lines += [f"{_PRIOR_NAMES.get(view.view, 'Prior image')}{when}: {IMAGE}" for view in prior.views]
    lines += [f"{name.capitalize()}: {_one_line(known.sections[name])}" for name in SECTIONS if name in known.sections]
    if known.labels:
        lines.append(f"Image labels: {_one_line(known.labels)}")
    if prior.report:
        lines.append(f"Prior report{when}: {_one_line(prior.report)}")
    elif prior.days is not None and not prior.views:
        lines.append(f"Prior study: {_days_earlier(prior.days)}")
    return "\n".join([*lines, known.task or "Write the report."])


def _days_earlier(days: int) -> str:
    return "the same day" if days == 0 else "1 day earlier" if days == 1 else f"{days} days earlier"


def _one_line(text: str) -> str:
    return " ".join(without_special_tokens(text).split())


def original_prompt(known: Known) -> str:
    """Prompt `original`: one fixed sentence, then the images, and nothing else."""
    task = known.task or "Illustrate the image through a detailed medical report"
    return "\n".join([task, *(IMAGE for _ in known.views)])


PROMPTS: dict[str, Callable[[Known], str]] = {
    "study": study_prompt,
    "study-prior": study_prompt,
    "original": original_prompt,
}
_CONTEXTS = {"study-prior": ("indication", "prior-report"), "original": ()}  # where --context says nothing
_CONTEXT = ("indication",)  # of all other prompts


def context_of(prompt: str, context: str = "") -> tuple[str, ...]:
    """The parts that are stated by `prompt`, or those that `context` names instead. Raises UsageError for others."""
    if prompt not in PROMPTS:
        raise unknown("--prompt", prompt, PROMPTS)
    parts = parts_of(context) if context else _CONTEXTS.get(prompt, _CONTEXT)
    if prompt == "original" and parts:
        raise UsageError(f"--context {context}: prompt original states nothing but its images; leave --context out")
    return parts


@dataclass(frozen=True)
class PromptRule:
    """How studies are asked about: wording, images and context. Raises UsageError for values that cannot be."""

    prompt: str = "study"
    views: str = "all"  # of a study: all, frontal or lateral
    context: str = ""  # names of `context.PARTS` with commas, or "none"; "": as the prompt has it
    prior_words: int = 0  # longest prior report; 0: no limit
    max_images: int = 0  # most images, those of the study first, frontal ones first; 0: no limit
    task: str = ""  # in place of the sentence that asks for the report

    def __post_init__(self) -> None:
        if self.views not in ("all", FRONTAL, LATERAL):
            raise unknown("--views", self.views, ("all", FRONTAL, LATERAL))
        if min(self.prior_words, self.max_images) < 0:
            raise UsageError("--prior_words and --max_images are 0 (no limit) or more")
        context_of(self.prompt, self.context)

    @property
    def parts(self) -> tuple[str, ...]:
        """What is stated besides the images, where it is known."""
        return context_of(self.prompt, self.context)


def say_cut_images(studies: Iterable[Study], priors: Mapping[str, Prior], rule: PromptRule) -> None:
    """Say how many studies have more images than the rule shows."""
    if not rule.max_images:
        return
    wider = replace(rule, max_images=0)
    asked = (study_conversation(study, wider, priors.get(study.study_id)) for study in studies)
    cut = sum(len(each.images) > rule.max_images for each in asked)
    if cut:
        say(f"{cut} studies have more than {rule.max_images} images (--max_images); their last ones are not shown")


def priors_by_rule(studies: Sequence[Study], rule: PromptRule) -> dict[str, Prior]:
    """Study id -> the study before, for those whose prompt states something of it."""
    return priors_of(studies, rule.parts, rule.prior_words)


def study_conversation(study: Study, rule: PromptRule = PromptRule(), prior: Prior | None = None) -> Conversation:
    """A study as the conversation that a report writer has about it; no answer turn where there is no report.

    `prior` is the study before, stated as far as the rule's context says.
    """
    known = _known_by(study, rule, prior)
    turns = [Turn("human", PROMPTS[rule.prompt](replace(known, task=rule.task)))]
    if study.report is not None:
        turns.append(Turn("assistant", without_special_tokens(study.report)))
    images = (view.path for view in (*known.views, *known.prior.views))
    return Conversation(study.study_id, tuple(images), tuple(turns))


def shows_prior(study: Study, rule: PromptRule, prior: Prior | None) -> bool:
    """Whether the prompt has a report or an image of the study before; its date alone tells no change."""
    shown = _known_by(study, rule, prior).prior
    return bool(shown.report or shown.views)


def _known_by(study: Study, rule: PromptRule, prior: Prior | None) -> Known:
    """What the prompt may state of a study and of the one before."""
    earlier = replace(prior or Prior(), views=_of_rule(prior.views if prior else (), rule))
    known = known_of(study.sections, _of_rule(study.views, rule), earlier, rule.parts, rule.max_images)
    return replace(known, labels=stated_words(study, rule.views) if LABELS in rule.parts else "")


def shown_views(study: Study, rule: PromptRule) -> tuple[View, ...]:
    """The images of the study itself that a prompt by the rule shows."""
    return _known_by(study, rule, None).views


def _of_rule(views: Iterable[View], rule: PromptRule) -> tuple[View, ...]:
    return tuple(view for view in views if rule.views in ("all", view.view))
