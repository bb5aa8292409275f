"""Reports in HL7 v2 messages (ORU^R01), as hospital systems send them.

A message is lines called segments, whose fields, components and repetitions are parted by the characters that its
first line (MSH) names. The report is the values of its OBX segments; which study it is of stands in PID (the patient),
in OBR, ORC and IPC (order and accession numbers) and in ZDS or an OBX (the study's UID). Escapes within values
(`\\.br\\`, `\\T\\`) are left to `text.marks`, which takes them out of texts from any source.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cxrgen.core.encodings import decoded, known_encoding
from cxrgen.core.errors import InputError
from cxrgen.text.private import BIRTH_DATE, ID, NAME, PHYSICIAN, PrivateValue

_FRAMES = re.compile(r"[\x0b\x1c]")  # of the transport
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")
_NULL = '""'  # a value that is to be emptied
_WITHDRAWN = frozenset("DXW")  # OBX-11 of a value that is deleted, impossible or wrong
_TEXTS = frozenset({"TX", "FT", "ST", "CE", "CWE", "ED", ""})
_UID = re.compile(r"[0-2](?:\.\d{1,20}){4,}")
_SECTIONS = {  # what OBX-3 says of its values -> the header that is written before them
    "FINDINGS": ("GDT", "59776-5", "FINDING", "FINDINGS", "BEFUND"),
    "IMPRESSION": ("IMP", "19005-8", "IMPRESSION", "CONCLUSION", "BEURTEILUNG"),
    "INDICATION": ("18785-6", "INDICATION", "REASON FOR STUDY"),
    "HISTORY": ("11329-0", "HISTORY", "CLINICAL HISTORY", "CLINICAL INFORMATION"),
    "COMPARISON": ("18834-2", "COMPARISON"),
    "TECHNIQUE": ("55111-9", "TECHNIQUE"),
    "ADDENDUM": ("ADT", "ADDENDUM"),
}
_HEADER_OF = {word: header for header, words in _SECTIONS.items() for word in words}


@dataclass(frozen=True)
class WrittenReport:
    """A report's text, and by what its study may be known: study UIDs, accession and order numbers, patient numbers."""

    text: str
    study_uids: tuple[str, ...] = ()
    accessions: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    time: str = ""  # of the report, sorts: a later one corrects an earlier one
    placers: tuple[str, ...] = ()  # numbers that a ward gave its order; some hospitals' accession numbers
    private: tuple[PrivateValue, ...] = ()  # what the message says of persons


def is_hl7(text: str) -> bool:
    """Whether a text starts as an HL7 message or a batch of them does."""
    return bool(re.match(r"[\s\x0b\ufeff]*(?:MSH|FHS|BHS)[|^~&]", text))


def hl7_reports(text: str) -> Iterator[WrittenReport]:
    """The reports of all messages, one for each order (OBR) that has text."""
    message: list[str] = []
    for line in [*re.split(r"[\r\n]+", _FRAMES.sub("", text).lstrip("\ufeff")), "MSH"]:
        if line.startswith("MSH"):
            if message:
                yield from _reports(message)
            message = [line]
        elif message and line.strip():
            if _SEGMENT.match(line) and line[3:4] == message[0][3:4]:
                message.append(line)
            else:  # a line end within a value, where an escape should be
                message[-1] += "\n" + line


def _reports(lines: Sequence[str]) -> Iterator[WrittenReport]:
    header = lines[0]
    if len(header) < 8:
        return
    message = _Message(header[3], header[4], header[5])
    segments = [message.fields(line) for line in lines]
    patients = tuple(
        dict.fromkeys(
            number
            for segment in segments
            if segment[0] == "PID"
            for place in (3, 2, 4)
            for number in message.numbers(segment, place)
        )
    )
    time = _field(message.fields(header), 6)  # MSH-7: the separator itself is the first field
    orders = _orders(segments)
    for order in orders:
        if text := _text(order, message):
            uids, accessions, placers = _keys(order, message)
            private = _private([*orders[0], *order], message)
            yield WrittenReport(text, uids, accessions, patients, time, placers, private)


def _orders(segments: Sequence[list[str]]) -> list[list[list[str]]]:
    """The segments of each order, which begins with its ORC where it has one, else with its OBR."""
    groups: list[list[list[str]]] = [[]]
    for segment in segments:
        if segment[0] in ("ORC", "OBR") and _has_order(groups[-1]):
            groups.append([])
        groups[-1].append(segment)
    orders = groups[:1]
    for group in groups[1:]:
        if _has_order(group):
            orders.append(group)
        else:  # an ORC behind its OBR
            orders[-1] += group
    return orders


def _has_order(segments: Sequence[Sequence[str]]) -> bool:
    return any(segment[0] == "OBR" for segment in segments)


@dataclass(frozen=True)
class _Message:
    """The separators of a message."""

    field: str
    component: str
    repetition: str

    def fields(self, line: str) -> list[str]:
        return line.split(self.field)

    def numbers(self, segment: Sequence[str], place: int) -> list[str]:
        """The first component of each repetition of a field."""
        values = (value.split(self.component)[0].strip() for value in _field(segment, place).split(self.repetition))
        return [value for value in values if value and value != _NULL]


