"""Text that looks like a model's special token is text: its angle brackets become square ones.

Tokenizers make one token of `</s>` or `<image>` wherever it stands, so a report that holds one would end there, or ask
for an image that is not given. Prepared sets and conversations hold none but the `<image>` of their own prompts.
"""

from __future__ import annotations

import re

IMAGE = "<image>"
_WORDS = (
    "image", "images", "img", "video", "audio", "s", "unk", "pad", "bos", "eos", "mask", "sep", "cls", "eot", "eod",
    "eom", "start", "end", "think", "tool_call",
)  # fmt: skip
_TOKEN = re.compile(
    rf"<(/?(?:{'|'.join(_WORDS)}|[a-z]+(?:_[a-z0-9]+)+|0x[0-9a-f]{{2}})|\|[^<>|\s]{{1,40}}\|)>", re.IGNORECASE
)
_BLOCK = re.compile(r"\[(/?(?:INST|CLS|SEP|PAD|MASK|UNK|BOS|EOS|IMG)|gMASK)\]")
_SEPARATOR = re.compile(r"#{3,}")  # ends a turn in template v0


def without_special_tokens(text: str, keep_images: bool = False) -> str:
    """The text with `[image]` for `<image>` and the like; `keep_images` leaves `<image>`, where it is a placeholder."""

    def plain(match: re.Match[str]) -> str:
        return match[0] if keep_images and match[0] == IMAGE else f"[{match[1]}]"

    return _BLOCK.sub(r"(\1)", _TOKEN.sub(plain, text))


def without_separators(text: str) -> str:
    """The text with one `#` for runs of three and more, which end a turn in some conversation templates."""
    return _SEPARATOR.sub("#", text)
