"""Reports as hospital systems export them: HL7, FHIR, RTF, HTML and a RIS's CSV, joined to DICOM studies."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.sources.test_dicom import exported

from cxrgen.core.errors import InputError
from cxrgen.sources import Found, SourceOptions, detect_source
from cxrgen.sources.dicom import read
from cxrgen.sources.table import read as read_table
from cxrgen.sources.text_table import add_texts
from cxrgen.text.fhir import fhir_reports
from cxrgen.text.hl7 import hl7_reports

Write = Callable[..., Path]


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Three studies; the third is the only one of its patient."""
    folder = tmp_path / "export"
    exported(folder, "a/1.dcm", "PAT-1", "ACC-1")
    exported(folder, "b/2.dcm", "PAT-1", "ACC-2", date="20210101")
    exported(folder, "c/3.dcm", "PAT-2", "ACC-3")
    return folder


def findings(found: Found) -> list[str]:
    return [study.sections.get("findings", "") for study in found.studies]


def message(
    *values: str, accession: str = "", patient: str = "PAT-9", uid: str = "", time: str = "20200101", end: str = "\r"
) -> str:
    lines = [
        f"MSH|^~\\&|RIS|HOSP|PACS|HOSP|{time}||ORU^R01|1|P|2.3",
        f"PID|1||{patient}^^^HOSP^MR||Doe^Jane||19700101|F",
        f"OBR|1|PLACER|{accession}|71045^CHEST^CPT",
        *([f"ZDS|{uid}^RIS^Application^DICOM"] if uid else []),
        *(f"OBX|{number}|TX|71045{code}^CHEST||{value}||||||F" for number, (code, value) in enumerate(
            (value.split("=", 1) if value[:1] == "&" else ("", value) for value in values), 1)),
    ]  # fmt: skip
    return end.join([*lines, ""])


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_hl7_by_accession_number(export: Path, end: str) -> None:
    text = message(
        "&GDT=Synthetic lungs \\T\\ heart.~Second line.\\.br\\Third.", "&IMP=Clear.", accession="ACC-1", end=end
    )
    (export / "m.hl7").write_bytes(b"\x0b" + text.encode() + b"\x1c\r")
    found = read(export, SourceOptions())
    sections = found.studies[0].sections
    assert sections["findings"].split() == ["Synthetic", "lungs", "&", "heart.", "Second", "line.", "Third."]
    assert sections["impression"] == "Clear."
    assert findings(found)[1:] == ["", ""]
    assert "1 reports of messages are matched by accession number" in found.notes
    assert detect_source(export)[0] == "dicom"


def test_hl7_by_study_uid_and_by_the_patient_number(export: Path) -> None:
    (export / "uid.hl7").write_text(message("FINDINGS: By UID.", uid="1.2.3.2.5", accession="OTHER"))
    exported(export, "d/4.dcm", "PAT-4", "ACC-4", StudyInstanceUID="1.2.3.2.5")
    (export / "mrn.hl7").write_text(message("FINDINGS: By number.", patient="PAT-2"))
    found = {study.study_id: study.sections.get("findings", "") for study in read(export, SourceOptions()).studies}
    assert found == {"1.2.3.1": "", "1.2.3.2": "", "1.2.3.3": "By number.", "1.2.3.2.5": "By UID."}


def test_the_patients_number_never_gives_a_report_of_another_examination(export: Path) -> None:
    texts = message("FINDINGS: Chest.", accession="ACC-1", patient="PAT-1")
    texts += message("FINDINGS: Hand.", accession="ACC-77", patient="PAT-2")
    texts += message("FINDINGS: Which of two?", patient="PAT-1")
    (export / "all.hl7").write_text(texts)
    assert findings(read(export, SourceOptions())) == ["Chest.", "", ""]


def test_a_later_message_corrects_an_earlier_one_and_withdrawn_values_are_left_out(export: Path) -> None:
    texts = message("FINDINGS: Corrected.", accession="ACC-1", time="20200103")
    texts += message("FINDINGS: First.", accession="ACC-1", time="20200102")
    texts += message("FINDINGS: Wrong.", accession="ACC-2").replace("||||||F", "||||||W")
    (export / "all.hl7").write_text(texts)
    assert findings(read(export, SourceOptions())) == ["Corrected.", "", ""]


def test_what_a_message_says_of_persons_is_known(export: Path) -> None:
    text = message("FINDINGS: Seen by Ann Reader.", accession="ACC-1")
    text = text.replace("CHEST^CPT", "CHEST^CPT" + "|" * 28 + "77&Reader&Ann")
    (export / "m.hl7").write_text(text)
    values = {(value.kind, value.value) for value in read(export, SourceOptions()).private["1.2.3.1"]}
    assert {
        ("physician", "Reader^Ann"),
        ("name", "Doe^Jane"),
        ("birth date", "19700101"),
        ("number", "PAT-9"),
    } <= values
    assert {("number", "PAT-1"), ("number", "ACC-1")} <= values, "and what the tags say"


