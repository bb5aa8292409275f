"""Where weights come from: a folder, a zip, or a name on the Hugging Face hub; and an adapter's base.

A hub name is fetched because it was typed, and only then; nothing that stands in a config file is ever fetched. A zip
is unpacked beside the place where the result goes, its weights and settings only, and removed afterwards.
"""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from cxrgen.core.errors import InputError
from cxrgen.core.folders import require_space
from cxrgen.core.progress import say
from cxrgen.core.tables import read_json

ADAPTER_CONFIG = "adapter_config.json"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SUFFIXES = (".safetensors", ".bin", ".json", ".model", ".txt", ".jinja")
_BRING = (
    "config.json, the weights (*.safetensors or pytorch_model*.bin, with their index), and for a language model "
    "tokenizer.model, tokenizer_config.json, special_tokens_map.json, added_tokens.json"
)


@contextmanager
def opened(where: str, scratch: Path) -> Iterator[Path]:
    """The folder that `where` means, for as long as the context lasts; `scratch` is beside where a zip is unpacked.

    Raises InputError for a place that is none of the three, a zip with unsafe members, or a hub that is out of reach:
    then the message says which files to bring.
    """
    path = Path(where).expanduser()
    if path.is_dir():
        yield _down_to_config(path)
    elif path.is_file() and zipfile.is_zipfile(path):
        folder = scratch.with_name(f".{scratch.name}.{path.stem}.unzipped")
        try:
            _unzip(path, folder)
            yield _down_to_config(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    elif path.is_file():
        raise InputError(f"{path}: neither a folder nor a zip; is the download complete?")
    else:
        yield _fetched(where)


def folder_of(where: str) -> Path:
    """The folder that `where` names: a path, or a name on the hub, whose files are fetched where they are not here."""
    return at_hand(where) or _fetched(where)


def at_hand(where: str) -> Path | None:
    """The folder that `where` means if it is on this machine already; never uses the network."""
    path = Path(where).expanduser()
    if path.is_dir():
        return _down_to_config(path)
    name = _hub_name(where)
    if name is None:
        return None
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError):
        return None


def base_of(folder: Path) -> Path | None:
    """The folder that an adapter folder was trained over; None for a folder of whole weights.

    Raises InputError when that folder is not on this machine.
    """
    if not (folder / ADAPTER_CONFIG).is_file():
        return None
    config = read_json(folder / ADAPTER_CONFIG)
    name = str(config.get("base_model_name_or_path")) if isinstance(config, dict) else "?"
    base = at_hand(name)
    if base is None or not (base / "config.json").is_file():
        raise InputError(
            f"{folder}: an adapter of {name}, which is not here; bring it, or name its place in "
            f"base_model_name_or_path of {ADAPTER_CONFIG}"
        )
    return base


def _hub_name(where: str) -> str | None:
    """`owner/name` of what looks like one: bare, or behind `huggingface.co/`; None for what looks like a path."""
    name = where.split("huggingface.co/", 1)[-1].strip("/")
    if not _HUB_NAME.fullmatch(name):
        return None
    if name == where and Path(where).parent.is_dir():  # a file that is missing from a folder that is there
        return None
    return name


def _fetched(where: str) -> Path:
    name = _hub_name(where)
    if name is None:
        raise InputError(f"{where}: no such folder or zip")
    from huggingface_hub import snapshot_download

    say(f"{where}: not on this disk, asking the Hugging Face hub for {name}")
    try:
        patterns = [f"*{suffix}" for suffix in _SUFFIXES]
        return Path(snapshot_download(name, allow_patterns=patterns, ignore_patterns=["training_args.bin"]))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{where}: neither a folder nor a zip here, and the hub gave nothing ({type(error).__name__}); "
            f"bring a folder with {_BRING}, and give its path"
        ) from None


def _down_to_config(folder: Path) -> Path:
    """A folder that holds nothing but another folder stands for that one, as zips often have it."""
    inside = [each for each in folder.iterdir() if not each.name.startswith((".", "__MACOSX"))]
    if len(inside) == 1 and inside[0].is_dir():
        return _down_to_config(inside[0])
    return folder


def _unzip(path: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = [each for each in archive.infolist() if each.filename.endswith(_SUFFIXES)]
            for each in wanted:
                parts = PurePosixPath(each.filename.replace("\\", "/")).parts
                linked = stat.S_ISLNK(each.external_attr >> 16)
                if linked or ".." in parts or each.filename.startswith("/") or ":" in parts[0]:
                    raise InputError(f"{path}: the member {each.filename!r} points outside; this zip is not opened")
            needed = sum(each.file_size for each in wanted)
            require_space(folder, needed)
            say(f"unpacking {path.name}: {needed / 1e9:.1f} GB")
            for each in wanted:
                archive.extract(each, folder)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be unpacked ({error}); bring the file again") from None
