"""FSDP2 on two processes: bfloat16 by its own policy, gradients sharded between batches, validation shared out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.train.material import assert_close, small, torchrun
from tests.train.sharded_runs import RUNS
from tests.train.test_equality import losses

from cxrgen.core.errors import UsageError
from cxrgen.model.checkpoint import open_checkpoint
from cxrgen.train import validate as validation
from cxrgen.train.distributed import Processes
from cxrgen.train.pipeline import train


@pytest.fixture(scope="module")
def runs(llava: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sharded")
    module = ("-m", "tests.train.sharded_runs", llava, prepared, out)
    torchrun(*module)
    return out


def scores(run: Path) -> dict[str, float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return next(line for line in lines if "eval_loss" in line)


@pytest.mark.slow
def test_every_run_opens(runs: Path) -> None:
    for name in RUNS:
        checkpoint = open_checkpoint(runs / name)
        assert all(torch.isfinite(each).all() for each in checkpoint.model.parameters()), name
        assert {each.dtype for each in checkpoint.model.parameters()} == {torch.float32}, name


@pytest.mark.slow
def test_gradients_are_the_same_sharded_or_whole(runs: Path) -> None:
    assert losses(runs / "sharded gradients") == pytest.approx(losses(runs / "whole gradients"), rel=1e-6)
    one, other = (load_file(runs / f"{kind} gradients" / "model.safetensors") for kind in ("sharded", "whole"))
    assert_close(one, other, 1e-5)


@pytest.mark.slow
def test_bf16_by_policy_is_close_to_autocast(runs: Path) -> None:
    """Both round to 8 bits; what is trained stays float32 between steps."""
    exact = losses(runs / "ddp")
    for name in ("bf16 ddp", "bf16", "bf16 features"):
        assert losses(runs / name) == pytest.approx(exact, rel=2e-2), name
        assert losses(runs / name) != exact
    state = load_file(runs / "bf16" / "checkpoint-2" / "trained.safetensors")
    assert {each.dtype for each in state.values()} == {torch.float32}
    assert any(not torch.equal(each, each.bfloat16().float()) for each in state.values())


@pytest.mark.slow
def test_validation_is_that_of_one_process(runs: Path, llava: Path, prepared: Path, tmp_path: Path) -> None:
    settings = {"model_name_or_path": str(llava), "version": "v1", "learning_rate": 1e-3, "max_steps": 2}
    train(small(prepared, tmp_path / "one", **settings, **{**RUNS["ddp"], "per_device_train_batch_size": 4}))
    expected = scores(tmp_path / "one")
    for name in ("ddp", "fsdp"):
        assert scores(runs / name) == pytest.approx(expected, rel=1e-5), name
    assert scores(runs / "bf16")["eval_loss"] == pytest.approx(expected["eval_loss"], rel=2e-2)


def test_an_image_that_one_process_cannot_read_ends_all() -> None:
    """Every process gets the error of the one that had it, in place of waiting for it."""
    from cxrgen.core.errors import InputError

    class Second(Processes):
        def all_gather(self, value: object) -> list[object]:
            return [(None, InputError("no such image")), value]

    with pytest.raises(InputError, match="no such image"):
        Second(1, 2, torch.device("cpu")).agreed(lambda: 1)


def test_shares_cover_the_subset(llava: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes' shares, computed one after the other, are what one process finds."""
    seen = []
    whole = validation._share

    def shared(checkpoint: object, subset: validation.Subset, device: torch.device, part: slice) -> validation._Share:
        found = whole(checkpoint, subset, device, part)  # type: ignore[arg-type]
        parts = [whole(checkpoint, subset, device, slice(rank, None, 2)) for rank in range(2)]  # type: ignore[arg-type]
        seen.append((found, parts))
        return found

    monkeypatch.setattr(validation, "_share", shared)
    settings = {"model_name_or_path": str(llava), "version": "v1", "max_steps": 1, "eval_strategy": "steps"}
    train(small(prepared, tmp_path / "run", **settings, eval_steps=1, eval_studies=5, eval_max_new_tokens=4))
    ((found, parts),) = seen
    assert sum(part.loss for part in parts) == pytest.approx(found.loss, rel=1e-5)
    assert sum(part.tokens for part in parts) == found.tokens
    assert [len(part.reports) for part in parts] == [3, 2]
    assert parts[0].reports | parts[1].reports == found.reports


def test_shard_gradients_is_for_fsdp(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--shard_gradients is for --fsdp"):
        train(small(prepared, tmp_path / "run", shard_gradients=True))
