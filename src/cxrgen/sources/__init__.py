"""Where studies come from: one module a kind of source, one line of `SOURCES` a module.

A source says whether it knows a path, declares the options that are its own, and reads complete studies (`Source`). It
keeps the dataset's own words: views have absolute paths and the view position as the source calls it, texts become
sections, `report` stays None. Everything that is the same for all kinds (view classes, target text, splits, images) is
done once, by `cxrgen.prepare.prepare_set`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

from cxrgen.core.errors import InputError, unknown
from cxrgen.core.records import Reject, Study

ArgumentGroup = argparse._ActionsContainer  # a parser or a group of it


@dataclass(frozen=True)
class SourceOptions:
    """What the user says about a source."""

    image_folder: Path | None = None  # where image paths start; None = beside the source
    text_file: Path | None = None  # CSV with study_id and texts, for sources whose texts live elsewhere
    columns: Mapping[str, str] = field(default_factory=dict)  # our field -> the source's column, from --map
    section_style: str = "tolerant"  # how raw report text is split: tolerant or mimic
    on_duplicate: str = "reject"  # rows of one study that contradict each other: reject the study, or believe the last
    encoding: str = ""  # code page of tables and texts that are not UTF-8
    own: Mapping[str, Any] = field(default_factory=dict)  # options that the source itself declares, by name


@dataclass(frozen=True)
class Found:
    """What a source holds. `notes` are remarks without report text, `columns` says which column became which field."""

    studies: list[Study]
    rejects: list[Reject] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()  # tables and archives that were read; recipe.json keeps their hashes


class Source(Protocol):
    """A kind of source: a module with these functions."""

    def recognise(self, path: Path) -> str:
        """Why `path` is of this kind, in words; "" where it is not."""

    def add_arguments(self, parser: ArgumentGroup) -> None:
        """Declare the options that this kind alone has; `read` finds them in `options.own`."""

    def read(self, path: Path, options: SourceOptions) -> Found:
        """All studies, each complete. Raises InputError where the source as a whole cannot be used."""


# Tried in this order by `--kind auto`, the most particular first.
SOURCES: dict[str, str] = {
    "course": "cxrgen.sources.course",
    "mimic": "cxrgen.sources.mimic",
    "openi": "cxrgen.sources.openi",
    "rexgradient": "cxrgen.sources.rexgradient",
    "taix-ray": "cxrgen.sources.taix_ray",
    "padchest-gr": "cxrgen.sources.padchest_gr",
    "srrg": "cxrgen.sources.srrg",
    "llava": "cxrgen.sources.llava",
    "dicom": "cxrgen.sources.dicom",
    "table": "cxrgen.sources.table",
}


# Names of files in published sets; any other name of a file that was found may be a patient's.
PUBLISHED_NAMES = re.compile(
    r"(train|valid|test)\.(csv(\.gz)?|json)|mimic[-_]cxr[-_\w.]*\.(csv(\.gz)?|zip)|cxr-record-list\.csv(\.gz)?"
    r"|patients\.csv(\.gz)?|indiana_(reports|projections)\.csv|NLMCXR_reports\.(tgz|tar\.gz)"
    r"|(train|valid|test)_metadata(_view_position)?\.json|annotation\.csv|master_table\.csv"
    r"|grounded_reports_\d{8}\.json|(train|validate|test|test_reviewed)-\d{5}-of-\d{5}\.parquet"
    r"|df_chexpert_plus_\d{6}\.csv|(report|findings|impression)_fixed\.json|PADCHEST_chest_x_ray_images_[\w.]+\.csv(\.gz)?"
)


def source(kind: str) -> Source:
    """The module of a kind."""
    return cast(Source, importlib.import_module(SOURCES[kind]))


def own_options(kind: str) -> dict[str, Any]:
    """Name -> default of the options that a kind declares itself."""
    parser = argparse.ArgumentParser(add_help=False)
    source(kind).add_arguments(parser)
    return vars(parser.parse_args([]))


def detect_source(path: Path, kind: str = "auto") -> tuple[str, str]:
    """(kind, reason in words) for a path. Raises InputError when no source knows it, UsageError for an unknown kind."""
    if kind != "auto":
        if kind not in SOURCES:
            raise unknown("--kind", kind, ("auto", *SOURCES))
        return kind, "by --kind"
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    for name in SOURCES:
        reason = source(name).recognise(path)
        if reason:
            return name, reason
    raise InputError(
        f"{path}: no kind of source is recognised{_unread(path)}; choose one of {', '.join(SOURCES)} with --kind"
    )


_IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".jp2")
_TEXTS = (".hl7", ".rtf", ".pdf", ".doc", ".docx", ".odt", ".txt", ".html", ".htm", ".xml", ".xlsx", ".xls")


def _unread(path: Path) -> str:
    """What a path that no source knows holds, and the table that is needed beside it."""
    names = [path.name] if path.is_file() else os.listdir(path) if path.is_dir() else []
    images, texts = (sum(name.lower().endswith(endings) for name in names) for endings in (_IMAGES, _TEXTS))
    if not images + texts:
        return ""
    needed = "a CSV with a row an image (study_id, image, report)"
    return f": {images} images, {texts} texts and no table that says what belongs together; write {needed}"


def read(kind: str, path: Path, options: SourceOptions) -> Found:
    """Read `path` as `kind`; raises InputError naming the place when the source as a whole cannot be used."""
    return source(kind).read(path, replace(options, own={**own_options(kind), **options.own}))
