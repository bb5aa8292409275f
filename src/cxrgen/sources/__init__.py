"""Where studies come from: one module a kind of source, one row of `SOURCES` a module.

A source says whether it knows a path (`recognise(path)`, the reason in words or "") and reads it
(`read(path, options)`). It takes the dataset's own words and changes as little as it can: views have absolute paths
and the view as the source calls it, texts become sections, `report` stays None. Everything that is the same for all
kinds (view classes, target text, splits, images) is done once, by `cxrgen.prepare.run`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.records import Reject, Study


@dataclass(frozen=True)
class SourceOptions:
    """What the user says about a source."""

    image_folder: Path | None = None  # where image paths start; None = beside the source
    text_file: Path | None = None  # CSV with study_id and texts, for sources whose texts live elsewhere
    columns: Mapping[str, str] = field(default_factory=dict)  # our field -> the source's column, from --map
    section_style: str = "tolerant"  # how raw report text is split: tolerant or mimic
    on_duplicate: str = "reject"  # rows of one study that contradict each other: reject the study, or believe the last


@dataclass(frozen=True)
class Found:
    """What a source holds. `notes` are remarks without report text, `columns` says which column became which field."""

    studies: list[Study]
    rejects: list[Reject] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()  # tables and archives that were read; recipe.json keeps their hashes


# Tried in this order by `--kind auto`, the most particular first.
SOURCES: dict[str, str] = {
    "course": "cxrgen.sources.course",
    "mimic": "cxrgen.sources.mimic",
    "openi": "cxrgen.sources.openi",
    "llava": "cxrgen.sources.llava",
    "table": "cxrgen.sources.table",
    "dicom": "cxrgen.sources.dicom",
}


def choose(path: Path, kind: str = "auto") -> tuple[str, str]:
    """(kind, reason in words) for a path. Raises InputError when no source knows it, UsageError for an unknown kind."""
    if kind != "auto":
        if kind not in SOURCES:
            raise UsageError(f"--kind {kind}: there are auto, {', '.join(SOURCES)}")
        return kind, "by --kind"
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    for name, module in SOURCES.items():
        reason = importlib.import_module(module).recognise(path)
        if reason:
            return name, reason
    raise InputError(f"{path}: no kind of source is recognised ({', '.join(SOURCES)}); say which with --kind")


def read(kind: str, path: Path, options: SourceOptions) -> Found:
    """Read `path` as `kind`; raises InputError naming the place when the source as a whole cannot be used."""
    reader: Callable[[Path, SourceOptions], Found] = importlib.import_module(SOURCES[kind]).read
    return reader(path, options)
