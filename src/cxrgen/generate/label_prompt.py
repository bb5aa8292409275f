"""The label reader of a checkpoint whose prompts state what it sees: opened before the questions are made.

Words are read in the process that makes the questions, so neither the batch size nor the number of processes that write
can change them.
"""

from __future__ import annotations

import torch

from cxrgen.generate.settings import Settings
from cxrgen.model.checkpoint import READER
from cxrgen.model.label_reader import LabelReader, open_label_reader
from cxrgen.text.context import LABELS


def reader_of(settings: Settings) -> LabelReader | None:
    """The reader, or None where prompts state no labels. Raises InputError for a checkpoint that has lost it."""
    if LABELS not in settings.format.asks.parts:
        return None
    return open_label_reader(settings.model / READER, "cuda" if torch.cuda.is_available() else "cpu")
