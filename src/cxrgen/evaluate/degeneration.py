"""Signs that a writer repeats itself or says the same for everyone, which overlap scores hardly notice.

Each sign is shown for the reports and for the references, because radiologists repeat themselves too: what matters is
the difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from cxrgen.page import Html, Section, histogram, paragraph, side_by_side, table, tag
from cxrgen.text import sentences as split


def signs(texts: Sequence[str]) -> dict[str, float]:
    """Counts and shares (0..1) over N texts: lengths in words, distinct texts, repeats, the commonest sentence."""
    spoken = [sentences(text) for text in texts]
    commonest = Counter(sentence for said in spoken for sentence in set(said))
    return {
        "words, median": float(np.median([len(text.split()) for text in texts])),
        "empty": _share([not text.strip() for text in texts]),
        "distinct texts": len({" ".join(text.lower().split()) for text in texts}) / len(texts),
        "distinct sentences": len(commonest) / max(1, sum(map(len, spoken))),
        "texts that repeat a sentence": _share([len(set(said)) < len(said) for said in spoken]),
        "repeated word triples": _share_repeated(texts),
        "commonest sentence, share of texts": commonest.most_common(1)[0][1] / len(texts) if commonest else 0.0,
        "words in use": float(len({word for text in texts for word in text.lower().split()})),
    }


def sentences(text: str) -> list[str]:
    """A text's sentences, lower case, blanks squeezed, without the final stop."""
    parts = (" ".join(part.lower().split()).rstrip(".!? ") for part in split.sentences(text))
    return [part for part in parts if part]


def commonest_sentence(texts: Sequence[str]) -> str:
    """The sentence that stands in most texts; ties go to the first in the alphabet."""
    counts = Counter(sentence for text in texts for sentence in set(sentences(text)))
    return min(counts, key=lambda sentence: (-counts[sentence], sentence)) if counts else ""


def degeneration(hypotheses: Sequence[str], references: Sequence[str]) -> Section:
    """The panel of the page."""
    said, wanted = signs(hypotheses), signs(references)
    rows = [(name, _shown(name, said[name]), _shown(name, wanted[name])) for name in said]
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
        "A writer that has stopped looking says the same for everyone: few distinct reports, one sentence in nearly "
        "all of them, sentences repeated within a report, lengths that do not follow the references.",
    )


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags)


def _share_repeated(texts: Sequence[str]) -> float:
    """Among all runs of three words, the share that has stood in the same text before."""
    total = distinct = 0
    for text in texts:
        words = text.lower().split()
        triples = list(zip(words, words[1:], words[2:]))
        total += len(triples)
        distinct += len(set(triples))
    return 1 - distinct / total if total else 0.0


def _shown(name: str, value: float) -> str:
    return f"{value:,.0f}" if name.startswith("words") else f"{100 * value:.1f} %"