def _field(segment: Sequence[str], place: int) -> str:
    return segment[place] if len(segment) > place else ""


def _keys(order: Sequence[Sequence[str]], message: _Message) -> tuple[tuple[str, ...], ...]:
    """(study UIDs, accession and filler's numbers, placer's numbers) of an order."""
    uids: list[str] = []
    numbers: list[str] = []
    placers: list[str] = []
    for segment in order:
        if segment[0] == "OBR":
            numbers += [number for place in (18, 3, 19, 20) for number in message.numbers(segment, place)]
            placers += message.numbers(segment, 2)
        elif segment[0] == "ORC":
            numbers += message.numbers(segment, 3)
            placers += message.numbers(segment, 2)
        elif segment[0] == "IPC":
            numbers += message.numbers(segment, 1)
            uids += message.numbers(segment, 3)
        elif segment[0] == "ZDS":
            uids += message.numbers(segment, 1)
        elif segment[0] == "OBX" and ("113014" in _field(segment, 3) or "Study Instance UID" in _field(segment, 3)):
            uids += message.numbers(segment, 5)
    of_study = dict.fromkeys(uid for uid in uids if _UID.fullmatch(uid))
    return tuple(of_study), tuple(dict.fromkeys(numbers)), tuple(dict.fromkeys(placers))


_PERSONS = {  # segment -> field -> kind; of a name without its leading number
    "PID": {5: NAME, 6: NAME, 9: NAME, 3: ID, 2: ID, 18: ID, 19: ID, 7: BIRTH_DATE},
    "OBR": {3: ID, 18: ID, 16: PHYSICIAN, 28: PHYSICIAN, 32: PHYSICIAN, 33: PHYSICIAN, 34: PHYSICIAN, 35: PHYSICIAN},
    "ORC": {10: PHYSICIAN, 12: PHYSICIAN},
    "PV1": {7: PHYSICIAN, 8: PHYSICIAN, 9: PHYSICIAN, 17: PHYSICIAN, 19: ID},
}


def _private(segments: Sequence[Sequence[str]], message: _Message) -> tuple[PrivateValue, ...]:
    """Names, numbers, date of birth and physicians of a message."""
    values: dict[PrivateValue, None] = {}
    for segment in segments:
        for place, kind in _PERSONS.get(segment[0], {}).items():
            for value in _field(segment, place).split(message.repetition):
                parts = re.split(rf"[{re.escape(message.component)}&]", value)
                words = [part for part in parts[:4] if not any(letter.isdigit() for letter in part)]
                text = "^".join(words) if kind in (NAME, PHYSICIAN) else parts[0]
                if text.strip("^ "):
                    values[PrivateValue(kind, text[:8] if kind == BIRTH_DATE else text)] = None
    return tuple(values)


def _text(order: Sequence[Sequence[str]], message: _Message) -> str:
    """The values of the order's OBX segments in their order, with headers where their codes name sections."""
    lines: list[str] = []
    current = ""
    for segment in order:
        if segment[0] != "OBX" or _field(segment, 2) not in _TEXTS or _field(segment, 11).strip() in _WITHDRAWN:
            continue
        value = _value(segment, message)
        if value.strip() in ("", _NULL) or _UID.fullmatch(value.strip()):
            continue
        header = _header(_field(segment, 3), message.component)
        if header and header != current and not value.lstrip().upper().startswith(header):
            lines.append(f"{header}:")
        current = header or current
        lines.append(value)
    return "\n".join(lines)


def _value(segment: Sequence[str], message: _Message) -> str:
    """A value as text: repetitions are lines, an embedded document is unpacked where it is text of any kind."""
    value = _field(segment, 5)
    if _field(segment, 2) != "ED":
        parts = value.split(message.repetition)
        if _field(segment, 2) in ("CE", "CWE"):  # code, then text
            parts = [([*part.split(message.component), ""][1] or part.split(message.component)[0]) for part in parts]
        return "\n".join(parts)
    components = value.split(message.component)
    if len(components) < 5 or components[3].upper() != "BASE64":
        return components[-1]
    try:
        data = base64.b64decode(components[4], validate=False)
    except (binascii.Error, ValueError):
        return ""
    return document_text(data)


def document_text(data: bytes, encoding: str = "") -> str:
    """An embedded document as text, in the encoding that is named or the likeliest; "" for a PDF or a picture."""
    named = encoding if encoding and known_encoding(encoding) else ""
    if data.startswith(b"%PDF") or (b"\0" in data and not named):
        return ""
    try:
        return decoded(data, "a document", named)[0]
    except InputError:
        return data.decode("utf-8", "replace")


def _header(code: str, component: str) -> str:
    """The section that OBX-3 names, by the part behind & (71020&IMP), a LOINC code or its words; "" for others."""
    words = [word.strip().upper() for part in code.split(component) for word in (part, *part.split("&")[1:])]
    return next((_HEADER_OF[word] for word in words if word in _HEADER_OF), "")
