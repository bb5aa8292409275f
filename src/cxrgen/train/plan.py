"""Memory and time of a run before it is started, as sums that can be checked by hand.

What stays through a step (weights, gradients, optimiser) is `memory`'s arithmetic; what a micro-batch adds is counted
on the model itself (`activations`). Time is what the matrix products take at a share of the device's peak, and what its
memory takes to move the rest. For GPUs both shares are assumptions without a measurement behind them; those of this
machine's processor are measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch

from cxrgen.train.activations import BatchShape, Cost
from cxrgen.train.calibration import OPTIMIZER_BYTES, this_processor
from cxrgen.train.config import OptimConfig, TrainableConfig, TrainConfig
from cxrgen.train.data import GPU_WORKERS, steps_in_epoch
from cxrgen.train.gpus import CPU, DEVICES, GPUS_IN_MACHINE, Device, link_rate
from cxrgen.train.memory import SLOWEST_DISK
from cxrgen.train.planned_run import FakeModel, Material, batch_shapes, fake_model
from cxrgen.train.stages import computes_in_bf16, sampler_config
from cxrgen.train.trainable import mode_of

_PRODUCTS, _TRAFFIC = 0.6, 0.8  # shares of a GPU's peak that are counted on
_TF32, _FLOAT32 = 0.5, 1 / 16  # speed of products without bfloat16
_PASSES = 6  # a kept byte is written, read twice, its gradient written and read, and something beside it is not kept
_CONTEXT, _FRAGMENTS = 1.0e9, 0.05  # of a GPU: CUDA's own, and the share that allocation loses
_PYTHON = 1.0e9  # bytes of a process with torch and transformers
_FLOAT = 4.0


@dataclass(frozen=True)
class Line:
    """One row of arithmetic: what it is, how much, and how it comes about."""

    name: str
    amount: float
    how: str


@dataclass(frozen=True)
class Plan:
    """A run on `count` devices; bytes and seconds. `peak` is the most that a device holds."""

    config: TrainConfig
    device: Device
    count: int
    parameters: int
    trained: int
    samples: int
    estimated: bool
    longest: BatchShape
    memory: tuple[Line, ...]
    peak: Line
    host: tuple[Line, ...]
    checkpoint: float
    features: float  # kept on disk
    model_file: float
    saves: int
    steps: int
    tokens: float  # of a step, padding included
    time: tuple[Line, ...]  # of a step
    operations: float  # floating-point, of a step on one device

    @property
    def fits(self) -> bool:
        return not self.device.memory or self.peak.amount <= self.device.memory

    @property
    def step_seconds(self) -> float:
        return sum(line.amount for line in self.time)

    @property
    def save_seconds(self) -> float:
        return self.checkpoint / SLOWEST_DISK

    @property
    def seconds(self) -> float:
        """Of training and of its checkpoints."""
        return self.steps * self.step_seconds + self.saves * self.save_seconds


@dataclass(frozen=True)
class _Run:
    """What the sums of one plan are made of."""

    config: TrainConfig
    device: Device
    count: int
    fake: FakeModel
    longest: BatchShape
    usual: BatchShape
    accumulation: int

    @property
    def sharded(self) -> bool:
        return bool(self.config.optim.fsdp) and self.count > 1

    @property
    def gathered(self) -> float:
        """Bytes of a parameter that sharded processes send each other."""
        return 2.0 if self.fake.bf16 else _FLOAT

    @property
    def usual_share(self) -> float:
        """Size of a micro-batch, as it is on average, over that of the largest."""
        return self.usual.positions / self.longest.positions

    @property
    def again(self) -> bool:
        return self.config.trainable.gradient_checkpointing

    @property
    def width(self) -> int:
        return int(self.fake.model.get_input_embeddings().embedding_dim)

    @property
    def vocabulary(self) -> int:
        return int(self.fake.model.get_output_embeddings().weight.shape[0])


def make_plan(config: TrainConfig, material: Material, name: str, count: int, image_seconds: float) -> Plan:
    """The plan of a run on `count` devices of a name. Raises UsageError for a global batch that cannot be cut."""
    bf16 = computes_in_bf16(config.optim) if name == CPU else config.optim.bf16
    sampler = sampler_config(config.optim, config.seed, config.data.view_dropout, count)
    shapes = batch_shapes(material, sampler, count, config.data.packing)
    fake = fake_model(material, config, bf16)
    longest, usual = max(shapes, key=lambda shape: shape.positions), _mean(shapes)
    device = DEVICES[name] if name != CPU else _processor(fake, usual, config.trainable)
    run = _Run(config, device, count, fake, longest, usual, sampler.accumulation)
    memory, peak = _memory(run)
    steps = config.optim.max_steps
    if steps <= 0:
        steps = max(1, math.ceil(config.optim.num_train_epochs * steps_in_epoch(material.total, sampler)))
    sizes, adapters = fake.sizes, mode_of(config.trainable.train_modules).adapters
    return Plan(
        config=config,
        device=device,
        count=count,
        parameters=sizes.trained + sizes.frozen,
        trained=sizes.trained,
        samples=material.total,
        estimated=material.checkpoint is None,
        longest=longest,
        memory=memory,
        peak=peak,
        host=_host(run, material),
        checkpoint=sizes.checkpoint_bytes,
        features=2.0 * _feature_values(run, material) if _kept_in(config, "disk") else 0.0,
        model_file=_FLOAT * (sizes.trained + (0 if adapters else sizes.frozen)),
        saves=steps // config.checkpoint.save_steps if config.checkpoint.save_strategy == "steps" else 0,
        steps=steps,
        tokens=float(usual.positions * sampler.accumulation * count),
        time=_step_time(run, image_seconds),
        operations=_operations(run),
    )


def _mean(shapes: Sequence[BatchShape]) -> BatchShape:
    """A micro-batch as large as they are on average."""
    rows = max(1, round(fmean(shape.rows for shape in shapes)))
    length = round(fmean(shape.positions for shape in shapes) / rows)
    learnt, images = (round(fmean(values)) for values in zip(*((shape.learnt, shape.images) for shape in shapes)))
    return BatchShape(rows, length, learnt, images)


def _processor(fake: FakeModel, shape: BatchShape, trainable: TrainableConfig) -> Device:
    text = fake.model.config.get_text_config()
    inner = getattr(text, "intermediate_size", 4 * text.hidden_size)
    rank = trainable.lora_rank if mode_of(trainable.train_modules).adapters else 0
    return this_processor(shape.positions, text.hidden_size, inner, rank)


def _memory(run: _Run) -> tuple[tuple[Line, ...], Line]:
    """What a device holds, row by row, and the moment at which it is most."""
    sizes, on_gpu = run.fake.sizes, run.device.name != CPU
    shares = sizes.shares(run.count, run.sharded)
    cost, share = run.fake.cost(run.longest), run.count if run.sharded else 1
    between = _FLOAT * run.longest.positions * run.width if run.again else 0.0
    activations, logits = cost.kept(between), _logits(run)
    trained, rows, learnt = _count(sizes.trained), run.longest.rows, run.longest.learnt
    gathered = run.gathered * (2 * run.fake.layer + run.fake.outside + run.fake.trained_outside) if run.sharded else 0.0
    each_at_once = on_gpu and run.config.optim.optim == "adamw_torch"
    steps = _FLOAT * sizes.trained / share if each_at_once else 2 * _FLOAT * run.fake.largest / share
    lines = (
        Line(
            "weights", shares.weights, f"({_count(sizes.trained)} x 4 B + {_gb(sizes.frozen_bytes)} frozen){_by(share)}"
        ),
        Line("gradients", shares.gradients, f"{_count(sizes.trained)} x 4 B{_by(share)}"),
        Line("optimiser", shares.optimizer, f"{_count(sizes.trained)} x {sizes.moments} B{_by(share)}"),
        Line("gradients, DDP's copy", shares.copies, f"{trained} x 4 B" if shares.copies else "one process or FSDP"),
        Line("layers gathered", gathered, "two layers, all outside layers" if gathered else "not sharded"),
        Line("activations", activations, _how_kept(run, cost, between)),
        Line("logits", logits, f"{rows} x {learnt} x {run.vocabulary:,} x {_logit_bytes(run):.0f} B"),
        Line("backward of a layer", cost.layer.kept, "the gradients of what it keeps"),
        Line("optimiser's step", steps, "square roots of all at once" if each_at_once else "of the largest tensor"),
    )
    stays = shares.weights + shares.optimizer + shares.copies
    whole = run.sharded and not run.config.optim.shard_gradients  # between the batches of a step
    accumulated = (_FLOAT * sizes.trained if whole else shares.gradients) if run.accumulation > 1 else 0.0
    moments = (
        ("at the start, whole weights", sizes.at_start if on_gpu and not run.sharded else 0.0),
        ("at the backward pass", stays + accumulated + gathered + activations + logits + cost.layer.kept),
        ("at the optimiser's step", stays + shares.gradients + steps),
    )
    name, most = max(moments, key=lambda moment: moment[1])
    extra = _CONTEXT + _FRAGMENTS * most if on_gpu else 0.0
    how = f"{name} {_gb(most)}" + (f" + CUDA {_gb(_CONTEXT)} + {_FRAGMENTS:.0%} lost in allocation" if on_gpu else "")
    return lines, Line("most at a time", most + extra, how)


def _how_kept(run: _Run, cost: Cost, between: float) -> str:
    shape = f"{run.longest.rows} x {run.longest.length} tokens"
    if between:
        kept = f"{cost.layers} x {_gb(between)} between layers + one layer {_gb(cost.layer.kept)}"
        return f"{shape}: {kept} + {_gb(cost.outside.kept)}"
    return f"{shape}: {cost.layers} layers x {_gb(cost.layer.kept)} + {_gb(cost.outside.kept)}"


def _logit_bytes(run: _Run) -> float:
    """Of one logit: itself, in float32, its logarithm and its gradient."""
    return 2 * _FLOAT + (6.0 if run.fake.bf16 else _FLOAT)


def _logits(run: _Run) -> float:
    return _logit_bytes(run) * run.longest.rows * run.longest.learnt * run.vocabulary


def _host(run: _Run, material: Material) -> tuple[Line, ...]:
    """Main memory of a machine, all its processes together."""
    processes, sizes = min(run.count, GPUS_IN_MACHINE), run.fake.sizes
    tokens = fmean(len(each[0].input_ids) for each in material.samples)
    data = material.total * (8.0 * tokens + 4.0 * tokens)
    values = _feature_values(run, material)
    features = _FLOAT * values if _kept_in(run.config, "memory") else 0.0
    half = material.model.config.dtype in (torch.float16, torch.bfloat16) and run.fake.bf16
    opened = sizes.at_start if half else sizes.read_in_float32
    readers = processes if sizes.in_4_bits else 1  # the others are sent what one has read
    lines = (
        Line("Python and torch", processes * _PYTHON, f"{processes} x {_gb(_PYTHON)}"),
        Line("weights while opening", readers * opened, f"{readers} x {_gb(opened)}"),
        Line("samples", processes * data, f"{processes} x {material.total:,} x {tokens:.0f} tokens x 12 B"),
        Line("features", processes * features, f"{processes} x {_count(values)} x 4 B"),
    )
    return tuple(line for line in lines if line.amount)


def _feature_values(run: _Run, material: Material) -> float:
    """Numbers that the features of all images have."""
    images = fmean(len(each[0].images) for each in material.samples) * material.total
    return images * material.image_tokens * float(getattr(run.fake.model.config.vision_config, "hidden_size", 0))


def _kept_in(config: TrainConfig, place: str) -> bool:
    return config.data.cache_features and config.data.features_in == place


def _operations(run: _Run) -> float:
    """Floating-point operations of a step on one device."""
    return run.accumulation * run.usual_share * run.fake.cost(run.longest).operations(run.again)


def _step_time(run: _Run, image_seconds: float) -> tuple[Line, ...]:
    """Seconds of one step by what they go into; reading ahead by workers, and sending, lie beside computing."""
    cost, optim, on_gpu = run.fake.cost(run.longest), run.config.optim, run.device.name != CPU
    operations = _operations(run)
    rate = run.device.products * (_PRODUCTS * _precision(optim) if on_gpu else 1.0)
    traffic = run.device.traffic * (_TRAFFIC if on_gpu else 1.0)
    moved = run.accumulation * run.usual_share * _PASSES * (cost.kept() + _logits(run)) if on_gpu else 0.0
    share = run.count if run.sharded else 1
    stepping = OPTIMIZER_BYTES * run.fake.sizes.trained / share
    computing = operations / rate + moved / traffic
    sending, how = _sent(run)
    workers = run.config.data.dataloader_num_workers
    workers = (GPU_WORKERS if on_gpu else 0) if workers < 0 else workers
    images = 0 if run.config.data.cache_features else run.accumulation * run.usual.images
    reading = images * image_seconds
    waits = max(0.0, reading / workers - computing) if workers else reading
    return (
        Line("matrix products", operations / rate, f"{operations / 1e12:,.2f} TFLOP at {rate / 1e12:,.2f} TFLOP/s"),
        Line("memory traffic", moved / traffic, f"{_gb(moved)} at {_gb(traffic)}/s" if on_gpu else "in that rate"),
        Line("optimiser", stepping / traffic, f"{_gb(stepping)} at {_gb(traffic)}/s"),
        Line("sending", max(0.0, sending - computing), how),
        Line("reading images", waits, f"{images} x {image_seconds:.4f} s, {workers} workers"),
    )


def _precision(optim: OptimConfig) -> float:
    return 1.0 if optim.bf16 else _TF32 if optim.tf32 else _FLOAT32


def _sent(run: _Run) -> tuple[float, str]:
    """Seconds that a step's exchange takes by itself."""
    if run.count == 1:
        return 0.0, "one process"
    sizes, rate = run.fake.sizes, link_rate(run.device, run.count)
    part = (run.count - 1) / run.count
    if run.sharded:
        reduced = run.accumulation if run.config.optim.shard_gradients else 1
        weights = run.accumulation * run.gathered * 2 * (sizes.trained + sizes.frozen)
        amount = (weights + reduced * _FLOAT * sizes.trained) * part
    else:
        amount = 2 * _FLOAT * sizes.trained * part
    return amount / rate, f"{_gb(amount)} at {_gb(rate)}/s, beside computing"


def _count(number: float) -> str:
    return f"{number / 1e9:.2f} G" if number >= 1e9 else f"{number / 1e6:.2f} M"


def _by(share: int) -> str:
    return f" / {share}" if share > 1 else ""


def _gb(amount: float) -> str:
    return f"{amount / 1e9:.2f} GB" if amount >= 1e8 else f"{amount / 1e6:.1f} MB"
