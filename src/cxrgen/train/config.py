"""The settings of a training run in parts; each part is read by one file of this room and handed to it alone.

Those of what a run starts from, of its second stages, and of how it is watched stand in `model_config`,
`second_stages` and `watch_config`.

A field is also a recipe key and a flag of the same name. Names are unique over all parts, so that recipes and flags
stay flat. Values are checked when a `TrainConfig` is made, before data or torch are touched; nothing here imports
torch or pyarrow, which keeps `cxrgen train --help` quick; a test compares the names with those of their owners.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from cxrgen.core.errors import UsageError, unknown
from cxrgen.text.context import LABELS, PARTS, parts_of
from cxrgen.text.prompts import context_of
from cxrgen.train.model_config import ModelConfig, TinyModelConfig
from cxrgen.train.options import option
from cxrgen.train.second_stages import PolicyConfig, PreferenceConfig
from cxrgen.train.watch_config import EVAL_SCORES, TRACKERS, EvalConfig, LogConfig

TRAIN_MODULES = ("projector", "llm", "projector+llm", "full", "lora", "qlora")
PROMPTS = ("study", "study-prior", "original")
LOSS_RULES = ("tokens", "original")
OPTIMIZERS = ("adamw_torch", "adamw_torch_fused", "adamw_8bit")
ATTENTIONS = ("eager", "sdpa", "flash_attention_2")
FEATURES_IN = ("disk", "memory")
SCHEDULES = ("cosine", "linear", "constant")
AUGMENTS = ("shift", "strong", "mirror")
_GIVEN = tuple(part for part in PARTS if part != LABELS)  # parts that the data hold


@dataclass(frozen=True)
class DataConfig:
    """What `data` reads, and how samples and batches are made of it."""

    data_path: str | tuple[str, ...] = option(
        "", "prepared folder, or several, or LLaVA JSON", metavar="PATH", outcome=False
    )
    mix: str = option("", "shares of several sets in what is shown, such as 2,1; default: by their sizes")
    image_folder: str = option(
        "", "where the images of a JSON file are; default: beside it", metavar="DIR", outcome=False
    )
    split: str = option("train", "split of a prepared folder to train on")
    prompt: str = option("study", "wording of the question; study-prior adds the prior report", choices=PROMPTS)
    context: str = option(
        "", f"what is stated besides the images, with commas: {', '.join(_GIVEN)}, or none; default: by --prompt"
    )
    label_prompt: bool | str = option(
        False,
        "state in prompts, in words, what a linear head reads from the images: true by the model's own vision encoder, "
        "or by that of a folder (as --vision_tower takes it), for any class of model",
        metavar="true|DIR",
    )
    context_dropout: float = option(
        0.0, "share of prompts that each part of the context is left out of, drawn each epoch", at_least=0
    )
    priors: str = option(
        "keep",
        "what reports say of an earlier study: keep it, or match the prompt: cut where that shows none",
        choices=("keep", "match"),
    )
    prior_words: int = option(0, "longest prior report in words, cut where a sentence ends; 0: no limit", at_least=0)
    max_images: int = option(
        0, "most images of a study, its own before those of the study before; 0: no limit", at_least=0
    )
    views: str = option("all", "images of a study that are shown", choices=("all", "frontal", "lateral"))
    view_dropout: float = option(
        0.0, "share of studies of several views shown with their frontal only, drawn each epoch", at_least=0
    )
    long: str = option(
        "cut",
        "samples over the limit: cut at the end of a sentence, drop, or refuse",
        choices=("cut", "drop", "refuse"),
    )
    max_rejects: float = option(0.02, "largest share of items that may be left out", at_least=0, outcome=False)
    streaming: bool = option(False, "read shards (`export-data --to shards`) window by window")
    streaming_window: int = option(4096, "studies that are held at a time under --streaming", at_least=1)
    weight_positive: str = option(
        "", "weight of sentences that state a finding: a number, or finding=number with commas; the mean stays 1"
    )
    packing: bool = option(False, "samples of a batch in one row without padding, each attending to itself only")
    cache_features: bool = option(False, "compute the frozen vision encoder's features once and keep them")
    features_in: str = option(
        FEATURES_IN[0],
        "kept features: on disk in float16, computed by all processes together and used again by later runs; or in "
        "each process's memory in float32",
        choices=FEATURES_IN,
    )
    shared_cache: str = option(
        "",
        "folder of kept features and tokens that several runs use; default: features in --output_dir, no tokens",
        metavar="DIR",
        outcome=False,
    )
    dataloader_num_workers: int = option(
        -1, "processes that read images ahead; -1: as many as help on a GPU, none elsewhere", at_least=-1, outcome=False
    )

    @property
    def stated(self) -> str:
        """What prompts state besides the images, by the names of `context`; "": as the prompt has it."""
        if not self.label_prompt:
            return self.context
        return ",".join((*context_of(self.prompt, self.context), LABELS))

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every set of `data_path`."""
        given = (self.data_path,) if isinstance(self.data_path, str) else self.data_path
        return tuple(map(Path, given))


