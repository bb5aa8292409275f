"""What can be refused before torch is imported and data are read: paths, splits, packages, contradictions."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow
import pyarrow.parquet

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import make_folder
from cxrgen.core.records import SHARDS
from cxrgen.core.tables import read_json
from cxrgen.metrics.rewards import check_reward
from cxrgen.train.config import DataConfig, TrainConfig, names_in
from cxrgen.train.finding_weights import read_weights
from cxrgen.train.mixing import parsed_mix
from cxrgen.train.model_config import ModelConfig
from cxrgen.train.prepared_sets import check_alike
from cxrgen.train.run_log import check_trackers
from cxrgen.train.watch_config import EvalConfig

STUDIES = "studies.parquet"
# Fields of `ModelConfig` that only class llava has.
_FOR_LLAVA = (
    *("vision_tower", "pretrain_mm_mlp_adapter", "label_rule"),
    *("mm_use_im_start_end", "mm_vision_select_layer"),
)


def check_run(config: TrainConfig) -> None:
    """Raises UsageError or InputError for a run that cannot start."""
    mode = config.trainable.train_modules
    if mode == "qlora" and not config.model.model_name_or_path:
        raise UsageError("--train_modules qlora needs a checkpoint as --model_name_or_path")
    if mode == "lora" and not (config.model.model_name_or_path or config.model.language_model):
        raise UsageError(
            "--train_modules lora needs a checkpoint as --model_name_or_path, or a --language_model to join"
        )
    if config.optim.optim == "adamw_8bit" and config.checkpoint.save_strategy != "no":
        raise UsageError("--optim adamw_8bit: its state cannot be saved to resume from; add --save_strategy no")
    if config.data.cache_features and (config.trainable.train_tower != "frozen" or mode == "full"):
        raise UsageError("--cache_features needs a frozen vision encoder; remove it where the encoder is trained")
    if config.warmup.tower_steps and config.warmup.tower_probe:
        raise UsageError("--tower_probe keeps the vision encoder as it is; use --tower_steps 0 with it")
    if config.warmup.text_steps and config.data.data_path and mode not in ("llm", "projector+llm", "full"):
        raise UsageError(f"--text_steps teaches the language model, which --train_modules {mode} keeps; use 0")
    if config.warmup.on_labels and config.warmup.warmup_labels == "none":
        flag = "tower_steps" if config.warmup.tower_steps else "tower_probe"
        raise UsageError(f"--{flag} needs --warmup_labels rule or dataset, and a prepared folder as --data_path")
    if config.optim.shard_gradients and not config.optim.fsdp:
        raise UsageError("--shard_gradients is for --fsdp; without it gradients are whole in every process")
    if config.data.shared_cache and Path(config.data.shared_cache).exists():
        make_folder(Path(config.data.shared_cache))  # says what else it is
    if config.data.weight_positive:
        read_weights(config.data.weight_positive)
        if config.data.context_dropout:
            raise UsageError("--weight_positive weighs fixed prompts; leave --context_dropout out")
    _check_streaming(config)
    _check_second_stage(config)
    check_trackers(config.log.report_to)
    _check_model(config.model)
    _check_class(config)
    _check_label_sets(config)
    if config.data.data_path:
        _check_data(config.data, config.eval)


def _check_label_sets(config: TrainConfig) -> None:
    """Raises UsageError or InputError where the sets of --warmup_data could not be used."""
    warmup = config.warmup
    if warmup.warmup_label_map and not warmup.warmup_data:
        raise UsageError("--warmup_label_map names the labels of --warmup_data, which is not given")
    if not warmup.warmup_data:
        return
    if not warmup.on_labels:
        raise UsageError("--warmup_data is for the vision encoder's steps: --tower_steps N --warmup_labels dataset")
    for name in names_in(warmup.warmup_data):
        if not (Path(name) / "studies.parquet").is_file():
            raise InputError(f"{name}: no studies.parquet; give folders that `cxrgen prepare` made as --warmup_data")
    if warmup.warmup_label_map and not Path(warmup.warmup_label_map).is_file():
        raise InputError(f"{warmup.warmup_label_map}: no such file; correct --warmup_label_map")
    if not config.data.data_path and warmup.warmup_labels == "rule":
        raise UsageError("--warmup_labels rule reads reports, which --data_path gives; use --warmup_labels dataset")
    if not config.data.data_path and config.eval.eval_strategy != "no":
        raise UsageError("--eval_strategy steps writes reports and needs --data_path")


def _check_streaming(config: TrainConfig) -> None:
    """Raises UsageError for shards that are not streamed, and for what needs the whole set at once."""
    data = config.data
    sharded = [path for path in data.paths if (path / SHARDS).is_file()]
    if not data.streaming:
        if sharded:
            raise UsageError(f"--data_path {sharded[0]}: a folder of shards; add --streaming")
        return
    if len(data.paths) > 1:
        raise UsageError("--streaming reads one set; export several as one, or train without it")
    if not sharded:
        raise UsageError(
            f"--streaming: {data.paths[0]} holds no {SHARDS}; `cxrgen export-data PREPARED --to shards --out DIR` "
            "makes shards"
        )
    whole = {
        "tower_steps": config.warmup.tower_steps,
        "tower_probe": config.warmup.tower_probe,
        "text_steps": config.warmup.text_steps,
        "cache_features": data.cache_features,
        "shared_cache": data.shared_cache,
        "context_dropout": data.context_dropout,
        "label_prompt": data.label_prompt,
        "context prior-images": "prior-images" in data.context,
        "weight_positive": data.weight_positive,
    }
    if names := [f"--{name}" for name, value in whole.items() if value]:
        need = "needs" if len(names) == 1 else "need"
        raise UsageError(f"{', '.join(names)} {need} the whole set; leave out, or train on the prepared folder")
    if config.eval.eval_strategy != "no" and not config.eval.eval_data_path:
        raise UsageError("--eval_strategy steps with --streaming needs --eval_data_path, the prepared folder")


def _check_second_stage(config: TrainConfig) -> None:
    """Raises UsageError or InputError for a second stage that this run cannot have, and for settings of another."""
    stage = config.preference.stage
    for owner, part, names in (
        ("dpo", config.preference, ("candidates", "other_patient_pairs")),
        ("grpo", config.policy, ("outside_data", "reward_truth")),
    ):
        for name in names:
            if stage != owner and getattr(part, name):
                raise UsageError(f"--{name} is for --stage {owner}")
    if stage == "sft":
        return
    if config.data.streaming or len(config.data.paths) > 1:
        raise UsageError(
            f"--stage {stage} reads one prepared folder; give it alone as --data_path, without --streaming"
        )
    if not config.model.model_name_or_path:
        raise UsageError(f"--stage {stage} goes on from a trained model; give it as --model_name_or_path")
    for name, value in (
        ("packing", config.data.packing),
        ("context_dropout", config.data.context_dropout),
        ("priors", config.data.priors != "keep"),
        ("weight_positive", config.data.weight_positive),
        ("tower_steps", config.warmup.tower_steps),
        ("tower_probe", config.warmup.tower_probe),
        ("text_steps", config.warmup.text_steps),
    ):
        if value:
            raise UsageError(f"--{name} is for --stage sft; leave it out of --stage {stage}")
    if stage == "grpo":
        _check_policy(config)
    for name in filter(None, (part.strip() for part in config.preference.candidates.split(","))):
        if not Path(name).is_file():
            raise InputError(f"{name}: no such file; make it with `cxrgen generate --split train --samples N`")


def _check_policy(config: TrainConfig) -> None:
    """Raises UsageError or InputError for a policy that cannot be sampled, rewarded, resumed or watched in this run."""
    policy = config.policy
    for name, value, why in (
        ("fsdp", config.optim.fsdp, "each process samples its own studies and needs the whole model"),
        ("dataloader_num_workers", config.data.dataloader_num_workers > 0, "batches are sampled from the model itself"),
        ("save_strategy no", config.checkpoint.save_strategy == "no", "the best state has to be kept"),
        ("eval_strategy steps", config.eval.eval_strategy != "no", "--watch_steps takes its place"),
        ("split valid", config.data.split == "valid", "its studies are watched, and must not be learnt"),
    ):
        if value:
            raise UsageError(f"--{name} with --stage grpo: {why}; leave it out")
    if not 0 < policy.sample_temperature < math.inf:
        raise UsageError(
            f"--sample_temperature {policy.sample_temperature}: a number above 0; at 0 all reports are equal"
        )
    counted = {"save_steps": config.checkpoint.save_steps, "watch_steps": policy.watch_steps}
    for name, steps in {**counted, "max_steps": max(0, config.optim.max_steps)}.items():
        if steps % policy.updates:
            raise UsageError(f"--{name} {steps}: a multiple of --updates {policy.updates}, the steps of one sampling")
    check_reward(policy.reward, bool(policy.reward_truth))
    if policy.reward_truth and not Path(policy.reward_truth).is_file():
        raise InputError(
            f"{policy.reward_truth}: no such file; give findings.csv of `cxrgen phantom` as --reward_truth"
        )
    for name, path in (("data_path", config.data.paths[0]), ("outside_data", Path(policy.outside_data or "."))):
        given = name == "data_path" or policy.outside_data
        if given and not (path / STUDIES).is_file():
            raise InputError(f"{path}: no {STUDIES}; give a folder that `cxrgen prepare` made as --{name}")
        if given and "valid" not in _splits(path / STUDIES):
            raise InputError(f"{path}: no study in split valid, which --stage grpo watches; prepare the set with one")


def _check_model(config: ModelConfig) -> None:
    folder = Path(config.model_name_or_path)
    if config.token_pooling > 1 and config.model_name_or_path:
        raise UsageError("--token_pooling is for a new joined model; a checkpoint's projector fits its own tokens")
    if config.token_pooling > 1 and not config.vision_tower:
        raise UsageError("--token_pooling joins tokens of a --vision_tower DIR; the small encoder's are few already")
    if not config.model_name_or_path:
        return
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise InputError(f"{folder}: no config.json; give a folder that holds a checkpoint")


def _check_class(config: TrainConfig) -> None:
    """Raises UsageError for options that only class llava under one of this package's formats can have."""
    kind = _class_by_chat_template(config.model)
    if not kind:
        return
    wanted = {
        "packing": config.data.packing,
        "cache_features": config.data.cache_features,
        "tower_steps": config.warmup.tower_steps,
        "tower_probe": config.warmup.tower_probe,
        "text_steps": config.warmup.text_steps,
        "label_prompt true": config.data.label_prompt is True and not _has_reader(config.model),
        "version": config.model.version if config.model.version != "chat" else "",
        **{name: getattr(config.model, name) for name in _FOR_LLAVA},
    }
    for name, value in wanted.items():
        if value:
            raise UsageError(f"--{name} is for class llava; {kind} goes by its own processor and chat template")


