"""An adapter folder in the parts that a serving engine takes: low-rank matrices, and the weights that lie below them.

Training with `lora` changes more than low-rank matrices: the projector as a whole, and the rows of the image marks.
Engines such as vLLM refuse whole tensors in an adapter, so these go below it. The base's files are linked, not copied,
and one small file behind them holds what takes the place of the base's own. This is right for engines that read all
files of a folder in the order of their names, each tensor as it comes, as vLLM does; transformers would not. In return
a base of many gigabytes is neither copied nor held twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from cxrgen.core.errors import InputError
from cxrgen.core.files import write_json
from cxrgen.core.tables import read_json
from cxrgen.llava_med.lazy_tensors import INDEX, LazyTensor, read_tensors, read_weights, whole
from cxrgen.model.locate import ADAPTER_CONFIG, base_of

_FILE = "adapter_model.safetensors"
_PREFIX = "base_model.model."  # peft's, before the names of the model
_MARKS = ".token_adapter.trainable_tokens_delta"  # peft's, behind the name of the matrix: its trained rows
_OF_BASE = ("config.json", "generation_config.json")
_OF_PROCESSOR = (
    "tokenizer*",
    "*processor*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template*",
)


@dataclass(frozen=True)
class Parts:
    """Two folders: whole weights with processor, and low-rank matrices of at most `rank` columns."""

    base: Path
    low_rank: Path
    rank: int


def part(folder: Path, out: Path) -> Parts:
    """Write the parts of the adapter `folder` into the empty folder `out`, which holds links to the base's files.

    Raises InputError for a base that is not there or has no safetensors, and for a damaged adapter.
    """
    base, config = base_of(folder), read_json(folder / ADAPTER_CONFIG)
    assert base is not None
    if config.get("use_dora"):
        raise InputError(f"{folder}: a DoRA adapter, which vLLM does not take; merge it (--merge_adapter True)")
    if not (folder / _FILE).is_file():
        raise InputError(f"{folder}: no {_FILE}, so the adapter's weights are missing")
    tensors = {name.removeprefix(_PREFIX): rows for name, rows in read_tensors(folder / _FILE).items()}
    low_rank = {name: rows for name, rows in tensors.items() if ".lora_A." in name or ".lora_B." in name}
    trained = {name: whole(rows) for name, rows in tensors.items() if name not in low_rank and _MARKS not in name}
    trained |= {
        f"{name.removesuffix(_MARKS)}.weight": _with_rows(base, name.removesuffix(_MARKS), whole(rows), config)
        for name, rows in tensors.items()
        if _MARKS in name
    }
    parts = Parts(out / "base", out / "low_rank", max([config["r"], *(config.get("rank_pattern") or {}).values()]))
    parts.base.mkdir()
    parts.low_rank.mkdir()
    for file in [*_weight_files(base), *(base / name for name in _OF_BASE if (base / name).is_file())]:
        name = f"base-{file.name}" if file.suffix == ".safetensors" else file.name
        (parts.base / name).symlink_to(file.resolve())
    for file in {file for pattern in _OF_PROCESSOR for file in folder.glob(pattern) if file.is_file()}:
        (parts.base / file.name).symlink_to(file.resolve())
    if trained:  # the name sorts behind "base-"
        save_file({name: tensor.contiguous() for name, tensor in trained.items()}, parts.base / "trained.safetensors")
    save_file({f"{_PREFIX}{name}": whole(rows) for name, rows in low_rank.items()}, parts.low_rank / _FILE)
    alone = {"modules_to_save": None, "trainable_token_indices": None, "base_model_name_or_path": str(parts.base)}
    write_json(parts.low_rank / ADAPTER_CONFIG, {**config, **alone})
    return parts


def _weight_files(base: Path) -> list[Path]:
    if (base / INDEX).is_file():
        return [base / name for name in sorted(set(read_json(base / INDEX)["weight_map"].values()))]
    files = sorted(base.glob("*.safetensors"))
    if not files:
        raise InputError(f"{base}: no *.safetensors below this adapter; `cxrgen convert` writes them")
    return files


def _with_rows(base: Path, matrix: str, rows: torch.Tensor, config: dict[str, Any]) -> torch.Tensor:
    """The base's matrix, (vocabulary, C), with the trained rows in it."""
    last = matrix.rsplit(".", 1)[-1]
    named = config["trainable_token_indices"]
    places = named[last] if isinstance(named, dict) else named
    found: list[LazyTensor] = [each for name, each in read_weights(base).items() if name.endswith(f"{last}.weight")]
    if len(found) != 1 or len(places) != len(rows):
        raise InputError(f"{base}: has {len(found)} {last} for {len(rows)} trained rows; is it this adapter's base?")
    filled = whole(found[0]).clone()
    filled[places] = rows.to(filled.dtype)
    return filled
