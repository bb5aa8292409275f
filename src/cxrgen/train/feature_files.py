"""Features of the frozen vision encoder on disk, computed once by all processes and read by this run and by others.

Each image has a file of its own, in float16, named by the hash of the image's content; its folder is named by a hash of
the encoder's weights and of the rules by which image files become pixels. So nothing else decides what is read, and
runs can share a folder without any lock: a file is written under another name and renamed, and two that write the same
one write the same. Each file holds a checksum. It is compared when a run starts, by each process for its share, and
whenever the file is read; a file that is damaged or cut short is computed again. The price is a small file an image.

Shapes: T tokens of one image, C hidden size of the encoder.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from cxrgen.core.errors import InputError
from cxrgen.core.files import make_folder, private_file, sha256_file, write_json
from cxrgen.core.folders import require_space, size_text
from cxrgen.core.progress import say, track
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.features import in_slices, tower_features
from cxrgen.model.pixels import image_pixels
from cxrgen.train.data import with_images
from cxrgen.train.distributed import Processes, machine_processes

_HEADER = struct.Struct("<4sIII")  # mark, CRC-32 of what follows, T, C
_MARK = b"cxf1"
_AT_ONCE = 64  # images in a forward pass
_THREADS = 8
ABOUT = "about.json"


@dataclass(frozen=True)
class FeatureFiles:
    """The files of one encoder's features by the hashes of images; `digests`: an image's path to its hash."""

    folder: Path
    digests: dict[str, str]

    def file(self, image: str) -> Path:
        digest = self.digests[image]
        return self.folder / digest[:2] / digest

    def read(self, image: str) -> torch.Tensor:
        """Features (T, C) float16. Raises InputError for a file that was damaged or removed since the run began."""
        features = _content(self.file(image))
        if features is None:
            raise InputError(
                f"{self.file(image)}: features that were damaged or removed since the run began; --resume computes "
                "them again"
            )
        return features

    def write(self, image: str, features: torch.Tensor) -> None:
        """Write (T, C) float16 atomically. Raises InputError where the disk is full."""
        data = features.contiguous().numpy().tobytes()
        with private_file(self.file(image)) as file:
            file.write(_HEADER.pack(_MARK, zlib.crc32(data), *features.shape) + data)

    def is_whole(self, image: str) -> bool:
        return _content(self.file(image)) is not None


def _content(path: Path) -> torch.Tensor | None:
    """The features of a file; None where it is missing, cut short or damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) < _HEADER.size:
        return None
    mark, checksum, tokens, channels = _HEADER.unpack_from(data)
    body = memoryview(data)[_HEADER.size :]
    if mark != _MARK or len(body) != 2 * tokens * channels or zlib.crc32(body) != checksum:
        return None
    return torch.frombuffer(bytearray(body), dtype=torch.float16).reshape(tokens, channels)


@dataclass(frozen=True)
class Computing:
    """How missing features are computed: precision, and processes that read images ahead."""

    bf16: bool = False
    workers: int = 0


def features_on_disk(
    checkpoint: Checkpoint,
    images: Iterable[str],
    folder: Path,
    cache: Path,
    processes: Processes,
    how: Computing = Computing(),
) -> Callable[[str], torch.Tensor]:
    """Features (T, C) float16 of the images, paths below `folder`; all processes must call it.

    Raises InputError in all of them when an image cannot be read, or the disk has no room for what is missing.
    """
    paths = sorted(set(images))
    shares = processes.agreed(lambda: _hashes(paths[processes.rank :: processes.count], folder))
    digests = {path: digest for share in shares for path, digest in share.items()}
    names = processes.all_gather(_encoder_record(checkpoint, how.bf16) if processes.is_main else {})[0]
    key = sha256(json.dumps(names, sort_keys=True).encode()).hexdigest()[:32]
    files = FeatureFiles(cache / "features" / key, digests)
    once = sorted({digests[path]: path for path in reversed(paths)}.values())  # of equal images the first
    mine = once[processes.rank :: processes.count]
    missing = sorted(path for share in processes.agreed(lambda: _not_whole(files, mine)) for path in share)
    prepare = partial(_prepare, checkpoint, files, folder, names, missing, len(once), how.bf16)
    processes.agreed(prepare if processes.is_main else lambda: None)
    processes.agreed(lambda: _compute(checkpoint, files, folder, missing, processes.rank, processes.count, how))
    # A machine that shares no disk with the others sees only what its own processes have written.
    rank, count = machine_processes()
    unseen = sorted(path for path in once if not files.file(path).is_file())
    processes.agreed(lambda: _compute(checkpoint, files, folder, unseen, rank, count, how))
    return files.read


