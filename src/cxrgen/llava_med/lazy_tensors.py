"""Weights read and written in blocks of rows, so that a model of any size passes through a few megabytes of memory.

A `LazyTensor` has a shape, a type and a function that gives some of its rows. Files are memory-mapped, lazy tensors
are combined (added, renamed, cast), and only writing asks for rows, one block after another, straight into safetensors
shards. No model class is involved. The price: the operations are those that work row by row.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from cxrgen.core.errors import InputError
from cxrgen.core.files import write_json
from cxrgen.core.folders import require_space
from cxrgen.core.progress import track
from cxrgen.core.tables import read_json
from cxrgen.model.folder_checks import INDEX as INDEX
from cxrgen.model.folder_checks import is_lfs_pointer, open_safetensors

SHARD_BYTES = 5_000_000_000  # as transformers cuts
_BLOCK_BYTES = 1 << 20  # stays in a core's cache
_SPARE_BYTES = 64 << 20  # left free on the disk
_CODES = {
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_EXPONENTS = {
    torch.float16: (torch.int16, 0x7C00),
    torch.bfloat16: (torch.int16, 0x7F80),
    torch.float32: (torch.int32, 0x7F800000),
}
_DTYPES = {code: dtype for dtype, code in _CODES.items()}


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that is not in memory: `rows(start, stop)` gives those along its first axis (a scalar is one row)."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    rows: Callable[[int, int], torch.Tensor]

    @property
    def count(self) -> int:
        return self.shape[0] if self.shape else 1

    @property
    def bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


def in_memory(tensor: torch.Tensor) -> LazyTensor:
    """A tensor as a recipe."""
    flat = tensor if tensor.dim() else tensor.reshape(1)
    return LazyTensor(tuple(tensor.shape), tensor.dtype, lambda start, stop: flat[start:stop])


def cast(tensor: LazyTensor, dtype: torch.dtype) -> LazyTensor:
    """The same values in another type."""
    if tensor.dtype == dtype:
        return tensor
    return LazyTensor(tensor.shape, dtype, lambda start, stop: tensor.rows(start, stop).to(dtype))


def whole(tensor: LazyTensor) -> torch.Tensor:
    """All of it in memory."""
    return tensor.rows(0, tensor.count).reshape(tensor.shape)


def read_weights(folder: Path) -> dict[str, LazyTensor]:
    """All tensors of a checkpoint folder by name, from its safetensors or `.bin` shards.

    Raises InputError naming the file, and the tensor where one is known, for shards that are missing, cut short, or
    pickles that hold anything but tensors.
    """
    folder = Path(folder)
    for index, pattern in ((INDEX, "*.safetensors"), ("pytorch_model.bin.index.json", "pytorch_model*.bin")):
        if (folder / index).is_file():
            return _read_shards(folder, folder / index)
        files = sorted(folder.glob(pattern))
        if files:
            return {name: tensor for file in files for name, tensor in read_tensors(file).items()}
    if [*folder.glob("consolidated*.pth")]:
        raise InputError(f"{folder}: Meta's own files; convert them with transformers' convert_llama_weights_to_hf.py")
    raise InputError(f"{folder}: no *.safetensors and no pytorch_model*.bin, so the weights are missing")


def read_tensors(file: Path) -> dict[str, LazyTensor]:
    """The tensors of one file, memory-mapped. Raises InputError naming the file when it is damaged or holds code."""
    if is_lfs_pointer(file):
        raise InputError(f"{file}: a Git LFS pointer, not the weights; fetch the file itself (git lfs pull)")
    if file.suffix == ".safetensors":
        opened = open_safetensors(file)
        return {name: _safetensors_rows(opened, name) for name in opened.keys()}  # noqa: SIM118
    try:
        try:
            value = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            value = torch.load(file, map_location="cpu", weights_only=True)  # written before torch 1.6
    except pickle.UnpicklingError:
        raise InputError(
            f"{file}: a pickle that holds more than tensors; it is not opened, it could run code"
        ) from None
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"{file}: cut short or damaged ({type(error).__name__}); bring the file again") from None
    if not isinstance(value, dict) or not all(isinstance(each, torch.Tensor) for each in value.values()):
        raise InputError(f"{file}: no dictionary of tensors")
    return {str(name): in_memory(tensor.detach()) for name, tensor in value.items()}


def _safetensors_rows(opened: Any, name: str) -> LazyTensor:
    part = opened.get_slice(name)
    shape, code = tuple(part.get_shape()), part.get_dtype()
    if code not in _DTYPES:
        raise InputError(f"{name}: type {code} is none of {', '.join(_DTYPES)}")
    if not shape:
        return in_memory(opened.get_tensor(name))
    return LazyTensor(shape, _DTYPES[code], lambda start, stop: part[start:stop])


def _read_shards(folder: Path, index: Path) -> dict[str, LazyTensor]:
    places = read_json(index).get("weight_map", {})
    tensors: dict[str, LazyTensor] = {}
    for file in sorted(set(places.values())):
        named = sorted(name for name, place in places.items() if place == file)
        if Path(file).name != file or not (folder / file).is_file():
            raise InputError(f"{folder / file}: no such shard; {named[0]} and {len(named) - 1} other tensors are in it")
        try:
            found = read_tensors(folder / file)
        except InputError as error:
            raise InputError(f"{named[0]}: {error}") from None
        for name in named:
            if name not in found:
                raise InputError(f"{folder / file}: {name} is not in it, though {index.name} says so")
            tensors[name] = found[name]
    return tensors


@dataclass(frozen=True)
class Written:
    """What was written, and the most memory that it took: the process's own, and pages of mapped files."""

    tensors: int
    bytes: int
    own_memory: int
    file_memory: int

    def __str__(self) -> str:
        own, mapped = self.own_memory / 1e9, self.file_memory / 1e9
        memory = f"; peak memory {own:.2f} GB of its own, {mapped:.2f} GB of mapped file pages" if own else ""
        return f"{self.tensors} tensors, {self.bytes / 1e9:.2f} GB{memory}"


