"""training.html: rewritten at each validation, with the whole history after a resume, and never the end of a run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.train.material import SENTENCES, small

from cxrgen.train.callbacks import RunCallback
from cxrgen.train.pipeline import train
from cxrgen.train.run_page import RunPage, smoothed
from cxrgen.train.trainer import FitState, StepRecord
from cxrgen.train.watch_config import LogConfig

EVALUATED: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 2, "eval_studies": 4, "eval_max_new_tokens": 6}


class Crash(Exception):
    pass


def dots(page: str, title: str) -> list[int]:
    """How many dots each chart under a title of these words has."""
    charts = re.findall(r'<p class="title">([^<]*)</p>(.*?)(?=<div class="chart">|</section>)', page, re.DOTALL)
    return [len(re.findall(r"M[\d.]+,[\d.]+h0", body)) for words, body in charts if title in words]


def test_after_a_resume_the_page_shows_the_whole_history(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**EVALUATED, "max_steps": 6, "tower_steps": 3, "warmup_labels": "dataset", "text_steps": 2}
    seen: list[str] = []
    logged = RunCallback.on_step_end

    def on_step_end(self: RunCallback, state: FitState, record: StepRecord) -> bool:
        done = logged(self, state, record)
        seen.append((tmp_path / "run" / "training.html").read_text())
        if len(seen) == 3:  # after the checkpoint of step 2
            raise Crash
        return done

    monkeypatch.setattr(RunCallback, "on_step_end", on_step_end)
    with pytest.raises(Crash):
        train(small(prepared, tmp_path / "run", **settings))
    train(small(prepared, tmp_path / "run", **settings, resume=True))
    first, before, after, page = seen[0], seen[1], seen[2], (tmp_path / "run" / "training.html").read_text()
    assert "No step was logged yet" in first  # the page is there from the start, with the warm-up
    assert dots(first, "vision encoder on labels: loss") == [3]
    assert "written at step 2" in before
    assert before == after  # between validations nothing is written
    assert dots(page, "dots are single steps") == [6, 3, 2]  # training, vision encoder, language model
    assert "written at step 6" in page
    assert page.count('alt="image') >= 4
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    assert "<script" not in page
    assert (tmp_path / "run" / "training.html").stat().st_mode & 0o077 == 0
    assert (tmp_path / "run" / "examples.json").stat().st_mode & 0o077 == 0


def words_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))


def test_texts_can_be_left_out(prepared: Path, tmp_path: Path) -> None:
    train(small(prepared, tmp_path / "run", **EVALUATED, max_steps=2, page_studies=3))
    page = (tmp_path / "run" / "training.html").read_text()
    assert page.count('class="case"') == 3
    assert any(sentence in words_of(page) for sentence in SENTENCES)
    settings = {"a": 1}
    RunPage(tmp_path / "run", settings, LogConfig(hide_text=True)).update()
    hidden = (tmp_path / "run" / "training.html").read_text()
    assert "<img" in hidden
    assert not any(sentence in words_of(hidden) for sentence in SENTENCES)
    RunPage(tmp_path / "run", settings, LogConfig(page_studies=0)).update()
    assert "<img" not in (tmp_path / "run" / "training.html").read_text()


def test_reports_of_a_step_that_is_repeated_are_forgotten(tmp_path: Path) -> None:
    page = RunPage(tmp_path, {}, LogConfig())
    (tmp_path / "examples.json").write_text(json.dumps({"step": 4, "studies": []}))
    page.restart(4)
    assert (tmp_path / "examples.json").is_file()
    page.restart(3)
    assert not (tmp_path / "examples.json").exists()


def test_a_page_that_cannot_be_made_is_a_warning(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> str:
        raise ValueError(SENTENCES[0])

    monkeypatch.setattr("cxrgen.train.run_page.render", broken)
    assert len(train(small(prepared, tmp_path / "run", **EVALUATED, max_steps=2))) == 2
    said = capsys.readouterr().err
    assert "warning: training.html was not written (ValueError); the run continues" in said
    assert SENTENCES[0] not in said


def test_smoothing_starts_at_the_first_value_and_follows_the_rest() -> None:
    assert smoothed([(1, 3.0)]) == [(1, 3.0)]
    flat = smoothed([(step, 2.0) for step in range(500)])
    assert all(abs(y - 2.0) < 1e-9 for _, y in flat)
    noisy = smoothed([(step, float(step % 2)) for step in range(500)])
    assert all(0.4 < y < 0.6 for _, y in noisy[100:])
    long = smoothed([(step, 1.0) for step in range(25_000)])
    assert len(long) <= 1001
    assert long[-1][0] == 24_999
