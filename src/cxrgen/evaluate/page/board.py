"""The scores: four to six tiles with those to look at first, the others folded, each score once.

A score has its interval, its best baseline, a line that shows how far it is from that baseline, and a verdict. Those
that are ticked can be copied as LaTeX, Markdown or CSV.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cxrgen.evaluate.agreement import Agreement
from cxrgen.evaluate.baselines import best_baseline
from cxrgen.evaluate.intervals import ends_text
from cxrgen.evaluate.page.findings import folded
from cxrgen.evaluate.published import Published, measured_too
from cxrgen.evaluate.scores import ARROWS, Score, Scores, loss
from cxrgen.evaluate.suites import SUMS, headline
from cxrgen.evaluate.verdicts import RULE, Ends, against_baseline, gain, gain_ends
from cxrgen.html import Html, Section, join, note, number, paragraph, table, tag
from cxrgen.html.charts import COLOURS
from cxrgen.html.dots import Dot, dot_line
from cxrgen.metrics import Better
from cxrgen.metrics.cards import CARDS, equal_to, metric_name, plain_name

_TILES = 6
_LEAST = 4  # tiles where no score is marked as telling
_SIGNS = {"better": "▲", "worse": "▼", "no significant difference": "●"}
_TAU = (
    "τ: how far the score agrees with errors that people counted in other reports (Kendall's tau of `cxrgen meta`; 1 "
    "would be the same order)."
)
Limits = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class _Line:
    """All that is shown of one score."""

    name: str
    score: Score
    best: tuple[str, Score] | None
    verdict: str  # "" without a baseline
    drawing: Html
    limits: Mapping[str, float]
    agreement: Agreement | None = None


def scoreboard(
    scores: Scores,
    baselines: Mapping[str, Scores],
    limits: Limits,
    notes: Sequence[str],
    agreement: Mapping[str, Agreement] | None = None,
) -> Section:
    """The panel of the page."""
    known = agreement or {}
    colours = {name: COLOURS[1 + i % (len(COLOURS) - 1)] for i, name in enumerate(baselines)}
    shown = {name: score for name, score in scores.metrics.items() if not score.single_finding}
    defined = {name: score for name, score in shown.items() if math.isfinite(score.value)}
    lines = {
        name: replace(_line(name, score, baselines, limits, colours), agreement=known.get(name))
        for name, score in defined.items()
    }
    first = headline(defined, at_most=_TILES) or list(defined)[:_LEAST]
    rest = [line for name, line in lines.items() if name not in first]
    parts: list[Html] = [note(remark) for remark in notes]
    parts += [tag("div", *(_tile(lines[name]) for name in first), class_="tiles"), _legend(colours)]
    if rest:
        parts.append(folded(f"{len(rest)} further scores", _table(rest)))
    if len(defined) < len(shown):
        names = ", ".join(plain_name(name) for name in shown if name not in defined)
        parts.append(paragraph(f"Undefined on this set: {names}."))
    parts += [*_sums(scores, baselines), _copying()]
    tau = f" {_TAU}" if any(line.agreement for line in lines.values()) else ""
    return Section("Scores", parts, f"With 95 % intervals between patients. {RULE}{tau}")


def _line(
    name: str, score: Score, baselines: Mapping[str, Scores], limits: Limits, colours: Mapping[str, str]
) -> _Line:
    of_baselines = {baseline: of.metrics for baseline, of in baselines.items()}
    best = best_baseline(name, score.better, of_baselines)
    verdict = against_baseline(score, score.against) if score.against else ""
    reference = best[1].value if best else 0.0
    marks = {baseline: _gain(of[name].value, reference, score.better)
             for baseline, of in of_baselines.items() if name in of and best and baseline != best[0]}  # fmt: skip
    if score.against:
        ends: Ends = gain_ends(score.against.interval, score.better)
        distance = gain(score.against.difference, score.better)
    else:
        distance, ends = _gain(score.value, reference, score.better), None
    drawing = dot_line(Dot(distance, ends, verdict, marks), colours)
    return _Line(name, score, best, verdict, drawing, {key: of[name] for key, of in limits.items() if name in of})


def _gain(value: float, reference: float, better: Better) -> float:
    return float(loss(reference, better) - loss(value, better))


def _name(line: _Line) -> Html:
    words = f"{plain_name(line.name)} {ARROWS[line.score.better]}"
    link = tag("a", words, href=f"#card-{metric_name(line.name)}", title=line.name)
    if line.agreement is None or line.agreement.tau is None:
        return link
    ends = f"{ends_text(line.agreement.ci95)}, {line.agreement.n:,} reports"
    return join((link, tag("span", f"τ {number(line.agreement.tau)}", class_="soft", title=ends)), " ")


def _tick(line: _Line, ticked: bool) -> Html:
    ends = line.score.interval or (math.nan, math.nan)
    data = {"data-name": line.name, "data-plain": plain_name(line.name), "data-value": f"{line.score.value:.6g}"}
    data |= {"data-low": _plain(ends[0]), "data-high": _plain(ends[1]), "data-better": line.score.better}
    if line.best:
        data |= {"data-baseline": line.best[0], "data-baseline-value": _plain(line.best[1].value)}
    attributes = {**data, "aria_label": f"copy {plain_name(line.name)}", "checked": "" if ticked else None}
    return tag("input", type="checkbox", class_="tick", **attributes)


def _plain(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""


def _verdict(line: _Line) -> Html:
    kind = line.verdict if line.verdict in ("better", "worse") else "open"
    return tag("span", f"{_SIGNS[line.verdict]} {line.verdict}", class_=f"verdict {kind}") if line.verdict else Html("")


def _tile(line: _Line) -> Html:
    ends = ends_text(line.score.interval, line.score.no_interval)
    beside = f"best baseline {number(line.best[1].value)}, {line.best[0]}" if line.best else "no baseline"
    limits = [
        tag("div", f"{name.replace('_', ' ')} {number(value)}", class_="soft") for name, value in line.limits.items()
    ]
    return tag(
        "div",
        tag("div", _name(line), _tick(line, True), class_="label"),
        tag("div", tag("b", number(line.score.value)), " ", tag("span", ends, class_="soft"), class_="value"),
        tag("div", line.drawing),
        tag("div", beside, " ", _verdict(line)),
        *limits,
        class_=f"tile {line.verdict if line.verdict in ('better', 'worse') else 'open'}",
    )


def _table(lines: Sequence[_Line]) -> Html:
    known = list(dict.fromkeys(name for line in lines for name in line.limits))
    columns = ("", "score", "value", "95 %", "", "best baseline", "", "gain over it", "95 %", "p", "verdict", *known)
    rows = [
        [
            _tick(line, False),
            _name(line),
            tag("b", number(line.score.value)),
            ends_text(line.score.interval, line.score.no_interval),
            line.drawing,
            *_beside(line),
            *(number(line.limits[name]) if name in line.limits else "" for name in known),
        ]
        for line in lines
    ]
    return table(columns, rows, left=(0, 1, 6, 10))


def _beside(line: _Line) -> list[object]:
    against = line.score.against
    if line.best is None or against is None:
        return ["–", "", "–", "–", "–", ""]
    better = line.score.better
    ends = ends_text(gain_ends(against.interval, better))
    gained = number(gain(against.difference, better))
    return [number(line.best[1].value), line.best[0], gained, ends, f"{against.p_corrected:.3f}", _verdict(line)]


def _legend(colours: Mapping[str, str]) -> Html:
    keys = [tag("span", tag("i", style=f"background:var({colour})"), name) for name, colour in colours.items()]
    words = (
        "The middle of each line is the best baseline; right of it is better. Every line has its own scale. "
        "Baselines are reports written without looking at an image: "
    )
    return tag("div", tag("span", words), *keys, class_="legend") if keys else Html("")


def _sums(scores: Scores, baselines: Mapping[str, Scores]) -> list[Html]:
    """The sums of scores beside those of the baselines; nothing where a part is missing."""
    totals = {name: total for name, total in scores.totals(baselines).items() if total.value is not None}
    if not totals:
        return []
    rows = [
        [name, number(total.value), *map(number, total.baselines.values()), " + ".join(SUMS[name])]
        for name, total in totals.items()
    ]
    columns = ("sum", "value", *baselines, "of")
    return [folded("Sums", table(columns, rows, left=(0, len(columns) - 1)))]


def _copying() -> Html:
    buttons = [tag("button", f"Copy as {kind}", type="button", data_copy=kind) for kind in ("LaTeX", "Markdown", "CSV")]
    shown = tag("textarea", readonly="", hidden="", id="copied", rows="6", aria_label="what was copied")
    words = tag("span", "the ticked scores", class_="soft", id="copy-status", role="status")
    return tag("div", *buttons, " ", words, shown, class_="copying needs-script")


def beside_published(scores: Scores, published: Sequence[Published]) -> Section | None:
    """Published values of the same test set and section beside this run's; None where there are none."""
    rows = [
        [plain_name(each.score), number(scores.metrics[each.score].value), each.system, number(each.value), each.n]
        + [each.definition, each.source]
        for each in measured_too(list(published), scores.values())
    ]
    if not rows:
        return None
    columns = ("score", "this run", "system", "published", "n", "definition", "source")
    words = (
        "Values as their sources print them, of the same test set and section. Nothing was tested: without the reports "
        "themselves a difference may be chance, another list of studies, or another program."
    )
    return Section("Published values", [table(columns, rows, (0, 2, 5, 6))], words)


def cards(scores: Scores) -> Section:
    """What each score is, which program it equals, and its signature."""
    metrics: dict[str, list[str]] = {}
    for name, score in scores.metrics.items():
        if not score.single_finding:
            metrics.setdefault(metric_name(name), []).append(name)
    return Section("What the scores mean", [_card(metric, names, scores) for metric, names in metrics.items()])


def _card(metric: str, names: Sequence[str], scores: Scores) -> Html:
    card = CARDS.get(metric)
    equals = dict.fromkeys(words for name in names if (words := equal_to(name)))
    signatures = dict.fromkeys(scores.metrics[name].signature for name in names)
    parts = [
        paragraph(card.what if card else "A metric of your own."),
        *(paragraph("Equal to: ", words, ".") for words in equals),
        paragraph("Names in files: ", join((tag("code", name) for name in names), ", "), "."),
        paragraph("Signature: ", join((tag("code", signature) for signature in signatures), " ")),
    ]
    title = ", ".join(dict.fromkeys(plain_name(name) for name in names[:4])) + (", …" if len(names) > 4 else "")
    return tag("details", tag("summary", title), tag("div", *parts, id=f"card-{metric}"))
