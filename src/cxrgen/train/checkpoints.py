"""Checkpoints to resume from: what is trained, the optimiser, the random state; whole or not there.

`checkpoint-N` is written under another name, synced, and renamed, so a crash or a full disk leaves the ones before as
they were. `state.json` carries the hashes of the other files and the run's fingerprint. Only trained tensors are saved:
the frozen rest is in the model that the run started from, or in `start/` for a new one. Tensors are whole, however the
run was sharded, so another number of processes can resume from them; they are gathered, written and read one at a time,
so that no process needs memory for more.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cxrgen.core.errors import InputError
from cxrgen.core.files import disk_is_full, sha256_file, write_json
from cxrgen.core.folders import new_folder
from cxrgen.core.progress import say
from cxrgen.model.folder_checks import open_safetensors
from cxrgen.train.distributed import copy_to_shard
from cxrgen.train.gather import take_part, write_gathered
from cxrgen.train.trainer import FitState

WEIGHTS, OPTIMIZER, STATE = "trained.safetensors", "optimizer.safetensors", "state.json"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class ResumePoint:
    """A whole checkpoint of a run: where it is, and what state.json holds."""

    path: Path
    step: int
    fingerprint: Mapping[str, Any]
    remembered: Mapping[str, Any]  # best step and value so far; the conversation format


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Steps and folders of the checkpoints of a run, the last one last; unfinished ones are not among them."""
    found = [
        (int(match[1]), path)
        for path in folder.glob("checkpoint-*")
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)) and (path / STATE).is_file()
    ]
    return sorted(found)


def clear_unfinished(folder: Path) -> None:
    """Remove what a crash left while a checkpoint was written."""
    for path in sorted(folder.glob(".checkpoint-*.tmp")):
        say(f"{path.name}: was never finished; removed")
        shutil.rmtree(path, ignore_errors=True)


def save_checkpoint(
    folder: Path, state: FitState, fingerprint: Mapping[str, Any], remembered: Mapping[str, Any]
) -> Path:
    """Write `checkpoint-STEP`; all processes must call it, the first writes.

    `fingerprint` is what a resumed run may not change. Raises InputError when the disk is full; earlier checkpoints
    are not touched.
    """
    target = folder / f"checkpoint-{state.step}"
    weights, moments = trained_tensors(state.model), _moments(state)
    random_states = state.processes.all_gather(_random_state(state))
    for rank, values in enumerate(random_states):
        moments |= {f"random/{rank}/{name}": value for name, value in values.items()}
    if state.processes.all_gather(target.exists())[0]:
        return target
    if not state.processes.is_main:
        take_part(weights)
        take_part(moments)
    else:
        try:
            with new_folder(target) as temporary:
                write_gathered(temporary / WEIGHTS, weights)
                write_gathered(temporary / OPTIMIZER, moments)
                hashes = {name: sha256_file(temporary / name) for name in (WEIGHTS, OPTIMIZER)}
                content: dict[str, Any] = {"step": state.step, "processes": state.processes.count, "sha256": hashes}
                content |= {"fingerprint": dict(fingerprint), "remembered": dict(remembered)}
                write_json(temporary / STATE, content)
            _sync(folder)
        except Exception as error:
            if not isinstance(error, OSError) and not disk_is_full(error):
                raise
            kept = checkpoints(folder)
            stands = f"{kept[-1][1].name} stands" if kept else "there is none before it"
            raise InputError(f"{target}: cannot be written, {stands}; make room and --resume ({error})") from None
    state.processes.barrier()
    return target


def read_resume_point(checkpoint: Path) -> ResumePoint:
    """state.json, after the hashes of the other files were compared. Raises InputError naming a damaged file.

    Earlier versions wrote `told` and `more` for `fingerprint` and `remembered`.
    """
    try:
        content: dict[str, Any] = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
        hashes, step = content["sha256"], int(content["step"])
        fingerprint = content["fingerprint"] if "fingerprint" in content else content["told"]
        remembered = content["remembered"] if "remembered" in content else content["more"]
    except (ValueError, KeyError, OSError):
        raise _damaged(checkpoint / STATE) from None
    for name, digest in hashes.items():
        if not (checkpoint / name).is_file() or sha256_file(checkpoint / name) != digest:
            raise _damaged(checkpoint / name)
    return ResumePoint(checkpoint, step, fingerprint, remembered)


def load_weights(checkpoint: Path, model: Any) -> None:
    """Load the trained tensors into a model whose parameters are marked, and in training mode, as they were saved."""
    weights, trained = open_safetensors(checkpoint / WEIGHTS), trained_tensors(model)
    if trained.keys() != set(weights.keys()):
        name = sorted(trained.keys() ^ set(weights.keys()))[0]
        raise InputError(f"{checkpoint}: {name} is trained in one of the two runs only")
    for name, tensor in trained.items():
        copy_to_shard(weights.get_tensor(name), tensor)


def load_checkpoint(checkpoint: Path, state: FitState, step: int) -> None:
    """Load weights, optimiser and random state into a training that was set up like the saved one."""
    load_weights(checkpoint, state.model)
    moments = open_safetensors(checkpoint / OPTIMIZER)
    saved = set(moments.keys())
    for name, parameter in state.model.named_parameters():
        if parameter.requires_grad and f"{name}/step" in saved:
            own = {}
            for moment in _MOMENTS:
                value = moments.get_tensor(f"{name}/{moment}")
                own[moment] = value if moment == "step" else torch.zeros_like(parameter, requires_grad=False)
                if moment != "step":
                    copy_to_shard(value, own[moment])
            state.optimizer.state[parameter] = own
    rank = f"random/{state.processes.rank}"
    if f"{rank}/cpu" in saved:
        torch.set_rng_state(moments.get_tensor(f"{rank}/cpu"))
        if state.processes.device.type == "cuda" and f"{rank}/cuda" in saved:
            torch.cuda.set_rng_state(moments.get_tensor(f"{rank}/cuda"))
    else:  # more processes than before
        torch.manual_seed(step * 1000 + state.processes.rank)
    state.step = step


def prune(folder: Path, keep: int, best: int | None) -> None:
    """Remove all checkpoints but the last `keep` and the best one."""
    for step, path in checkpoints(folder)[: -max(1, keep)]:
        if step != best:
            shutil.rmtree(path)


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Which entries of two fingerprints differ, one text each; what one of them does not have is not compared."""
    return [
        f"{name} was {then[name]!r}, is {now[name]!r}" for name in sorted(then.keys() & now) if then[name] != now[name]
    ]


def trained_tensors(model: Any) -> dict[str, torch.Tensor]:
    """Trained parameters, and the running statistics of modules in training mode."""
    tensors = {name: each for name, each in model.named_parameters() if each.requires_grad}
    kept = model.state_dict().keys()
    for path, module in model.named_modules():
        if module.training and any(each.requires_grad for each in module.parameters(recurse=False)):
            for name, buffer in module.named_buffers(path, recurse=False):
                if name in kept:
                    tensors[name] = buffer
    return tensors


def _moments(state: FitState) -> dict[str, torch.Tensor]:
    result: dict[str, torch.Tensor] = {}
    for name, parameter in state.model.named_parameters():
        own = state.optimizer.state.get(parameter)
        if own:  # without a gradient so far, as a projector on texts alone, there is no state
            result |= {f"{name}/{moment}": own[moment] for moment in _MOMENTS}
    return result


def _random_state(state: FitState) -> dict[str, torch.Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if state.processes.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _sync(path: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _damaged(file: Path) -> InputError:
    return InputError(f"{file}: damaged or cut short; remove {file.parent.name} to resume from the checkpoint before")
