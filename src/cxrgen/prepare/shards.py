"""A prepared set as shards, for sets whose single files a network disk serves too slowly or memory cannot hold.

    shards.json             what is in the shards: their names, studies, sizes and SHA-256
    recipe.json             the prepared set's own
    train-00000.tar, ...    for each study NUMBER.json and NUMBER.0.jpg, NUMBER.1.png, ... in WebDataset's manner
    train-00000.parquet     or the same as columns: `json`, and `images` with their names and bytes

A Parquet shard has a row group for each study, so that any study is read alone, whatever the shard's size; its pages
carry checksums, and it is not packed, since images are. The price is a footer of some hundred bytes a study.

The JSON holds the study as studies.parquet does, and what prompts may state of the study before. Studies stand in a
random order that is always the same, so that neighbours in a shard have nothing in common; members have numbers for
names, no dates and no owner, so that the same set gives the same bytes. Studies without images or report are left out.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrgen.core.errors import InputError
from cxrgen.core.files import sha256_file, write_json
from cxrgen.core.progress import track
from cxrgen.core.records import SHARDS, SHARDS_FORM, SPLITS, Study, shard_schema
from cxrgen.prepare.image_store import stored_bytes
from cxrgen.text.context import Prior, priors_of

_STATED = ("prior-report", "gap")  # of the study before; its images are in its own place


@dataclass(frozen=True)
class _Packed:
    """A study as it lies in a shard: its number there, its record, and its images by name."""

    number: int
    record: str
    images: Mapping[str, bytes]


def write_shards(
    folder: Path, studies: Sequence[Study], prepared: Path, shard_studies: int, kind: str = "tar"
) -> dict[str, int]:
    """Write the shards of all splits; returns the number of studies of each. Raises InputError for a missing image."""
    usable = [study for study in studies if study.views and study.report is not None]
    if not usable:
        raise InputError(f"{prepared}: no study with images and a report, so nothing to export")
    priors = priors_of(studies, _STATED, 0)
    shards = []
    for split in SPLITS:
        members = [study for study in usable if study.split == split]
        order = np.random.default_rng(0).permutation(len(members))
        starts = range(0, len(members), shard_studies)
        for number, start in enumerate(track(starts, f"writing {split} shards", len(starts))):
            some = [members[place] for place in order[start : start + shard_studies]]
            name = f"{split}-{number:05}.{kind}"
            (folder / name).touch(mode=0o600)
            SHARD_WRITERS[kind](folder / name, _packed(some, priors, prepared))
            size, sha256 = (folder / name).stat().st_size, sha256_file(folder / name)
            shards.append({"name": name, "split": split, "studies": len(some), "bytes": size, "sha256": sha256})
    write_json(folder / SHARDS, {"cxrgen_shards": SHARDS_FORM, "shards": shards})
    if (prepared / "recipe.json").is_file():
        shutil.copyfile(prepared / "recipe.json", folder / "recipe.json")
        (folder / "recipe.json").chmod(0o600)
    return {split: sum(study.split == split for study in usable) for split in SPLITS}


def _packed(studies: Sequence[Study], priors: Mapping[str, Prior], prepared: Path) -> Iterator[_Packed]:
    """One study after the other, so that the images of one alone are held."""
    for number, study in enumerate(studies):
        names = [f"{number:06}.{place}{Path(view.path).suffix}" for place, view in enumerate(study.views)]
        views = tuple(replace(view, path=name) for view, name in zip(study.views, names))
        record = {"study": asdict(replace(study, views=views)), "prior": _stated(priors.get(study.study_id))}
        text = json.dumps(record, sort_keys=True, ensure_ascii=False)
        images = {name: stored_bytes(prepared / view.path, view.sha256) for view, name in zip(study.views, names)}
        yield _Packed(number, text, images)


def _stated(prior: Prior | None) -> dict[str, Any] | None:
    return None if prior is None else {"report": prior.report, "days": prior.days}


def _write_tar(path: Path, studies: Iterable[_Packed]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for study in studies:
            _add(tar, f"{study.number:06}.json", study.record.encode())
            for name, data in study.images.items():
                _add(tar, name, data)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    tar.addfile(member, io.BytesIO(data))


def _write_parquet(path: Path, studies: Iterable[_Packed]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = shard_schema()
    plain: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    with pq.ParquetWriter(path, schema, write_page_checksum=True, **plain) as writer:
        for study in studies:
            images = [{"path": name, "bytes": data} for name, data in study.images.items()]
            writer.write_table(pa.Table.from_pylist([{"json": study.record, "images": images}], schema))


SHARD_WRITERS: dict[str, Callable[[Path, Iterable[_Packed]], None]] = {"tar": _write_tar, "parquet": _write_parquet}
