"""Columns of tables, and DICOM tags, whose values are a person's: by them texts are cleaned in sets with pseudonyms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cxrgen.core.tables import letters_of
from cxrgen.text.private import BIRTH_DATE, ID, NAME, PHYSICIAN, PrivateValue

PRIVATE_TAGS = {
    "PatientName": NAME, "OtherPatientNames": NAME, "PatientBirthName": NAME, "PatientMotherBirthName": NAME,
    "PatientID": ID, "OtherPatientIDs": ID, "AccessionNumber": ID, "StudyID": ID, "AdmissionID": ID,
    "RequestedProcedureID": ID, "FillerOrderNumberImagingServiceRequest": ID, "PatientBirthDate": BIRTH_DATE,
    "ReferringPhysicianName": PHYSICIAN, "PerformingPhysicianName": PHYSICIAN, "RequestingPhysician": PHYSICIAN,
    "NameOfPhysiciansReadingStudy": PHYSICIAN, "PhysiciansOfRecord": PHYSICIAN, "OperatorsName": PHYSICIAN,
    "ConsultingPhysicianName": PHYSICIAN,
}  # fmt: skip
_COLUMNS = {
    NAME: """name patientname lastname surname familyname firstname givenname middlename fullname patientlastname
        patientfirstname vorname nachname patientenname nombre apellido apellidos nom prenom""",
    ID: """mrn patientid patientnumber patientno medicalrecordnumber medicalrecordno accession accessionnumber
        accessionno accno examno examnumber examid ordernumber orderno caseno casenumber visitnumber encounterid ssn
        studyid nhc insurancenumber patientennummer fallnummer""",
    BIRTH_DATE: "dob birthdate dateofbirth patientbirthdate patientdob birthday geburtsdatum fechanacimiento",
    PHYSICIAN: """physician referringphysician performingphysician requestingphysician orderingphysician radiologist
        doctor readby readingphysician reportedby signedby dictatedby attending attendingphysician resident operator
        technologist referringdoctor arzt befunder zuweiser medico""",
}
_KIND_OF = {word: kind for kind, words in _COLUMNS.items() for word in words.split()}


def private_columns(columns: Iterable[str]) -> dict[str, str]:
    """Column -> kind of the private values that it holds, by its name."""
    return {column: _KIND_OF[letters_of(column)] for column in columns if letters_of(column) in _KIND_OF}


def private_values(cells: Mapping[str, Any], columns: Mapping[str, str]) -> tuple[PrivateValue, ...]:
    """The private values of a row."""
    values = {PrivateValue(kind, str(cells.get(column) or "").strip()): None for column, kind in columns.items()}
    return tuple(value for value in values if value.value)


def private_tags(tags: Mapping[str, str]) -> tuple[PrivateValue, ...]:
    """The private values of an image's tags; of several names in one tag each on its own."""
    return tuple(
        PrivateValue(kind, value.strip())
        for keyword, kind in PRIVATE_TAGS.items()
        for value in tags.get(keyword, "").split("\\")
        if value.strip()
    )
