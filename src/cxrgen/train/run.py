"""Train a report writer on a prepared set or a LLaVA JSON file.

A recipe (YAML) gives the settings, flags override it. Without --model_name_or_path a new small model is made. The
result is a folder that transformers opens, with cxrgen.json beside the weights, log.jsonl and a page with the curves.
Checkpoints on the way are written as --save_steps says; --resume goes on from the last. SIGTERM writes one and leaves
with exit code 143. The original's training flags are accepted as they are.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.progress import say
from cxrgen.core.records import Reject
from cxrgen.core.rejects import REJECTS, write_rejects
from cxrgen.model.checkpoint import Checkpoint, open_checkpoint, write_checkpoint
from cxrgen.model.llama_tokenizer import IMAGE_END, IMAGE_START
from cxrgen.train.callbacks import RunWatcher, WatchSettings
from cxrgen.train.checkpoints import disk_is_full, locked
from cxrgen.train.config import Arguments, resolve
from cxrgen.train.config import add_arguments as add_argument_flags
from cxrgen.train.data import Material, check_rejects, encode_material, read_material
from cxrgen.train.distributed import Processes, join_processes
from cxrgen.train.export import save_model, with_target
from cxrgen.train.init_model import start
from cxrgen.train.resume import START, data_recipe, resumed_from, sources_of, told_of
from cxrgen.train.run_log import LOG, RunLog, check_trackers, open_trackers, read_log
from cxrgen.train.run_report import write_recipe, write_records
from cxrgen.train.stages import order_of, settings_of, train_on_images, warm_ups
from cxrgen.train.trainable import LoraSettings, choose, mode_of, row_ids
from cxrgen.train.validate import Subset, fixed_part

_EXAMPLES = """examples:
  cxrgen train tiny --data_path prepared --output_dir model
  cxrgen train tiny --data_path prepared --output_dir model --resume
  torchrun --nproc_per_node=8 -m cxrgen train --model_name_or_path llava-med --data_path prepared --output_dir model \\
      --train_modules lora --global_batch_size 128 --learning_rate 1e-4 --bf16
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    add_argument_flags(parser)


def run(options: argparse.Namespace) -> int:
    arguments = resolve(options)
    train(arguments)
    processes = join_processes()
    if processes.first:
        print(arguments.output_dir)
    processes.leave()
    return 0


def train(arguments: Arguments) -> list[float]:
    """The whole run: data, model, warm-ups, training, checkpoint. Returns the training loss of each step."""
    processes = join_processes()
    out = Path(arguments.output_dir)
    if processes.first:
        check_trackers(arguments.report_to)
    with locked(out) if processes.first else nullcontext():
        try:
            return _train(arguments, out, processes)
        except Exception as error:  # wherever it was met: the log, the recipe, the model, another's file
            if isinstance(error, InputError) or not disk_is_full(error):
                raise
            raise InputError(f"{out}: cannot be written ({error}); make room and --resume") from None


def _train(arguments: Arguments, out: Path, processes: Processes) -> list[float]:
    _set_up_torch(arguments)
    order = order_of(arguments, processes)
    material = _material(arguments, Path(arguments.data_path), arguments.split)
    told = told_of(arguments, order)
    resumed = resumed_from(arguments, out, told, processes)
    clock = time.monotonic()
    bundle, fresh = _bundle(arguments, out, material, bool(resumed))
    bundle = replace(bundle, model=bundle.model.to(processes.device))
    bundle = with_target(bundle, data_recipe(Path(arguments.data_path)))
    if fresh:
        warm_ups(arguments, bundle, material, order, processes)
    samples, rejects = encode_material(bundle, material.variants, arguments.long)
    _list_rejects([*material.rejects, *rejects], len(material.variants) + len(material.rejects), arguments, processes)
    sources, rejects_before = sources_of(Path(arguments.data_path), material), len(material.rejects)
    folder = material.folder
    del material  # the texts of half a million reports are gigabytes, and samples are all that is still needed
    subset = _subset(arguments, bundle)
    if processes.first:
        if fresh and (arguments.tower_steps or arguments.text_steps) and arguments.save_strategy != "no":
            write_checkpoint(out / START, bundle)
        write_recipe(out, arguments)
    counts = _choose(arguments, bundle)
    counts |= {"samples": len(samples), "left_out": len([each for each in rejects if each.code != "cut"])}
    counts["left_out"] += rejects_before
    settings = settings_of(arguments, len(samples), order)
    watcher = _watcher(arguments, out, told, bundle, subset, resumed, processes, settings.bf16)
    try:
        train_on_images(arguments, bundle, samples, settings, order, folder, watcher, processes)
    finally:
        watcher.end()
    processes.wait()
    mode = mode_of(arguments.train_modules)
    projector_only = mode.rows and not mode.adapters
    save_model(out, bundle, processes, arguments.merge_adapter, projector_only, lambda: start(arguments, []).model)
    lines = read_log(out / LOG)
    if processes.first:
        write_records(out, arguments, told, sources, counts, lines)
        say(f"trained on {len(samples)} studies in {time.monotonic() - clock:.0f} s")
    processes.wait()
    return [line["loss"] for line in lines if "loss" in line]


