from __future__ import annotations

import json

import pytest

from cxrgen.cli import main
from cxrgen.evaluate.self_test import CASES, KINDS, as_text, noticed


def test_each_score_notices_what_it_was_made_for() -> None:
    found = noticed(["bleu", "rouge", "flips", "rule"])
    assert KINDS == ("negation", "side", "severity", "device")
    assert all(count == 0 for name in ("bleu_4", "rouge_l") for count in found[name].values())
    assert found["side_flips"]["side"] == found["negation_flips"]["negation"] == 6
    assert found["side_flips"]["negation"] == found["negation_flips"]["side"] == 0
    assert found["rule_similarity"]["negation"] == 6


def test_every_case_differs_from_its_reference() -> None:
    assert all(sum(case.kind == kind for case in CASES) >= 6 for kind in KINDS)
    assert all(case.reference != case.changed and case.reference != case.reworded for case in CASES)


def test_the_table_names_all_kinds() -> None:
    table = as_text(noticed(["flips"]))
    assert "6 of 6" in table
    assert all(kind in table for kind in KINDS)


def test_the_command_needs_no_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--self-test", "--metrics", "flips,bleu.radeval"]) == 0
    assert "bleu_4.radeval" in capsys.readouterr().out
    assert main(["evaluate", "--self_test", "--metrics", "flips", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["noticed"]["side_flips"]["side"] == 6
    assert main(["evaluate", "--self-test", "--metrics", "nonsense"]) == 2
    assert main(["evaluate", "--pred", "p.csv", "--gt", "g.csv"]) == 2
    assert "--out is missing" in capsys.readouterr().err
