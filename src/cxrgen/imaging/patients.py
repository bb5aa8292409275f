"""Whether images are of one patient, by the DICOM tags that say whose they are.

A study that mixes two patients teaches or reports what is not there, so it is refused, and named by its files: what the
tags say stays where it is. A number that is the same but for leading zeros is the same; names decide only where a
number is missing, since they change and are spelt in many ways. Images without tags (PNG, JPEG) are never doubted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

PATIENT_TAGS = ("PatientID", "PatientName", "PatientBirthDate")
SEVERAL_PATIENTS = "images of one study name several patients"  # begins the hint that names the files


def is_other_patient(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Do the tags of two images contradict each other about the patient? What is absent contradicts nothing."""
    ids, names, births = ([_folded(tags.get(keyword, "")) for tags in (one, other)] for keyword in PATIENT_TAGS)
    births = [birth if re.fullmatch(r"\d{8}", birth) else "" for birth in births]  # anything else is no date
    if (all(ids) and ids[0] != ids[1]) or (all(births) and births[0] != births[1]):
        return True
    return not all(ids) and all(names) and names[0] != names[1]


def first_of_two_patients(tags: Sequence[Mapping[str, str]]) -> tuple[int, int] | None:
    """The places of the first two images that are of different patients, None where all may be of one."""
    pairs = ((one, other) for other in range(len(tags)) for one in range(other))
    return next((pair for pair in pairs if is_other_patient(tags[pair[0]], tags[pair[1]])), None)


def several_patients(files: Iterable[str]) -> str:
    """The hint for a study of several patients, which names its files."""
    return f"{SEVERAL_PATIENTS}: {', '.join(files)}; correct the export"


def _folded(value: str) -> str:
    """The words of a value in capitals and in alphabetical order, numbers without leading zeros."""
    words = re.split(r"[\W_]+", value.upper())
    return " ".join(sorted(word.lstrip("0") or "0" for word in words if word))