@dataclass(frozen=True)
class TrainableConfig:
    """Which parameters `trainable` marks for training."""

    train_modules: str = option("projector+llm", "what is trained", choices=TRAIN_MODULES)
    train_tower: str = option("frozen", "vision encoder: frozen, last-N (its last N layers) or full")
    lora_rank: int = option(16, "rank of low-rank adapters", at_least=1)
    lora_alpha: int = option(32, "scale of low-rank adapters")
    lora_dropout: float = option(0.05, "dropout in front of low-rank adapters", at_least=0)
    use_rslora: bool = option(False, "scale low-rank adapters by the square root of their rank (rank-stabilised LoRA)")
    use_dora: bool = option(False, "train the length of each weight column apart from its direction (DoRA)")
    gradient_checkpointing: bool = option(False, "compute layers again in the backward pass, to save memory")


@dataclass(frozen=True)
class WarmupConfig:
    """Stages before the main one: the vision encoder on labels, a new language model on texts (`warmup`)."""

    warmup_labels: str = option(
        "none",
        "labels for the vision encoder: rule reads the reports, dataset takes those of the data set",
        choices=("none", "rule", "dataset"),
    )
    warmup_data: str = option(
        "",
        "prepared sets whose own labels the vision encoder learns as well, with commas; without --data_path the run "
        "ends with the encoder",
        metavar="DIR,...",
        outcome=False,
    )
    warmup_label_map: str = option(
        "", "CSV set,label,name: what a label of these sets is called; a blank name leaves it out",
        metavar="FILE", outcome=False,
    )  # fmt: skip
    tower_steps: int = option(0, "steps of the vision encoder on labels", at_least=0)
    tower_batch_size: int = option(32, "studies in such a step", at_least=1)
    tower_augment: str = option(
        "shift",
        "changes of the images in these steps: shift by pixels; strong also turns, scales and lights; mirror does that "
        "and mirrors, for labels without a side",
        choices=AUGMENTS,
    )
    tower_weight_decay: float = option(0.02, "AdamW's weight decay in these steps", at_least=0)
    tower_learning_rate: float = option(1.5e-3, "peak learning rate of these steps", at_least=0)
    tower_probe: bool = option(
        False, "keep the vision encoder as it is and solve for its labels by ridge regression; --tower_steps 0"
    )
    text_steps: int = option(0, "steps on texts alone before images are shown, for a new language model", at_least=0)

    @property
    def on_labels(self) -> bool:
        """Whether the vision encoder is trained or probed on labels."""
        return bool(self.tower_steps or self.tower_probe)


