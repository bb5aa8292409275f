"""Whether a run may continue: its fingerprint, and the checkpoint in its folder that it continues from.

The fingerprint holds the settings that decide which model comes out, and data and starting weights by their hashes,
so that a file that changed under its name is noticed. Paths, logging and how a step is cut up may differ between two
halves of a run.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError
from cxrgen.core.files import sha256_file
from cxrgen.core.progress import say
from cxrgen.train.checkpoints import STATE, ResumePoint, checkpoints, clear_unfinished, differences, read_resume_point
from cxrgen.train.config import CheckpointConfig, TrainConfig, flat_values, options
from cxrgen.train.data import STUDIES, SamplerConfig
from cxrgen.train.distributed import Processes
from cxrgen.train.run_report import RECORD

START = "start"  # folder of a new model after its warm-ups, which a resumed run opens


def run_fingerprint(config: TrainConfig, sampler: SamplerConfig) -> dict[str, Any]:
    """All that decides which model comes out; a resumed run must have the same."""
    values = flat_values(config)
    fingerprint = {option.name: values[option.name] for option in options() if option.metadata["outcome"]}
    fingerprint["global_batch_size"] = sampler.global_batch
    data, model = Path(config.data.data_path), config.model.model_name_or_path
    fingerprint["data sha256"] = sha256_file(data / STUDIES if data.is_dir() else data)
    if model:
        weights = sorted(Path(model).glob("*.safetensors"))
        fingerprint["model sha256"] = " ".join(sha256_file(file) for file in weights)
        del fingerprint["model_name_or_path"]
    return fingerprint


def resume_point(config: CheckpointConfig, fingerprint: dict[str, Any], processes: Processes) -> ResumePoint | None:
    """The checkpoint to continue from; None to start from the beginning, earlier checkpoints being removed.

    Raises InputError where continuing, or starting anew, may not be what is wanted.
    """
    out = Path(config.output_dir)
    present = checkpoints(out)
    if isinstance(config.resume, str):
        present = _up_to(Path(config.resume), out, present, config.overwrite_output_dir, processes)
    if not present and (out / RECORD).is_file() and not config.overwrite_output_dir:
        raise InputError(
            f"{out}: holds a finished run, without checkpoints to resume from; give another --output_dir, "
            "or --overwrite_output_dir starts anew"
        )
    if not config.resume:
        _start_anew(out, present, config.overwrite_output_dir, processes)
        return None
    if processes.is_main:
        clear_unfinished(out)
    if not present:
        say(f"{out}: no checkpoint yet; starting from the beginning")
        return None
    point = read_resume_point(present[-1][1])
    if changed := differences(point.fingerprint, fingerprint):
        raise InputError(
            f"{point.path}: settings or data of this run differ: {'; '.join(changed)}; "
            "use the same, or give another --output_dir"
        )
    return point


def _start_anew(out: Path, present: list[tuple[int, Path]], overwrite: bool, processes: Processes) -> None:
    if present and not overwrite:
        raise InputError(
            f"{out}: holds {present[-1][1].name} of an earlier run; --resume continues from it, "
            "--overwrite_output_dir starts anew"
        )
    processes.barrier()
    if processes.is_main:
        for _, path in present:
            shutil.rmtree(path)
        shutil.rmtree(out / START, ignore_errors=True)
        clear_unfinished(out)


def _up_to(
    given: Path, out: Path, present: list[tuple[int, Path]], overwrite: bool, processes: Processes
) -> list[tuple[int, Path]]:
    """The checkpoints of the run as far as the one that is named; later ones are removed where that is allowed."""
    if not (given / STATE).is_file():
        raise InputError(
            f"--resume {given}: no checkpoint (no {STATE} there); name a checkpoint-N, or --resume alone takes the last"
        )
    earlier = [(step, path) for step, path in present if path.resolve() == given.resolve()]
    if not earlier:
        raise InputError(
            f"--resume {given}: of another run; a run is resumed in its folder: --output_dir {given.parent}"
        )
    later = [path for step, path in present if step > earlier[0][0]]
    if later and not overwrite:
        raise InputError(
            f"--resume {given}: {later[-1].name} of {out} comes after it; --resume alone continues from that, "
            "--overwrite_output_dir removes what is later"
        )
    processes.barrier()
    if processes.is_main:
        for path in later:
            shutil.rmtree(path)
    return earlier
