"""Merge base LLaMA weights with LLaVA's published differences, or make such differences.

The new folder is stock (it opens in transformers, peft and vLLM) where the vision encoder is named or on this machine,
else in the original's layout. What does not fit together is refused by the name of the tensor, and nothing is left
behind. --make-delta is the reverse: --target minus --base is written to --delta.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cxrgen.core.progress import say
from cxrgen.llava_med.convert import add_format_arguments

_EXAMPLES = """examples:
  cxrgen merge --base llama-7b --delta LLaVA-7b-delta-v0 --target LLaVA-7b-v0 --layout original
  cxrgen merge --base llama-7b --delta llava_med_in_text_60k_ckpt2_delta.zip --target llava-med \\
      --vision_tower openai/clip-vit-large-patch14
  cxrgen merge --make-delta --base llama-7b --target LLaVA-Med-7B --delta my-delta
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    add = parser.add_argument_group("weights").add_argument
    add("--base", "--base-model-path", required=True, metavar="PLACE", help="LLaMA-7B: folder, zip or hub name")
    add("--delta", "--delta-path", required=True, metavar="PLACE", help="differences: folder, zip or hub name")
    add("--target", "--target-model-path", required=True, metavar="DIR", help="the new folder")
    add("--make-delta", action="store_true", help="the reverse: --target is read, --delta is written")
    add("--vision-tower", metavar="PLACE", help="CLIP vision encoder of a stock folder: folder, zip or hub name")
    group = parser.add_argument_group("the new folder")
    group.add_argument("--layout", choices=("stock", "original"), help="its layout (default: stock where possible)")
    add_format_arguments(group)


def run(options: argparse.Namespace) -> int:
    from cxrgen.llava_med.layouts import ConvertOptions  # brings torch
    from cxrgen.llava_med.merge_weights import make_delta, merge

    if options.make_delta:
        written = make_delta(options.base, options.target, Path(options.delta))
        target = options.delta
    else:
        format = ConvertOptions(options.template, options.spacing, options.aspect)
        target = options.target
        written = merge(options.base, options.delta, Path(target), options.layout, options.vision_tower, format)
    say(str(written))
    print(target)
    return 0
