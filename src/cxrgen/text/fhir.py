"""Reports in FHIR's JSON: DiagnosticReport resources, alone, contained in a Bundle, or one a line.

The text is the presented form where one is text (plain, HTML, RTF), else the values of the observations that the report
names and its conclusion, else its narrative. Identifiers are those of the report, of the patient and of the imaging
study, persons are those of the patient and of who wrote it; resources that a reference names are looked for beside the
report (Bundle, `contained`).
"""

from __future__ import annotations

import base64
import binascii
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cxrgen.text.hl7 import WrittenReport, document_text
from cxrgen.text.private import BIRTH_DATE, ID, NAME, PHYSICIAN, PrivateValue

_WITHDRAWN = frozenset({"entered-in-error", "cancelled"})
_UID_SYSTEM = "urn:dicom:uid"
_ACCESSION = "ACSN"
_MOST_DEPTH = 20

Resource = Mapping[str, Any]
_Values = tuple[str, ...]


def fhir_reports(value: Any) -> Iterator[WrittenReport]:
    """The reports in a JSON value: a resource, a Bundle, or a list of either."""
    resources = list(_resources(value))
    by_reference = {_reference(each): each for each, _ in resources if each.get("id")}
    by_reference |= {url: each for each, url in resources if url}
    for resource, _ in resources:
        if resource.get("resourceType") == "DiagnosticReport" and resource.get("status") not in _WITHDRAWN:
            contained = {f"#{each.get('id')}": each for each in _objects(resource.get("contained"))}
            beside = ChainMap(contained, by_reference)
            if text := _text(resource, beside):
                uids, numbers, patients = _keys(resource, beside)
                private = _private(resource, beside)
                yield WrittenReport(text, uids, numbers, patients, _time(resource), private=private)


def is_fhir(value: Any) -> bool:
    """Whether a JSON value is, or begins with, a FHIR resource."""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, Mapping) and isinstance(first.get("resourceType"), str)


def _resources(value: Any, depth: int = 0, url: str = "") -> Iterator[tuple[Resource, str]]:
    """Each resource, and the address by which those of its Bundle may name it."""
    if depth > _MOST_DEPTH:
        return
    if isinstance(value, list):
        for item in value:
            yield from _resources(item, depth + 1)
    elif isinstance(value, Mapping):
        if value.get("resourceType") == "Bundle":
            for entry in _objects(value.get("entry")):
                yield from _resources(entry.get("resource"), depth + 1, str(entry.get("fullUrl") or ""))
        elif isinstance(value.get("resourceType"), str):
            yield value, url


def _objects(value: Any) -> list[Resource]:
    """The objects of a list, or the one object that stands for a list."""
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, Mapping)]


def _reference(resource: Resource) -> str:
    return f"{resource.get('resourceType')}/{resource.get('id')}"


def _named(reference: Resource, beside: Mapping[str, Resource]) -> Resource:
    """The resource that a reference names, {} where it is not there."""
    name = str(reference.get("reference") or "")
    return beside.get(name) or beside.get("/".join(name.split("/")[-2:])) or {}


def _keys(resource: Resource, beside: Mapping[str, Resource]) -> tuple[_Values, _Values, _Values]:
    """(study UIDs, accession and order numbers, patient numbers)."""
    studies = [*_objects(resource.get("imagingStudy")), *_objects(resource.get("study"))]
    orders = _objects(resource.get("basedOn"))
    identifiers = [
        *_objects(resource.get("identifier")),
        *(each for name in (*studies, *orders) for each in _objects(name.get("identifier"))),
        *(each for name in (*studies, *orders) for each in _objects(_named(name, beside).get("identifier"))),
    ]
    uids = [_bare(each) for each in identifiers if _is_uid(each)]
    numbers = sorted((each for each in identifiers if not _is_uid(each)), key=lambda each: not _is_accession(each))
    subject = next(iter(_objects(resource.get("subject"))), {})
    patient = [*_objects(subject.get("identifier")), *_objects(_named(subject, beside).get("identifier"))]
    names = [*map(_bare, patient), str(subject.get("reference") or "").split("/")[-1]]
    return _unique(uids), _unique(map(_bare, numbers)), _unique(names)


