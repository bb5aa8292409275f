"""Sex and age for MIMIC-CXR's studies, from MIMIC-IV's table of patients (patients.csv); both count patients alike.

Both datasets move a patient's dates by the same span, so the age at a film is the age in the table's `anchor_year` and
the years since. `anchor_age` is 91 for everybody above 89; that stays "above 89", in whatever year the film was taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cxrgen.data.ids import clean_id
from cxrgen.data.people import OLDEST, age_in_year, read_age, read_sex, shown_age
from cxrgen.files import CsvTable, find_column
from cxrgen.records import Study

_COLUMNS = ("subject_id", "gender", "anchor_age", "anchor_year")


def with_people(studies: Sequence[Study], table: CsvTable, notes: list[str]) -> list[Study]:
    """The studies with what the table knows; a note says how many patients it knows, or that it is another table."""
    columns = [column for name in _COLUMNS if (column := find_column(table, name, needed=False))]
    if len(columns) < len(_COLUMNS):
        notes.append(f"{table.path.name}: not MIMIC-IV's table of patients; sex and age are unknown")
        return list(studies)
    there = {study.subject_id for study in studies}
    people: dict[str, tuple[str, str, str]] = {}
    for row in table.rows:
        subject, gender, age, year = (row.cells[column] for column in columns)
        if (subject := clean_id(subject, row.place)) in there:
            people[subject] = gender, age, year
    notes.append(f"{table.path.name}: sex and age of {len(people)} of {len(there)} patients")
    return [_of_person(study, *people[study.subject_id]) if study.subject_id in people else study for study in studies]


def _of_person(study: Study, gender: str, anchor_age: str, anchor_year: str) -> Study:
    age = read_age(anchor_age)
    if age is not None and age < OLDEST:
        year = anchor_year.strip()
        age = age_in_year(str(int(year) - age), study.order_key) if year.isdigit() else None
    return replace(study, sex=read_sex(gender), age=shown_age(age))
