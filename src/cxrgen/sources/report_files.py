"""Files in which hospital systems hand over reports: HL7 v2 messages and FHIR's JSON, which say whose they are; and
texts (plain, RTF, HTML), which are named after a study.

A message is joined by study UID, else by accession or order number, else by the patient's number. The last is the
weakest: it is used only for a patient with one study and one report, and where no message of the export names a study
in the set, or this one names none; else the report of a hand could become that of a chest.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxrgen.core.errors import InputError, RejectError
from cxrgen.core.records import Reject
from cxrgen.core.tables import read_json
from cxrgen.sources.texts import read_text
from cxrgen.text.fhir import fhir_reports, is_fhir
from cxrgen.text.hl7 import WrittenReport, hl7_reports, is_hl7

NAMED_TEXTS = (".txt", ".rtf", ".html", ".htm")  # named after their study
MESSAGES = (".hl7", ".oru", ".json", ".ndjson")
TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_LARGEST = 1 << 28  # bytes of a file of messages

Owners = Mapping[str, Mapping[str, str]]  # kind of key -> value -> study


def is_table(path: Path) -> bool:
    """Whether a path is called like a table; anything else holds texts or messages."""
    return path.name.lower().endswith(TABLES)


def read_reports(file: Path, encoding: str = "") -> list[WrittenReport]:
    """The reports of a file; [] for JSON that is no FHIR, and for texts that are no HL7.

    Raises RejectError for a file that cannot be read.
    """
    try:
        if file.suffix.lower() in (".json", ".ndjson"):
            value = read_json(file, encoding, "the file")
            return list(fhir_reports(value)) if is_fhir(value) else []
        with open(file, "rb") as opened:
            if not is_hl7(opened.read(64).decode("utf-8", "ignore")):
                return []
            opened.seek(0)
            return list(hl7_reports(read_text(opened, encoding, _LARGEST)))
    except (InputError, OSError, ValueError, json.JSONDecodeError) as error:
        raise RejectError("text-unreadable", f"its messages cannot be read ({type(error).__name__})") from None


def messages_of(
    files: Sequence[Path], encoding: str, notes: list[str], rejects: list[Reject]
) -> tuple[list[WrittenReport], set[Path]]:
    """(reports of all messages among the files, files that held some). What cannot be read is a reject."""
    reports: list[WrittenReport] = []
    with_messages = set()
    empty = 0
    for file in files:
        if file.suffix.lower() in (*MESSAGES, ".txt"):
            try:
                found = read_reports(file, encoding)
            except RejectError as error:
                if file.suffix.lower() != ".txt":  # a text is read, and refused, as a text
                    rejects.append(Reject(file.name, "", error.code, error.hint))
                continue
            if found:
                with_messages.add(file)
                reports += found
            empty += not found and file.suffix.lower() in (".hl7", ".oru")
    notes += [f"{empty} files are called like HL7 messages and hold no report"] if empty else []
    return reports, with_messages


def match_reports(reports: Sequence[WrittenReport], owners: Owners) -> tuple[dict[str, WrittenReport], list[str]]:
    """Study -> its report, the latest of several; and remarks on how they were matched."""
    matched: dict[str, tuple[str, WrittenReport]] = {}
    rest: list[WrittenReport] = []
    for report in sorted(reports, key=lambda report: report.time):
        kind, study = _by_study(report, owners)
        if study:
            matched[study] = (kind, report)
        else:
            rest.append(report)
    by_number_alone = [report for report in rest if not matched or not (report.study_uids or report.accessions)]
    for study, report in _by_patient(by_number_alone, owners).items():
        matched.setdefault(study, ("patient ID", report))
    counts = Counter(kind for kind, _ in matched.values())
    notes = [f"{count} reports of messages are matched by {kind}" for kind, count in counts.items()]
    unused = len(reports) - len(matched)
    notes += [f"{unused} reports of messages belong to no study, or were corrected by later ones"] if unused > 0 else []
    return {study: report for study, (_, report) in matched.items()}, notes


def _by_study(report: WrittenReport, owners: Owners) -> tuple[str, str]:
    for kind, values in (
        ("study UID", report.study_uids),
        ("accession number", report.accessions + report.placers),
        ("study ID", report.accessions),
    ):
        for value in values:
            if value in owners[kind]:
                return kind, owners[kind][value]
    return "", ""


def _by_patient(reports: Sequence[WrittenReport], owners: Owners) -> dict[str, WrittenReport]:
    """Study -> the one report of its patient."""
    of_study: defaultdict[str, list[WrittenReport]] = defaultdict(list)
    for report in reports:
        studies = {owners["patient ID"][number] for number in report.patients if number in owners["patient ID"]}
        if len(studies) == 1:
            of_study[studies.pop()].append(report)
    return {study: found[0] for study, found in of_study.items() if len({report.text for report in found}) == 1}
