"""training.html: what a run has done so far, written anew at each validation and at the end.

The page is made from the files of the run's folder alone (log.jsonl, warmup.json, examples.json), so after a resume it
shows the whole history, and a copied folder gives the same page. It holds images, and report texts unless `--hide_text`
leaves them out, so only its owner can read it. A page that cannot be written is said and never ends a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrgen.core.files import write_json, write_text
from cxrgen.core.journal import read_journal
from cxrgen.core.progress import say
from cxrgen.core.records import Conversation
from cxrgen.core.tables import read_json
from cxrgen.evaluate.intervals import ends_text
from cxrgen.evaluate.label_scores import COLUMNS
from cxrgen.html import (
    Html,
    Section,
    differing_words,
    facts,
    image,
    line_chart,
    note,
    number,
    paragraph,
    render,
    side_by_side,
    table,
    tag,
)
from cxrgen.html.thumbnails import thumbnail
from cxrgen.train.run_log import LOG, Line
from cxrgen.train.watch_config import LogConfig

PAGE, EXAMPLES, WARMUP = "training.html", "examples.json", "warmup.json"
_SIDE = 240  # pixels: longest side of an image on the page
_SPANS = 25  # a curve is smoothed over its length divided by this
_MOST_POINTS = 1000  # of a curve that are drawn
_COURSE = {
    "learning_rate": "Learning rate",
    "gradient_norm": "Gradient norm before clipping",
    "tokens_per_second": "Tokens a second",
    "memory_gb": "Memory in GB",
}
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class RunPage:
    """The page of the run in `folder`."""

    folder: Path
    settings: Mapping[str, Any]
    config: LogConfig

    def update(self) -> None:
        """Write the page anew; a failure is said and nothing more."""
        try:
            title = f"Training of {self.folder.name}"
            write_text(self.folder / PAGE, render(title, self._sections()), private=True)
        except Exception as error:  # a damaged image, a full disk: the training matters more than its page
            say(f"warning: {PAGE} was not written ({type(error).__name__}); the run continues")

    def keep_examples(
        self, step: int, conversations: Sequence[Conversation], reports: Sequence[str], images: Path
    ) -> None:
        """examples.json: the first studies of a validation with the reports that were written for them."""
        shown = [
            {
                "images": [str((images / path).resolve()) for path in each.images],
                "reference": each.turns[-1].text,
                "report": report,
            }
            for each, report in list(zip(conversations, reports))[: self.config.page_studies]
        ]
        try:
            write_json(self.folder / EXAMPLES, {"step": step, "studies": shown}, private=True)
        except OSError as error:
            say(f"warning: {EXAMPLES} was not written ({type(error).__name__}); the run continues")

    def restart(self, step: int) -> None:
        """Forget reports that were written after `step`."""
        if _read(self.folder / EXAMPLES).get("step", 0) > step:
            (self.folder / EXAMPLES).unlink()

    def _sections(self) -> list[Section]:
        lines, warmup = read_journal(self.folder / LOG), _read(self.folder / WARMUP)
        rows = [(name, str(value)) for name, value in sorted(self.settings.items()) if value not in ("", False)]
        sections = [
            Section("Loss", _losses(lines)),
            Section("Validation", _validation(lines)),
            Section("Rewards", _rewards(lines)),
            self._examples(_read(self.folder / EXAMPLES)),
            Section("Warm-up", _warm_up(warmup)),
            Section("Course", _charts(lines, _COURSE)),
            Section("Settings", [table(("setting", "value"), rows, left=(0, 1))]),
        ]
        return [section for section in sections if section.parts]

    def _examples(self, content: Mapping[str, Any]) -> Section:
        studies = content.get("studies", [])[: self.config.page_studies]
        parts = [_study(number, each, self.config.hide_text) for number, each in enumerate(studies, 1)]
        words = f"Reports written at step {content.get('step', 0):,}, the same studies at each validation."
        hidden = " Texts were left out of this page."
        return Section("Validation studies", parts, words + hidden * self.config.hide_text)


def _read(file: Path) -> dict[str, Any]:
    return read_json(file) if file.is_file() else {}


def _study(number: int, study: Mapping[str, Any], hide_text: bool) -> Html:
    """Images beside reference and report; words that only one of the texts has are marked."""
    shots = []
    for place, path in enumerate(map(Path, study["images"]), 1):
        data = thumbnail(path, _SIDE)
        words = f"image {place} of study {number}"
        shots.append(image(data, words) if data else paragraph(f"{words}: not found"))
    parts = [tag("div", *shots, class_="images")]
    if not hide_text:
        texts = zip(("Reference", "Report"), differing_words(study["reference"], study["report"]))
        parts.append(
            side_by_side(
                *(tag("div", tag("div", name, class_="label"), tag("div", text, class_="report"))
                  for name, text in texts)
            )
        )  # fmt: skip
    return tag("div", tag("div", *parts, class_="split"), class_="case")


def _losses(lines: Sequence[Line]) -> list[Html]:
    if not lines:
        return [paragraph("No step was logged yet.")]
    raw, checked = _points(lines, "loss"), _points(lines, "eval_loss")
    curves = {"training, smoothed": smoothed(raw)} | ({"validation": checked} if checked else {})
    dots = {"training, smoothed": _thinned(raw)}
    last = f"{raw[-1][1]:.4f}" if raw else "–"
    head = {"steps": f"{int(lines[-1]['step']):,}", "last loss": last}
    if checked:
        best = min(checked, key=lambda point: point[1])
        head |= {"last validation loss": f"{checked[-1][1]:.4f}", "lowest": f"{best[1]:.4f} at step {best[0]:,.0f}"}
    return [facts(head), line_chart(curves, "Loss a token; dots are single steps", "step", points=dots)]


def _validation(lines: Sequence[Line]) -> list[Html]:
    scores = sorted({name for line in lines for name in line if name.startswith(("bleu", "rule"))})
    if not scores:
        return []
    return [line_chart({name: _points(lines, name) for name in scores}, "Reports written in validation", "step")]


def _rewards(lines: Sequence[Line]) -> list[Html]:
    """Rewards and what is watched beside them; why a look has ended the run comes first."""
    parts = [note(line["note"]) for line in lines if "note" in line]
    shown = (("reward",), ("distinct", "length_off"), ("words",), ("bleu_4", "rule_f1_micro_14"), ("kl", "clipped"))
    for group in shown:
        names = [f"{owner}{name}" for name in group for owner in ("", "held_", "outside_")]
        curves = {name: _thinned(points) for name in names if (points := _points(lines, name))}
        parts += [line_chart(curves, ", ".join(group), "step")] if curves and _points(lines, "reward") else []
    return parts


def _warm_up(content: Mapping[str, Any]) -> list[Html]:
    """Curves of the stages before the main one, and the label scores of the vision encoder."""
    parts = []
    for stage, steps in ((each["stage"], each["steps"]) for each in content.get("stages", [])):
        losses = [(float(number), float(loss)) for number, (loss, _) in enumerate(steps, 1)]
        rates = [(float(number), float(rate)) for number, (_, rate) in enumerate(steps, 1)]
        dots = {"loss": _thinned(losses)}
        parts.append(
            line_chart({"loss": smoothed(losses)}, f"{stage}: loss; dots are single steps", "step", points=dots)
        )
        parts.append(line_chart({"rate": _thinned(rates)}, f"{stage}: learning rate", "step"))
    return parts + _labels(content.get("labels", []))


def _labels(scores: Sequence[Mapping[str, Any]]) -> list[Html]:
    """Label scores of the vision encoder on validation studies, the most frequent label first."""
    rows = [
        (each["label"], each["images"], each["present"], number(each["auc"]), ends_text(each["auc_ci95"]),
         number(each["f1"]), ends_text(each["f1_ci95"]))
        for each in sorted(scores, key=lambda each: -each["present"])
    ]  # fmt: skip
    words = "Label scores of the vision encoder on validation studies. F1: as many images called as training has."
    return [table(COLUMNS, rows, caption=words)] if rows else []


def _charts(lines: Sequence[Line], names: Mapping[str, str]) -> list[Html]:
    """One chart for each of the numbers that were logged."""
    curves = {title: _thinned(_points(lines, name)) for name, title in names.items()}
    return [line_chart({title: points}, title, "step") for title, points in curves.items() if points]


def _points(lines: Sequence[Line], name: str) -> Points:
    return [(line["step"], line[name]) for line in lines if name in line]


def smoothed(points: Sequence[tuple[float, float]]) -> Points:
    """The exponential mean of a curve over a part of its length, without the pull of its first value; thinned."""
    keep = 1 - 2 / (max(1.0, len(points) / _SPANS) + 1)
    mean = weight = 0.0
    curve: Points = []
    for x, y in points:
        mean, weight = keep * mean + (1 - keep) * y, keep * weight + (1 - keep)
        curve.append((x, mean / weight))
    return _thinned(curve)


def _thinned(points: Sequence[tuple[float, float]]) -> Points:
    """Every n-th point and the last: more than the screen's width cannot be seen, and the page stays small."""
    every = -(-len(points) // _MOST_POINTS) or 1
    return [*points[:-1:every], *points[-1:]]
