"""Validation while training, the best checkpoint, early stopping, the log, trackers and the page."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from tests.train.material import SENTENCES, TORCHRUN, assert_equal, cxrgen, small, weights

from cxrgen.errors import InputError, UsageError
from cxrgen.train.checkpoints import checkpoints
from cxrgen.train.log import RunLog, open_trackers
from cxrgen.train.run import train
from cxrgen.train.validate import SCORES, fixed_part

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
    shown = capsys.readouterr().err + page + (tmp_path / "watched" / "README.md").read_text()
    assert not any(sentence in shown for sentence in SENTENCES)


def test_the_best_checkpoint_stays_and_no_better_one_stops(prepared: Path, tmp_path: Path) -> None:
    """A rate that throws the model about: its first validation is the best."""
    told = {"max_steps": 30, "learning_rate": 3.0, "lr_scheduler_type": "constant", "warmup_ratio": 0.0}
    more = {"save_total_limit": 1, "save_steps": 1, "early_stopping_patience": 3, "eval_reports": False}
    train(small(prepared, tmp_path / "run", **told, **EVALUATED, **more, eval_steps=1))
    lines = log(tmp_path / "run", "eval_loss")
    best = min(lines, key=lambda line: line["eval_loss"])["step"]
    assert len(lines) == best + 3 < 30
    assert [step for step, _ in checkpoints(tmp_path / "run")] == [best, best + 3]


def test_a_score_that_nobody_measures(prepared: Path, tmp_path: Path) -> None:
    told = {**EVALUATED, "eval_steps": 1, "eval_reports": False, "metric_for_best_model": "cider"}
    with pytest.raises(InputError, match="metric_for_best_model cider: there are eval_loss"):
        train(small(prepared, tmp_path / "run", **told))


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
    stand_in.init = lambda **told: seen.append(told)  # type: ignore[attr-defined]
    stand_in.log = lambda values, step: seen.append((step, values))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trackio", stand_in)
    record = RunLog(tmp_path, open_trackers("trackio", tmp_path, "mine", {"seed": 1}))
    record.add(1, {"loss": 2.0})
    assert seen == [{"project": "cxrgen", "name": "mine", "config": {"seed": 1}}, (1, {"loss": 2.0})]
    with pytest.raises(UsageError, match="there are none, tensorboard, trackio, wandb"):
        open_trackers("excel", tmp_path, "", {})
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match="pip install wandb"):
        open_trackers("wandb", tmp_path, "", {})


@pytest.mark.slow
def test_a_sharded_model_writes_reports_while_training(llava: Path, prepared: Path, tmp_path: Path) -> None:
    words = ("train", "--model_name_or_path", llava, "--data_path", prepared, "--version", "v1", "--max_steps", 3)
    words += ("--eval_strategy", "steps", "--eval_steps", 1, "--eval_studies", 2, "--eval_max_new_tokens", 4)
    launcher = (*TORCHRUN, "--standalone", "--nproc_per_node=2", "-m", "cxrgen")
    one = (*words, "--per_device_train_batch_size", 8, "--output_dir", tmp_path / "one")
    two = (*words, "--per_device_train_batch_size", 4, "--output_dir", tmp_path / "two", "--fsdp", "full_shard")
    cxrgen(*one)
    cxrgen(*two, launcher=launcher)
    for first, second in zip(log(tmp_path / "one", "eval_loss"), log(tmp_path / "two", "eval_loss"), strict=True):
        assert first == pytest.approx(second, rel=1e-5)
