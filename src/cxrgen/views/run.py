"""Train the classifier that tells frontals from laterals by their picture, for `cxrgen prepare --views-by FILE`.

PREPARED are prepared sets whose source names the views; images whose view a picture has given are not used. Drawn
torsos and pictures that show no chest are added. What the file is worth is printed for the validation split of each
set, and for sets that only test (`--test`).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from cxrgen.core.errors import InputError, UsageError

_EXAMPLES = """examples:
  cxrgen train-views prepared-a prepared-b --out views.safetensors
  cxrgen prepare export.csv --out prepared --views-by views.safetensors
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("sets", nargs="+", type=Path, metavar="PREPARED", help="prepared sets to learn from")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="safetensors file to write")
    parser.add_argument("--test", nargs="+", type=Path, default=[], metavar="PREPARED", help="sets that only test")
    learning = parser.add_argument_group("training")
    learning.add_argument("--steps", type=int, default=2500, help="batches of 64 images (default: 2500)")
    learning.add_argument("--torsos", type=int, default=3000, help="drawn torsos, two images each (default: 3000)")
    learning.add_argument("--seed", type=int, default=0, help="of drawn images and weights (default: 0)")
    learning.add_argument(
        "--least-confidence", type=float, default=0.8, help="below it a view stays unknown (default: 0.8)"
    )
    parser.add_argument_group("the run").add_argument(
        "--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)"
    )


def run(options: argparse.Namespace) -> int:
    if options.steps < 1 or options.torsos < 1 or options.seed < 0 or options.workers < 1:
        raise UsageError("--steps, --torsos and --workers are at least 1, --seed at least 0")
    if not 0 < options.least_confidence < 1:
        raise UsageError("--least-confidence is between 0 and 1")
    if options.out.is_dir():
        raise InputError(f"{options.out}: a folder; give --out the name of a file")
    from cxrgen.views.training import train_views  # imports torch

    train_views(options)
    print(options.out)
    return 0
