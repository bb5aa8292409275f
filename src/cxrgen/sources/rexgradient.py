"""ReXGradient-160K as its repository has it: split tables in JSON, images in a tree beside them.

    metadata/{train,valid,test}_metadata_view_position.json    one object a study: texts, list of images, their views
    metadata/{train,valid,test}_metadata.json                  the same without views; read where the first is absent
    deid_png/PATIENT/ACCESSION/studies/.../instances/*.png     images of 16 bits, named `../deid_png/...` in the tables

All splits are read together and taken as published. Names of images lead out of the tables' folder, but never out of
the folder that the user named. The views are words of many devices: UNKNOWN (28,000 images, nine of ten frontals),
ERECT and N/A stay unknown, so that their studies are kept; SUPINE counts as frontal, KUB (an abdomen) as other.

Checked against published descriptions of the files and public code that reads them (names of keys, words of views,
layout of folders); the data themselves, which need an agreement, were not seen. `{split}_metadata.csv` names no image
and is not read; neither are the boxes of interstitial patterns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError
from cxrgen.core.records import FRONTAL, OTHER, Reject, View
from cxrgen.core.tables import read_json
from cxrgen.sources import ArgumentGroup, Found, SourceOptions
from cxrgen.sources.column_maps import find_map
from cxrgen.sources.image_paths import locator
from cxrgen.sources.merge_rows import StudyRow, merge_rows
from cxrgen.sources.printed_lists import several
from cxrgen.sources.published import files_below
from cxrgen.sources.rows import FIELDS, RowReader, map_columns, read_rows

_NAME = re.compile(r"(train|valid|test)_metadata(_view_position)?\.json")
_IMAGES = "deid_png"
_CLASSES = {"SUPINE": FRONTAL, "KUB": OTHER, "AP (KUB)": OTHER}
_ABSENT = ("none", "nan")

Rows = Sequence[tuple[str, dict[str, Any]]]


def recognise(path: Path) -> str:
    """One of the split tables, or a folder with them in it or up to three folders below."""
    names = [file.name for file in _tables(path)]
    return f"ReXGradient's {', '.join(names)}" if names else ""


def add_arguments(parser: ArgumentGroup) -> None:
    """None of its own."""


def read(path: Path, options: SourceOptions) -> Found:
    """All studies of all splits that are there. Raises InputError where no table is, or one holds no studies."""
    files = _tables(path)
    if not files:
        raise InputError(f"{path}: no train_metadata_view_position.json, or one of its siblings, in it")
    notes = [] if len(files) == 3 else [f"{len(files)} of 3 splits are there"]
    tables = {file: _rows(file, options.encoding) for file in files}
    named = options.image_folder or (path if path.is_dir() else path.parent)
    folders = dict.fromkeys([named, *(file.parent.parent for file in files if named in file.parents)])
    names = [name for rows in tables.values() for _, cells in rows for name in several(cells.get("ImagePath"))]
    locate, remark = locator(names, [folder for folder in folders if folder == named or named in folder.parents])
    notes += [remark] if remark else []
    study_rows: list[StudyRow] = []
    rejects: list[Reject] = []
    columns: dict[str, str] = {}
    for file, rows in tables.items():
        columns = _columns(rows, options, file)
        reader = RowReader(columns, {}, locate, options.section_style, split=file.name.partition("_")[0])
        for row in read_rows(rows, reader):
            if isinstance(row, Reject):
                rejects.append(row)
            else:
                study_rows.append(replace(row, views=tuple(map(_classed, row.views))))
    merged = merge_rows(study_rows, "rexgradient", options.on_duplicate)
    return Found(merged.studies, rejects + merged.rejects, notes, columns, tuple(files))


def _tables(path: Path) -> list[Path]:
    """A table a split, that with views before that without; in the order of the splits."""
    files = list(files_below(path, _NAME, skip=(_IMAGES,)))
    of_split: dict[str, Path] = {}
    for file in sorted(files, key=lambda file: ("view_position" not in file.name, len(file.parts), file)):
        of_split.setdefault(file.name.partition("_")[0], file)
    return [of_split[split] for split in ("train", "valid", "test") if split in of_split]


def _rows(file: Path, encoding: str) -> Rows:
    """(row_ref, cells) of each study."""
    value = read_json(file, encoding, file.name)
    if not isinstance(value, Mapping) or not all(isinstance(item, Mapping) for item in value.values()):
        raise InputError(f"{file.name}: no JSON object with an object a study; download it again")
    return [
        (f"{file.name}: item {number}", _cells(study_id, item))
        for number, (study_id, item) in enumerate(value.items(), 1)
    ]


def _cells(study_id: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """A study's fields without words that say that there is nothing, and with a view, "" at least, for each image."""
    cells = {name: None if str(value).strip().lower() in _ABSENT else value for name, value in item.items()}
    images, views = several(cells.get("ImagePath")), several(cells.get("ImageViewPosition"))
    views = ["" if view.lower() in _ABSENT else view for view in views]
    cells["ImageViewPosition"] = views + [""] * (len(images) - len(views))
    return {**cells, "study_id": study_id}


def _columns(rows: Rows, options: SourceOptions, file: Path) -> dict[str, str]:
    names = list(dict.fromkeys(name for _, cells in rows for name in cells))
    dataset = find_map(tuple(names))
    return map_columns(names, options.columns, file.name, {**FIELDS, **dataset.columns} if dataset else FIELDS)


def _classed(view: View) -> View:
    """The image with its class, where the word means something in this set that it does not say elsewhere."""
    return replace(view, view=_CLASSES.get(view.raw_view.upper(), view.view))