def _private(resource: Resource, beside: Mapping[str, Resource]) -> tuple[PrivateValue, ...]:
    """Names, numbers, date of birth and physicians, as the report and the resources that it names have them."""
    _, numbers, patients = _keys(resource, beside)
    values = [PrivateValue(ID, number) for number in (*numbers, *patients)]
    for reference in _objects(resource.get("subject")):
        values += [PrivateValue(NAME, name) for name in _names(reference, beside)]
        values.append(PrivateValue(BIRTH_DATE, str(_named(reference, beside).get("birthDate") or "")))
    for role in ("performer", "resultsInterpreter"):
        for reference in _objects(resource.get(role)):
            values += [PrivateValue(PHYSICIAN, name) for name in _names(reference, beside)]
    return tuple(dict.fromkeys(value for value in values if value.value.strip()))


def _names(reference: Resource, beside: Mapping[str, Resource]) -> Iterator[str]:
    """The names of the person that a reference names: those of the resource, and what the reference shows."""
    yield str(reference.get("display") or "")
    for name in _objects(_named(reference, beside).get("name")):
        given = name.get("given")
        parts = [name.get("family"), *(given if isinstance(given, list) else [given])]
        yield "^".join(part for part in parts if isinstance(part, str))
        yield str(name.get("text") or "")


def _unique(values: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def _bare(identifier: Resource) -> str:
    return str(identifier.get("value") or "").strip().removeprefix("urn:oid:")


def _is_uid(identifier: Resource) -> bool:
    value = str(identifier.get("value") or "")
    return identifier.get("system") == _UID_SYSTEM or value.startswith("urn:oid:")


def _is_accession(identifier: Resource) -> bool:
    type_ = next(iter(_objects(identifier.get("type"))), {})
    return any(coding.get("code") == _ACCESSION for coding in _objects(type_.get("coding")))


def _time(resource: Resource) -> str:
    return str(resource.get("issued") or resource.get("effectiveDateTime") or "")


def _text(resource: Resource, beside: Mapping[str, Resource]) -> str:
    for form in _objects(resource.get("presentedForm")):
        text = _attachment(form)
        if text.strip():
            return text
    lines = [line for name in _objects(resource.get("result")) for line in _observation(_named(name, beside))]
    conclusion = str(resource.get("conclusion") or "").strip()
    if conclusion and not any(line.strip() == conclusion for line in lines):
        lines += ["IMPRESSION:", conclusion]
    if lines:
        return "\n".join(lines)
    narrative = next(iter(_objects(resource.get("text"))), {})
    return str(narrative.get("div") or "")


def _attachment(form: Resource) -> str:
    """The text of an attachment, "" where it is a PDF or a picture, or is not there."""
    kind, *parameters = (part.strip().lower() for part in str(form.get("contentType") or "").split(";"))
    charset = next((each.removeprefix("charset=").strip('" ') for each in parameters if "charset=" in each), "")
    if not (kind.startswith("text/") or kind in ("application/rtf", "application/xhtml+xml", "")):
        return ""
    try:
        data = base64.b64decode(str(form.get("data") or ""), validate=False)
    except (binascii.Error, ValueError):
        return ""
    return document_text(data, charset)


def _observation(resource: Resource) -> Sequence[str]:
    """A header by the observation's name, and its value."""
    value = resource.get("valueString")
    code = next(iter(_objects(resource.get("code"))), {})
    displays = [str(coding.get("display") or "") for coding in _objects(code.get("coding"))]
    name = str(code.get("text") or next(iter(displays), "")).strip()
    if not isinstance(value, str) or not value.strip():
        return ()
    return (f"{name.upper()}:", value) if name else (value,)