def _hashes(paths: Sequence[str], folder: Path) -> dict[str, str]:
    try:
        with ThreadPoolExecutor(_THREADS) as pool:  # hashing does not hold the interpreter
            return dict(zip(paths, pool.map(lambda path: sha256_file(folder / path), paths)))
    except OSError as error:
        raise InputError(f"an image cannot be read ({error.strerror})", detail=str(error.filename)) from None


def _not_whole(files: FeatureFiles, paths: Sequence[str]) -> list[str]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return [path for path, whole in zip(paths, pool.map(files.is_whole, paths)) if not whole]


def _encoder_record(checkpoint: Checkpoint, bf16: bool) -> dict[str, Any]:
    """All that features depend on besides the image's bytes."""
    config = checkpoint.model.config
    digest = sha256()
    for name, tensor in sorted(checkpoint.model.model.vision_tower.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return {
        "encoder": config.vision_config.model_type,
        "weights": digest.hexdigest(),
        "layer": config.vision_feature_layer,
        "tokens": config.vision_feature_select_strategy,
        "computed in": "bfloat16" if bf16 else "float32",
        "processor": json.loads(checkpoint.processor.image_processor.to_json_string()),
        "aspect": checkpoint.format.aspect,
        "images": asdict(checkpoint.format.images),
    }


def _prepare(
    checkpoint: Checkpoint,
    files: FeatureFiles,
    folder: Path,
    names: dict[str, Any],
    missing: Sequence[str],
    total: int,
    bf16: bool,
) -> None:
    """Say how much is missing and see that there is room for it."""
    if not missing:
        say(f"vision features: all of {total} images are in {files.folder}")
        return
    tokens, channels = _features(checkpoint, _pixels(checkpoint, folder, missing[:1]), bf16).shape[1:]
    size = len(missing) * (_HEADER.size + 2 * tokens * channels)
    say(f"vision features: {len(missing)} of {total} images to compute, {size_text(size)} in {files.folder}")
    require_space(files.folder, size)
    make_folder(files.folder)
    write_json(files.folder / ABOUT, names)


def _pixels(checkpoint: Checkpoint, folder: Path, paths: Sequence[str]) -> torch.Tensor:
    return image_pixels([folder / path for path in paths], checkpoint.processor.image_processor, checkpoint.format)


@torch.no_grad()
def _features(checkpoint: Checkpoint, pixels: torch.Tensor, bf16: bool) -> torch.Tensor:
    """Features (N, T, C) float16. Raises InputError for values that float16 cannot hold."""
    device = checkpoint.model.device
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        features = tower_features(checkpoint.model, pixels.to(device))
    half = features.to(torch.float16).cpu()
    if not torch.isfinite(half).all():
        raise InputError("the vision encoder's features are beyond what float16 holds; use --features_in memory")
    return half


def _compute(
    checkpoint: Checkpoint,
    files: FeatureFiles,
    folder: Path,
    paths: Sequence[str],
    rank: int,
    count: int,
    how: Computing,
) -> None:
    """Compute and write the part of process `rank` of `count`; slices are the same for any number of processes."""
    mine = [list(some) for some in in_slices(paths, _AT_ONCE)][rank::count]
    if not mine:
        return
    checkpoint.model.eval()
    batches = with_images(iter(mine), lambda some: _pixels(checkpoint, folder, some), how.workers)
    for pixels, some in zip(track(batches, "vision features", len(mine)), mine):
        for path, features in zip(some, _features(checkpoint, pixels, how.bf16)):
            files.write(path, features)
