"""Train a model that writes reports, on a prepared set or a LLaVA JSON file.

A recipe (YAML) gives the settings, flags override it. Without --model_name_or_path a new small model is made. The
result is a folder that transformers opens, with cxrgen.json beside the weights, log.jsonl and a page with the curves.
Checkpoints are written every --save_steps; --resume continues from the last. SIGTERM writes one and ends with exit code
143. The original's training flags are accepted as they are.
"""

from __future__ import annotations

import argparse

from cxrgen.train.flags import add_arguments as add_flags
from cxrgen.train.flags import resolve

_EXAMPLES = """examples:
  cxrgen train tiny --data_path prepared --output_dir model
  cxrgen train tiny --data_path prepared --output_dir model --resume
  torchrun --nproc_per_node=8 -m cxrgen train --model_name_or_path llava-med --data_path prepared --output_dir model \\
      --train_modules lora --global_batch_size 128 --learning_rate 1e-4 --bf16
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    add_flags(parser)


def run(options: argparse.Namespace) -> int:
    config = resolve(options)
    from cxrgen.train.preflight import check_run

    check_run(config)
    # torch is imported only now: neither help nor refusals wait for it
    from cxrgen.train.distributed import init_processes
    from cxrgen.train.pipeline import train

    train(config)
    processes = init_processes()
    if processes.is_main:
        print(config.checkpoint.output_dir)
    processes.shutdown()
    return 0
