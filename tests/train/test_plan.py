"""`cxrgen plan`: arithmetic that can be checked by hand, refusals with their way out, and real runs' memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.material import write_prepared, write_seven_billion
from transformers import LlavaForConditionalGeneration

from cxrgen.cli import main
from cxrgen.core.errors import UsageError
from cxrgen.train.activations import BatchShape, batch_cost, image_work, on_fake_processor
from cxrgen.train.config import TrainableConfig
from cxrgen.train.gpus import parse_gpus
from cxrgen.train.trainable import set_trainable
from cxrgen.train.trainer import supervised_loss


@pytest.fixture(scope="module")
def seven_billion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seven_billion(tmp_path_factory.mktemp("llava-7b"))


def planned(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> Any:
    assert main(["plan", *map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_names_of_gpus() -> None:
    assert parse_gpus("8xH100") == (8, "H100")
    assert parse_gpus("a100-40") == (1, "A100-40")
    assert parse_gpus("cpu") == (1, "cpu")
    with pytest.raises(UsageError, match="did you mean '8xH100'"):
        parse_gpus("8xH-100")
    with pytest.raises(UsageError, match="at least one"):
        parse_gpus("0xH100")


def test_seven_billion_by_hand(
    seven_billion: Path, prepared: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """On 8 GPUs, sharded: 16 bytes a trained parameter / 8; a checkpoint has 12. 24 studies are 3 steps of 8."""
    words = ("--model", seven_billion, "--data_path", prepared, "--bf16", "--fsdp", "full_shard")
    words += ("--per_device_train_batch_size", 1, "--gradient_checkpointing", "--price", 2)
    plan = planned(capsys, *words, "--gpus", "8xH100")
    memory = {name: row["value"] for name, row in plan["memory_bytes"].items()}
    trained = plan["trained"]
    assert round(trained / 1e9, 2) == 6.76
    assert memory["gradients"] == 4 * trained / 8
    assert memory["optimiser"] == 8 * trained / 8
    assert plan["checkpoint_bytes"] == 12 * trained
    assert plan["checkpoint_seconds"] == 12 * trained / 100e6
    assert plan["fits"]
    assert plan["lengths_estimated"]
    assert plan["steps"] == 3
    assert plan["cost"] == pytest.approx(plan["seconds"] / 3600 * 8 * 2)
    assert plan["seconds"] == pytest.approx(3 * plan["seconds_a_step"])
    assert memory["activations"] > 32 * 4 * 4096 * plan["positions_a_step"] / 8
    opened = plan["host_bytes"]["weights while opening"]
    assert opened["value"] == pytest.approx(4 * plan["parameters"], rel=1e-3)  # by one process of the eight


def test_kept_features_and_bfloat16(seven_billion: Path, prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """36 images of 256 tokens of 1,024 values: on disk 2 bytes each, in memory 4 in each of 8 processes.

    FSDP gathers and sends weights in 16 bits under --bf16; whole gradients between batches are 4 bytes.
    """
    words = ("--model", seven_billion, "--data_path", prepared, "--fsdp", "full_shard", "--gpus", "8xH100")
    words += ("--per_device_train_batch_size", 1, "--gradient_checkpointing", "--gradient_accumulation_steps", 3)
    disk = planned(capsys, *words, "--bf16", "--cache_features", "--shard_gradients")
    assert disk["feature_bytes"] == 2 * 36 * 256 * 1024
    assert "features" not in disk["host_bytes"]
    memory = planned(capsys, *words, "--cache_features", "--features_in", "memory", "--shard_gradients")
    assert memory["feature_bytes"] == 0
    assert memory["host_bytes"]["features"]["value"] == 8 * 4 * 36 * 256 * 1024
    gathered = "layers gathered"
    assert 2 * disk["memory_bytes"][gathered]["value"] == memory["memory_bytes"][gathered]["value"]
    whole = planned(capsys, *words, "--bf16", "--cache_features")
    assert whole["peak_bytes"] > disk["peak_bytes"] + 14e9  # 27 GB instead of 3, then no longer less than at the start


def test_what_does_not_fit_is_refused_with_the_cheapest_change(
    seven_billion: Path, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", "--model", str(seven_billion), "--data_path", str(prepared), "--bf16"]
    assert main([*words, "--gpus", "2xH200", "--per_device_train_batch_size", "1"]) == 2
    shown = capsys.readouterr()
    assert "does not fit: " in shown.err
    assert "--fsdp full_shard" in shown.err
    assert "6.76 G x 8 B" in shown.out
    words += ["--gpus", "L4", "--train_modules", "lora", "--per_device_train_batch_size", "1"]
    assert main(words) == 2  # 14 GB of weights in 16 bits, and what the layers keep
    assert "--gradient_checkpointing true needs 17" in capsys.readouterr().err
    words.remove("--bf16")
    assert main(words) == 2  # 28 GB in float32, of which each of eight gets its share without ever holding the whole
    assert "--fsdp full_shard --gradient_checkpointing true on 8 GPUs" in capsys.readouterr().err


def test_a_new_model_and_a_table(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No folder is needed; the one of 1, 2, 8 and 64 GPUs that shares 8 samples unevenly is left out, and said."""
    assert main(["plan", "tiny", "--data_path", str(prepared), "--gpus", "L4", "--table"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["mode", "GPUs", "GB", "a", "GPU", "fits", "hours", "GPU", "hours"]
    assert {line.split()[1] for line in table[1:]} == {"1", "2", "8", "64"}
    assert all(line.split()[3] == "yes" for line in table[1:])


def test_the_help_does_without_torch() -> None:
    program = "import sys\nfrom cxrgen.cli import main\nmain(['plan', '--help'])\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_operations_are_those_of_a_real_step(llava: Path) -> None:
    """The counted operations of fake tensors, against the same counter over a real forward and backward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    model = LlavaForConditionalGeneration.from_pretrained(llava, attn_implementation="eager").train()
    ids = torch.full((2, 24), 7)
    ids[:, :8] = model.config.image_token_id
    labels = torch.full((2, 24), -100)
    labels[:, 19:] = 5
    for mode in ("projector", "projector+llm", "full", "lora"):
        with torch.device("meta"):
            fake = LlavaForConditionalGeneration(model.config)
        real = LlavaForConditionalGeneration.from_pretrained(llava, attn_implementation="eager").train()
        for each in (fake, real):
            set_trainable(each, TrainableConfig(mode, lora_dropout=0.0))
            each.train()
        processor = on_fake_processor(fake)
        images = image_work(fake, processor, False, False)
        cost = batch_cost(fake, processor, BatchShape(2, 24, 5, 4), False, images, 2)
        with FlopCounterMode(display=False) as counter:
            batch = {"input_ids": ids, "labels": labels, "pixel_values": torch.zeros(4, 3, 28, 28)}
            supervised_loss(real, batch)[0].backward()
        assert cost.operations() == pytest.approx(counter.get_total_flops(), rel=0.05), mode


@pytest.mark.slow
def test_memory_of_a_real_run(tmp_path: Path) -> None:
    """Peak of a process beyond that of a run of a very small model, within 15 % of the plan."""
    from benchmarks.plan import planned as plan
    from benchmarks.plan import trained, words

    data = write_prepared(tmp_path / "set", 48, 4)
    small, _ = trained(words(data, "projector+llm", None, 1, 64, 3), tmp_path / "small")
    flags = words(data, "projector+llm", None, 8, 640, 3)
    memory, _ = plan(flags)
    peak, _ = trained(flags, tmp_path / "run")
    assert peak - small == pytest.approx(memory, rel=0.15)
