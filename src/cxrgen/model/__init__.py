"""The network and its tokens: checkpoint, conversation, batches, parts.

Importing this room makes the small vision encoder (`cxrgen.model.tower`) known to transformers' Auto classes, so that
`AutoModelForImageTextToText` opens a checkpoint that holds one.
"""

import cxrgen.model.tower  # noqa: F401  (registers its classes)