def write_weights(folder: Path, tensors: Mapping[str, LazyTensor], shard_bytes: int = SHARD_BYTES) -> Written:
    """Write safetensors shards, with an index where there are several.

    Raises InputError before writing when the disk is too small, and naming tensor and row for a value that is not
    finite.
    """
    total = sum(tensor.bytes for tensor in tensors.values())
    require_space(folder.parent, total + _SPARE_BYTES)
    shards: list[list[str]] = [[]]
    filled = 0
    for name, tensor in tensors.items():
        if shards[-1] and filled + tensor.bytes > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += tensor.bytes
    places = {}
    peak = (0, 0)
    tracked = track(tensors, "weights", len(tensors))
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors" if len(shards) > 1 else "model.safetensors"
        for finished in written_tensors(folder / file, {name: tensors[name] for name in names}):
            if finished:
                next(tracked)
            own, mapped = memory_in_use()
            peak = max(peak[0], own), max(peak[1], mapped)
        places.update(dict.fromkeys(names, file))
    next(tracked, None)
    if len(shards) > 1:
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": places})
    return Written(len(tensors), total, *peak)


def written_tensors(path: Path, tensors: Mapping[str, LazyTensor]) -> Iterator[str]:
    """One file; yields each name when its tensor is written, and "" now and then while it is."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, tensor in tensors.items():
        end = place + tensor.bytes
        header[name] = {"dtype": _CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file, ThreadPoolExecutor(1) as writer:
        file.write(len(text).to_bytes(8, "little") + text)
        writing: Future[int] | None = None
        for name, tensor in tensors.items():
            for number, (start, block) in enumerate(blocks(tensor)):
                block = block.contiguous()
                _check_finite(name, start, block)
                if writing is not None:
                    writing.result()  # one block is written while the next is put together
                writing = writer.submit(file.write, block.reshape(-1).view(torch.uint8).numpy().data)
                if number % 16 == 15:
                    yield ""
            yield name
        if writing is not None:
            writing.result()
        file.flush()
        os.fsync(file.fileno())


def blocks(tensor: LazyTensor) -> Iterator[tuple[int, torch.Tensor]]:
    """First row and rows of each block of a few megabytes."""
    if not tensor.bytes:
        return
    step = max(1, _BLOCK_BYTES * tensor.count // tensor.bytes)
    for start in range(0, tensor.count, step):
        yield start, tensor.rows(start, min(start + step, tensor.count))


def _check_finite(name: str, start: int, block: torch.Tensor) -> None:
    if block.dtype not in _EXPONENTS:
        return
    whole_type, ones = _EXPONENTS[block.dtype]  # of a value that is not finite, all bits of the exponent are one
    exponents = torch.bitwise_and(block.view(whole_type), ones)
    if int(exponents.max()) == ones:
        row = start + int((exponents == ones).reshape(len(block), -1).any(dim=1).nonzero()[0])
        raise InputError(
            f"{name}: row {row} holds NaN or infinity; a file is damaged, or the files do not fit together"
        )


def memory_in_use() -> tuple[int, int]:
    """Bytes of this process's own memory and of mapped file pages; zeros where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss")}
    return sizes.get("RssAnon", 0), sizes.get("RssFile", 0)
