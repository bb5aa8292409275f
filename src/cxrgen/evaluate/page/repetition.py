"""Statistics of repetition within and between reports, which overlap scores hardly notice.

Each is shown for the reports and for the references, because radiologists repeat themselves too: what matters is the
difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from cxrgen.html import Html, Section, histogram, paragraph, side_by_side, table, tag
from cxrgen.metrics.lexical.text_stats import form_counts
from cxrgen.text import sentences as splitter


@dataclass
class Tally:
    """What is counted over texts, one after the other."""

    lengths: list[int] = field(default_factory=list)  # in words
    repeats: list[tuple[int, int]] = field(default_factory=list)  # trigrams that are repeated, and all of them
    texts_with: Counter[str] = field(default_factory=Counter)  # sentence: texts that hold it
    sentences: int = 0
    empty: int = 0
    repeating: int = 0  # texts that repeat a sentence
    distinct: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)

    def add(self, text: str) -> None:
        words, own = text.lower().split(), sentences(text)
        different = set(own)
        repeated, trigrams, length = form_counts(text)
        self.lengths.append(length)
        self.repeats.append((repeated, trigrams))
        self.texts_with.update(different)
        self.sentences += len(own)
        self.empty += not words
        self.repeating += len(different) < len(own)
        self.distinct.add(" ".join(words))
        self.words.update(words)


def tally(texts: Sequence[str]) -> Tally:
    """Count over N texts."""
    counts = Tally()
    for text in texts:
        counts.add(text)
    return counts


def signs(counts: Tally) -> dict[str, float]:
    """Counts and shares (0..1) over N texts: lengths in words, distinct texts, repeats, the commonest sentence."""
    texts = len(counts.lengths)
    repeated, trigrams = (sum(column) for column in zip(*counts.repeats))
    return {
        "words, median": float(np.median(counts.lengths)),
        "empty": counts.empty / texts,
        "distinct texts": len(counts.distinct) / texts,
        "distinct sentences": len(counts.texts_with) / max(1, counts.sentences),
        "texts that repeat a sentence": counts.repeating / texts,
        "repeated word triples": repeated / trigrams if trigrams else 0.0,
        "commonest sentence, share of texts": max(counts.texts_with.values(), default=0) / texts,
        "words in use": float(len(counts.words)),
    }


def sentences(text: str) -> list[str]:
    """A text's sentences, lower case, blanks squeezed, without the final stop."""
    return list(filter(None, map(_bare, splitter.sentences(text))))


@lru_cache(1 << 16)
def _bare(sentence: str) -> str:
    return " ".join(sentence.lower().split()).rstrip(".!? ")


def commonest_sentence(counts: Tally) -> str:
    """The sentence that most texts hold; ties go to the first in the alphabet."""
    texts_with = counts.texts_with
    return min(texts_with, key=lambda sentence: (-texts_with[sentence], sentence)) if texts_with else ""


def degeneration(hypotheses: Sequence[str], references: Sequence[str], texts: bool = True) -> Section:
    """The panel of the page; without `texts` it quotes no sentence."""
    reports = tally(hypotheses)
    of_references = tally(references)
    hyp, ref = signs(reports), signs(of_references)
    rows = [(name, _count_or_share(name, hyp[name]), _count_or_share(name, ref[name])) for name in hyp]
    ratios = [h / r for h, r in zip(reports.lengths, of_references.lengths) if r]
    parts: list[Html] = [
        side_by_side(
            table(("", "reports", "references"), rows),
            histogram(ratios, "How long reports are", label="words of the report per word of its reference"),
        )
    ]
    commonest = commonest_sentence(reports)
    if commonest and texts:
        parts.append(paragraph("The commonest sentence of the reports: ", tag("q", commonest)))
    return Section(
        "Repetition and length",
        parts,
        "A model that ignores the images writes the same for every study: few distinct reports, one sentence in nearly "
        "all of them, sentences repeated within a report, lengths that do not follow the references.",
    )


def _count_or_share(name: str, value: float) -> str:
    return f"{value:,.0f}" if name.startswith("words") else f"{100 * value:.1f} %"
