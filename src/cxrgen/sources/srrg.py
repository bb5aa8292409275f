"""SRRG: reports of MIMIC-CXR and CheXpert Plus, written anew in a fixed structure (findings by organ, and so on).

    data/{train,validate,test,test_reviewed}-*.parquet    id, structured_report, findings_section, impression_section,
                                                          history_section, ..., image_paths (a list)

The sections of the structured report are the study's; the original report, which stands beside them, is not used. Of a
study that is in test and in test_reviewed the reviewed text counts. The sets hold no images: `--image-folder` names a
folder with both collections (`files/p10/...` of MIMIC-CXR-JPG, `train/patient1/...` of CheXpert Plus), or one of them.
Patients are those of the paths. CheXpert's names say frontal or lateral; MIMIC's say nothing, so its views are unknown.

Checked against the published descriptions (columns, splits, counts); the data themselves, which need agreements, were
not seen.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from cxrgen.core.errors import InputError, RejectError
from cxrgen.core.records import UNKNOWN, Reject, View
from cxrgen.sources import ArgumentGroup, Found, SourceOptions
from cxrgen.sources.ids import clean_id
from cxrgen.sources.image_paths import Locate, locator
from cxrgen.sources.merge_rows import StudyRow, merge_rows
from cxrgen.sources.printed_lists import several
from cxrgen.sources.published import files_below
from cxrgen.sources.texts import read_sections

_SHARD = re.compile(r"(train|validate|test|test_reviewed)-\d{5}-of-\d{5}\.parquet")
_REVIEWED = "test_reviewed"
_MARKS = ("id", "structured_report", "image_paths")
_SECTIONS = ("findings", "impression", "history", "technique", "comparison")
_PATIENT = re.compile(r"(?:^|/)(?:p(\d{8})|(patient\d+))/")


def recognise(path: Path) -> str:
    """A folder with Parquet shards that have SRRG's columns, in it or up to three folders below; or one such shard."""
    file = next(files_below(path, _SHARD), None)
    return "SRRG's Parquet shards" if file and set(_MARKS) <= set(_columns(file)) else ""


def add_arguments(parser: ArgumentGroup) -> None:
    """None of its own."""


def read(path: Path, options: SourceOptions) -> Found:
    """All studies. Raises InputError where a shard is missing or damaged."""
    files = sorted(files_below(path, _SHARD), key=lambda file: (_split(file) != _REVIEWED, file))
    if not files:
        raise InputError(f"{path}: no train-00000-of-....parquet in it")
    rows = [(row_ref, _split(file), cells) for file in files for row_ref, cells in _rows(file)]
    locate, notes = _locators(
        [name for _, _, cells in rows for name in several(cells.get("image_paths"))], path, options
    )
    reviewed = {clean_id(cells.get("id"), row_ref) for row_ref, split, cells in rows if split == _REVIEWED}
    study_rows: list[StudyRow] = []
    rejects: list[Reject] = []
    for row_ref, split, cells in rows:
        try:
            row = _study_row(row_ref, split, cells, locate)
        except RejectError as error:
            rejects.append(Reject(row_ref, clean_id(cells.get("id"), row_ref), error.code, error.hint))
            continue
        if split == _REVIEWED or row.study_id not in reviewed:
            study_rows.append(row)
    notes += [f"{len(reviewed)} test studies have the text that was reviewed"] if reviewed else []
    merged = merge_rows(study_rows, "srrg", options.on_duplicate)
    return Found(merged.studies, rejects + merged.rejects, notes, files=tuple(files))


def _split(file: Path) -> str:
    return file.name.partition("-")[0]


def _columns(file: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(file).names)
    except (pa.ArrowInvalid, OSError):
        return []


def _rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = [*_MARKS, *(f"{name}_section" for name in _SECTIONS)]
    try:
        table = pq.read_table(file, columns=[name for name in _columns(file) if name in wanted])
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{file.name}: no whole Parquet file ({type(error).__name__}); download it again") from None
    for number, cells in enumerate(table.to_pylist(), 1):
        yield f"{file.name}: item {number}", cells


def _locators(names: Sequence[str], path: Path, options: SourceOptions) -> tuple[Locate, list[str]]:
    """How names become files: for each collection, by the first folder of its names, on its own."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_first(name)].append(name)
    root = path if path.is_dir() else path.parent
    found = {first: locator(group, [options.image_folder or root]) for first, group in groups.items()}
    notes = [remark for _, remark in found.values() if remark]
    return lambda name: found[_first(name)][0](name), list(dict.fromkeys(notes))


def _first(name: str) -> str:
    parts = PurePosixPath(name).parts
    return parts[0] if parts else ""


def _study_row(row_ref: str, split: str, cells: Mapping[str, Any], locate: Locate) -> StudyRow:
    images = several(cells.get("image_paths"))
    study_id = clean_id(cells.get("id"), row_ref)
    if not study_id:
        raise RejectError("id-missing", "the row has no id")
    report = read_sections({name: str(cells.get(f"{name}_section") or "") for name in _SECTIONS})
    patient = next((match for match in map(_PATIENT.search, images) if match), None)
    return StudyRow(
        row_ref,
        study_id,
        (patient[1] or patient[2]) if patient else "",
        split="test" if split == _REVIEWED else split,
        views=tuple(View(str(locate(name)), UNKNOWN, _view(name)) for name in images),
        sections=report.sections,
        flags=report.flags,
    )


def _view(name: str) -> str:
    """CheXpert's word for the view: view1_frontal.jpg."""
    match = re.fullmatch(r"view\d+_(frontal|lateral)", PurePosixPath(name).stem)
    return match[1] if match else ""
