"""Single studies for the page: which ones are shown, and a study's images and both texts with their differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cxrgen.core.records import Study
from cxrgen.evaluate.pairs import Pairs
from cxrgen.evaluate.scores import Scores
from cxrgen.evaluate.suites import headline, study_order
from cxrgen.html import Html, differing_words, image, join, number, side_by_side, tag
from cxrgen.html.thumbnails import thumbnail
from cxrgen.metrics import Floats

_SHOWN = 3  # studies of each kind
_IMAGE = 320  # pixels, longest side


def examples(scores: Scores) -> tuple[dict[str, list[int]], str]:
    """Row numbers of the studies to show by kind, and the sentence that says how they were ordered.

    Studies are sorted by a clinical score, ties by an overlap score, further ties by study id. Where both kinds of
    score exist, the studies come first in which words agree much better than findings.
    """
    defined = {name: values for name, values in scores.per_study.items() if np.isfinite(values).any()}
    chosen = study_order(defined)
    columns = [np.nan_to_num(defined[name], nan=np.inf) for name in chosen.values()]
    order = sorted(range(scores.n), key=lambda i: (*(column[i] for column in columns), scores.study_ids[i]))
    shown = min(_SHOWN, max(1, scores.n // 3))
    middle = max(shown, (scores.n - shown) // 2)
    kinds = {
        "Worst": order[:shown],
        "Middle": order[middle : middle + shown],
        "Best": order[max(middle + shown, scores.n - shown) :][::-1],
    }
    if len(chosen) == 2 and scores.n >= 10 * _SHOWN:
        gap = ranks(columns[1]) - ranks(columns[0])
        apart = sorted(set(range(scores.n)) - set(kinds["Worst"]), key=lambda i: (-gap[i], scores.study_ids[i]))
        kinds = {"Alike in words, unlike in findings": apart[:shown], **kinds}
    sentence = "Words that only the reference has are marked in it; words that only the report has are marked there."
    if chosen:
        sentence = f"Ordered by each study's own {' and then '.join(chosen.values())}. " + sentence
    return {kind: rows for kind, rows in kinds.items() if rows}, sentence


def ranks(values: Floats) -> Floats:
    """Ranks of N values as parts of 1, the same for equal values."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    return np.asarray(middle[inverse.reshape(-1)] / max(1, len(values) - 1), dtype=np.float64)


def example(row: int, pairs: Pairs, scores: Scores, study: Study | None, prepared: Path | None) -> Html:
    """One study: its images if a prepared set is given, its scores, both texts."""
    reference, hypothesis = differing_words(pairs.references[row], pairs.hypotheses[row])
    values = [
        f"{name} {number(float(scores.per_study[name][row]))}"
        for name in headline(scores.per_study)
        if np.isfinite(scores.per_study[name][row])
    ]
    return tag(
        "article",
        tag("h4", f"Study {pairs.study_ids[row]}", tag("span", " · ".join(values), class_="soft")),
        tag(
            "div",
            _images(study, prepared),
            side_by_side(_text("Reference", reference), _text("Report", hypothesis)),
            class_="split",
        ),
        class_="case",
    )


def _text(label: str, text: Html) -> Html:
    return join([tag("div", label, class_="label"), tag("div", text or tag("i", "(empty)"), class_="report")])


def _images(study: Study | None, prepared: Path | None) -> Html:
    if study is None or prepared is None:
        return Html("")
    folder = prepared if prepared.is_dir() else prepared.parent
    pictures = []
    for view in study.views:
        caption = f"{view.view} {view.raw_view}".strip()
        shown = thumbnail(folder / view.path, _IMAGE)
        pictures.append(image(shown, f"{caption} image", caption) if shown else tag("p", f"{caption}: image not found"))
    return tag("div", *pictures, class_="images")
