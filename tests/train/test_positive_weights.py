"""`--weight_positive`: sentences that state a finding count more, the mean weight of a token stays 1."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.tiny_models import gemma3
from tests.train.material import small

from cxrgen.core.errors import UsageError
from cxrgen.model.batches import IGNORE, pack
from cxrgen.model.checkpoint import Checkpoint, open_model_folder
from cxrgen.model.families import family_of
from cxrgen.train.config import DataConfig
from cxrgen.train.data import encode_data, read_sft_data
from cxrgen.train.finding_weights import read_weights
from cxrgen.train.pipeline import train
from cxrgen.train.positive_weights import weighted
from cxrgen.train.trainer import supervised_loss


@pytest.fixture(params=["llava", "gemma"])
def checkpoint(request: pytest.FixtureRequest, writer: Path, tmp_path: Path) -> Checkpoint:
    return open_model_folder(writer if request.param == "llava" else gemma3(tmp_path / "gemma"))


def test_the_tokens_of_stated_findings_weigh_more(checkpoint: Checkpoint, prepared: Path) -> None:
    """Of the reports' four sentences one states Cardiomegaly, one an effusion."""
    data = read_sft_data(DataConfig(data_path=str(prepared)))
    samples, _ = encode_data(checkpoint, data.variants, "cut", data.folder)
    family = family_of(checkpoint)
    found = weighted(samples, data.variants, family, data.folder, read_weights("Cardiomegaly=3,pleural effusion=2"))
    learnt = [w for some in found for w, label in zip(some[0].weights, some[0].labels) if label != IGNORE]
    assert sum(learnt) / len(learnt) == pytest.approx(1.0, abs=1e-6)
    least = min(learnt)
    assert {round(weight / least, 3) for weight in learnt} == {1.0, 2.0, 3.0}
    decode = checkpoint.tokenizer.decode
    for (sample,), (one,) in zip(samples, found):
        heavy = [token for token, w in zip(sample.input_ids, one.weights) if w > 2.5 * least]
        twice = [token for token, w in zip(sample.input_ids, one.weights) if 1.5 * least < w < 2.5 * least]
        text = decode([token for token, label in zip(sample.input_ids, sample.labels) if label != IGNORE])
        assert decode(heavy).strip() == ("The heart is large." if "heart is large." in text else "")
        assert decode(twice).strip() == ("There is a left effusion." if "left effusion." in text else "")


def test_weights_of_one_are_the_plain_loss(checkpoint: Checkpoint, prepared: Path) -> None:
    data = read_sft_data(DataConfig(data_path=str(prepared)))
    samples, _ = encode_data(checkpoint, data.variants[:6], "cut", data.folder)
    family = family_of(checkpoint)
    found = weighted(samples, data.variants, family, data.folder, read_weights("1"))
    heavier = weighted(samples, data.variants, family, data.folder, read_weights("5"))
    collator = family.collator(data.folder)
    with torch.no_grad():
        plain, one, five = (
            supervised_loss(checkpoint.model.eval(), collator([each[0] for each in some]))
            for some in (samples, found, heavier)
        )
    assert float(one[0]) == pytest.approx(float(plain[0]), rel=1e-5)
    assert float(five[0]) != pytest.approx(float(plain[0]), rel=1e-3)
    assert plain[1] == one[1] == five[1]
    if family.packs:
        packed = pack([each[0] for each in heavier], 0, lambda path: torch.zeros(3, 28, 28))
        padded = collator([each[0] for each in heavier])
        own = padded["weights"][padded["labels"] != IGNORE]
        assert torch.equal(packed["weights"][packed["labels"] != IGNORE], own)


def test_a_run_says_the_shares(prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(small(prepared, tmp_path / "run", max_steps=1, weight_positive="3"))
    said = capsys.readouterr().err
    assert "--weight_positive: sentences that state a finding have" in said
    for changes, message in (
        ({"weight_positive": "0"}, "a number above 0"),
        (
            {"weight_positive": "Fractur=2"},
            "finding of --weight_positive .Fractur.; .* did you mean .Fracture.",
        ),
        ({"weight_positive": "2", "stage": "dpo", "model_name_or_path": str(tmp_path)}, "is for --stage sft"),
        ({"weight_positive": "2", "context_dropout": 0.5}, "--weight_positive"),
    ):
        with pytest.raises(UsageError, match=message):
            train(small(prepared, tmp_path / "other", **changes))
    assert not (tmp_path / "other").exists()
