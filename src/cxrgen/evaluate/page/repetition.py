"""Statistics of repetition within and between reports, which overlap scores hardly notice.

Each is shown for the reports and for the references, because radiologists repeat themselves too: what matters is the
difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from cxrgen.html import Html, Section, histogram, paragraph, side_by_side, table, tag
from cxrgen.metrics.lexical.text_stats import repeated_trigrams
from cxrgen.text import sentences as splitter


def signs(texts: Sequence[str]) -> dict[str, float]:
    """Counts and shares (0..1) over N texts: lengths in words, distinct texts, repeats, the commonest sentence."""
    split = [sentences(text) for text in texts]
    commonest = Counter(sentence for own in split for sentence in set(own))
    return {
        "words, median": float(np.median([len(text.split()) for text in texts])),
        "empty": _share([not text.strip() for text in texts]),
        "distinct texts": len({" ".join(text.lower().split()) for text in texts}) / len(texts),
        "distinct sentences": len(commonest) / max(1, sum(map(len, split))),
        "texts that repeat a sentence": _share([len(set(own)) < len(own) for own in split]),
        "repeated word triples": _share_of_repeated_trigrams(texts),
        "commonest sentence, share of texts": commonest.most_common(1)[0][1] / len(texts) if commonest else 0.0,
        "words in use": float(len({word for text in texts for word in text.lower().split()})),
    }


def sentences(text: str) -> list[str]:
    """A text's sentences, lower case, blanks squeezed, without the final stop."""
    parts = (" ".join(part.lower().split()).rstrip(".!? ") for part in splitter.sentences(text))
    return [part for part in parts if part]


def commonest_sentence(texts: Sequence[str]) -> str:
    """The sentence that most texts hold; ties go to the first in the alphabet."""
    counts = Counter(sentence for text in texts for sentence in set(sentences(text)))
    return min(counts, key=lambda sentence: (-counts[sentence], sentence)) if counts else ""


def degeneration(hypotheses: Sequence[str], references: Sequence[str]) -> Section:
    """The panel of the page."""
    hyp, ref = signs(hypotheses), signs(references)
    rows = [(name, _count_or_share(name, hyp[name]), _count_or_share(name, ref[name])) for name in hyp]
    ratios = [len(h.split()) / len(r.split()) for h, r in zip(hypotheses, references) if r.split()]
    parts: list[Html] = [
        side_by_side(
            table(("", "reports", "references"), rows),
            histogram(ratios, "How long reports are", label="words of the report per word of its reference"),
        )
    ]
    commonest = commonest_sentence(hypotheses)
    if commonest:
        parts.append(paragraph("The commonest sentence of the reports: ", tag("q", commonest)))
    return Section(
        "Repetition and length",
        parts,
        "A model that ignores the images writes the same for every study: few distinct reports, one sentence in nearly "
        "all of them, sentences repeated within a report, lengths that do not follow the references.",
    )


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags)


def _share_of_repeated_trigrams(texts: Sequence[str]) -> float:
    repeated, total = (sum(column) for column in zip(*map(repeated_trigrams, texts)))
    return repeated / total if total else 0.0


def _count_or_share(name: str, value: float) -> str:
    return f"{value:,.0f}" if name.startswith("words") else f"{100 * value:.1f} %"
