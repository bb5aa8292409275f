"""Drafts change the speed and never the text, from all reports or from those of the nearest images."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cxrgen.cli import main
from cxrgen.core.records import read_studies, write_studies
from cxrgen.core.tables import read_csv
from cxrgen.generate import nearest as module
from cxrgen.generate.decoding import decode
from cxrgen.generate.decoding.ngram_drafts import Drafts, drafted_tokens
from cxrgen.generate.decoding.prefill import Images, Prompt
from cxrgen.model.checkpoint import Checkpoint

TOKENS = st.lists(st.integers(0, 3), min_size=0, max_size=12)


def by_definition(reports: Sequence[Sequence[int]], written: Sequence[int], most: int) -> list[int]:
    """The longest run of five to two last tokens that goes on somewhere, and what comes next there most often."""
    draft: list[int] = []
    while len(draft) < most:
        behind = [*written, *draft]
        for size in (5, 4, 3, 2):
            run = behind[-size:]
            after = Counter(
                report[place + size]
                for report in reports
                for place in range(len(report) - size)
                if list(report[place : place + size]) == run
            )
            if len(run) == size and after:
                draft.append(min(after, key=lambda token: (-after[token], token)))
                break
        else:
            break
    return draft


@given(st.lists(TOKENS, max_size=5), TOKENS, st.integers(0, 7))
def test_the_longest_match_gives_the_draft(reports: list[list[int]], written: list[int], most: int) -> None:
    assert Drafts(reports).after(written, most) == by_definition(reports, written, most)


def test_fewer_tokens_are_drafted_for_more_rows() -> None:
    assert [drafted_tokens(rows) for rows in (1, 2, 4, 7, 8, 64)] == [7, 3, 1, 0, 0, 0]


@pytest.mark.parametrize("kept", [None, (3, 8)])  # of 4 positions and 32 channels: all, or random directions
def test_the_nearest_are_the_images_most_alike(
    checkpoint: Checkpoint,
    prepared: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kept: tuple[int, int] | None,
) -> None:
    monkeypatch.setattr(module, "_REPORTS", 1)
    if kept is not None:
        monkeypatch.setattr(module, "_POSITIONS", kept[0])
        monkeypatch.setattr(module, "_CHANNELS", kept[1])
    names = [str(prepared / "images" / f"{number:03}-frontal.png") for number in (0, 1, 3, 4)]
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"no image")
    images = Images(checkpoint, Path())
    reports = [[7, 8, number] for number in range(len(names))]
    nearest = module.NearestDrafts(images, [str(damaged), *names], [[7, 8, 9], *reports])
    assert "1 training images cannot be read" in capsys.readouterr().err
    for place, name in enumerate(names):
        assert nearest(images, Prompt(0, [], 0, (name, names[0]))).after([7, 8], 1) == [place]
    assert nearest.features.shape == (4, 4 * 32 if kept is None else 3 * 8)
    assert nearest(images, Prompt(0, [], 0, ())).after([7, 8], 1) == []
    none = module.NearestDrafts(images, [str(damaged)], [[7, 8, 9]])
    assert none(images, Prompt(0, [], 0, (names[0],))).after([7, 8], 1) == []


def test_alike_is_what_differs_from_the_mean() -> None:
    """Features in a plane: without the mean taken off both sides, the other image would be nearer."""
    points = {"a": (10.0, 1.0), "b": (30.0, -1.0), "asked": (12.0, -3.0)}
    images: Any = SimpleNamespace(
        checkpoint=SimpleNamespace(model=SimpleNamespace(eval=lambda: None)),
        read=lambda name: None,
        of=lambda names: torch.tensor([[points[name]] for name in names]),
    )
    nearest = module.NearestDrafts(images, ["a", "b"], [[0], [1]])
    alike = nearest.features @ (torch.tensor(points["asked"]) - nearest.mean)
    assert alike.tolist() == pytest.approx([(8 * 10 - 3) / 101**0.5, -(8 * 10 - 3) / 101**0.5])


def test_the_command_writes_the_same_and_calls_the_model_less(
    model: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The training studies are the test studies with the model's own reports, so the nearest image has the right."""
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

    plain, without = written("--drafts", "off")
    known = {row.cells["study_id"]: row.cells["report"] for row in read_csv(tmp_path / "pred.csv").rows}
    training = [
        replace(each, study_id=f"t{each.study_id}", split="train", report=known[each.study_id]) for each in test
    ]
    write_studies(folder / "studies.parquet", [*training, *test])
    monkeypatch.setattr(module, "_REPORTS", 1)
    nearest, fewest = written("--drafts", "nearest")
    everything, fewer = written("--drafts", str(folder))
    assert nearest == everything == plain
    assert fewest <= fewer < without
    capsys.readouterr()
    (tmp_path / "test.json").write_text("[]")
    for questions, more, said in (
        (tmp_path / "test.json", (), "no prepared folder"),
        (folder, ("--batch-size", "16"), "--batch-size below 8"),
        (folder, ("--engine", "vllm"), "engine transformers"),
    ):
        words = ("--model-name", model, "--question-file", questions, "--answers-file-pred", tmp_path / "p.csv")
        how = ("--drafts", "nearest", "--batch-size", "2", *more)
        assert main(["generate", *map(str, words), *how]) == 2
        assert said in capsys.readouterr().err
