"""What the columns of published tables are called: one row a dataset.

A map is used when a table has all of its `marks`; the names in `columns` come before those that any table may have.
Names that could not be checked against the data themselves stand beside the usual ones and never replace them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ColumnMap:
    """One published dataset's table."""

    name: str
    marks: tuple[str, ...]  # columns that only this dataset has together
    columns: Mapping[str, tuple[str, ...]]
    second_view: str = ""  # a column that says the view more exactly where it is filled
    folder: str = ""  # a column with the folder of the image
    birth_year: str = ""  # a column with the year of birth, which is read as the age
    study_parts: int = 0  # folders above the image whose names are the study, where no column is
    only_in_test: tuple[str, str] | None = None  # (column, value) that rows of the test split must have
    first_text_counts: bool = False  # images of one study have several versions of its text
    notes: tuple[str, ...] = ()
    file: str = ""  # what the table is called, among others in the folder that is published
    image_folders: tuple[str, ...] = ()  # where images may start, below the table's folder
    labels_file: tuple[str, ...] = ()  # JSON lines of labels beside the table, and the column that joins them


COLUMN_MAPS = (
    ColumnMap(
        "chexpert-plus",
        ("path_to_image", "deid_patient_id", "section_findings"),
        {
            "image": ("path_to_image",),
            "subject_id": ("deid_patient_id",),
            "view": ("frontal_lateral",),
            "findings": ("section_findings",),
            "impression": ("section_impression",),
            "history": ("section_clinical_history", "section_history"),
            "comparison": ("section_comparison",),
            "technique": ("section_technique",),
            "report": (),
            "date": (),
        },
        second_view="ap_pa",
        study_parts=2,
        first_text_counts=True,
        notes=("patient_report_date_order is no date and is not used to find prior studies",),
        file=r"df_chexpert_plus_\d{6}\.csv",
        image_folders=("PNG", "PNG/PNG", "DICOM/Uncompressed", "DICOM/Compressed", "DICOM"),
        labels_file=("report_fixed.json", "path_to_image"),
    ),
    ColumnMap(
        "padchest",
        ("ImageID", "StudyID", "Projection"),
        {
            "image": ("ImageID",),
            "study_id": ("StudyID",),
            "subject_id": ("PatientID",),
            "view": ("Projection",),
            "date": ("StudyDate_DICOM",),
            "age": ("PatientBirth",),
            "findings": ("Report",),
            "report": (),
        },
        folder="ImageDir",
        birth_year="PatientBirth",
        notes=("reports are Spanish, lower-case and stemmed",),
        file=r"PADCHEST_chest_x_ray_images_labels_[\w.]+\.csv(\.gz)?",
    ),
    ColumnMap(
        "rexgradient",
        ("Indication", "Comparison", "Findings", "Impression", "ImagePath"),
        {
            "image": ("ImagePath",),
            "study_id": ("study_id", "id", "StudyInstanceUid"),
            "subject_id": ("PatientID",),
            "view": ("ImageViewPosition", "view"),
            "date": ("StudyDate",),
        },
    ),
    ColumnMap(
        "rexrank",
        ("section_findings", "image_path", "key_image_path"),
        {
            "image": ("image_path",),
            "view": ("frontal_lateral",),
            "findings": ("section_findings",),
            "impression": ("section_impression",),
            "report": (),
        },
    ),
    ColumnMap(
        "r2gen",
        ("id", "report", "image_path"),
        {
            "image": ("image_path",),
            "study_id": ("study_id", "id"),
            "findings": ("report",),
            "report": (),
        },
        notes=("reports hold the findings only and are read as such",),
    ),
    ColumnMap(
        "llava-rad",
        ("image", "reason", "conversations"),
        {"image": ("image",), "indication": ("reason",), "findings": ("answer",), "report": ()},
        only_in_test=("generate_method", "rule-based"),
        notes=("items whose text a language model made are left out of test",),
    ),
)


def is_published_table(name: str) -> bool:
    """Whether a file is called as the table of a published set is."""
    return any(dataset.file and re.fullmatch(dataset.file, name) for dataset in COLUMN_MAPS)


def find_map(columns: tuple[str, ...]) -> ColumnMap | None:
    """The dataset whose marks are all among a table's columns."""
    folded = {column.strip().lower() for column in columns}
    return next((dataset for dataset in COLUMN_MAPS if all(mark.lower() in folded for mark in dataset.marks)), None)
