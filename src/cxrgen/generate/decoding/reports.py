"""Conversations to reports by the engine that is exact for the checkpoint's class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cxrgen.core.records import Conversation, Prediction
from cxrgen.generate.decoding import decode
from cxrgen.generate.decoding.ngram_drafts import NgramTable
from cxrgen.generate.decoding.sampling import Failed, Sampler, greedy
from cxrgen.generate.decoding.static_batches import write_in_static_batches
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.families import family_of


def write_reports(
    checkpoint: Checkpoint,
    conversations: Sequence[Conversation],
    folder: Path,
    batch_size: int,
    max_new_tokens: int,
    sampler: Sampler = greedy,
    ngrams: NgramTable | None = None,
    failed: Failed | None = None,
    scored: bool = False,
) -> Iterator[tuple[int, Prediction]]:
    """`decode.write_reports` for class llava, transformers' own `generate` in static batches for every other."""
    asked = (checkpoint, conversations, folder, batch_size, max_new_tokens, sampler)
    if family_of(checkpoint).refills:
        yield from decode.write_reports(*asked, ngrams, failed, scored)
    else:
        yield from write_in_static_batches(*asked, failed, scored)
