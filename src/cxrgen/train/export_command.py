"""Make a ready checkpoint folder of a run's checkpoint: `checkpoint-N`, the best of the validation, or the last.

A `checkpoint-N` holds what is trained and the optimiser's state. Here the model that the run started from is opened
again, the trained tensors are loaded into it, and the whole is written as at the end of a run: `cxrgen generate`,
transformers and peft open the result.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cxrgen.core.errors import InputError, unknown

_EXAMPLES = """examples:
  cxrgen export runs/lora --step best --out best
  cxrgen export runs/lora --step 400 --merge-adapter --out model
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("run", type=Path, metavar="RUN", help="--output_dir of a training")
    what = parser.add_argument_group("what to write")
    what.add_argument("--step", default="last", metavar="N|best|last", help="which checkpoint (default: last)")
    what.add_argument("--merge-adapter", action="store_true", help="write adapters into the weights")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="new folder for the model")


def run(options: argparse.Namespace) -> int:
    if not (options.step in ("best", "last") or options.step.isdigit()):
        raise unknown("--step", options.step, ("best", "last", "the number of a checkpoint"))
    if not (options.run / "recipe.yaml").is_file():
        raise InputError(f"{options.run}: no recipe.yaml, so this is no run; give the --output_dir of a training")
    from cxrgen.train.export_checkpoint import export_checkpoint  # imports torch

    export_checkpoint(options.run, options.step, options.out, options.merge_adapter)
    print(options.out)
    return 0
