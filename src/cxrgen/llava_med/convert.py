"""Turn a checkpoint into a stock LLaVA folder, or back into the original's layout.

IN is a folder, a zip or a hub name; v1.0 (merged), v1.5 and LLaVA checkpoints are recognised by their config.json and
weights. v1.0 files hold no vision encoder, so --vision_tower names it; v1.5 files hold a tuned one, which is kept.
An OUT that ends in .bin receives the projector alone, as the original's training wrote it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cxrgen.core.progress import say

TEMPLATES = ("v0", "v1", "mistral")  # of LLaVA-Med, among those of `cxrgen.model.conversation`
_EXAMPLES = """examples:
  cxrgen convert LLaVA-Med-7B llava-med --to stock --vision_tower openai/clip-vit-large-patch14
  cxrgen convert llava-med-v1.5-mistral-7b llava-med-1.5 --to stock
  cxrgen convert LLaVA-Med-7B llava-med --to stock --vision_tower clip --projector mm_projector.bin
  cxrgen convert llava-med LLaVA-Med-7B --to original
  cxrgen convert llava-med mm_projector.bin --to original
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("source", metavar="IN", help="checkpoint: folder, zip or hub name")
    parser.add_argument("target", metavar="OUT", type=Path, help="new folder, or a file name ending in .bin")
    parser.add_argument("--to", required=True, choices=("stock", "original"), help="the layout to write")
    parts = parser.add_argument_group("parts from elsewhere")
    parts.add_argument("--vision-tower", metavar="PLACE", help="CLIP vision encoder, where the checkpoint has none")
    parts.add_argument(
        "--projector", type=Path, metavar="FILE", help="mm_projector.bin in place of the checkpoint's own"
    )
    group = parser.add_argument_group("the new folder")
    group.add_argument(
        "--model-type", default="", metavar="NAME", help="original: model type; custom_llava for the fork"
    )
    add_format_arguments(group)


def add_format_arguments(group: argparse._ArgumentGroup) -> None:
    """How a checkpoint's conversations become tokens, where its files do not say."""
    add = group.add_argument
    add("--template", default="", choices=TEMPLATES, help="stock: conversation template")
    add("--spacing", default="", choices=("keep", "strip"), help="stock: white space beside special tokens")
    add("--aspect", default="", choices=("square", "pad", "black"), help="stock: how an image becomes square")


def run(options: argparse.Namespace) -> int:
    from cxrgen.llava_med.convert_layout import convert  # brings torch
    from cxrgen.llava_med.layouts import ConvertOptions

    format = ConvertOptions(options.template, options.spacing, options.aspect, options.model_type)
    written = convert(options.source, options.target, options.to, options.vision_tower, options.projector, format)
    say(str(written))
    print(options.target)
    return 0
