"""Whether a run may continue: its fingerprint, and the checkpoint in its folder that it continues from.

The fingerprint holds the settings that decide which model comes out, and data, images, starting weights and `start/` by
the hashes of their contents: names and times say nothing, so a copied folder is the same and a changed byte is not.
Paths, logging and how a step is cut up may differ between two halves of a run.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError
from cxrgen.core.files import sha256_file, write_text
from cxrgen.core.progress import say
from cxrgen.core.records import SHARDS
from cxrgen.train.checkpoints import STATE, ResumePoint, checkpoints, clear_unfinished, differences, read_resume_point
from cxrgen.train.config import CheckpointConfig, TrainConfig, WarmupConfig, flat_values, names_in, options
from cxrgen.train.data import STUDIES, SamplerConfig, SftData
from cxrgen.train.distributed import Processes
from cxrgen.train.model_config import ModelConfig
from cxrgen.train.run_report import RECORD
from cxrgen.train.second_stages import PolicyConfig

START = "start"  # folder of a new model, after its warm-ups, which a resumed run opens
BEST = "best"  # folder of the model that was best in validation
IMAGES = "images.sha256"
_PATHS = ("model_name_or_path", "language_model", "vision_tower", "pretrain_mm_mlp_adapter")
_MODEL_FILES = (".safetensors", ".bin", ".json", ".model", ".txt", ".jinja")
_THREADS = 8


def run_fingerprint(
    config: TrainConfig, sampler: SamplerConfig, images: Mapping[str, str], processes: Processes
) -> dict[str, Any]:
    """All that decides which model comes out; a resumed run must have the same. `images`: hashes by their paths.

    The main process reads the other files.
    """
    values = flat_values(config)
    fingerprint = {option.name: values[option.name] for option in options() if option.metadata["outcome"]}
    fingerprint["global_batch_size"] = sampler.global_batch
    contents = _contents(config, images) if processes.is_main else {}
    fingerprint |= processes.all_gather(contents)[0]
    for name in _PATHS:
        if f"{name} sha256" in fingerprint or name == "model_name_or_path":
            del fingerprint[name]
    return fingerprint


def _contents(config: TrainConfig, images: Mapping[str, str]) -> dict[str, str]:
    """Hashes of everything that a run reads, for their names in the fingerprint."""
    if config.data.streaming:  # the list has the hash of every shard, and images are compared as they are read
        return {"data sha256": sha256_file(config.data.paths[0] / SHARDS), **_model_contents(config.model)}
    files = [path / STUDIES if path.is_dir() else path for path in config.data.paths]
    return {
        "data sha256": " ".join(map(sha256_file, files)),
        "images sha256": sha256(_listing(images).encode()).hexdigest(),
        **_label_contents(config.warmup),
        **_model_contents(config.model),
        **_candidate_contents(config.preference.candidates),
        **_policy_contents(config.policy),
    }


def _candidate_contents(files: str) -> dict[str, str]:
    """The hashes of the candidates that pairs are made of, where there are any."""
    names = [name.strip() for name in files.split(",") if name.strip()]
    return {"candidates sha256": " ".join(sha256_file(Path(name)) for name in names)} if names else {}


def _policy_contents(config: PolicyConfig) -> dict[str, str]:
    """The hashes of what a policy is rewarded and watched by besides its own set."""
    files = {"reward_truth sha256": config.reward_truth, "outside_data sha256": config.outside_data}
    paths = {name: Path(given) for name, given in files.items() if given}
    return {name: sha256_file(path / STUDIES if path.is_dir() else path) for name, path in paths.items()}


def _label_contents(config: WarmupConfig) -> dict[str, str]:
    """Of the sets of labels, whose tables hold the hashes of their images, and of the map of their names."""
    tables = [Path(name) / STUDIES for name in names_in(config.warmup_data)]
    files = {"warmup_data sha256": tables, "warmup_label_map sha256": [Path(config.warmup_label_map)]}
    given = {"warmup_data sha256": config.warmup_data, "warmup_label_map sha256": config.warmup_label_map}
    return {name: " ".join(map(sha256_file, files[name])) for name, value in given.items() if value}


def _model_contents(config: ModelConfig) -> dict[str, str]:
    contents = {}
    if config.model_name_or_path:
        weights = sorted(Path(config.model_name_or_path).glob("*.safetensors"))
        contents["model sha256"] = " ".join(sha256_file(file) for file in weights)
    for name in _PATHS:
        given = getattr(config, name)
        if given and Path(given).exists():
            contents[f"{name} sha256"] = content_digest(Path(given))
    return contents


def changed_start(out: Path, config: ModelConfig, point: ResumePoint) -> list[str]:
    """What differs of the model that a run started from, one text each."""
    return differences(point.fingerprint, {**_model_contents(config), **_start_contents(out)})


def _start_contents(out: Path) -> dict[str, str]:
    return {"start sha256": content_digest(out / START) if (out / START).is_dir() else ""}


def content_digest(path: Path) -> str:
    """One hash of a file, or of the names and contents of the model files of a folder."""
    if path.is_file():
        return sha256_file(path)
    files = sorted(file for file in path.iterdir() if file.suffix in _MODEL_FILES and file.is_file())
    return sha256(_listing({file.name: sha256_file(file) for file in files}).encode()).hexdigest()


def image_hashes(data: SftData, from_files: bool, processes: Processes) -> dict[str, str]:
    """Image path -> hash of its content: as the prepared set has recorded it, or always `from_files`.

    Each process reads its share. Raises InputError in all for a file that cannot be read.
    """
    recorded = {} if from_files else {view.path: view.sha256 for study in data.studies for view in study.views}
    paths = sorted({path for variants in data.variants for path in variants[0].images})

    def share() -> list[str]:
        def digest(path: str) -> str:
            return recorded.get(path) or sha256_file(data.folder / path)

        with ThreadPoolExecutor(_THREADS) as pool:  # hashing does not hold the interpreter
            return list(pool.map(digest, paths[processes.rank :: processes.count]))

    hashes = dict.fromkeys(paths, "")
    for rank, digests in enumerate(processes.agreed(share)):
        hashes |= zip(paths[rank :: processes.count], digests)
    return hashes


def write_image_hashes(out: Path, images: Mapping[str, str]) -> None:
    """images.sha256 in the run's folder, as `sha256sum` writes it; names can be patients', so mode 600."""
    write_text(out / IMAGES, _listing(images), private=True)


def _listing(hashes: Mapping[str, str]) -> str:
    return "".join(f"{digest}  {name}\n" for name, digest in hashes.items())


def _changed_images(out: Path, now: Mapping[str, str]) -> tuple[str, str]:
    """Which images differ from those that the run began with, by their lines in images.sha256; and their names."""
    if not (out / IMAGES).is_file():
        return "images have changed since the run began", ""
    before = {line[66:]: line[:64] for line in (out / IMAGES).read_text(encoding="utf-8").splitlines()}
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    lines = [number for number, name in enumerate(before, 1) if name in changed]
    which = f"the image of line {lines[0]} in {IMAGES}" if lines else "an image"
    others = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    return f"{which}{others} changed since the run began; restore the files", ", ".join(changed[:20])


def resume_point(
    config: CheckpointConfig, fingerprint: dict[str, Any], images: Mapping[str, str], processes: Processes
) -> ResumePoint | None:
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
    _same_everywhere(out, present, processes)
    if not present:
        say(f"{out}: no checkpoint yet; starting from the beginning")
        return None
    point = read_resume_point(present[-1][1])
    changed = differences(point.fingerprint, {**fingerprint, **_start_contents(out)})
    if len(changed) == 1 and changed[0].startswith("images sha256"):
        said, names = _changed_images(out, images)
        raise InputError(f"{point.path}: {said}, or give another --output_dir", detail=names)
    if changed:
        raise InputError(
            f"{point.path}: settings or data of this run differ: {'; '.join(changed)}; "
            "use the same, or give another --output_dir"
        )
    return point


def _same_everywhere(out: Path, present: list[tuple[int, Path]], processes: Processes) -> None:
    """Raises InputError where processes see different last checkpoints: those of machines without a shared disk."""
    last = processes.all_gather(present[-1][1].name if present else "no checkpoint")
    other = next((rank for rank, name in enumerate(last) if name != last[0]), None)
    if other is not None:
        raise InputError(
            f"{out}: process 0 has {last[0]}, process {other} {last[other]}; share the folder, or copy the last "
            "checkpoint to the same place on every machine"
        )


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
        for folder in (START, BEST):
            shutil.rmtree(out / folder, ignore_errors=True)
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