def _class_by_chat_template(config: ModelConfig) -> str:
    """The class of a model that is trained by its own chat template; "" for class llava and for new models."""
    folder = Path(config.model_name_or_path)
    if not config.model_name_or_path:
        return ""
    settings, recorded = ({}, {})
    if (folder / "config.json").is_file():
        settings = read_json(folder / "config.json")
    if (folder / "cxrgen.json").is_file():
        recorded = read_json(folder / "cxrgen.json")
    if not isinstance(settings, dict) or not isinstance(recorded, dict):
        return ""  # `open_checkpoint` says what is wrong
    kind = str(settings.get("model_type", "this model"))
    own = recorded.get("template") == "chat" if recorded else kind != "llava"
    return kind if own or config.version == "chat" else ""


def _has_reader(config: ModelConfig) -> bool:
    return (Path(config.model_name_or_path) / "label_reader").is_dir()


def _check_data(data: DataConfig, evaluation: EvalConfig) -> None:
    for path in data.paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; give a prepared folder or LLaVA JSON as --data_path")
    if len(data.paths) > 1:
        check_alike(data.paths)
        parsed_mix(data.mix, len(data.paths))
    elif data.mix:
        raise UsageError(f"--mix {data.mix}: of one set there is nothing to mix; give several to --data_path")
    if len(data.paths) > 1 and data.image_folder:
        raise UsageError("--image_folder is for one set; prepared folders know where their images are")
    if evaluation.eval_strategy == "no":
        return
    if evaluation.eval_data_path:
        if not Path(evaluation.eval_data_path).exists():
            raise InputError(f"{evaluation.eval_data_path}: no such file or folder; correct --eval_data_path")
        return
    for path in data.paths:
        if not path.is_dir():
            raise UsageError("--eval_strategy steps needs --eval_data_path, or a prepared folder with a split valid")
        if (path / "studies.parquet").is_file() and "valid" not in _splits(path / "studies.parquet"):
            raise InputError(f"{path}: no study in split valid; give --eval_data_path, or remove --eval_strategy steps")


def _splits(file: Path) -> set[str]:
    try:
        column = pyarrow.parquet.read_table(file, columns=["split"])["split"]
    except (pyarrow.ArrowInvalid, OSError, KeyError):
        return {"valid"}  # `read_studies` says what is wrong with the file
    return set(column.unique().to_pylist())
