"""Reading the shards of a set (`cxrgen export-data --to shards`), tar or Parquet, a window of studies at a time.

Both kinds are read by the names of their members (`000012.json`, `000012.0.png`), so that what follows does not know
which it has: a tar's members lie where its headers say, those of a Parquet file in the row group of their study. A
window holds records; images stay in the shards until they are unpacked, one study at a time. Before a run every shard
is compared with the list's size, and its first header (tar) or its footer (Parquet) is read; what has changed behind
them is found when it is read, by checksums.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cxrgen.core.errors import InputError
from cxrgen.core.records import SHARDS, SHARDS_FORM, Study, shard_schema, study_of_row
from cxrgen.core.tables import read_json
from cxrgen.text.context import Prior

if TYPE_CHECKING:
    import pyarrow.parquet as pq

Place = tuple[int, int]  # a shard's number, and a study's in it


class ShardFile(Protocol):
    """One shard by the names of its members."""

    @property
    def path(self) -> Path: ...

    def check(self, studies: int) -> None:
        """Raises InputError for a file that is not of its kind, or visibly not of so many studies."""

    def read(self, name: str) -> bytes:
        """The content of a member. Raises KeyError where there is none, InputError for a damaged file."""


class TarShard:
    """A tar file in WebDataset's manner."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self, studies: int) -> None:
        with self._opened() as tar:
            if tar.next() is None:
                raise InputError(f"{self.path}: an empty tar file; copy or export it again")

    def read(self, name: str) -> bytes:
        offset, size = self._members[name]
        with open(self.path, "rb") as file:
            file.seek(offset)
            return file.read(size)

    @cached_property
    def _members(self) -> dict[str, tuple[int, int]]:
        """Name -> (offset, size)."""
        with self._opened() as tar:
            try:
                return {member.name: (member.offset_data, member.size) for member in tar.getmembers()}
            except tarfile.TarError as error:
                raise _damaged(self.path, "tar", error) from None

    def _opened(self) -> tarfile.TarFile:
        try:
            return tarfile.open(self.path, "r:")
        except (tarfile.TarError, OSError) as error:
            raise _damaged(self.path, "tar", error) from None


class ParquetShard:
    """A Parquet file with a row group for each study: its record in `json`, its images in `images`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last: tuple[int, dict[str, bytes]] = (-1, {})  # the study that was read last, and its images by name

    def check(self, studies: int) -> None:
        if self._footer.num_row_groups != studies or self._footer.schema.to_arrow_schema() != shard_schema():
            raise InputError(f"{self.path}: not the studies that {SHARDS} lists; copy or export it again")

    def read(self, name: str) -> bytes:
        number = int(name.partition(".")[0])
        if name.endswith(".json"):
            return str(self._cell(number, "json")).encode()
        if number != self._last[0]:
            self._last = number, {image["path"]: image["bytes"] for image in self._cell(number, "images")}
        return self._last[1][name]

    def _cell(self, number: int, column: str) -> Any:
        with self._opened(self._footer) as file:
            try:
                (value,) = file.read_row_group(number, columns=[column], use_threads=False).column(column).to_pylist()
            except (OSError, ValueError) as error:  # Arrow's own errors are of these kinds
                raise _damaged(self.path, "Parquet", error) from None
        return value

    @cached_property
    def _footer(self) -> pq.FileMetaData:
        with self._opened() as file:
            return file.metadata

    def _opened(self, footer: pq.FileMetaData | None = None) -> pq.ParquetFile:
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(self.path, metadata=footer, page_checksum_verification=True)
        except (OSError, ValueError) as error:
            raise _damaged(self.path, "Parquet", error) from None


def _damaged(path: Path, kind: str, error: Exception) -> InputError:
    return InputError(f"{path}: no whole {kind} file ({type(error).__name__}); copy or export it again")


def open_shard(path: Path) -> ShardFile:
    """A shard by its name's suffix; nothing is read yet."""
    return ParquetShard(path) if path.suffix == ".parquet" else TarShard(path)


@dataclass(frozen=True)
class Shards:
    """The shards of one split by their manifest."""

    folder: Path
    names: tuple[str, ...]
    studies: tuple[int, ...]  # of each shard

    @property
    def total(self) -> int:
        return sum(self.studies)

    def order(self, seed: int, epoch: int) -> list[Place]:
        """All studies of an epoch, shard after shard in a random order of shards."""
        shards = np.random.default_rng([seed, epoch, 4]).permutation(len(self.names)).tolist()
        return [(shard, number) for shard in shards for number in range(self.studies[shard])]


def read_shards(folder: Path, split: str) -> Shards:
    """The shards of a split. Raises InputError for a folder without them, or one whose files are not as written."""
    manifest = read_json(folder / SHARDS)
    listed = manifest.get("shards") if isinstance(manifest, dict) else None
    if not isinstance(listed, list) or manifest.get("cxrgen_shards") != SHARDS_FORM:
        raise InputError(f"{folder / SHARDS}: not of this version's form; export the set again")
    mine = [shard for shard in listed if shard["split"] == split]
    if not mine:
        raise InputError(f"{folder}: no shard of split {split}; nothing to train on")
    for shard in mine:
        file = folder / shard["name"]
        if not file.is_file() or file.stat().st_size != shard["bytes"]:
            raise InputError(f"{file}: missing, or not as long as {SHARDS} says; copy or export it again")
        open_shard(file).check(shard["studies"])
    return Shards(folder, tuple(each["name"] for each in mine), tuple(each["studies"] for each in mine))


@dataclass
class Window:
    """Studies that are held, with where their images lie in the shards and the folder that they are unpacked to."""

    studies: list[Study]  # images named as they will lie in the scratch folder
    priors: dict[str, Prior]
    images: dict[str, tuple[ShardFile, str, str]] = field(default_factory=dict)  # name -> shard, name in it, SHA-256

    def unpack(self, names: Iterable[str], scratch: Path) -> None:
        """Write images into the scratch folder. Raises InputError for one that has changed since the export."""
        for name in names:
            target = scratch / name
            if target.exists():
                continue
            shard, member, sha256 = self.images[name]
            try:
                data = shard.read(member)
            except KeyError:
                raise InputError(f"{shard.path}: lacks the image {member}; export the shard again") from None
            if sha256 and hashlib.sha256(data).hexdigest() != sha256:
                raise InputError(f"{shard.path}: the image {member} has changed; export the shard again")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)


def read_window(shards: Shards, places: Sequence[Place], name: str) -> Window:
    """The studies at these places, in this order; their images will lie under `name` in the scratch folder."""
    window = Window([], {})
    files = {shard: open_shard(shards.folder / shards.names[shard]) for shard in {shard for shard, _ in places}}
    for shard, number in places:
        file = files[shard]
        study, prior = _record(file, f"{number:06}.json")
        views = []
        for view in study.views:
            place = f"{name}/{file.path.stem}/{view.path}"
            window.images[place] = (file, view.path, view.sha256)
            views.append(replace(view, path=place))
        window.studies.append(replace(study, views=tuple(views)))
        if prior:
            window.priors[study.study_id] = prior
    return window


def _record(shard: ShardFile, name: str) -> tuple[Study, Prior | None]:
    try:
        record: dict[str, Any] = json.loads(shard.read(name))
        prior = record["prior"]
        return study_of_row(record["study"]), Prior(prior["report"], (), prior["days"]) if prior else None
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{shard.path}: {name} is missing or no study; export the shard again") from None
