"""Speculative decoding changes the speed and never the text."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrgen.cli import main
from cxrgen.core.records import read_studies, write_studies
from cxrgen.core.tables import read_csv
from cxrgen.generate.decoding import decode
from cxrgen.generate.decoding.ngram_drafts import NgramTable, tokens_to_propose

TOKENS = st.lists(st.integers(0, 3), min_size=0, max_size=12)


def by_definition(reports: Sequence[Sequence[int]], written: Sequence[int], most: int) -> list[int]:
    """The longest run of five to two last tokens that goes on somewhere, and what comes next there most often."""
    proposed: list[int] = []
    while len(proposed) < most:
        behind = [*written, *proposed]
        for size in (5, 4, 3, 2):
            run = behind[-size:]
            after = Counter(
                report[place + size]
                for report in reports
                for place in range(len(report) - size)
                if list(report[place : place + size]) == run
            )
            if len(run) == size and after:
                proposed.append(min(after, key=lambda token: (-after[token], token)))
                break
        else:
            break
    return proposed


@given(st.lists(TOKENS, max_size=5), TOKENS, st.integers(0, 7))
def test_the_longest_match_is_proposed(reports: list[list[int]], written: list[int], most: int) -> None:
    assert NgramTable(reports).propose(written, most) == by_definition(reports, written, most)


def test_fewer_tokens_are_proposed_for_more_rows() -> None:
    assert [tokens_to_propose(rows) for rows in (1, 2, 4, 7, 8, 64)] == [7, 3, 1, 0, 0, 0]


def test_the_command_writes_the_same_and_calls_the_model_less(
    model: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The training reports are the reports that the model writes, so most proposed tokens are right."""
    folder = tmp_path / "set"
    shutil.copytree(prepared, folder)
    test = [replace(each, split="test") for each in read_studies(prepared, "test")]
    write_studies(folder / "studies.parquet", test)
    calls: list[None] = []
    step = decode._Batch.step
    monkeypatch.setattr(decode._Batch, "step", lambda batch: (calls.append(None), step(batch))[1])

    def written(*more: str) -> tuple[bytes, int]:
        calls.clear()
        given = ("--model-name", model, "--question-file", folder, "--answers-file-pred", tmp_path / "pred.csv")
        assert main(["generate", *map(str, given), "--max-new-tokens", "60", "--batch-size", "2", *more]) == 0
        return (tmp_path / "pred.csv").read_bytes(), len(calls)

    plain, without = written("--speculative", "none")
    reports = {row.cells["study_id"]: row.cells["report"] for row in read_csv(tmp_path / "pred.csv").rows}
    training = [
        replace(each, study_id=f"t{each.study_id}", split="train", report=reports[each.study_id]) for each in test
    ]
    write_studies(folder / "studies.parquet", [*training, *test])
    for more in ((), ("--speculative", "ngram"), ("--speculative", str(folder)), ("--drafts", "auto")):
        speculative, fewer = written(*more)
        assert speculative == plain
        assert fewer < without
    assert written("--drafts", "off") == (plain, without)
    capsys.readouterr()
    (tmp_path / "test.json").write_text("[]")
    for questions, more, message in (
        (tmp_path / "test.json", ("ngram",), "no prepared folder"),
        (folder, ("ngrams",), "choose from auto, ngram, none, a prepared folder; did you mean 'ngram'?"),
        (folder, ("ngram", "--batch-size", "16"), "--batch-size below 8"),
        (folder, ("ngram", "--engine", "vllm"), "engine auto"),
    ):
        words = ("--model-name", model, "--question-file", questions, "--answers-file-pred", tmp_path / "p.csv")
        assert main(["generate", *map(str, words), "--batch-size", "2", "--speculative", *more]) == 2
        assert message in capsys.readouterr().err