@pytest.mark.parametrize("end", ["\r", "\n"])
def test_a_line_end_within_a_value_stays_text(end: str) -> None:
    """Where a system wrote one in place of the escape; a line of three capitals is no segment by itself."""
    lines = message("FINDINGS: Clear.\n\nCXR\nIMPRESSION: Normal.", accession="ACC-1").replace("\r", end)
    reports = list(hl7_reports(lines + message("FINDINGS: Other.", accession="ACC-2")))
    assert [report.text for report in reports] == [
        "FINDINGS: Clear.\nCXR\nIMPRESSION: Normal.", "FINDINGS: Other."
    ]  # fmt: skip
    assert [report.accessions for report in reports] == [("ACC-1",), ("ACC-2",)]


def test_an_order_begins_with_its_orc() -> None:
    """Else the number of the second order would bring the first one's text to another study."""
    head, *_ = message("x").split("\r")
    one, two = ([f"ORC|RE|P{n}|F{n}", f"OBR|1|P{n}|A{n}", f"OBX|1|TX|1||FINDINGS: {n}.||||||F"] for n in (1, 2))
    of_both = [report.accessions for report in hl7_reports("\r".join([head, *one, *two]))]
    assert of_both == [("F1", "A1"), ("F2", "A2")]
    behind = [one[1], one[0], one[2]]
    assert [report.accessions for report in hl7_reports("\r".join([head, *behind]))] == [("A1", "F1")]


def test_an_emptied_value_is_no_text() -> None:
    assert [report.text for report in hl7_reports(message('""', "FINDINGS: Clear."))] == ["FINDINGS: Clear."]
    assert list(hl7_reports(message('""'))) == []


def test_an_embedded_document_is_read_where_it_is_text() -> None:
    data = base64.b64encode(b"{\\rtf1 FINDINGS: Clear.}").decode()
    lines = message("x", accession="A").replace("|TX|71045^CHEST||x|", f"|ED|R||RIS^text^RTF^Base64^{data}|")
    assert [report.text for report in hl7_reports(lines)] == ["{\\rtf1 FINDINGS: Clear.}"]
    western = base64.b64encode("FINDINGS: Größe normal.".encode("cp1252")).decode()
    assert [report.text for report in hl7_reports(lines.replace(data, western))] == ["FINDINGS: Größe normal."]
    pdf = base64.b64encode(b"%PDF-1.4").decode()
    assert list(hl7_reports(lines.replace(data, pdf))) == []


def report_of(number: int, text: str = "", **more: Any) -> dict[str, Any]:
    form = {"contentType": "text/plain", "data": base64.b64encode(text.encode()).decode()}
    identifier = {"type": {"coding": [{"code": "ACSN"}]}, "value": f"ACC-{number}"}
    return {
        "resourceType": "DiagnosticReport", "id": f"r{number}", "status": "final", "identifier": [identifier],
        **({"presentedForm": [form]} if text else {}), **more,
    }  # fmt: skip


def test_fhir_by_accession_uid_and_patient(export: Path) -> None:
    observation = {
        "resourceType": "Observation",
        "id": "o",
        "code": {"text": "Findings"},
        "valueString": "Large heart.",
    }
    study = {
        "resourceType": "ImagingStudy", "id": "s",
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3.2"}],
    }  # fmt: skip
    by_uid = report_of(
        77, imagingStudy=[{"reference": "ImagingStudy/s"}], result=[{"reference": "#o"}], contained=[observation],
        conclusion="Unchanged.",
    )  # fmt: skip
    by_patient = report_of(0, "FINDINGS: By patient.", identifier=[], subject={"identifier": {"value": "PAT-2"}})
    withdrawn = report_of(3, "FINDINGS: Withdrawn.", status="entered-in-error")
    bundle = {
        "resourceType": "Bundle",
        "entry": [
            {"resource": each} for each in (report_of(1, "FINDINGS: Clear."), study, by_uid, by_patient, withdrawn)
        ],
    }
    (export / "bundle.json").write_text(json.dumps(bundle))
    found = read(export, SourceOptions())
    assert findings(found) == ["Clear.", "Large heart.", "By patient."]
    assert found.studies[1].sections["impression"] == "Unchanged."