def _list_rejects(rejects: Sequence[Reject], total: int, arguments: Arguments, processes: Processes) -> None:
    out = Path(arguments.output_dir)
    if rejects and processes.first:
        write_rejects(out / REJECTS, rejects)
    check_rejects(rejects, total, arguments.max_rejects, out)


def _set_up_torch(arguments: Arguments) -> None:
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.tf32:
        torch.backends.cuda.matmul.allow_tf32 = True
    torch.manual_seed(arguments.seed)


def _material(arguments: Arguments, data: Path, split: str) -> Material:
    folder = Path(arguments.image_folder) if arguments.image_folder else None
    return read_material(data, folder, split, arguments.views, arguments.view_dropout, arguments.prompt)


def _bundle(arguments: Arguments, out: Path, material: Material, resumed: bool) -> tuple[Checkpoint, bool]:
    """The model to begin with, and whether its warm-ups are still to come."""
    if resumed and (out / START).is_dir():
        return open_checkpoint(out / START), False
    return start(arguments, [turn.text for each in material.variants for turn in each[0].turns]), True


def _choose(arguments: Arguments, bundle: Checkpoint) -> dict[str, int]:
    """Mark what is trained; says and returns how many parameters that is."""
    mode = mode_of(arguments.train_modules)
    rows = []
    if mode.rows and bundle.format.start_end:
        rows = row_ids(bundle.model, bundle.tokenizer, (IMAGE_START, IMAGE_END))
    if mode.adapters and not bundle.model.name_or_path:
        raise UsageError(f"--train_modules {arguments.train_modules} needs a checkpoint as --model_name_or_path")
    lora = LoraSettings(arguments.lora_rank, arguments.lora_alpha, arguments.lora_dropout)
    trained, total = choose(bundle.model, mode, arguments.train_tower, rows, lora)
    if arguments.gradient_checkpointing:
        model = bundle.model  # the older name for transformers before 5.23
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    if arguments.cache_features and any(each.requires_grad for each in bundle.model.model.vision_tower.parameters()):
        raise UsageError("--cache_features keeps what a frozen tower sees; leave it away where the tower is trained")
    say(f"{arguments.train_modules}: {trained:,} of {total:,} parameters are trained")
    return {"trained": trained, "parameters": total}


def _watcher(
    arguments: Arguments,
    out: Path,
    told: dict[str, Any],
    bundle: Checkpoint,
    subset: Subset | None,
    resumed: tuple[Path, dict[str, Any]] | None,
    processes: Processes,
    bf16: bool,
) -> RunWatcher:
    settings = WatchSettings(
        folder=out,
        told=told,
        save_steps=arguments.save_steps if arguments.save_strategy == "steps" else 0,
        keep=arguments.save_total_limit,
        eval_steps=arguments.eval_steps if arguments.eval_strategy == "steps" else 0,
        best_by=arguments.metric_for_best_model,
        patience=arguments.early_stopping_patience,
        logging_steps=arguments.logging_steps,
        bf16=bf16,
    )
    trackers = open_trackers(arguments.report_to, out, arguments.run_name, told) if processes.first else []
    return RunWatcher(settings, bundle, subset, RunLog(out, trackers), resumed)


def _subset(arguments: Arguments, bundle: Checkpoint) -> Subset | None:
    if arguments.eval_strategy == "no":
        return None
    data = Path(arguments.eval_data_path or arguments.data_path)
    if not data.is_dir() and not arguments.eval_data_path:
        raise UsageError("--eval_strategy steps needs --eval_data_path, or a prepared folder with a split valid")
    material = _material(replace(arguments, view_dropout=0.0), data, "valid")
    chosen = fixed_part([each[0] for each in material.variants], arguments.eval_studies)
    samples, _ = encode_material(bundle, [[each] for each in chosen], "cut")
    return Subset(
        tuple(chosen),
        tuple(each[0] for each in samples),
        material.folder,
        arguments.per_device_eval_batch_size,
        arguments.eval_reports,
        arguments.eval_max_new_tokens,
    )
