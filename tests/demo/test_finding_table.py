"""Where each finding is lost: the sentence that states it, its first token's probability, the best of the samples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from cxrgen.core.records import read_studies
from cxrgen.demo import finding_table
from cxrgen.demo.finding_table import (
    COLUMNS,
    _conversations,
    best_reports,
    main,
    shown,
    stated_probabilities,
    stating_sentences,
)
from cxrgen.model.checkpoint import open_checkpoint
from cxrgen.phantom.findings import NAMES, as_row
from cxrgen.phantom.parser import parse

EFFUSION, CLEAR = "Small left pleural effusion.", "The lungs are clear."


def test_the_sentence_that_states_a_finding() -> None:
    report = f"{CLEAR} {EFFUSION} No pneumothorax."
    assert list(stating_sentences(report)) == [(len(CLEAR), ["effusion"])]
    assert next(iter(stating_sentences(EFFUSION)))[0] == 0
    assert list(stating_sentences("No pleural effusion.")) == []


def test_the_best_of_the_samples_is_that_which_agrees_with_the_truth() -> None:
    truth = [as_row(parse(EFFUSION)), as_row(parse(CLEAR))]
    reports = [CLEAR, EFFUSION, "Large pneumothorax.", EFFUSION, CLEAR, "Cardiomegaly."]
    assert best_reports(reports, truth) == [EFFUSION, CLEAR]


@pytest.mark.slow
def test_a_table_of_a_small_model(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(finding_table, "_LONGEST", 12)  # a model of one step never ends a report
    model, prepared = trained / "model", trained / "prepared"
    checkpoint = open_checkpoint(model)
    asked = _conversations(checkpoint, prepared, read_studies(prepared, "test"))
    found = stated_probabilities(checkpoint, asked, prepared)
    stated = [name for each in asked for _, names in stating_sentences(each.turns[-1].text) for name in names]
    assert sorted(stated) == sorted(name for name, values in found.items() for _ in values)
    with torch.no_grad():
        checkpoint.model.lm_head.weight.zero_()
    rows = checkpoint.model.lm_head.weight.shape[0]
    flat = stated_probabilities(checkpoint, asked[:3], prepared)
    assert {round(value * rows, 3) for values in flat.values() for value in values} == {1.0}, "all tokens alike"
    assert main([str(model), str(prepared), str(trained / "phantom" / "findings.csv"), "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert set(table) == set(NAMES)
    assert all(set(values) == set(COLUMNS) for values in table.values())
    assert len(shown(table).splitlines()) == 1 + len(NAMES)
