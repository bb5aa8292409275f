"""A whole training run: data, model, warm-ups, main stage, checkpoint folder.

Each step takes its part of the configuration; this file is the only one that sees all of it. The result is a folder
that transformers opens, with cxrgen.json beside the weights, log.jsonl and a page with the curves. An interrupted run
continues from its last checkpoint and ends in the same weights.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cxrgen.core.errors import InputError
from cxrgen.core.files import disk_is_full
from cxrgen.core.folders import locked
from cxrgen.core.journal import read_journal
from cxrgen.core.progress import say
from cxrgen.core.rejects import REJECTS, write_rejects
from cxrgen.model.batches import Sample
from cxrgen.model.checkpoint import Checkpoint, write_checkpoint
from cxrgen.model.families import family_of
from cxrgen.train.callbacks import RunCallback, Validation
from cxrgen.train.checkpoints import ResumePoint, load_weights
from cxrgen.train.config import DataConfig, TrainConfig
from cxrgen.train.context_dropout import ContextDropout
from cxrgen.train.data import Redraw, SftData, check_rejects, data_sources, encode_data, with_workers
from cxrgen.train.distributed import Processes, init_processes
from cxrgen.train.dpo import encode_pairs
from cxrgen.train.encoder_run import train_encoder
from cxrgen.train.export import save_model, with_data_format
from cxrgen.train.export_checkpoint import export_checkpoint
from cxrgen.train.finding_weights import read_weights
from cxrgen.train.kernels import use_kernels
from cxrgen.train.label_prompt import LabelPrompt, with_label_prompt, with_read_labels
from cxrgen.train.memory import check_memory, collective_timeout, model_sizes
from cxrgen.train.policy_callback import PolicyCallback
from cxrgen.train.positive_weights import weighted
from cxrgen.train.preferences import read_pairs
from cxrgen.train.preflight import check_run
from cxrgen.train.prepared_sets import data_recipe
from cxrgen.train.resume import (
    BEST,
    START,
    content_digest,
    image_hashes,
    resume_point,
    run_fingerprint,
    write_image_hashes,
)
from cxrgen.train.reward_watch import RewardWatch, watched_sets
from cxrgen.train.rollouts import Policy
from cxrgen.train.run_log import LOG, RunLog, open_trackers
from cxrgen.train.run_page import RunPage
from cxrgen.train.run_report import write_recipe, write_records
from cxrgen.train.several_sets import read_data, read_sets, with_mix
from cxrgen.train.stages import (
    SecondStage,
    Stage,
    computes_in_bf16,
    fit_settings,
    sampler_config,
    train_on_images,
)
from cxrgen.train.start_model import configured_model, frozen_in_bf16, has_warm_up, start_model
from cxrgen.train.streaming import SCRATCH, Stream, first_studies
from cxrgen.train.token_files import encode_once
from cxrgen.train.trainable import count_trained, mark_trainable, mode_of
from cxrgen.train.validate import Subset, fixed_part
from cxrgen.train.warmup_stages import warm_up
from cxrgen.train.watch_config import EvalConfig
from cxrgen.train.watchdog import Watchdog

CACHE = "cache"  # in the run's folder, where no other is given


@dataclass(frozen=True)
class Run:
    """One run of a configuration in this process."""

    config: TrainConfig
    out: Path
    processes: Processes

    @property
    def scratch(self) -> Path:
        """Where this process unpacks images of shards."""
        return self.out / f"{SCRATCH}-{self.processes.rank}"

    @property
    def cache(self) -> Path:
        """Where features are kept on disk."""
        return Path(self.config.data.shared_cache) if self.config.data.shared_cache else self.out / CACHE


def train(config: TrainConfig) -> list[float]:
    """The whole run. Returns the training loss of each step."""
    check_run(config)
    sizes = model_sizes(config.model, config.trainable, config.optim)
    sizes = sizes and replace(sizes, frozen_in_16_bits=frozen_in_bf16(config))
    run = Run(config, Path(config.checkpoint.output_dir), init_processes(collective_timeout(config.ddp_timeout, sizes)))
    check_memory(config.trainable, config.optim, sizes, run.processes.count, run.processes.device)
    with locked(run.out, "wait for it, or give another --output_dir") if run.processes.is_main else nullcontext():
        try:
            with Watchdog(run.processes, config.watchdog_seconds) as watchdog:
                return _train(run, watchdog)
        except Exception as error:  # the log, the recipe, the model or a library may be the one to meet it
            if isinstance(error, InputError) or not disk_is_full(error):
                raise
            raise InputError(f"{run.out}: cannot be written ({error}); make room and --resume") from None
        finally:
            shutil.rmtree(run.scratch, ignore_errors=True)


def _train(run: Run, watchdog: Watchdog) -> list[float]:
    config, clock = run.config, time.monotonic()
    _set_up_torch(config)
    if not config.data.data_path:  # sets of labels alone
        return train_encoder(config, run.out, run.processes)
    sampler = sampler_config(config.optim, config.seed, config.data.view_dropout, run.processes.count)
    data = first_studies(config.data, run.scratch) if config.data.streaming else read_data(config.data)
    resumes, streams = bool(config.checkpoint.resume), config.data.streaming
    images = {} if streams else image_hashes(data, resumes, run.processes)
    fingerprint = run_fingerprint(config, sampler, images, run.processes)
    resumed = resume_point(config.checkpoint, fingerprint, images, run.processes)
    if run.processes.is_main and not resumed and not streams:
        write_image_hashes(run.out, images)
    texts = [turn.text for each in data.variants for turn in each[0].turns]
    checkpoint, fresh = start_model(config, texts, run.out / START, bool(resumed), run.processes)
    checkpoint = with_data_format(checkpoint, data_recipe(config.data.paths[0]), config.data)
    del texts
    samples_itself = config.preference.stage == "grpo"  # from the model, so no other process can make its batches
    loading = replace(config.data, dataloader_num_workers=0) if samples_itself else config.data
    loading = with_workers(loading, run.processes.device)
    stage = Stage(checkpoint, loading, sampler, run.processes, run.cache)
    if fresh:
        warm_up(stage, config.warmup, config.optim, data, run.out)
    prompted = LabelPrompt(config.data, config.warmup, config.seed, run.out)
    checkpoint, data = with_label_prompt(prompted, checkpoint, data, run.processes, bool(resumed))
    samples, second, left_out = _samples(run, checkpoint, data)
    stream = Stream(checkpoint, loading, run.scratch) if config.data.streaming else None
    stage = replace(stage, sampler=with_mix(sampler, config.data, samples))
    sources, folder = data_sources(config.data.paths, data.studies), data.folder
    redraw = _context_dropout(config, checkpoint, data, samples)
    del data  # the texts of half a million reports are gigabytes, and samples are all that is still needed
    subsets = _subsets(config.eval, config.data, checkpoint)
    joined = not config.model.model_name_or_path and mode_of(config.trainable.train_modules).adapters
    if joined:  # adapters name the folder that they belong to
        checkpoint.model.name_or_path = str(run.out / START)
    if run.processes.is_main:
        new = has_warm_up(config) or not config.model.model_name_or_path
        if fresh and new and (joined or config.checkpoint.save_strategy != "no"):
            write_checkpoint(run.out / START, checkpoint)
        fingerprint["start sha256"] = content_digest(run.out / START) if (run.out / START).is_dir() else ""
        write_recipe(run.out, config)
    use_kernels(checkpoint.model, config.optim)
    total = stream.total if stream else len(samples)
    counts = {**_mark_trainable(config, checkpoint), "samples": total, "left_out": left_out}
    callback = _callback(run, checkpoint, fingerprint, subsets, resumed, watchdog, second)
    _main_stage(run, stage, samples, folder, callback, redraw, stream, second)
    with watchdog.busy():
        _save(run, checkpoint, callback)
    lines = read_journal(run.out / LOG)
    if run.processes.is_main:
        write_records(run.out, config, fingerprint, sources, counts, lines)
        RunPage(run.out, fingerprint, config.log).update()
        say(f"trained on {total} {second.items if second else 'studies'} in {time.monotonic() - clock:.0f} s")
    run.processes.barrier()
    return [line["loss"] for line in lines if "loss" in line]


def _set_up_torch(config: TrainConfig) -> None:
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.optim.tf32:
        torch.backends.cuda.matmul.allow_tf32 = True
    torch.manual_seed(config.seed)


def _samples(run: Run, checkpoint: Checkpoint, data: SftData) -> tuple[list[list[Sample]], SecondStage | None, int]:
    """The samples, what a second stage makes of them, and how many items were left out (rejects.csv)."""
    long, preference = run.config.data.long, run.config.preference
    second: SecondStage | None = None
    if preference.stage == "dpo":
        pairs = read_pairs(preference, data, run.config.seed)
        total = len(pairs)
        samples, second, rejects = encode_pairs(checkpoint, pairs, long, data.folder, preference)
    else:
        total = len(data.variants)
        kept = Path(run.config.data.shared_cache) if run.config.data.shared_cache else None
        samples, rejects = encode_once(checkpoint, data, long, kept, run.processes)
    if run.config.data.weight_positive:
        weights = read_weights(run.config.data.weight_positive)
        samples = weighted(samples, data.variants, family_of(checkpoint), data.folder, weights)
    if preference.stage == "grpo":
        second = Policy(checkpoint, run.config.policy, data, run.config.seed)
    rejects = [*data.rejects, *rejects]
    if rejects and run.processes.is_main:
        write_rejects(run.out / REJECTS, rejects)
    check_rejects(rejects, total + len(data.rejects), run.config.data.max_rejects, run.out)
    return samples, second, len([each for each in rejects if each.code != "cut"])


def _context_dropout(
    config: TrainConfig, checkpoint: Checkpoint, data: SftData, samples: Sequence[Sequence[Sample]]
) -> Redraw | None:
    """Draws the prompts of each epoch anew, where parts of the context are left out at random."""
    if not config.data.context_dropout:
        return None
    by_id = {study.study_id: study for study in data.studies}
    studies = [by_id[variants[0].id] for variants in samples]
    return ContextDropout(checkpoint, studies, data.priors, config.data, config.seed, data.folder)


def _subsets(config: EvalConfig, data: DataConfig, checkpoint: Checkpoint) -> dict[str, Subset]:
    """The validation studies of each set, always the same ones; none without validation."""
    if config.eval_strategy == "no":
        return {}
    paths = config.eval_data_path or data.data_path
    sets = read_sets(replace(data, data_path=paths, split="valid", view_dropout=0.0, streaming=False))
    subsets = {}
    for name, read in sets.items():
        valid = with_read_labels(data, read, checkpoint.label_reader)
        chosen = fixed_part([each[0] for each in valid.variants], config.eval_studies)
        samples, _ = encode_data(checkpoint, [[each] for each in chosen], "cut", valid.folder)
        subsets[name] = Subset(tuple(chosen), tuple(each[0] for each in samples), valid.folder, config)
    return subsets


def _mark_trainable(config: TrainConfig, checkpoint: Checkpoint) -> dict[str, int]:
    """Mark what is trained, unless it is; says and returns how many parameters that is."""
    if not frozen_in_bf16(config):
        mark_trainable(checkpoint, config.trainable)
    trained, total = count_trained(checkpoint.model)
    say(f"{config.trainable.train_modules}: {trained:,} of {total:,} parameters are trained")
    return {"trained": trained, "parameters": total}


def _callback(
    run: Run,
    checkpoint: Checkpoint,
    fingerprint: dict[str, Any],
    subsets: Mapping[str, Subset],
    resumed: ResumePoint | None,
    watchdog: Watchdog,
    second: SecondStage | None,
) -> RunCallback:
    config = run.config
    trackers = open_trackers(config.log, run.out, fingerprint) if run.processes.is_main else []
    log = RunLog(run.out, trackers, config.log.logging_steps)
    validation = Validation(subsets, config.eval, computes_in_bf16(config.optim)) if subsets else None
    page = RunPage(run.out, fingerprint, config.log)
    whole = (config.checkpoint, fingerprint, checkpoint, log, validation, resumed, watchdog, page)
    if not isinstance(second, Policy):
        return RunCallback(*whole)
    return PolicyCallback(
        RewardWatch(second, watched_sets(config.policy, config.data, checkpoint.label_reader)), *whole
    )


def _main_stage(
    run: Run,
    stage: Stage,
    samples: Sequence[Sequence[Sample]],
    folder: Path,
    callback: RunCallback,
    redraw: Redraw | None,
    stream: Stream | None,
    second: SecondStage | None,
) -> None:
    config, updates = run.config, second.updates if second else 1
    settings = fit_settings(config.optim, stream.total if stream else len(samples), stage.sampler, updates)
    try:
        train_on_images(
            *(
                stage,
                samples,
                settings,
                folder,
                callback,
                callback.first_step,
                redraw,
                stream,
                second,
            )
        )
    finally:
        callback.close()
    run.processes.barrier()


def _save(run: Run, checkpoint: Checkpoint, callback: RunCallback) -> None:
    """The run's model, which is the best one after early stopping, and the best one in a folder of its own."""
    if callback.stopped_early and callback.best_checkpoint:
        load_weights(callback.best_checkpoint, checkpoint.model)
        say(f"the model is that of step {callback.best_step}, the best that was seen")
    mode = mode_of(run.config.trainable.train_modules)
    save_model(
        run.out,
        checkpoint,
        run.processes,
        merge=run.config.checkpoint.merge_adapter,
        projector_only=mode.rows and not mode.adapters,
        base=Path(run.config.model.model_name_or_path) if run.config.model.model_name_or_path else None,
        opened_anew=lambda: configured_model(run.config).model,
    )
    if callback.best_checkpoint and run.processes.is_main:
        export_checkpoint(run.out, "best", run.out / BEST, run.config.checkpoint.merge_adapter, replace=True)