@dataclass(frozen=True)
class OptimConfig:
    """Steps, batch sizes, AdamW and precision; `stages` makes the trainer's settings of them."""

    max_steps: int = option(-1, "training steps; -1 (or 0) counts epochs instead")
    num_train_epochs: float = option(1.0, "passes over the data", at_least=0)
    per_device_train_batch_size: int = option(8, "samples a process takes at a time", at_least=1, outcome=False)
    gradient_accumulation_steps: int = option(1, "batches in a step", at_least=1, outcome=False)
    global_batch_size: int = option(
        0, "samples in a step, all processes together; derives the accumulation", at_least=0
    )
    learning_rate: float = option(2e-5, "peak learning rate", at_least=0)
    lr_scheduler_type: str = option("cosine", "learning-rate schedule after the warm-up", choices=SCHEDULES)
    warmup_ratio: float = option(0.03, "share of the steps in which the learning rate rises", at_least=0)
    warmup_steps: int = option(0, "the same as a number of steps; 0: by the ratio", at_least=0)
    weight_decay: float = option(0.0, "AdamW's weight decay", at_least=0)
    adam_beta1: float = option(0.9, "AdamW's first decay")
    adam_beta2: float = option(0.999, "AdamW's second decay")
    max_grad_norm: float = option(1.0, "gradients are clipped to this norm; 0: never", at_least=0)
    loss_rule: str = option(
        "tokens", "every token weighs the same; original: mean of micro-batch means", choices=LOSS_RULES
    )
    bf16: bool = option(False, "compute in bfloat16 where the hardware has it")
    tf32: bool = option(False, "let float32 products use TF32 where the hardware has it")
    optim: str = option(
        OPTIMIZERS[0],
        "AdamW as torch has it, fused into one kernel, or with a state of 8 bits (bitsandbytes); the last two on GPUs",
        choices=OPTIMIZERS,
    )
    attn_implementation: str = option(
        "", "attention of the model: sdpa is torch's own; default: the model's", choices=("", *ATTENTIONS)
    )
    use_liger_kernel: bool = option(False, "Liger's kernels for norms, rotary positions and MLPs, on GPUs")
    torch_compile: bool = option(False, "compile the model, on GPUs")
    fsdp: str = option("", "any value shards model and optimiser over processes (FSDP2)", outcome=False)
    shard_gradients: bool = option(
        False,
        "under --fsdp, gradients stay sharded between the batches of a step: less memory, more sending",
        outcome=False,
    )


