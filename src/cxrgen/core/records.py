"""The shapes that cross room borders, and studies.parquet, the file that carries them.

A *study* is one examination: one report and one or more *views* (images). Sections are a plain dict from the section's
lower-case name ("findings", "impression", "indication", ...) to its text; an absent section has no key. pyarrow is
imported where the file is read or written: records alone, and the help of every command, do without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from cxrgen.core.errors import InputError
from cxrgen.core.files import replacing

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 4
# version -> the columns that it did not have; a view's own fields have defaults
_READ = {"1": {"sex", "age", "boxes"}, "2": {"boxes"}, "3": set[str](), "4": set[str]()}
SPLITS = ("train", "valid", "test")
SHARDS, SHARDS_FORM = "shards.json", 1  # the list of a set's shards, and the version of their form
FRONTAL, LATERAL, OTHER, UNKNOWN = "frontal", "lateral", "other", "unknown"


@dataclass(frozen=True)
class View:
    """One image. `path` is relative to the prepared folder (absolute while a source is being read)."""

    path: str
    view: str  # frontal | lateral | other | unknown
    raw_view: str = ""  # as the source says it: PA, AP, LL, ...
    width: int = 0
    height: int = 0
    sha256: str = ""
    by_picture: float = 0.0  # confidence of a view that the picture gave (`prepare --views-by`); 0: the source gave it


@dataclass(frozen=True)
class Box:
    """A place in a study's only image that a sentence of its report speaks of, in shares of the width and height."""

    sentence: int  # the first is 0
    x_min: float
    y_min: float
    x_max: float
    y_max: float


@dataclass(frozen=True)
class Study:
    """One examination with all its images. `report` is the target text; None means usable for generation only."""

    study_id: str
    subject_id: str
    split: str = ""
    order_key: str = ""  # sorts a subject's studies in time; "" = unknown
    views: tuple[View, ...] = ()
    sections: dict[str, str] = field(default_factory=dict)
    report: str | None = None
    prior_study_id: str | None = None
    labels: dict[str, int] | None = None  # the dataset's own: 1 present, 0 absent, -1 uncertain; not mentioned = no key
    flags: tuple[str, ...] = ()
    source: str = ""
    sex: str = ""  # F, M, O (other); "" = unknown
    age: int | None = None  # whole years at the examination; 90 stands for all above 89 in sets with pseudonyms
    boxes: tuple[Box, ...] = ()  # the dataset's own


@dataclass(frozen=True)
class Reject:
    """An input that was left out: where, which id, a short code, and the way out. Never holds report text."""

    row: str  # "train.csv:17", "study 0012", "images/0001-0001.png"
    id: str
    code: str
    hint: str


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation; `role` is "human" or "assistant"."""

    role: str
    text: str


@dataclass(frozen=True)
class Conversation:
    """What a report writer reads and writes for one item: image paths in the order of the `<image>` placeholders."""

    id: str
    images: tuple[str, ...]
    turns: tuple[Turn, ...]
    sample: int = 0  # which of several answers to the same question


@dataclass(frozen=True)
class Prediction:
    study_id: str
    report: str
    log_probability: float | None = None  # of a token, the mean over the report's, where it was asked for
    tokens: tuple[int, ...] = field(default=(), compare=False)  # as they were written, the end token too; likewise


def _struct(record: type, types: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    """Arrow's fields of a dataclass, from its annotations."""
    return [(name, types[annotation]) for name, annotation in get_type_hints(record).items()]


@cache
def study_schema() -> pa.Schema:
    """The columns of studies.parquet."""
    import pyarrow as pa

    types: dict[Any, Any] = {str: pa.string(), int: pa.int32(), float: pa.float32()}
    of_study: dict[Any, Any] = {
        **types,
        str | None: pa.string(),
        int | None: pa.int16(),
        dict[str, str]: pa.map_(pa.string(), pa.string()),
        dict[str, int] | None: pa.map_(pa.string(), pa.int8()),
        tuple[str, ...]: pa.list_(pa.string()),
        tuple[View, ...]: pa.list_(pa.struct(_struct(View, types))),
        tuple[Box, ...]: pa.list_(pa.struct(_struct(Box, types))),
    }
    return pa.schema(_struct(Study, of_study), metadata={"cxrgen_schema": str(SCHEMA_VERSION)})


@cache
def shard_schema() -> pa.Schema:
    """The columns of a Parquet shard: a study's record as a tar shard has it, and its images."""
    import pyarrow as pa

    image = pa.struct([("path", pa.string()), ("bytes", pa.binary())])
    return pa.schema([("json", pa.string()), ("images", pa.list_(image))])


def write_studies(path: Path, studies: Iterable[Study]) -> None:
    """Write studies.parquet atomically; the same studies give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    for study in studies:
        row = asdict(study)
        row["sections"] = sorted(study.sections.items())
        row["labels"] = None if study.labels is None else sorted(study.labels.items())
        rows.append(row)
    table = pa.Table.from_pylist(rows, schema=study_schema())
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_studies(path: Path, split: str | None = None) -> list[Study]:
    """Read studies.parquet, or the one in a prepared folder; `split` keeps that split only.

    Raises InputError when the file is missing, is no Parquet file, or was written by an unknown schema version;
    what an older version did not know is unknown.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = path / "studies.parquet" if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"{file}: no such file; make a prepared set with `cxrgen prepare SOURCE --out {path}`")
    try:
        table = pq.read_table(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{file}: no Parquet file ({type(error).__name__}); prepare the set again") from None
    version = (table.schema.metadata or {}).get(b"cxrgen_schema", b"none").decode()
    if version not in _READ:
        *others, last = _READ
        known = f"{', '.join(others)} and {last}"
        raise InputError(f"{file}: schema version {version}, known are {known}; prepare the set again")
    absent = [name for name in study_schema().names if name not in table.column_names]
    if not set(absent) <= _READ[version]:
        raise InputError(f"{file}: the column {absent[0]} is missing; prepare the set again")
    studies = []
    for row in table.to_pylist():
        if split is None or row["split"] == split:
            studies.append(study_of_row(row))
    return studies


def study_of_row(row: Mapping[str, Any]) -> Study:
    """A study from its fields as lists and dicts, as Parquet and JSON hold them."""
    changed = {
        "views": tuple(View(**view) for view in row["views"]),
        "sections": dict(row["sections"]),
        "labels": None if row["labels"] is None else dict(row["labels"]),
        "flags": tuple(row["flags"]),
        "boxes": tuple(Box(**box) for box in row.get("boxes") or ()),
    }
    return Study(**{**row, **changed})
