"""What other programs leave in texts comes out as the text that was meant, or stays as it is."""

from __future__ import annotations

import pytest

from cxrgen.text.marks import without_marks
from cxrgen.text.sections import split_sections

MEANT = "FINDINGS: Heart normal.\nIMPRESSION: Clear."


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("FIND\u200bINGS: Heart nor\u00admal.\nIMPRESSION:\ufeff Clear.", "invisible"),
        ("FINDINGS: Heart\x07 \x1b[31mnormal\x1b[0m.\nIMPRESSION: Clear.\x00", "invisible"),
        ("b'FINDINGS: Heart normal.\\nIMPRESSION: Clear.'", "bytes"),
        (' b"FINDINGS: Heart normal.\\r\\nIMPRESSION: Clear."', "bytes"),
        ("OBX|1|TX|F||FINDINGS: Heart normal.~IMPRESSION: Clear.|||", "hl7-message"),
        (
            "MSH|^~\\&|RIS\rPID|1||7||Mustermann^Max\rOBR|1\r"
            "OBX|1|TX|F||FINDINGS: Heart normal.\rOBX|2|TX|F||IMPRESSION: Clear.",
            "hl7-message",
        ),
    ],
)
def test_the_text_that_was_meant(text: str, kind: str) -> None:
    plain, kinds = without_marks(text)
    assert (plain, kind in kinds) == (MEANT, True)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("Ã¶dem", "ödem"), ("patientâ€™s", "patient’s"), ("37 Â°C", "37 °C"), ("Ã‰tude", "Étude"), ("â‰¤ 5 mm", "≤ 5 mm")],
)
def test_letters_that_were_encoded_twice(text: str, meant: str) -> None:
    assert without_marks(text) == (meant, ("twice-encoded",))


@pytest.mark.parametrize(
    "text", ["CORAÇÃO", "Âge", "pâle", "MÃE", "B'FINDINGS", "patient's b", "PID: none", "a|b|c", "ödem"]
)
def test_what_only_looks_alike_stays(text: str) -> None:
    assert without_marks(text) == (text, ())


@pytest.mark.parametrize("pointer", ["See above.", "As above", "Please see the findings section.", "As stated above."])
@pytest.mark.parametrize("header", ["CONCLUSION", "IMPRESSION", "SUMMARY", "ASSESSMENT"])
def test_a_pointer_never_replaces_a_text(header: str, pointer: str) -> None:
    for text in (f"{MEANT}\n{header}: {pointer}", f"{header}: {pointer}\n{MEANT}"):
        assert split_sections(text, "tolerant")["impression"].strip() == "Clear."
