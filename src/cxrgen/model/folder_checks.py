"""What must hold of a checkpoint folder before its weights are read: possible settings, whole files, all tensors.

transformers builds whatever config.json says and gives tensors that are missing from the files random values. So a
folder is checked first: numbers that cannot be are named here, weight files are opened for their headers only, and the
model is built without memory to see that each of its tensors is in the files and each tensor of the files in the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForImageTextToText

from cxrgen.core.errors import InputError
from cxrgen.core.files import sha256_file
from cxrgen.core.tables import read_json
from cxrgen.model.lite_encoder import LiteEncoderConfig

INDEX = "model.safetensors.index.json"
ON_META: Mapping[str, Any] = {"device_map": {"": "meta"}}  # a model opened so has no memory, and no values
_BOUNDS = {  # smallest and largest value of whole numbers in config.json and the configs inside it
    "num_hidden_layers": (1, 1_000),
    "num_attention_heads": (1, 1_024),
    "num_key_value_heads": (1, 1_024),
    "hidden_size": (1, 200_000),
    "intermediate_size": (1, 2_000_000),
    "head_dim": (1, 10_000),
    "vocab_size": (1, 10_000_000),
    "max_position_embeddings": (1, 100_000_000),
    "image_size": (1, 16_384),
    "patch_size": (1, 16_384),
    "image_seq_length": (1, 65_536),
    "tokens": (1, 65_536),
}
CLASS_TOKENS = {  # before the tokens of the patches
    "clip_vision_model": 1,
    "dinov2": 1,
    "siglip_vision_model": 0,
    LiteEncoderConfig.model_type: 0,
}
_COMPUTED = ("inv_freq", "position_ids", "num_batches_tracked")  # that old files hold though the model computes them


def check_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model folder. Raises InputError naming a value that cannot be."""
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"{folder}: no config.json; give a folder that holds a checkpoint")
    config = read_json(path)
    if not isinstance(config, dict):
        raise InputError(f"{path}: no JSON object; bring the file again")
    for name in ("text_config", "vision_config"):
        if not isinstance(config.get(name, {}), dict):
            raise InputError(f"{path}: {name} is no JSON object; bring the file again")
    for name, part in [("", config), *((key, value) for key, value in config.items() if isinstance(value, dict))]:
        _check_numbers(f"{path}: {name}." if name else f"{path}: ", part)
    return config


def _check_numbers(where: str, part: Mapping[str, Any]) -> None:
    for name, (least, most) in _BOUNDS.items():
        value = part.get(name)
        if value is None or (isinstance(value, list) and name in ("image_size", "patch_size")):
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InputError(f"{where}{name} is {value!r}; it must be a whole number from {least} to {most}")
    hidden, heads, shared = (part.get(name) for name in ("hidden_size", "num_attention_heads", "num_key_value_heads"))
    if hidden and heads and hidden % heads and not part.get("head_dim"):
        raise InputError(f"{where}hidden_size is {hidden}, no multiple of {heads} num_attention_heads")
    if heads and shared and heads % shared:
        raise InputError(f"{where}num_attention_heads is {heads}, no multiple of {shared} num_key_value_heads")


def image_tokens_of(config: Mapping[str, Any], where: object = "config.json") -> int | None:
    """Tokens of one image of a LLaVA config.json, or None for a vision encoder that is not known.

    Raises InputError, naming `where` the config is, for a strategy that does not fit the encoder.
    """
    vision = config.get("vision_config") or {}
    if "tokens" in vision:  # the small encoders of this package
        return int(vision["tokens"])
    kind, size, patch = (vision.get(name) for name in ("model_type", "image_size", "patch_size"))
    if kind not in CLASS_TOKENS or not isinstance(size, int) or not isinstance(patch, int):
        return None
    drops = config.get("vision_feature_select_strategy", "default") == "default"
    if drops and not CLASS_TOKENS[kind]:
        raise InputError(
            f"{where}: vision_feature_select_strategy 'default' drops a class token, which {kind} has not; use 'full'"
        )
    return (size // patch) ** 2 + (0 if drops else CLASS_TOKENS[kind])


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder. Raises InputError for an index that names what is not a file of the folder."""
    index = folder / INDEX
    if not index.is_file() or (folder / "model.safetensors").is_file():
        return sorted(folder.glob("*.safetensors"))
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise InputError(f"{index}: no weight_map; bring the file again")
    for name in sorted(set(places.values())):
        if Path(name).name != name:
            raise InputError(f"{index}: names {name!r}, which is not a file of this folder; it is not opened")
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: no such shard, though {INDEX} names it; bring all shards")
    return [folder / name for name in sorted(set(places.values()))]


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is what Git leaves in place of a large file that was not fetched."""
    with open(path, "rb") as file:
        return file.read(24).startswith(b"version https://git-lfs")


def open_safetensors(path: Path) -> Any:
    """A safetensors file, of which the header is read. Raises InputError when it is damaged."""
    try:
        if is_lfs_pointer(path):
            raise InputError(f"{path}: a Git LFS pointer, not the weights; fetch the file itself (git lfs pull)")
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError, ValueError, OverflowError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: cut short or damaged ({reason}); bring the file again") from None


def check_files(folder: Path) -> None:
    """Raises InputError when weight files are missing, damaged, or hold whole numbers where weights should be."""
    files = weight_files(folder)
    if not files:
        raise InputError(f"{folder}: no *.safetensors, so the weights are missing")
    for path in files:
        opened = open_safetensors(path)
        for name in opened.keys():  # noqa: SIM118
            code = opened.get_slice(name).get_dtype()
            if not name.endswith(_COMPUTED) and not code.startswith(("F", "BF")):
                raise InputError(f"{path}: {name} has type {code}, weights are floating-point; bring the file again")


def check_tensors(folder: Path) -> None:
    """Raises InputError unless the folder's files hold the tensors of the model that its config describes."""
    options = {**ON_META, "ignore_mismatched_sizes": True, "dtype": torch.float32}
    _, info = AutoModelForImageTextToText.from_pretrained(
        folder, local_files_only=True, output_loading_info=True, **options
    )
    refuse_unloaded(folder, info)


def refuse_unloaded(folder: Path, info: Mapping[str, Any]) -> None:
    """Raises InputError for tensors that loading left over, by transformers' loading info."""
    for key, what in (
        ("mismatched_keys", "of another shape than config.json says"),
        ("missing_keys", "missing from the weights"),
        ("unexpected_keys", "in the weights but not in the model of config.json"),
    ):
        names = sorted(name if isinstance(name, str) else str(name[0]) for name in info[key])
        names = [name for name in names if not name.endswith(_COMPUTED)]
        if names:
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise InputError(f"{folder}: {names[0]}{others} {what}; bring the files that belong together")


def refuse_infinite(folder: Path, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Raises InputError naming a tensor that holds NaN or infinity."""
    for name, tensor in tensors:
        if tensor.is_floating_point() and tensor.numel() and tensor.device.type != "meta":
            least, most = torch.aminmax(tensor.detach())
            if not bool(torch.isfinite(least) & torch.isfinite(most)):
                raise InputError(f"{folder}: {name} holds NaN or infinity; the file is damaged, or training diverged")


def weights_digest(folder: Path) -> str:
    """A digest of the contents of a folder's weight files."""
    return sha256("".join(map(sha256_file, weight_files(folder))).encode()).hexdigest()[:32]
