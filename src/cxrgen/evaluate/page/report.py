"""report.html: all scores of a test set, from one sentence down to single studies.

First what was scored and what came out, then the scores with intervals and baselines, each finding's counts, all
studies with images and both texts, groups of studies, repetition, correlations, and what the scores mean. The page is
one file that asks for nothing; its script is `report.js`, which shows, sorts and copies what is there and makes no HTML
of any text. It holds report texts unless asked not to, so only its owner can read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cxrgen.core import __version__
from cxrgen.core.files import write_text
from cxrgen.core.records import Study
from cxrgen.evaluate.agreement import Agreement
from cxrgen.evaluate.page.abstention import abstention
from cxrgen.evaluate.page.board import beside_published, cards, scoreboard
from cxrgen.evaluate.page.errors import errors
from cxrgen.evaluate.page.findings import no_finding, per_finding
from cxrgen.evaluate.page.orders import ranks
from cxrgen.evaluate.page.repetition import degeneration
from cxrgen.evaluate.page.strata import Mask, groups, strata
from cxrgen.evaluate.page.studies import Shown, needs_script, studies_section, viewer
from cxrgen.evaluate.page.top import About, identity, summary
from cxrgen.evaluate.pairs import Pairs
from cxrgen.evaluate.published import Published
from cxrgen.evaluate.scores import Scores
from cxrgen.evaluate.suites import headline
from cxrgen.html import Section, heat_map, paragraph, render, tag
from cxrgen.metrics.cards import plain_name
from cxrgen.metrics.clinical.labels import rule_label_table

_ENOUGH = 10  # studies that a correlation needs
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Scored:
    """All that the page shows: texts, scores, baselines and limits by name, and the prepared set if there is one."""

    pairs: Pairs
    subjects: Sequence[str]
    scores: Scores
    baselines: Mapping[str, Scores]
    limits: Mapping[str, Mapping[str, float]]
    studies: Mapping[str, Study]
    prepared: Path | None
    notes: Sequence[str]
    about: About
    shown: Shown = field(default_factory=Shown)
    by: Mapping[str, Mask] = field(default_factory=dict)  # groups that were asked for
    published: Sequence[Published] = ()
    agreement: Mapping[str, Agreement] = field(default_factory=dict)  # of scores with people's counts


def write_report(path: Path, scored: Scored) -> None:
    """Write the page atomically with mode 600."""
    scores, pairs, about = scored.scores, scored.pairs, scored.about
    hyp, ref = rule_label_table(pairs.hypotheses), rule_label_table(pairs.references)
    masks = groups(pairs.study_ids, pairs.references, no_finding(ref), scored.studies)
    found = errors(scores, pairs.hypotheses, pairs.references)
    sections = [
        scoreboard(scores, scored.baselines, scored.limits, scored.notes, scored.agreement),
        beside_published(scores, scored.published),
        per_finding(found, scores.groups, hyp, ref, scored.limits),
        studies_section(pairs, scores, found, scored.studies, scored.prepared, scored.shown),
        strata(scores, scored.subjects, {**masks, **scored.by}),
        abstention(scores, scored.subjects, pairs.confidences),
        degeneration(pairs.hypotheses, pairs.references, scored.shown.texts),
        _correlations(scores),
        cards(scores),
        Section("About this page", [paragraph(tag("code", scores.signature()), f" · cxrgen {__version__}"), viewer()]),
    ]
    top = [
        tag("p", summary(scores, scored.baselines, found), class_="lead"),
        identity(about, scores),
        needs_script(),
    ]
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    kept = [section for section in sections if section]
    title = f"{about.name}: report scores"
    write_text(path, render(title, kept, top=top, style=style, script=script), private=True)


def _correlations(scores: Scores) -> Section | None:
    """Spearman's correlation of the headline scores over studies."""
    names = [name for name in headline(scores.per_study) if np.isfinite(scores.per_study[name]).all()]
    if len(names) < 2 or scores.n < _ENOUGH:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        table_of = np.corrcoef([ranks(scores.per_study[name]) for name in names])
    words = list(map(plain_name, names))
    return Section(
        "Correlations of scores",
        [heat_map(words, words, table_of.tolist(), digits=2, shares=False)],
        "Rank correlation (Spearman) of each study's own scores. Scores that hardly correlate measure other things.",
    )
