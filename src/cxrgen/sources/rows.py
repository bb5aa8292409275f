"""Rows of any table (CSV cells or JSON values) to what they say of studies, by a map from our fields to its columns.

One cell may hold several images and their views: a list, as JSON, Python, numpy or pandas write it, or names joined by
`;`. A raw `report` is split into sections; section columns win over what stands in the raw text. The fourteen label
columns that CheXpert and NegBio write are recognised by their names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cxrgen.core.errors import InputError, RejectError, unknown
from cxrgen.core.records import UNKNOWN, Reject, View
from cxrgen.core.tables import letters_of, missing_column
from cxrgen.sources.demographics import read_age, read_sex
from cxrgen.sources.ids import clean_id
from cxrgen.sources.image_paths import Locate
from cxrgen.sources.merge_rows import StudyRow
from cxrgen.sources.printed_lists import several
from cxrgen.sources.texts import MARKS, joined, read_sections, split_report
from cxrgen.text.chexpert import OBSERVATIONS, label_value
from cxrgen.text.marks import without_excel_marks

# Field -> names that columns of published tables and of ordinary exports have, in any case.
FIELDS: dict[str, tuple[str, ...]] = {
    "study_id": (
        "study_id",
        "study",
        "studyid",
        "study_instance_uid",
        "study_uid",
        "uid",
        "accession",
        "accession_number",
        "accession_no",
        "acc_no",
        "exam_no",
        "exam_number",
        "exam_id",
        "order_number",
        "id",
    ),
    "subject_id": ("subject_id", "patient_id", "deid_patient_id", "patient", "subject", "mrn", "patient_number"),
    "image": ("image", "images", "path", "image_path", "imagepath", "path_to_image", "filename", "file"),
    "view": ("view", "views", "viewposition", "view_position", "projection", "frontal_lateral"),
    "split": ("split", "fold", "partition"),
    "date": ("date", "study_date", "order_key", "offset_days", "exam_date"),
    "time": ("time", "studytime", "study_time"),
    "sex": ("sex", "gender", "sex_gender", "patient_sex", "patientsex_dicom"),
    "age": ("age", "patient_age", "patientage", "age_years"),
    "report": (
        "report",
        "text",
        "report_text",
        "findings_impression",
        "radiology_report",
        "full_report",
        "narrative",
        "result_text",
        "befund",
        "befundtext",
    ),
    "findings": ("findings", "section_findings"),
    "impression": ("impression", "section_impression", "conclusion"),
    "indication": ("indication", "reason", "section_indication"),
    "history": ("history", "clinical_history", "section_history"),
    "technique": ("technique", "section_technique"),
    "comparison": ("comparison", "section_comparison"),
}
SECTIONS = ("findings", "impression", "indication", "history", "technique", "comparison")
_NUMBER = re.compile(r"-?\d{1,9}(\.\d+)?")
_FIRST_DATE = 10_000_000  # smaller numbers are days from a start, negative ones included


@dataclass(frozen=True)
class RowReader:
    """How the rows of one table are read."""

    columns: Mapping[str, str]  # our field -> the table's column
    labels: Mapping[str, str]  # label -> the table's column
    locate: Locate
    section_style: str
    split: str = ""  # of rows that do not say
    study_of_image: Callable[[str], str] = lambda name: PurePosixPath(name).stem  # for rows without a study id


def map_columns(
    columns_of_table: Iterable[str],
    given: Mapping[str, str],
    table: str,
    names: Mapping[str, tuple[str, ...]] = FIELDS,
    needed: tuple[str, ...] = (),
) -> dict[str, str]:
    """Field -> column: what the user gave, then what `names` knows; one column serves one field.

    Raises UsageError for a field that does not exist, InputError for a column that does not, or when one of `needed` is
    not found: with the number of columns and of the nearest one.
    """
    names_there = list(columns_of_table)
    folded = {letters_of(column): column for column in reversed(names_there) if column.strip()}
    folded |= {column.strip().lower(): column for column in names_there if column.strip()}
    columns: dict[str, str] = {}
    for name, column in given.items():
        if name not in FIELDS:
            raise unknown("field of --map", name, FIELDS)
        if numbered := re.fullmatch(r"#([1-9]\d{0,4})", column.strip()):
            number = int(numbered[1])
            if number > len(names_there):
                raise InputError(f"{table}: --map {name}={column}: the table has {len(names_there)} columns")
            columns[name] = names_there[number - 1]
            continue
        if column.strip().lower() not in folded:
            raise missing_column(table, f"that --map {name}= names", column, names_there)
        columns[name] = folded[column.strip().lower()]
    for name, candidates in names.items():
        if name not in columns:
            spellings = (spelling for each in candidates for spelling in (each.lower(), letters_of(each)))
            matching = [folded[spelling] for spelling in spellings if spelling in folded]
            free = [column for column in matching if column not in columns.values()]
            if free:
                columns[name] = free[0]
    for name in needed:
        if name not in columns:
            raise missing_column(table, f"for {name}", name, names_there, f"; say which with --map {name}=COLUMN")
    return columns


def label_columns(columns: Iterable[str]) -> dict[str, str]:
    """Label -> column for the CheXpert labels a table has."""
    folded = {column.strip().lower(): column for column in columns}
    return {label: folded[label.lower()] for label in OBSERVATIONS if label.lower() in folded}


def read_rows(rows: Iterable[tuple[str, Mapping[str, Any]]], reader: RowReader) -> Iterator[StudyRow | Reject]:
    """Each (row_ref, cells) as what it says of its study, or as a Reject that says what is wrong with it."""
    for row_ref, cells in rows:
        try:
            yield _read_row(row_ref, cells, reader)
        except RejectError as error:
            study_id = clean_id(cells.get(reader.columns.get("study_id", "")), row_ref)
            yield Reject(row_ref, study_id, error.code, error.hint)


def _read_row(row_ref: str, cells: Mapping[str, Any], reader: RowReader) -> StudyRow:
    excel_marks = False

    def text(name: str) -> str:
        nonlocal excel_marks
        value = cells.get(reader.columns[name]) if name in reader.columns else None
        cell = "" if value is None or value != value else str(value).strip()  # NaN, as Python writes it into JSON
        plain = without_excel_marks(cell).strip()
        excel_marks = excel_marks or plain != cell
        return plain

    images = several(cells.get(reader.columns["image"])) if "image" in reader.columns else []
    study_id = clean_id(text("study_id"), row_ref) or (reader.study_of_image(images[0]) if images else "")
    if not study_id:
        raise RejectError("id-missing", "the row has neither a study id nor an image")
    raw_views = several(cells.get(reader.columns["view"])) if "view" in reader.columns else []
    report = joined(
        split_report(text("report"), reader.section_style), read_sections({name: text(name) for name in SECTIONS})
    )
    return StudyRow(
        row_ref=row_ref,
        study_id=study_id,
        subject_id=clean_id(text("subject_id"), row_ref),
        split=text("split") or reader.split,
        order_key=order_key(text("date"), text("time")),
        views=_views(images, raw_views, reader.locate),
        sections=report.sections,
        labels=read_labels(cells, reader.labels) if reader.labels else None,
        flags=report.flags + ((f"{MARKS}excel",) if excel_marks else ()),
        sex=read_sex(text("sex")),
        age=read_age(text("age")),
    )


def _views(images: Sequence[str], raw_views: Sequence[str], locate: Locate) -> tuple[View, ...]:
    """The images of a row with their views: as many as images, one for all, or none."""
    if len(raw_views) == 1:
        raw_views = [raw_views[0]] * len(images)
    if raw_views and len(raw_views) != len(images):
        hint = f"{len(raw_views)} views for {len(images)} images; give one an image, in the same order"
        raise RejectError("view-count", hint)
    return tuple(
        View(str(locate(name)), UNKNOWN, raw_view) for name, raw_view in zip(images, raw_views or [""] * len(images))
    )


def image_study(name: str) -> str:
    """The study of an image that is named {study}-{number of the image}.png; any other name is its own study."""
    stem = unicodedata.normalize("NFC", PurePosixPath(name).stem).encode("utf-8", "replace").decode()
    study, dash, number = stem.rpartition("-")
    return study if dash and number.isdigit() and len(number) <= 4 and study else stem


def order_key(date: str, time: str = "") -> str:
    """A text that sorts studies of one patient in time; "" when the date is missing or no number.

    Dates are YYYYMMDD, YYYY-MM-DD or a number of days from any start; times lose leading zeros when read as numbers, so
    they are padded (MIMIC's 80556.875 is 08:05:56).
    """
    text = date.replace("-", "") if len(date) == 10 and date.count("-") == 2 else date
    if not _NUMBER.fullmatch(text):
        return ""
    number = int(float(text))
    day = f"{number if number >= _FIRST_DATE else _FIRST_DATE + number:08}"
    whole, _, fraction = time.replace(":", "").partition(".")
    return f"{day} {whole.zfill(6)}.{fraction.ljust(3, '0')}" if whole.isdigit() else day


def read_labels(cells: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, int]:
    """The labels that a row has, from the map that `label_columns` makes; what is not mentioned has no key."""
    values = {label: label_value(str(cells.get(column, ""))) for label, column in columns.items()}
    return {label: value for label, value in values.items() if value is not None}
