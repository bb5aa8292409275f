"""--token_pooling from training to a report: recorded in the checkpoint, the same in every mode, refused elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.model.test_pooled_encoder import write_tower
from tests.train.material import small

from cxrgen.cli import main
from cxrgen.core.errors import UsageError
from cxrgen.core.tables import read_csv, read_json
from cxrgen.train.pipeline import train


@pytest.mark.parametrize("kind", ["clip", "dinov2"])
def test_from_training_to_a_report(kind: str, prepared: Path, tmp_path: Path) -> None:
    tower, run = write_tower(tmp_path / "tower", kind), tmp_path / "run"
    settings = {"vision_tower": str(tower), "token_pooling": 2, "cache_features": True, "max_steps": 3}
    train(small(prepared, run, **settings))
    assert read_json(run / "config.json")["vision_config"]["factor"] == 2
    assert read_json(run / "cxrgen.json")["image_tokens"] == 4
    words = ("--model-name", run, "--question-file", prepared, "--split", "valid", "--max-new-tokens", 4)
    assert main(["generate", *map(str, words), "--answers-file-pred", str(tmp_path / "pred.csv")]) == 0
    assert len(read_csv(tmp_path / "pred.csv").rows) == 6
    again = {"model_name_or_path": str(run), "max_steps": 2, "train_tower": "last-1"}
    train(small(prepared, tmp_path / "again", **again))
    train(small(prepared, tmp_path / "lora", model_name_or_path=str(run), train_modules="lora", max_steps=2))
    with pytest.raises(UsageError, match="joins tokens of the layer that it records"):
        train(small(prepared, tmp_path / "no", model_name_or_path=str(run), mm_vision_select_layer=-2))


def test_refused_where_it_cannot_be(llava: Path, prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="for a new joined model"):
        train(small(prepared, tmp_path / "run", model_name_or_path=str(llava), token_pooling=2))
    with pytest.raises(UsageError, match="joins tokens of a --vision_tower DIR"):
        train(small(prepared, tmp_path / "run", token_pooling=2))
