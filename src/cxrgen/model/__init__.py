"""The network and its tokens: checkpoint, conversation, batches, parts.

Importing this room makes its own vision encoders (`cxrgen.model.tower` and others) known to
transformers' Auto classes, so that `AutoModelForImageTextToText` opens a checkpoint that holds one.
"""

import sys

from cxrgen.core.errors import InputError

if sys.flags.optimize > 1:
    raise InputError(
        "Python runs without docstrings (-OO or PYTHONOPTIMIZE=2), which transformers needs; use -O at most"
    )

import cxrgen.model.lite_encoder
import cxrgen.model.pooled_encoder
import cxrgen.model.tower  # noqa: F401  (all register their classes)
