"""Any table with image paths and texts: a CSV or TSV, or JSON with one object a study or an image.

Columns are recognised by the names that published datasets and ordinary exports use (`column_maps`, `rows`), or named
with `--map FIELD=COLUMN`. A table without images still makes studies, so that a set of texts can be looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from cxrgen.core.errors import InputError
from cxrgen.core.files import is_file
from cxrgen.core.records import Reject
from cxrgen.core.tables import read_csv, read_json
from cxrgen.sources import ArgumentGroup, Found, SourceOptions
from cxrgen.sources.column_maps import ColumnMap, find_map, is_published_table
from cxrgen.sources.demographics import age_in_year
from cxrgen.sources.image_paths import locator
from cxrgen.sources.merge_rows import StudyRow, merge_rows
from cxrgen.sources.printed_lists import several
from cxrgen.sources.rows import FIELDS, SECTIONS, RowReader, label_columns, map_columns, read_rows

_CSV = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".txt")
_JSON = (".json", ".jsonl")
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz")
_ANSWERING = ("gpt", "report", "assistant")

Rows = Iterable[tuple[str, Mapping[str, Any]]]


def recognise(path: Path) -> str:
    """A file that is named like a table, or a folder with one; which dataset it is if its columns say so."""
    if path.name.lower().endswith(_ARCHIVES):
        raise InputError(f"{path}: an archive; unpack it first and give the folder or table")
    file = file_of(path)
    if file is None:
        return ""
    try:
        columns, _, _ = rows_of(file)
    except InputError:  # reading it with the user's options says what is wrong
        return "a file named like a table"
    dataset = find_map(columns)
    return f"a table with the columns of {dataset.name}" if dataset else f"a table with {len(columns)} columns"


def add_arguments(parser: ArgumentGroup) -> None:
    """None of its own."""


def read(path: Path, options: SourceOptions) -> Found:
    """All rows; raises InputError when the table has no column for study or image, or none that holds text."""
    file = file_of(path)
    if file is None:
        raise InputError(f"{path}: neither a table nor a folder with a single one")
    name = "" if file == path else "the table"  # its own name was typed by nobody
    path = file
    columns, rows, notes = rows_of(path, options.encoding, name)
    dataset = find_map(columns)
    labels_file = path.with_name(dataset.labels_file[0]) if dataset and dataset.labels_file else None
    if dataset and labels_file and is_file(labels_file):
        columns, rows = _with_labels(columns, rows, labels_file, dataset.labels_file[1])
        notes.append(f"{labels_file.name}: labels are carried")
    names = {**FIELDS, **dataset.columns} if dataset else FIELDS
    mapped = map_columns(columns, options.columns, name or str(path), names)
    if "image" not in mapped and "study_id" not in mapped:
        map_columns(columns, options.columns, name or str(path), names, needed=("image",))
    rows = [(row_ref, _as_mapped(cells, mapped, dataset)) for row_ref, cells in rows]
    images = [name for _, cells in rows for name in several(cells.get(mapped.get("image", "")))]
    below = ("", "images", *(dataset.image_folders if dataset else ()))
    folders = [options.image_folder] if options.image_folder else [path.parent / folder for folder in below]
    locate, remark = locator(images, folders)
    reader = RowReader(
        mapped,
        label_columns(columns),
        locate,
        options.section_style,
        split=_split_of_name(path),
        study_of_image=partial(_above, dataset.study_parts if dataset else 0),
    )
    study_rows: list[StudyRow] = []
    rejects: list[Reject] = []
    machine_made = 0
    for (_, cells), row in zip(rows, read_rows(rows, reader)):
        if isinstance(row, Reject):
            rejects.append(row)
        elif _not_for_test(cells, row.split, dataset):
            machine_made += 1
        else:
            study_rows.append(row)
    first_text_counts = dataset is not None and dataset.first_text_counts
    merged = merge_rows(study_rows, dataset.name if dataset else "table", options.on_duplicate, first_text_counts)
    notes += list(dataset.notes) if dataset else []
    notes += [f"{machine_made} test items have machine-made text and are left out"] if machine_made else []
    notes += [remark] if remark else []
    if merged.versions:
        notes.append(f"{merged.versions} studies have other texts at other images; that of the first image is taken")
    notes += [f"{merged.repeats} rows repeat others"] if merged.repeats else []
    if not any(name in mapped for name in (*SECTIONS[:2], "report")):
        notes.append("no column holds report text; name it with --map findings=COLUMN, or --text-file")
    files = (path, labels_file) if labels_file and is_file(labels_file) else (path,)
    return Found(merged.studies, rejects + merged.rejects, notes, mapped, files)


def file_of(path: Path) -> Path | None:
    """The table at a path: the file itself, or the only one of its folder, or the one called as a published table."""
    endings = (*_CSV, *_JSON)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.name.lower().endswith(endings) and file.is_file())
        published = [file for file in files if is_published_table(file.name)]
        return files[0] if len(files) == 1 else published[0] if published else None
    return path if path.is_file() and path.name.lower().endswith(endings) else None


def rows_of(path: Path, encoding: str = "", name: str = "") -> tuple[tuple[str, ...], Rows, list[str]]:
    """(columns, rows as (row_ref, cells), remarks) of a table of either form."""
    if path.name.lower().endswith(_CSV):
        table = read_csv(path, encoding, name)
        return table.columns, [(row.row_ref, row.cells) for row in table.rows], list(table.notes)
    rows = list(_objects(read_json(path, encoding, name), name or path.name))
    columns = tuple(dict.fromkeys(key for _, cells in rows for key in cells))
    return columns, rows, []


def _with_labels(columns: tuple[str, ...], rows: Rows, file: Path, key: str) -> tuple[tuple[str, ...], Rows]:
    """The rows with the labels that a file of JSON lines has for them; cells of their own count before."""
    lines = read_json(file, name=file.name)
    labels = (
        {str(line.get(key)): line for line in lines if isinstance(line, Mapping)} if isinstance(lines, list) else {}
    )
    names = dict.fromkeys(name for line in labels.values() for name in line)
    more = [name for name in label_columns(names).values() if name not in columns]
    joined = [
        (row_ref, {**{name: labels.get(str(cells.get(key)), {}).get(name) for name in more}, **cells})
        for row_ref, cells in rows
    ]
    return (*columns, *more), joined


def _objects(value: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a list, of R2Gen's lists by split, or of ReXrank's object by study."""
    if isinstance(value, Mapping):
        for number, (key, held) in enumerate(value.items(), 1):
            if isinstance(held, list):
                for row_ref, cells in _objects(held, f"{name}: list {number}"):
                    yield row_ref, {"split": key, **cells}
            elif isinstance(held, Mapping):
                yield f"{name}: item {number}", {"study_id": key, **_flat(held)}
        return
    if not isinstance(value, list):
        raise InputError(f"{name}: a JSON {type(value).__name__}, needed is a list of objects")
    for number, item in enumerate(value, 1):
        yield f"{name}: item {number}", _flat(item) if isinstance(item, Mapping) else {}


