"""What a training run needs before it is started: memory of a GPU, main memory, disk, time and cost.

Takes a recipe and flags as `cxrgen train` does. No weights are read: a folder with config.json is enough, and the set
gives the lengths. Every amount is shown with its arithmetic. A run that does not fit is refused with exit code 2, and
the change that makes it fit at the least time is named. Speeds of GPUs are assumed from data sheets; `--gpus cpu`
measures this machine's processor.
"""

from __future__ import annotations

import argparse
from dataclasses import MISSING

from cxrgen.core.errors import UsageError
from cxrgen.train.flags import add_arguments as add_flags
from cxrgen.train.flags import resolve
from cxrgen.train.gpus import DEVICES, parse_gpus

_EXAMPLES = """examples:
  cxrgen plan llava-med-v1.5-lora --model LLAVA-MED-1.5 --data_path prepared --gpus 8xH100
  cxrgen plan tiny --data_path prepared --gpus cpu
  cxrgen plan qwen3-vl-8b-full --model QWEN3-VL-8B --data_path prepared --gpus A100 --table --price 2.5
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    add_flags(parser)
    group = parser.add_argument_group("the plan")
    names = ", ".join(DEVICES)
    group.add_argument("--gpus", default="8xH100", metavar="NxNAME", help=f"{names}, or cpu (default: %(default)s)")
    group.add_argument("--price", type=float, metavar="X", help="price of one GPU for an hour, in any currency")
    group.add_argument("--table", action="store_true", help="1, 2, 8 and 64 of these GPUs with each --train_modules")
    group.add_argument("--json", action="store_true", help="print the plan as JSON")
    group.add_argument("--model", dest="model_name_or_path", default=MISSING, metavar="DIR", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    count, name = parse_gpus(options.gpus)
    config = resolve(options, needed=("data_path",))
    if config.data.streaming:
        raise UsageError("--streaming: plan with the prepared folder that the shards were made from, without it")
    from cxrgen.train.preflight import check_run

    check_run(config)
    from cxrgen.train.plan_report import print_plan, print_table  # imports torch

    if options.table:
        print_table(config, name, options.price, options.json)
    else:
        print_plan(config, name, count, options.price, options.json)
    return 0
