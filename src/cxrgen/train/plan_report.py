"""A plan on the screen, as a table over GPUs and modes, or as JSON; and the change that makes a run fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cxrgen.core.errors import UsageError
from cxrgen.core.progress import say
from cxrgen.train.calibration import image_seconds
from cxrgen.train.config import TRAIN_MODULES, TrainConfig
from cxrgen.train.gpus import CPU
from cxrgen.train.memory import GB, SLOWEST_DISK
from cxrgen.train.plan import Line, Plan, make_plan
from cxrgen.train.planned_run import Material, read_material
from cxrgen.train.trainable import mode_of

_COUNTS = (1, 2, 8, 64)
_SHARD = "full_shard"
_SCHEMA = 1
HOUR = 3600.0


def print_plan(config: TrainConfig, name: str, count: int, price: float | None, as_json: bool) -> None:
    """The plan of one run. Raises UsageError, after it is printed, for a run that does not fit."""
    material = read_material(config)
    seconds = image_seconds(material.checkpoint, material.images)
    plan = make_plan(config, material, name, count, seconds)
    way = "" if plan.fits else _way_out(plan, material, seconds)
    print(json.dumps(_record(plan, price, way), indent=2) if as_json else "\n".join(_text(plan, price)))
    if not plan.fits:
        raise UsageError(
            f"does not fit: {_gb(plan.peak.amount)} on each {name}, which has {_gb(plan.device.memory)}; {way}"
        )


def print_table(config: TrainConfig, name: str, price: float | None, as_json: bool) -> None:
    """The same run on 1, 2, 8 and 64 devices in every mode; full training on several is sharded."""
    material = read_material(config)
    seconds = image_seconds(material.checkpoint, material.images)
    plans = list(_over_modes(config, material, name, seconds))
    if as_json:
        print(json.dumps({"schema": _SCHEMA, "plans": [_record(plan, price, "") for plan in plans]}, indent=2))
        return
    heads = ["mode", "GPUs", "GB a GPU", "fits", "hours", "GPU hours"]
    cells = [heads if price is None else [*heads, "cost"]]
    for plan in plans:
        hours = plan.seconds / HOUR
        row = [plan.config.trainable.train_modules, str(plan.count), f"{plan.peak.amount / GB:.1f}"]
        row += ["yes" if plan.fits else "no", f"{hours:.2f}", f"{hours * plan.count:.1f}"]
        cells.append(row if price is None else [*row, f"{_cost(plan, price):,.2f}"])
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    print("\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells))


def _over_modes(config: TrainConfig, material: Material, name: str, seconds: float) -> Iterator[Plan]:
    for mode in TRAIN_MODULES:
        if mode_of(mode).four_bit and (name == CPU or not config.model.model_name_or_path):
            continue
        for count in _COUNTS[: 1 if name == CPU else None]:
            sharded = _SHARD if count > 1 and not (mode_of(mode).rows or config.optim.fsdp) else config.optim.fsdp
            changed = _with(config, train_modules=mode, fsdp=sharded)
            try:
                yield make_plan(changed, material, name, count, seconds)
            except UsageError as error:  # a global batch that so many processes cannot share evenly
                say(f"{mode} on {count}: left out; {error}")


def _way_out(plan: Plan, material: Material, seconds: float) -> str:
    """The change that fits at the least time: first among those that leave the result as it is, then among others."""
    for changes in (_same_result(plan), _other_result(plan)):
        fitting = []
        for flags, config, count in changes:
            try:
                other = make_plan(config, material, plan.device.name, count, seconds)
            except UsageError:
                continue
            if other.fits:
                fitting.append((other.seconds * count, flags, other))
        if fitting:
            _, flags, other = min(fitting, key=lambda each: each[0])
            return f"{flags} needs {_gb(other.peak.amount)} and {_duration(other.seconds)}"
    return "no change of mode, batch or number of GPUs that was tried makes it fit; take GPUs with more memory"


def _same_result(plan: Plan) -> Iterator[tuple[str, TrainConfig, int]]:
    """Flags, configuration and number of devices: micro-batches, layers computed again, sharding."""
    at_once = plan.config.optim.per_device_train_batch_size
    accumulation = plan.config.optim.gradient_accumulation_steps
    shardings = ["", _SHARD] if plan.count > 1 and not plan.config.optim.fsdp else [plan.config.optim.fsdp]
    for fsdp in shardings:
        for again in (False, True):
            for batch in dict.fromkeys((at_once, max(1, at_once // 2), max(1, at_once // 4), 1)):
                if again < plan.config.trainable.gradient_checkpointing or at_once % batch:
                    continue
                flags = {"fsdp": fsdp, "gradient_checkpointing": again, "per_device_train_batch_size": batch}
                if not plan.config.optim.global_batch_size:
                    flags["gradient_accumulation_steps"] = accumulation * (at_once // batch)
                yield _as_flags(plan.config, flags), _with(plan.config, **flags), plan.count


def _other_result(plan: Plan) -> Iterator[tuple[str, TrainConfig, int]]:
    """The same with adapters instead of whole matrices, in 16 and in four bits, or on more devices."""
    least = {"gradient_checkpointing": True, "per_device_train_batch_size": 1}
    if plan.config.model.model_name_or_path:
        for mode in ("lora", "qlora"):
            flags = {"train_modules": mode, **least, "optim": plan.config.optim.optim}
            yield _as_flags(plan.config, flags), _with(plan.config, **flags), plan.count
    for count in (2, 4, 8, 16, 32, 64):
        if count > plan.count:
            flags = {"fsdp": _SHARD, **least}
            yield f"{_as_flags(plan.config, flags)} on {count} GPUs", _with(plan.config, **flags), count


def _with(config: TrainConfig, **changes: Any) -> TrainConfig:
    """The configuration with flags of `trainable` and `optim` changed."""
    trainable = {name: value for name, value in changes.items() if hasattr(config.trainable, name)}
    optim = {name: value for name, value in changes.items() if hasattr(config.optim, name)}
    return replace(config, trainable=replace(config.trainable, **trainable), optim=replace(config.optim, **optim))


def _as_flags(config: TrainConfig, changes: dict[str, Any]) -> str:
    now = {**vars(config.trainable), **vars(config.optim)}
    return " ".join(f"--{name} {str(value).lower()}" for name, value in changes.items() if now[name] != value)


def _text(plan: Plan, price: float | None) -> list[str]:
    where = f"{plan.count} x {plan.device.name}" + (f" ({_gb(plan.device.memory)} each)" if plan.device.memory else "")
    lines = [
        f"{plan.config.trainable.train_modules} on {where}",
        f"model    {plan.parameters / 1e9:.3f} billion parameters, {plan.trained / 1e9:.3f} trained",
        f"data     {plan.samples:,} samples, {plan.tokens:,.0f} positions a step; the largest batch of a process is "
        f"{plan.longest.rows} x {plan.longest.length} with {plan.longest.images} images"
        + (" (estimated from the number of characters)" if plan.estimated else ""),
    ]
    for title, rows in (("memory of a GPU", (*plan.memory, plan.peak)), ("main memory of a machine", plan.host)):
        lines += ["", title if plan.device.memory else title.replace("a GPU", "a process")]
        lines += [f"  {row.name:<24}{_gb(row.amount):>10}  {row.how}" for row in rows]
    lines += ["", "time of a step"]
    lines += [f"  {row.name:<24}{_duration(row.amount):>10}  {row.how}" for row in plan.time]
    speed = plan.tokens / plan.step_seconds
    return [
        *lines,
        f"  {'together':<24}{_duration(plan.step_seconds):>10}  {speed:,.0f} positions a second",
        "",
        *_run(plan, price),
    ]


def _run(plan: Plan, price: float | None) -> list[str]:
    disk = f"at {SLOWEST_DISK / 1e6:.0f} MB/s"
    lines = [
        f"checkpoint   {_gb(plan.checkpoint)}, {_duration(plan.save_seconds)} {disk}; the model {_gb(plan.model_file)}",
        f"run          {plan.steps:,} steps and {plan.saves} checkpoints: {_duration(plan.seconds)}, "
        f"{plan.seconds / HOUR * plan.count:.1f} hours of one device; without warm-up stages and validation",
    ]
    if plan.features:
        lines.append(f"features     {_gb(plan.features)} on disk, computed once")
    return [*lines, *([f"cost         {_cost(plan, price):,.2f}"] if price is not None else [])]


def _cost(plan: Plan, price: float) -> float:
    return plan.seconds / HOUR * plan.count * price


def _record(plan: Plan, price: float | None, way_out: str) -> dict[str, Any]:
    def rows(lines: tuple[Line, ...]) -> dict[str, Any]:
        return {line.name: {"value": line.amount, "how": line.how} for line in lines}

    return {
        "schema": _SCHEMA,
        "train_modules": plan.config.trainable.train_modules,
        "device": plan.device.name,
        "devices": plan.count,
        "device_bytes": plan.device.memory or None,
        "parameters": plan.parameters,
        "trained": plan.trained,
        "samples": plan.samples,
        "lengths_estimated": plan.estimated,
        "memory_bytes": rows(plan.memory),
        "peak_bytes": plan.peak.amount,
        "fits": plan.fits,
        "way_out": way_out or None,
        "host_bytes": rows(plan.host),
        "checkpoint_bytes": plan.checkpoint,
        "checkpoint_seconds": plan.save_seconds,
        "model_bytes": plan.model_file,
        "feature_bytes": plan.features,
        "steps": plan.steps,
        "positions_a_step": plan.tokens,
        "step_seconds": rows(plan.time),
        "seconds_a_step": plan.step_seconds,
        "seconds": plan.seconds,
        "cost": None if price is None else _cost(plan, price),
    }


def _gb(amount: float) -> str:
    return f"{amount / GB:.1f} GB" if amount >= 1e8 else f"{amount / 1e6:.1f} MB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3f} s"
    return f"{seconds / 60:.0f} min" if seconds < HOUR else f"{seconds / HOUR:.1f} h"
