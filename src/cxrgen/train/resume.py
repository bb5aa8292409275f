"""What a run was told, in its folder: the recipe to repeat it, and whether a resumed run is told the same.

Data and starting weights go in by their hashes, so that a file that changed under its name is noticed. What does not
decide which model comes out (paths, logging, how a step is cut up) may change between two halves of a run.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError
from cxrgen.core.files import sha256_file
from cxrgen.core.progress import say
from cxrgen.core.records import Study, read_studies
from cxrgen.core.tables import read_json
from cxrgen.train.checkpoints import STATE, checkpoints, clear_unfinished, differences, read_state
from cxrgen.train.config import Arguments
from cxrgen.train.data import Material, Order
from cxrgen.train.distributed import Processes
from cxrgen.train.run_report import RECORD

STUDIES = "studies.parquet"
START = "start"  # folder of a new model after its warm-ups, which a resumed run opens


def told_of(arguments: Arguments, order: Order) -> dict[str, Any]:
    """All that decides which model comes out: what a resumed run must be told again, word for word."""
    told: dict[str, Any] = {
        each.name: getattr(arguments, each.name) for each in fields(Arguments) if each.metadata["outcome"]
    }
    told["global_batch_size"] = order.global_batch
    data, model = Path(arguments.data_path), arguments.model_name_or_path
    told["data sha256"] = sha256_file(data / STUDIES if data.is_dir() else data)
    if model:
        weights = sorted(Path(model).glob("*.safetensors"))
        told["model sha256"] = " ".join(sha256_file(file) for file in weights)
        del told["model_name_or_path"]
    return told


def data_recipe(data: Path) -> dict[str, Any]:
    """The options of `cxrgen prepare`, where the data are a prepared folder."""
    file = data / "recipe.json"
    found = read_json(file) if file.is_file() else {}
    options = found.get("options", found) if isinstance(found, dict) else {}
    return options if isinstance(options, dict) else {}


def sources_of(data: Path, material: Material) -> list[str]:
    """What the prepared set says its studies come from, also where one of its JSON files is learnt from."""
    studies: Sequence[Study] = material.studies
    if not data.is_dir() and (data.parent / STUDIES).is_file():
        studies = read_studies(data.parent)
    return sorted({study.source for study in studies if study.source})


def resumed_from(
    arguments: Arguments, out: Path, told: dict[str, Any], processes: Processes
) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint to go on from. Raises InputError where going on, or starting anew, would not be what was meant."""
    found = checkpoints(out)
    if isinstance(arguments.resume, str):
        found = _up_to(Path(arguments.resume), out, found, arguments.overwrite_output_dir, processes)
    finished = not found and (out / RECORD).is_file()
    if finished and not arguments.overwrite_output_dir:
        raise InputError(
            f"{out}: holds a finished run, without checkpoints to go on from; give another --output_dir, "
            "or --overwrite_output_dir starts anew"
        )
    if not arguments.resume:
        if found and not arguments.overwrite_output_dir:
            raise InputError(
                f"{out}: holds {found[-1][1].name} of an earlier run; --resume goes on from it, "
                "--overwrite_output_dir starts anew"
            )
        processes.wait()
        if processes.first:
            for _, path in found:
                shutil.rmtree(path)
            shutil.rmtree(out / START, ignore_errors=True)
            clear_unfinished(out)
        return None
    if processes.first:
        clear_unfinished(out)
    if not found:
        say(f"{out}: no checkpoint yet; starting from the beginning")
        return None
    state = read_state(found[-1][1])
    if changed := differences(state["told"], told):
        raise InputError(
            f"{found[-1][1]}: this run is told something else: {'; '.join(changed)}; "
            "say the same, or give another --output_dir"
        )
    return found[-1][1], state


def _up_to(
    given: Path, out: Path, found: list[tuple[int, Path]], overwrite: bool, processes: Processes
) -> list[tuple[int, Path]]:
    """The checkpoints of the run as far as the one that is named; later ones are removed where that is allowed."""
    if not (given / STATE).is_file():
        raise InputError(
            f"--resume {given}: no checkpoint (no {STATE} there); name a checkpoint-N, or --resume alone takes the last"
        )
    earlier = [(step, path) for step, path in found if path.resolve() == given.resolve()]
    if not earlier:
        raise InputError(f"--resume {given}: of another run; a run goes on in its folder: --output_dir {given.parent}")
    later = [path for step, path in found if step > earlier[0][0]]
    if later and not overwrite:
        raise InputError(
            f"--resume {given}: {later[-1].name} of {out} comes after it; --resume alone goes on from that, "
            "--overwrite_output_dir removes what is later"
        )
    processes.wait()
    if processes.first:
        for path in later:
            shutil.rmtree(path)
    return earlier
