"""PadChest-GR: 4,555 frontal images of PadChest whose reports are sentences, each with the places it speaks of.

    grounded_reports_20240819.json    a list: StudyID, ImageID, findings [sentence_en, sentence_es, abnormal, labels,
                                      locations, progression, boxes, extra_boxes]
    master_table.csv                  a row a label: StudyID, PatientID, split, ...; unpack master_table.csv.zip
    Padchest_GR_files/PadChest_GR/    images of 16 bits, named by ImageID (anywhere up to three folders below)

The report is the sentences in their order, in English or in Spanish; labels of abnormal sentences are the study's, as
present. Boxes go into the study's record, with the number of their sentence; nothing else in cxrgen uses them yet.

Checked against the published description and public code that reads the files (names of keys and columns, boxes as
shares of width and height, x and y of two corners); the data themselves, which need an agreement, were not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError, RejectError
from cxrgen.core.records import FRONTAL, Box, Reject, View
from cxrgen.core.tables import find_column, read_csv, read_json
from cxrgen.sources import ArgumentGroup, Found, SourceOptions
from cxrgen.sources.demographics import read_sex
from cxrgen.sources.ids import clean_id
from cxrgen.sources.image_paths import Locate, locator
from cxrgen.sources.merge_rows import StudyRow, merge_rows
from cxrgen.sources.published import files_below
from cxrgen.sources.rows import order_key
from cxrgen.sources.texts import read_sections

_REPORTS = re.compile(r"grounded_reports_\d{8}\.json")
_MASTER = re.compile(r"master_table\.csv(\.gz)?")
_PICTURE = re.compile(r".+\.png", re.IGNORECASE)
_LANGUAGES = ("en", "es")


def recognise(path: Path) -> str:
    """grounded_reports_*.json, or a folder with it in it or up to three folders below."""
    return next((f"PadChest-GR's {file.name}" for file in files_below(path, _REPORTS)), "")


def add_arguments(parser: ArgumentGroup) -> None:
    parser.add_argument("--sentences", choices=_LANGUAGES, default="en", help="language of reports (default: en)")


def read(path: Path, options: SourceOptions) -> Found:
    """All studies. Raises InputError where the reports are not there or are no list of studies."""
    file = next(files_below(path, _REPORTS), None)
    if file is None:
        raise InputError(f"{path}: no grounded_reports_*.json in it")
    items = read_json(file, options.encoding, file.name)
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise InputError(f"{file.name}: no JSON list of studies; download it again")
    root = path if path.is_dir() else path.parent
    master = next(files_below(root, _MASTER), None)
    of_study = _master(master, options.encoding) if master else {}
    notes = [] if master else ["no master_table.csv: patients and splits are unknown; unpack master_table.csv.zip"]
    locate, remark = locator([str(item.get("ImageID", "")) for item in items], _folders(root, options.image_folder))
    notes += [remark] if remark else []
    rows: list[StudyRow] = []
    rejects: list[Reject] = []
    boxes: dict[str, tuple[Box, ...]] = {}
    for number, item in enumerate(items, 1):
        row_ref = f"{file.name}: item {number}"
        try:
            row, boxes_of = _row(row_ref, item, of_study, locate, str(options.own["sentences"]))
        except RejectError as error:
            rejects.append(Reject(row_ref, "", error.code, error.hint))
            continue
        rows.append(row)
        boxes[row.study_id] = boxes_of
    merged = merge_rows(rows, "padchest-gr", options.on_duplicate)
    studies = [replace(study, boxes=boxes[study.study_id]) for study in merged.studies]
    return Found(studies, rejects + merged.rejects, notes, files=(file, *([master] if master else [])))


def _folders(root: Path, image_folder: Path | None) -> list[Path]:
    """Where the images may start: the given folder, or those that hold PNG files."""
    if image_folder:
        return [image_folder]
    with_pictures = {file.parent: None for file in files_below(root, _PICTURE)}
    return [*with_pictures, root][:8]


def _master(file: Path, encoding: str) -> dict[str, dict[str, str]]:
    """Study -> the cells of its first row."""
    table = read_csv(file, encoding, file.name)
    column = find_column(table, "StudyID") or ""
    rows: dict[str, dict[str, str]] = {}
    for row in table.rows:
        rows.setdefault(clean_id(row.cells[column], row.row_ref), row.cells)
    return rows


def _row(
    row_ref: str, item: Mapping[str, Any], of_study: Mapping[str, Mapping[str, str]], locate: Locate, language: str
) -> tuple[StudyRow, tuple[Box, ...]]:
    study_id, image = clean_id(item.get("StudyID"), row_ref), str(item.get("ImageID") or "").strip()
    if not study_id or not image:
        raise RejectError("id-missing", "the study has no StudyID or no ImageID")
    cells = of_study.get(study_id, {})
    findings = [each for each in item.get("findings") or [] if isinstance(each, Mapping)]
    sentences = [str(each.get(f"sentence_{language}") or "").strip() for each in findings]
    said = " ".join(sentence if sentence[-1:] in ".!?" else f"{sentence}." for sentence in sentences if sentence)
    abnormal = [each for each in findings if each.get("abnormal")]
    labels = {str(label).strip(): 1 for each in abnormal for label in each.get("labels") or []}
    report = read_sections({"findings": said})
    row = StudyRow(
        row_ref,
        study_id,
        clean_id(cells.get("PatientID", ""), row_ref),
        split=cells.get("split", "").strip(),
        order_key=order_key(cells.get("StudyDate_DICOM", "").strip()),
        views=(View(str(locate(image)), FRONTAL),),
        sections=report.sections,
        labels=labels,
        flags=report.flags,
        sex=read_sex(cells.get("PatientSex_DICOM", "")),
    )
    return row, tuple(_boxes(findings))


def _boxes(findings: Sequence[Mapping[str, Any]]) -> Iterator[Box]:
    """The boxes of all sentences, corners in order and inside the image; what is no box is left out."""
    for number, finding in enumerate(findings):
        for corners in [*(finding.get("boxes") or []), *(finding.get("extra_boxes") or [])]:
            try:
                x0, y0, x1, y1 = (min(1.0, max(0.0, float(value))) for value in corners)
            except (TypeError, ValueError):
                continue
            yield Box(number, min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
