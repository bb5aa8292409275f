"""The layout of a report changes none of its labels: headers, bullets, lists, wrapped lines, capitals, line ends."""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrgen.text.rule_labels import label
from cxrgen.text.sentences import sentences

SENTENCES = (
    "There is no focal consolidation, pleural effusion or pneumothorax.",
    "Small left pleural effusion with adjacent atelectasis, unchanged.",
    "The endotracheal tube ends 4.5 cm above the carina.",
    "Right lower lobe opacity may represent pneumonia vs. aspiration.",
    "The heart is mildly enlarged.",
    "No evidence of pulmonary edema.",
    "Borderline heart size.",
    "The previously seen right pneumothorax has resolved.",
    "A 7 mm nodule projects over the left upper lobe.",
    "Healed rib fractures.",
    "Discussed with Dr. Doe by telephone at 5 p.m.",
    "PICC in the SVC.",
    "No fracture.",
    "Biapical pleural thickening cannot be excluded.",
)


def _lined(start: str, stop: bool = True, between: str = "\n") -> Callable[[list[str], list[str]], str]:
    def laid_out(findings: list[str], impression: list[str]) -> str:
        lines = [each if stop else each.rstrip(". ") for each in (*findings, *impression)]
        return between.join(start.format(number) + each for number, each in enumerate(lines, 1))

    return laid_out


def _wrapped(width: int, header: str = "") -> Callable[[list[str], list[str]], str]:
    def laid_out(findings: list[str], impression: list[str]) -> str:
        sections = zip(("FINDINGS:  ", "IMPRESSION:  ") if header else ("", ""), (findings, impression))
        return "\n \n".join(textwrap.fill(name + " ".join(each), width) for name, each in sections)

    return laid_out


def _headed(first: str, second: str) -> Callable[[list[str], list[str]], str]:
    return lambda findings, impression: f"{first}{' '.join(findings)}{second}{' '.join(impression)}"


plain = _headed("", "\n\n")
LAYOUTS: dict[str, Callable[[list[str], list[str]], str]] = {
    "headers in their lines": _headed("FINDINGS: ", "\n\nIMPRESSION: "),
    "headers in one line": _headed("FINDINGS: ", " IMPRESSION: "),
    "headers of their own lines": _headed("Findings:\n", "\nImpression:\n"),
    "bullets": _lined("- "),
    "stars": _lined("* "),
    "dots without stops": _lined("• ", stop=False),
    "numbers": _lined("{}. "),
    "numbers without stops": _lined("{}) ", stop=False),
    "numbers in one line": _lined("{}. ", between=" "),
    "one finding a line": _lined(""),
    "one finding a line without stops": _lined("", stop=False),
    "blank lines": _lined("", between="\n\n"),
    "upper case": lambda findings, impression: plain(findings, impression).upper(),
    "CRLF": lambda findings, impression: _wrapped(70)(findings, impression).replace("\n", "\r\n"),
    "wrapped": _wrapped(60),
    "wrapped as MIMIC's": _wrapped(78, "header"),
    "wrapped upper case": lambda findings, impression: _wrapped(72)(findings, impression).upper(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=8), st.integers(0, 8))
def test_layouts_of_made_up_reports(layout: str, chosen: list[str], impression_from: int) -> None:
    findings, impression = chosen[:impression_from], chosen[impression_from:]
    assert label(LAYOUTS[layout](findings, impression)) == label(plain(findings, impression))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_real_reports(layout: str, shared: Path) -> None:
    """Every text of the collection: not one label changes."""
    with open(shared / "data" / "openi_reports" / "reports.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    changed = []
    for row in rows:
        parts = [sentences(row[name]) for name in ("findings", "impression")]
        if label(LAYOUTS[layout](*parts)) != label(f"{row['findings']}\n\n{row['impression']}"):
            changed.append(row["id"])
    assert len(rows) == 1000
    assert changed == []


@pytest.mark.parametrize(
    "report",
    [
        "There is no\npleural effusion or\r\npneumothorax.",
        "THERE IS NO FOCAL CONSOLIDATION, NO PLEURAL EFFUSION AND NO OTHER\nSIGN OF PNEUMOTHORAX. THE LUNGS ARE CLEAR.",
        "No evidence of a right-\nsided pneumothorax or effusion.",
        "No pneumothorax or\n\npleural effusion.",
    ],
)
def test_a_wrapped_line_goes_on(report: str) -> None:
    assert set(label(report).values()) - {1} == {0}
    assert label(report) == label(" ".join(report.replace("-\n", "-").split()))


@pytest.mark.parametrize(
    "report",
    [
        "No pneumothorax\nSmall left effusion",
        "No pneumothorax\nsmall left effusion",
        "NO PNEUMOTHORAX\nSMALL LEFT EFFUSION",
        "no pneumothorax\nsmall effusion",
        "No pneumothorax\nlarge left effusion that layers along the whole chest wall",
        "- No pneumothorax on the left\n- Small effusion",
    ],
)
def test_a_line_of_a_list_does_not(report: str) -> None:
    assert label(report) == {"Pneumothorax": 0, "Pleural Effusion": 1}