def _flat(item: Mapping[str, Any]) -> dict[str, Any]:
    """An object's fields, those of objects inside it beside them, and the answer of a conversation as a field."""
    cells: dict[str, Any] = {}
    for key, value in item.items():
        cells.update(value if isinstance(value, Mapping) else {key: value})
    turns = cells.get("conversations")
    if isinstance(turns, list):
        answers = [turn.get("value") for turn in turns if isinstance(turn, Mapping) and turn.get("from") in _ANSWERING]
        cells["answer"] = answers[0] if answers and isinstance(answers[0], str) else None
    return cells


def _as_mapped(cells: Mapping[str, Any], mapped: Mapping[str, str], dataset: ColumnMap | None) -> Mapping[str, Any]:
    """A row with what a dataset spreads over columns in one: CheXpert Plus's views, PadChest's folders and ages."""
    if dataset is None:
        return cells
    row = dict(cells)
    exact = str(cells.get(dataset.second_view) or "").strip() if dataset.second_view else ""
    if exact and "view" in mapped:
        row[mapped["view"]] = exact
    folder = str(cells.get(dataset.folder) or "").strip() if dataset.folder else ""
    if folder:
        row[mapped["image"]] = f"{folder}/{cells[mapped['image']]}"
    if dataset.birth_year:
        row[dataset.birth_year] = age_in_year(*(str(cells.get(mapped.get(name, ""), "")) for name in ("age", "date")))
    return row


def _not_for_test(cells: Mapping[str, Any], split: str, dataset: ColumnMap | None) -> bool:
    if dataset is None or dataset.only_in_test is None or split != "test":
        return False
    column, value = dataset.only_in_test
    return column in cells and cells[column] != value


def _above(parts: int, name: str) -> str:
    """The study of an image by the folders above it: train/patient1/study2/view1.jpg is patient1_study2."""
    folders = PurePosixPath(name).parts[:-1]
    return "_".join(folders[-parts:]) if parts and folders else PurePosixPath(name).stem


def _split_of_name(path: Path) -> str:
    """The split that a file's name says: chat_train_MIMIC.json holds the training split."""
    words = re.split(r"[^a-z]+", path.name.lower())
    return next((word for word in words if word in ("train", "dev", "valid", "val", "validate", "test")), "")
