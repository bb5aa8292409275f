"""TAIX-Ray: 215,381 bedside images with a structured report of eight items, each on a scale of five steps.

    annotation.csv          UID, Split, PatientID, StudyDate, Age, Sex, HeartSize, PulmonaryCongestion,
                            PleuralEffusion_Right, ..._Left, PulmonaryOpacities_..., Atelectasis_...
    UID.png                 one image of 16 bits a row: beside the table, or in images/ or data/ beside it

A row is a study of one AP image. There is no free text: the findings are the filled-in form in words, an item a
sentence, always in the same order, so that a model can learn them and a reader can check them against the grades. Items
without a grade are left out. Four items are also CheXpert's observations and are carried as labels: of two sides the
graver counts; questionable and borderline are uncertain.

Checked against the published description and public code that reads the table (columns, grades, splits); the images
are published as Parquet shards too, which its authors' notebook unpacks into this form: do that first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.core.records import FRONTAL, Reject, View
from cxrgen.core.tables import CsvTable, find_column, read_csv
from cxrgen.sources import ArgumentGroup, Found, SourceOptions
from cxrgen.sources.demographics import read_age, read_sex
from cxrgen.sources.ids import clean_id
from cxrgen.sources.image_paths import Locate, locator
from cxrgen.sources.merge_rows import StudyRow, merge_rows
from cxrgen.sources.published import files_below
from cxrgen.sources.rows import order_key

_TABLE = re.compile(r"annotation\.csv(\.gz)?")
_HEART = ("normal", "borderline enlarged", "enlarged", "massively enlarged")
_GRADES = ("none", "questionable", "mild", "moderate", "severe")
_HEART_LABELS = (0, -1, 1, 1)
_LABELS = (0, -1, 1, 1, 1)
# What the form calls an item -> its columns, with the side that each speaks of.
_ITEMS: dict[str, tuple[tuple[str, str], ...]] = {
    "Pulmonary congestion": (("PulmonaryCongestion", ""),),
    "Pleural effusion": (("PleuralEffusion_Right", "right "), ("PleuralEffusion_Left", "left ")),
    "Pulmonary opacities": (("PulmonaryOpacities_Right", "right "), ("PulmonaryOpacities_Left", "left ")),
    "Atelectasis": (("Atelectasis_Right", "right "), ("Atelectasis_Left", "left ")),
}
_OBSERVATIONS = {
    "Pleural effusion": "Pleural Effusion",
    "Pulmonary opacities": "Lung Opacity",
    "Atelectasis": "Atelectasis",
}


def recognise(path: Path) -> str:
    """A table annotation.csv with TAIX-Ray's columns, or a folder with one in it or up to three folders below."""
    return "TAIX-Ray's annotation.csv" if _table(path) else ""


def add_arguments(parser: ArgumentGroup) -> None:
    """None of its own."""


def read(path: Path, options: SourceOptions) -> Found:
    """All studies. Raises InputError where there is no such table."""
    table = _table(path, options.encoding)
    if table is None:
        raise InputError(f"{path}: no annotation.csv with TAIX-Ray's columns in it")
    cells = [{name: row.cells[name].strip() for name in table.columns} for row in table.rows]
    beside = table.path.parent
    folders = [options.image_folder] if options.image_folder else [beside, beside / "images", beside / "data"]
    if not options.image_folder and path.is_dir() and beside != path:
        folders += [beside.parent / "images", beside.parent / "data"]
    locate, remark = locator([f"{each['UID']}.png" for each in cells], folders)
    rows, rejects = [], []
    for row, each in zip(table.rows, cells):
        study_id = clean_id(each["UID"], row.row_ref)
        if not study_id or "/" in study_id:
            rejects.append(Reject(row.row_ref, "", "bad-path", "the row has no UID, or one that is no file's name"))
            continue
        rows.append(_row(row.row_ref, study_id, each, locate))
    merged = merge_rows(rows, "taix-ray", options.on_duplicate)
    notes = [*table.notes, *([remark] if remark else []), "findings are the structured report in words"]
    return Found(merged.studies, rejects + merged.rejects, notes, files=(table.path,))


def _table(path: Path, encoding: str = "") -> CsvTable | None:
    """The first table that has the columns; in data_512 before data_original."""
    for file in files_below(path, _TABLE):
        try:
            table = read_csv(file, encoding, file.name)
        except InputError:
            continue
        if all(find_column(table, name, needed=False) == name for name in ("UID", "HeartSize", "PulmonaryCongestion")):
            return table
    return None


def _row(row_ref: str, study_id: str, cells: Mapping[str, str], locate: Locate) -> StudyRow:
    sections, labels = _report(cells)
    return StudyRow(
        row_ref,
        study_id,
        clean_id(cells.get("PatientID", ""), row_ref),
        split=cells.get("Split", ""),
        order_key=order_key(cells.get("StudyDate", "")[:10]),
        views=(View(str(locate(f"{study_id}.png")), FRONTAL, "AP"),),
        sections=sections,
        labels=labels,
        sex=read_sex(cells.get("Sex", "")),
        age=read_age(cells.get("Age", "")),
    )


def _report(cells: Mapping[str, str]) -> tuple[dict[str, str], dict[str, int]]:
    """The form in words, and its labels."""
    sentences, labels = [], {}
    heart = _grade(cells, "HeartSize", len(_HEART))
    if heart is not None:
        sentences.append(f"Heart size: {_HEART[heart]}.")
        labels["Cardiomegaly"] = _HEART_LABELS[heart]
    for item, columns in _ITEMS.items():
        grades = {side: _grade(cells, column, len(_GRADES)) for column, side in columns}
        said = {side: grade for side, grade in grades.items() if grade is not None}
        if said:
            sentences.append(f"{item}: {', '.join(f'{side}{_GRADES[grade]}' for side, grade in said.items())}.")
            if item in _OBSERVATIONS:
                labels[_OBSERVATIONS[item]] = _LABELS[max(said.values())]
    return ({"findings": " ".join(sentences)} if sentences else {}), labels


def _grade(cells: Mapping[str, str], column: str, steps: int) -> int | None:
    """The grade of an item; None where it is empty or none of the scale."""
    match = re.fullmatch(r"(\d)(?:\.0+)?", cells.get(column, ""))
    return int(match[1]) if match and int(match[1]) < steps else None