def test_what_fhir_says_of_persons_is_known(export: Path) -> None:
    patient = {
        "resourceType": "Patient", "id": "p", "identifier": [{"value": "MRN-77"}], "birthDate": "1957-03-12",
        "name": [{"family": "Nowak", "given": ["Ewa", "Maria"]}, {"text": "Ewa Kowalska"}],
    }  # fmt: skip
    doctor = {"resourceType": "Practitioner", "id": "d", "name": [{"family": "Reader", "given": "Ann"}]}
    report = report_of(
        1, "FINDINGS: Clear.", subject={"reference": "Patient/p"}, contained=[doctor],
        resultsInterpreter=[{"reference": "#d"}, {"display": "Dr. Second"}], performer=[None, "odd"],
    )  # fmt: skip
    bundle = {"resourceType": "Bundle", "entry": [{"resource": patient}, {"resource": report}]}
    (export / "bundle.json").write_text(json.dumps(bundle))
    values = {(value.kind, value.value) for value in read(export, SourceOptions()).private["1.2.3.1"]}
    assert {
        ("name", "Nowak^Ewa^Maria"), ("name", "Ewa Kowalska"), ("number", "MRN-77"), ("birth date", "1957-03-12"),
        ("physician", "Reader^Ann"), ("physician", "Dr. Second"), ("number", "ACC-1"),
    } <= values  # fmt: skip


def test_fhir_by_the_addresses_of_a_bundle() -> None:
    """As a server without ids of its own writes them; a form in another character set beside it."""
    observation = {"resourceType": "Observation", "code": {"text": "Findings"}, "valueString": "Clear."}
    form = {
        "contentType": 'text/plain; charset="iso-8859-5"',
        "data": base64.b64encode("FINDINGS: Норма.".encode("iso-8859-5")).decode(),
    }
    bundle = {
        "resourceType": "Bundle",
        "entry": [
            {"fullUrl": "urn:uuid:1", "resource": observation},
            {"fullUrl": "urn:uuid:2", "resource": report_of(1, result=[{"reference": "urn:uuid:1"}])},
            {"fullUrl": "urn:uuid:3", "resource": report_of(2, presentedForm=[form])},
        ],
    }
    assert [report.text for report in fhir_reports(bundle)] == ["FINDINGS:\nClear.", "FINDINGS: Норма."]


def test_fhir_one_a_line_and_narratives(export: Path) -> None:
    narrative = {**report_of(2), "text": {"div": "<div><p>FINDINGS: In <b>HTML</b>.</p></div>"}}
    lines = [report_of(1, "<p>FINDINGS: Form.</p>"), narrative]
    (export / "reports.ndjson").write_text("\n".join(map(json.dumps, lines)))
    (export / "other.json").write_text('{"no": "resource"}')
    assert findings(read(export, SourceOptions())) == ["Form.", "In HTML.", ""]


def test_rtf_and_html_files_named_after_studies(export: Path) -> None:
    (export / "ACC-1.rtf").write_text(r"{\rtf1\ansi FINDINGS: \b Clear\b0 .\par IMPRESSION: Normal.\par}")
    (export / "ACC-2.html").write_text("<html><body><h3>FINDINGS:</h3><p>Large heart.</p></body></html>")
    found = read(export, SourceOptions())
    assert findings(found) == ["Clear.", "Large heart.", ""]
    assert "2 texts are named by accession number" in found.notes


def test_one_csv_of_a_ris_with_its_own_headers(export: Path, write_table: Write) -> None:
    columns = ("Exam No.", "Sex/Gender", "Findings/Impression")
    rows = [("ACC-1", "F", "FINDINGS: Clear."), ("ACC-3", "M", "FINDINGS: Large heart.")]
    write_table(export / "ris.csv", columns, rows)
    found = read(export, SourceOptions())
    assert findings(found) == ["Clear.", "", "Large heart."]


def test_messages_elsewhere_serve_any_source(export: Path, tmp_path: Path, write_table: Write) -> None:
    messages = tmp_path / "m.hl7"
    messages.write_text(message("FINDINGS: Clear.", accession="ACC-1"))
    found = read(export, SourceOptions(text_file=messages))
    assert findings(found) == ["Clear.", "", ""]
    assert found.files == (messages,)
    rows = [("ACC-1", "P1", "a.png"), ("ACC-2", "P2", "b.png")]
    table = write_table(tmp_path / "t.csv", ("accession", "patient_id", "image"), rows)
    options = SourceOptions(text_file=messages)
    assert findings(add_texts(read_table(table, options), messages, options)) == ["Clear.", ""]
    messages.write_text(message("FINDINGS: Clear.", accession="ACC-9"))
    with pytest.raises(InputError, match="none of its 1 reports"):
        add_texts(read_table(table, options), messages, options)


def test_a_damaged_file_of_messages_is_a_reject(export: Path) -> None:
    (export / "bad.json").write_text('{"resourceType": "DiagnosticReport", ')
    (export / "none.hl7").write_text("no message")
    found = read(export, SourceOptions())
    assert [(reject.row, reject.code) for reject in found.rejects] == [("bad.json", "text-unreadable")]
    assert "1 files are called like HL7 messages and hold no report" in found.notes
