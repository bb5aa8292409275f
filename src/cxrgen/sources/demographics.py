"""A patient's sex and age as tables and DICOM tags write them, for the card: do the splits hold the same people?

What is not understood counts as unknown and is never guessed. Ages above 89 can name a person, so everything that is
shown or made for others (the card, sets with pseudonyms) says 90 for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from cxrgen.core.tables import CsvTable, find_column
from cxrgen.sources.ids import clean_id

OLDEST = 90  # years; stands for all ages above 89
_SEXES = {
    "F": ("f", "female", "woman", "w", "weiblich", "femenino", "mujer"),
    "M": ("m", "male", "man", "männlich", "masculino", "hombre"),
    "O": ("o", "other", "diverse", "d", "x"),
}
_SEX_OF = {word: sex for sex, words in _SEXES.items() for word in words}
_AGE = re.compile(r"(\d{1,3})(?:\.\d+)?\s*(y|yr|yrs|year|years|m|w|d)?")
_OLD = re.compile(r"(?:>=?\s*(?:89|90)|(?:89|90)\s*(?:\+|y\+|or (?:older|over|above)))")
_YOUNG_UNITS = {"m": 12, "w": 52, "d": 365}  # how many of them are a year
_MOST_YEARS = 120


def read_sex(text: str) -> str:
    """F, M or O by the words of common tables and of DICOM's PatientSex, "" where it is not said or not understood."""
    return _SEX_OF.get(text.strip().lower(), "")


def read_age(text: str) -> int | None:
    """Whole years from "58", "58.4", DICOM's "058Y" and "006M", or ">89" (90); None where it is no age."""
    folded = text.strip().lower()
    if _OLD.fullmatch(folded):
        return OLDEST
    match = _AGE.fullmatch(folded)
    if match is None:
        return None
    years = int(match[1]) // _YOUNG_UNITS.get(match[2] or "", 1)
    return years if years <= _MOST_YEARS else None


def age_in_year(birth_year: str, date: str) -> int | None:
    """Years between the year of birth and the year that a date begins with, one more than the age before a birthday."""
    years = [int(float(text)) for text in (birth_year.strip(), date.strip()[:4]) if re.fullmatch(r"\d{4}(\.0+)?", text)]
    return years[1] - years[0] if len(years) == 2 and 0 <= years[1] - years[0] <= _MOST_YEARS else None


def shown_age(age: int | None) -> int | None:
    """The age as others may see it."""
    return None if age is None else min(age, OLDEST)


_COLUMNS = ("subject_id", "gender", "anchor_age", "anchor_year")


@dataclass(frozen=True)
class Person:
    """A row of MIMIC-IV's table of patients: how old somebody was in one year."""

    sex: str
    anchor_age: str
    anchor_year: str

    def age_at(self, order_key: str) -> int | None:
        """The age in the year that a study's order key begins with, as others may see it."""
        age = read_age(self.anchor_age)
        if age is not None and age < OLDEST:
            year = self.anchor_year.strip()
            age = age_in_year(str(int(year) - age), order_key) if year.isdigit() else None
        return shown_age(age)


def read_people(table: CsvTable, subjects: Collection[str], notes: list[str]) -> dict[str, Person]:
    """The patients that a table knows; a note says how many of `subjects`, or that it is another table."""
    columns = [column for name in _COLUMNS if (column := find_column(table, name, needed=False))]
    if len(columns) < len(_COLUMNS):
        notes.append(f"{table.path.name}: not MIMIC-IV's table of patients; sex and age are unknown")
        return {}
    people = {}
    for row in table.rows:
        subject, gender, age, year = (row.cells[column] for column in columns)
        if (subject := clean_id(subject, row.row_ref)) in subjects:
            people[subject] = Person(read_sex(gender), age, year)
    notes.append(f"{table.path.name}: sex and age of {len(people)} of {len(subjects)} patients")
    return people
