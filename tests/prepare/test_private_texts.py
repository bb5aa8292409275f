"""A thousand planted identifiers in two hundred reports: how many leave the texts, and how many other words do."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.text.planted import Planted, planted_reports

from cxrgen.core.records import Study, read_studies
from cxrgen.text.private import BIRTH_DATE, ID, NAME, PrivateValue, common_words, without_private

Prepare = Callable[..., tuple[int, str]]
Write = Callable[..., Path]
WORDS = ("White", "Small", "Young", "Brown", "Hart")
COLUMNS = ("study_id", "patient_name", "mrn", "accession_no", "dob", "referring_physician", "report")


@pytest.fixture
def planted(tmp_path: Path, write_table: Write) -> tuple[Path, list[Planted]]:
    reports = planted_reports()
    rows = [(f"study{number:04}", *each.header.values(), each.text) for number, each in enumerate(reports)]
    return write_table(tmp_path / "ris.csv", COLUMNS, rows), reports


def is_left(value: str, text: str) -> bool:
    """Whether a value, or any part of a name that is no word of the reports, still stands in a text."""
    parts = [part for part in re.split(r"[ ,]+", value) if part.isalpha() and len(part) > 3 and part not in WORDS]
    return value.lower() in text.lower() or any(re.search(rf"\b{part}\b", text, re.IGNORECASE) for part in parts)


def test_planted_identifiers_leave_the_texts(
    planted: tuple[Path, list[Planted]], tmp_path: Path, prepare: Prepare
) -> None:
    table, reports = planted
    code, said = prepare(table, "--out", tmp_path / "p", "--pseudonyms", tmp_path / "key")
    assert code == 0, said
    studies = sorted(read_studies(tmp_path / "p"), key=lambda study: study.study_id)
    texts = by_own_words(studies, reports)
    assert sum(len(each.of_header) + len(each.of_rules) for each in reports) == 1000
    left_of_header = [value for each, text in zip(reports, texts) for value in each.of_header if is_left(value, text)]
    left_of_rules = [value for each, text in zip(reports, texts) for value in each.of_rules if is_left(value, text)]
    assert len(left_of_header) <= 0.01 * 600, left_of_header
    assert len(left_of_rules) <= 0.05 * 400, left_of_rules
    lost = [word for each, text in zip(reports, texts) for word in missing(each.own, text)]
    assert len(lost) < 0.005 * sum(len(each.own) for each in reports), Counter(lost).most_common(20)
    assert re.search(r"removed from texts, now ___: .*birth date \d+.*date \d+.*name \d+.*number \d+", said)
    card = json.loads((tmp_path / "p" / "card.json").read_text())
    assert any(note.startswith("removed from texts") for note in card["notes"])
    assert "anonym" not in (said + (tmp_path / "p" / "card.html").read_text()).lower()


def by_own_words(studies: list[Study], reports: list[Planted]) -> list[str]:
    """The stored text of each report; ids are hashed, so texts are known by their own words."""
    texts = [study.report or "" for study in studies]
    found = []
    for each in reports:
        own = Counter(each.own)
        found.append(min(texts, key=lambda text: sum((own - Counter(text.split())).values())))
    assert len(set(found)) == len(reports)
    return found


def missing(own: list[str], text: str) -> list[str]:
    """Words of the report itself that are no longer there, whatever stands beside them."""

    def words(pieces: list[str]) -> Counter[str]:
        return Counter(word for piece in pieces for word in re.findall(r"[\w'-]+", piece) if word.strip("_"))

    return list((words(own) - words(text.split())).elements())


def test_sections_about_the_person_are_stored_only_when_asked_for(
    tmp_path: Path, write_table: Write, prepare: Prepare
) -> None:
    text = "HISTORY: Cough of Jane Doe. FINDINGS: Synthetic lungs {} are clear."
    rows = [(f"S{number}", "Doe^Jane", text.format(number)) for number in range(10)]
    table = write_table(tmp_path / "t.csv", ("study_id", "patient_name", "report"), rows)
    code, said = prepare(table, "--out", tmp_path / "p", "--pseudonyms", tmp_path / "key")
    assert code == 0, said
    assert "sections not stored (--keep-sections): history 10" in said
    assert all("history" not in study.sections for study in read_studies(tmp_path / "p"))
    words = ("--pseudonyms", tmp_path / "key", "--keep-sections", "history")
    assert prepare(table, "--out", tmp_path / "q", *words)[0] == 0
    assert {study.sections["history"] for study in read_studies(tmp_path / "q")} == {"Cough of ___."}
    assert prepare(table, "--out", tmp_path / "r")[0] == 0
    assert all("Jane Doe" in study.sections["history"] for study in read_studies(tmp_path / "r")), "only when asked for"


CASES = [
    ("Small effusion in John Small.", [PrivateValue(NAME, "Small^John")], "Small effusion in ___."),
    ("Mr. Small has a small effusion.", [PrivateValue(NAME, "Small^John")], "Mr. ___ has a small effusion."),
    ("DOE, JANE: clear.", [PrivateValue(NAME, "Doe^Jane^M")], "___: clear."),
    ("Compared with acc 0012345.", [PrivateValue(ID, "12345")], "Compared with acc ___."),
    ("5 x 12 mm nodule at 12 cm.", [PrivateValue(ID, "12")], "5 x 12 mm nodule at 12 cm."),
    ("Born on 10 Jan 1950.", [PrivateValue(BIRTH_DATE, "19500110")], "Born on ___."),
    ("Born 10JAN1950.", [PrivateValue(BIRTH_DATE, "19500110")], "Born ___."),
    ("Frau Müller: unverändert.", [PrivateValue(NAME, "MUELLER^ANNA")], "Frau ___: unverändert."),
    ("MUELLER and Muller: clear.", [PrivateValue(NAME, "Müller^Anna")], "___ and ___: clear."),
    ("Jose Garcia: no change.", [PrivateValue(NAME, "GARCÍA^JOSÉ")], "___: no change."),
    (
        "Søren Weiß; Seán; Wałęsa.",
        [PrivateValue(NAME, n) for n in ("Soeren^Weiss", "Sean", "WALESA")],
        "___; ___; ___.",
    ),
    ("A muller is a tool.", [PrivateValue(NAME, "Miller^Ann")], "A muller is a tool."),
    ("Unchanged since 3/10/2009 at 0951.", [], "Unchanged since ___."),
    (
        "Ribs 4/5, grade 1/2, T12-L1, 3.5 cm, 2-3 mm.",
        [],
        "Ribs 4/5, grade 1/2, T12-L1, 3.5 cm, 2-3 mm.",
    ),
    ("Signed by: Erika Mustermann, MD", [], "Signed by: ___, MD"),
    ("Discussed with Dr. J. van der Berg at 14:35.", [], "Discussed with Dr. ___."),
]


@pytest.mark.parametrize(("text", "values", "wanted"), CASES)
def test_single_texts(text: str, values: list[PrivateValue], wanted: str) -> None:
    common = common_words(["small", "small", "small"])
    assert without_private(text, values, common)[0] == wanted


def test_a_header_of_dicom_cleans_the_texts(tmp_path: Path, prepare: Prepare) -> None:
    from tests.sources.test_dicom import exported

    for number in range(4):
        exported(
            tmp_path / "in", f"{number}/a.dcm", f"PAT-77{number}", f"ACC-55{number}",
            StudyInstanceUID=f"1.2.3.{number}", ReferringPhysicianName="Roe^Richard", PatientName="Doe^Jane",
        )  # fmt: skip
        text = f"FINDINGS: Synthetic lungs {number} of Jane Doe (PAT-77{number}, ACC-55{number}, 1/1/1970)"
        text += ", for Richard Roe."
        (tmp_path / "in" / f"{number}" / "report.txt").write_text(text)
    code, said = prepare(
        tmp_path / "in", "--out", tmp_path / "p", "--pseudonyms", tmp_path / "key", "--on-leak", "drop"
    )
    assert code in (0, 3), said  # the pictures are all the same
    for study in read_studies(tmp_path / "p"):
        assert re.fullmatch(r"Synthetic lungs \d of ___ \(___\), for ___\.", study.report or ""), study.report
