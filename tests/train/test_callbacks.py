"""Validation while training, the best checkpoint, early stopping, the log, trackers and the page."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from tests.forked import cxrgen
from tests.train.material import SENTENCES, assert_equal, small, weights

from cxrgen.core.errors import InputError, UsageError
from cxrgen.train.checkpoints import checkpoints
from cxrgen.train.pipeline import train
from cxrgen.train.run_log import RunLog, check_trackers, open_trackers
from cxrgen.train.validate import SCORES, fixed_part
from cxrgen.train.watch_config import EVAL_SCORES, LogConfig

EVALUATED: dict[str, Any] = {"eval_strategy": "steps", "eval_studies": 4, "eval_max_new_tokens": 6}


def log(out: Path, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if name in line]


def test_validation_is_logged_and_changes_no_weight(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(small(prepared, tmp_path / "plain", max_steps=4, cache_features=True))
    train(small(prepared, tmp_path / "watched", max_steps=4, cache_features=True, **EVALUATED, eval_steps=2))
    lines = log(tmp_path / "watched", "eval_loss")
    assert [line["step"] for line in lines] == [2, 4]
    assert all({"bleu_4", "rule_f1_micro_14", "rule_f1_macro_14"} <= line.keys() for line in lines)
    assert {name for _, name in SCORES} < set(lines[0])
    assert lines[1]["eval_loss"] < lines[0]["eval_loss"]
    assert_equal(weights(tmp_path / "watched"), weights(tmp_path / "plain"))
    page = (tmp_path / "watched" / "training.html").read_text()
    assert "<svg" in page
    assert "validation" in page
    shown = capsys.readouterr().err + (tmp_path / "watched" / "README.md").read_text()
    assert not any(sentence in shown for sentence in SENTENCES)


def test_the_best_checkpoint_stays_and_no_better_one_stops(prepared: Path, tmp_path: Path) -> None:
    """A rate that throws the model about: its first validation is the best."""
    settings = {"max_steps": 30, "learning_rate": 3.0, "lr_scheduler_type": "constant", "warmup_ratio": 0.0}
    more = {"save_total_limit": 1, "save_steps": 1, "early_stopping_patience": 3, "eval_reports": False}
    train(small(prepared, tmp_path / "run", **settings, **EVALUATED, **more, eval_steps=1))
    lines = log(tmp_path / "run", "eval_loss")
    best = min(lines, key=lambda line: line["eval_loss"])["step"]
    assert len(lines) == best + 3 < 30
    assert [step for step, _ in checkpoints(tmp_path / "run")] == [best, best + 3]


def test_the_scores_that_can_be_chosen_are_those_that_are_measured() -> None:
    assert ("eval_loss", *(name for _, name in SCORES)) == EVAL_SCORES


def test_a_score_that_is_not_measured(prepared: Path, tmp_path: Path) -> None:
    settings = {**EVALUATED, "eval_steps": 1, "eval_reports": False, "metric_for_best_model": "cider"}
    with pytest.raises(InputError, match="unknown --metric_for_best_model 'cider'; choose from eval_loss"):
        train(small(prepared, tmp_path / "run", **settings))


def test_the_subset_does_not_depend_on_order() -> None:
    items = [types.SimpleNamespace(id=str(number)) for number in range(50)]
    first = fixed_part(items, 8)  # type: ignore[arg-type]
    assert first == fixed_part(items[::-1], 8)  # type: ignore[arg-type]
    assert len(first) == 8


def test_half_a_line_is_dropped_and_no_step_stands_twice(tmp_path: Path) -> None:
    record = RunLog(tmp_path)
    record.add(1, {"loss": 2.0})
    record.add(2, {"loss": 1.0})
    with open(record.path, "a") as file:
        file.write('{"step": 3, "lo')
    assert [line["step"] for line in record.restart(1)] == [1]
    record.add(2, {"loss": 0.5})
    assert [line["loss"] for line in log(tmp_path, "loss")] == [2.0, 0.5]


def test_trackers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    stand_in = types.ModuleType("trackio")
    stand_in.init = lambda **settings: seen.append(settings)  # type: ignore[attr-defined]
    stand_in.log = lambda values, step: seen.append((step, values))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trackio", stand_in)
    record = RunLog(tmp_path, open_trackers(LogConfig("trackio", "mine"), tmp_path, {"seed": 1}))
    record.add(1, {"loss": 2.0})
    assert seen == [{"project": "cxrgen", "name": "mine", "config": {"seed": 1}}, (1, {"loss": 2.0})]
    with pytest.raises(UsageError, match="choose from none, tensorboard, trackio, wandb"):
        check_trackers("excel")
    assert open_trackers(LogConfig(), tmp_path, {}) == []


def test_a_tracker_that_fails_does_not_stop_the_training(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_server(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    stand_in = types.ModuleType("trackio")
    stand_in.init = lambda **_: None  # type: ignore[attr-defined]
    stand_in.log = no_server  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trackio", stand_in)
    train(small(prepared, tmp_path / "run", max_steps=3, report_to="trackio"))
    assert len(log(tmp_path / "run", "loss")) == 3
    assert capsys.readouterr().err.count("a tracker of --report_to failed (ConnectionError)") == 1
    stand_in.init = no_server  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"--report_to trackio: cannot be opened \(ConnectionError: no route\)"):
        train(small(prepared, tmp_path / "other", max_steps=3, report_to="trackio"))


@pytest.mark.parametrize("name", ["trackio", "wandb", "tensorboard"])
def test_a_tracker_that_is_not_installed_is_said_before_anything_is_done(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        InputError, match=f"--report_to {name}: {name} is not installed .pip install {name}.; log.jsonl"
    ):
        train(small(prepared, tmp_path / "run", report_to=f"none, {name}"))
    assert not (tmp_path / "run").exists()


def test_tensorboard_reads_what_was_logged(prepared: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard: pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(small(prepared, tmp_path / "run", max_steps=3, report_to="tensorboard"))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    lines = log(tmp_path / "run", "loss")
    for name in ("loss", "learning_rate", "gradient_norm", "tokens_per_second"):
        seen = [(event.step, event.value) for event in events.Scalars(name)]
        assert [step for step, _ in seen] == [1, 2, 3]
        assert [value for _, value in seen] == pytest.approx([line[name] for line in lines], rel=1e-6)


@pytest.mark.slow
def test_a_sharded_model_writes_reports_while_training(llava: Path, prepared: Path, tmp_path: Path) -> None:
    words = ("train", "--model_name_or_path", llava, "--data_path", prepared, "--version", "v1", "--max_steps", 3)
    words += ("--eval_strategy", "steps", "--eval_steps", 1, "--eval_studies", 2, "--eval_max_new_tokens", 4)
    one = (*words, "--per_device_train_batch_size", 8, "--output_dir", tmp_path / "one")
    two = (*words, "--per_device_train_batch_size", 4, "--output_dir", tmp_path / "two", "--fsdp", "full_shard")
    cxrgen(*one)
    cxrgen(*two, processes=2)
    for first, second in zip(log(tmp_path / "one", "eval_loss"), log(tmp_path / "two", "eval_loss"), strict=True):
        assert first == pytest.approx(second, rel=1e-5)