@dataclass(frozen=True)
class CheckpointConfig:
    """The run's folder, what is saved in it and where a run continues (`checkpoints`, `resume`, `export`)."""

    output_dir: str = option("", "folder of the run and its checkpoint", metavar="DIR", outcome=False)
    save_strategy: str = option("steps", "checkpoints to resume from", choices=("no", "steps"), outcome=False)
    save_steps: int = option(500, "steps between checkpoints", at_least=1, outcome=False)
    save_total_limit: int = option(2, "checkpoints kept besides the best", at_least=1, outcome=False)
    resume: bool | str = option(
        False, "continue from the last whole checkpoint in output_dir, or from the one that is named", outcome=False
    )
    overwrite_output_dir: bool = option(False, "start anew where an earlier run left checkpoints", outcome=False)
    merge_adapter: bool = option(False, "write adapters into the weights at the end", outcome=False)


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Raises UsageError for a value outside its choices or range."""

    model: ModelConfig = field(default_factory=ModelConfig, metadata={"title": "model to start from"})
    data: DataConfig = field(default_factory=DataConfig, metadata={"title": "data"})
    preference: PreferenceConfig = field(
        default_factory=PreferenceConfig, metadata={"title": "learning from preferences"}
    )
    policy: PolicyConfig = field(default_factory=PolicyConfig, metadata={"title": "learning from rewards"})
    trainable: TrainableConfig = field(default_factory=TrainableConfig, metadata={"title": "trained parameters"})
    warmup: WarmupConfig = field(default_factory=WarmupConfig, metadata={"title": "warm-up stages"})
    optim: OptimConfig = field(default_factory=OptimConfig, metadata={"title": "steps and optimiser"})
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig, metadata={"title": "output and checkpoints"})
    eval: EvalConfig = field(default_factory=EvalConfig, metadata={"title": "validation"})
    log: LogConfig = field(default_factory=LogConfig, metadata={"title": "logging"})
    tiny: TinyModelConfig = field(default_factory=TinyModelConfig, metadata={"title": "sizes of a new small model"})
    seed: int = option(42, "seed of new weights and of the order of samples")
    threads: int = option(0, "CPU threads; 0 leaves it to torch", at_least=0, outcome=False)
    ddp_timeout: int = option(
        7200, "seconds that a collective call of several processes may take", at_least=1, outcome=False
    )
    watchdog_seconds: float = option(
        60.0, "seconds without a sign of another process after which the run ends; 0: never", at_least=0, outcome=False
    )

    def __post_init__(self) -> None:
        values = flat_values(self)
        for each in options():
            _check(each, values[each.name])
        if not re.fullmatch(r"frozen|full|last-[1-9]\d*", self.trainable.train_tower):
            raise unknown("--train_tower", self.trainable.train_tower, ("frozen", "last-1", "last-2", "full"))
        if self.data.context and LABELS in parts_of(self.data.context):
            raise UsageError(f"--context {LABELS}: what images show is stated by --label_prompt true")
        if not self.data.context_dropout < 1:
            raise UsageError(f"--context_dropout {self.data.context_dropout}: below 1, a share of the prompts")
        for name in names_in(self.log.report_to):
            if name not in TRACKERS:
                raise unknown("--report_to", name, TRACKERS)
        if self.eval.metric_for_best_model != EVAL_SCORES[0] and not self.eval.eval_reports:
            raise UsageError(
                f"--metric_for_best_model {self.eval.metric_for_best_model} needs reports: --eval_reports true"
            )


def _check(option: Any, value: Any) -> None:
    choices, least = option.metadata["choices"], option.metadata["at_least"]
    if choices and value not in choices:
        raise unknown(f"--{option.name}", value, filter(None, choices))
    if least is not None and not value >= least:  # also refuses nan
        raise UsageError(f"--{option.name} {value}: at least {least}")


def parts() -> dict[str, tuple[str, type]]:
    """Name of each part of `TrainConfig` -> its title in the help, and its class."""
    return {
        each.name: (each.metadata["title"], each.default_factory)  # type: ignore[misc]
        for each in fields(TrainConfig)
        if "title" in each.metadata
    }


def options() -> Iterator[Any]:
    """The fields of all parts, and those of the run as a whole; each is a recipe key and a flag."""
    for _, kind in parts().values():
        yield from fields(kind)
    yield from (each for each in fields(TrainConfig) if "title" not in each.metadata)


def make_config(values: Mapping[str, Any] | None = None, **more: Any) -> TrainConfig:
    """A configuration from flat names: `make_config(data_path="prepared", output_dir="model", learning_rate=1e-4)`."""
    given = {**(values or {}), **more}
    names = {option.name for option in options()}
    for name in given:
        if name not in names:
            raise unknown("setting", name, sorted(names))
    made: dict[str, Any] = {}
    for part, (_, kind) in parts().items():
        made[part] = kind(**{each.name: given.pop(each.name) for each in fields(kind) if each.name in given})
    return TrainConfig(**made, **given)


def flat_values(config: TrainConfig) -> dict[str, Any]:
    """The values by their flat names, as a recipe holds them."""
    flat: dict[str, Any] = {}
    for each in fields(config):
        value = getattr(config, each.name)
        flat |= asdict(value) if is_dataclass(value) and not isinstance(value, type) else {each.name: value}
    return flat


def names_in(text: str) -> list[str]:
    """The parts of a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
