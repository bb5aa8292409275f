"""How batches come: processes that read ahead, packed rows with and without a mask, hashes shared out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.material import opened, small
from tests.train.test_equality import image, load_model, samples

from cxrgen.model.batches import pack
from cxrgen.model.families import LlavaFamily
from cxrgen.train import stages
from cxrgen.train.config import DataConfig
from cxrgen.train.data import GPU_WORKERS, SamplerConfig, read_sft_data, with_workers
from cxrgen.train.distributed import Processes
from cxrgen.train.resume import image_hashes
from cxrgen.train.trainer import supervised_loss

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_processes_that_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four for a GPU where there are cores for them, none elsewhere; a number that is given counts everywhere."""

    def workers(given: int, device: torch.device, cores: int, processes: int = 1) -> int:
        monkeypatch.setattr("os.sched_getaffinity", lambda _: range(cores))
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        return with_workers(DataConfig(dataloader_num_workers=given), device).dataloader_num_workers

    assert workers(-1, CPU, 64) == 0
    assert workers(-1, GPU, 64) == GPU_WORKERS == 4
    assert workers(-1, GPU, 32, processes=8) == 3
    assert workers(-1, GPU, 8, processes=8) == 1
    assert workers(0, GPU, 64) == 0
    assert workers(7, CPU, 1) == 7


def test_positions_alone_keep_the_samples_of_a_row_apart(llava: Path) -> None:
    """Without a mask the model sees where samples begin by their positions, as flash attention's kernels do."""
    model, some = load_model(llava).eval(), samples(load_model(llava))
    masked, by_positions = pack(some, 0, image), pack(some, 0, image, masked=False)
    assert "attention_mask" in masked
    assert "attention_mask" not in by_positions
    with torch.no_grad():
        expected, found = (float(supervised_loss(model, batch)[0]) for batch in (masked, by_positions))
        joined = {**by_positions, "position_ids": torch.arange(by_positions["input_ids"].shape[1])[None]}
        wrong = float(supervised_loss(model, joined)[0])
    assert found == pytest.approx(expected, rel=1e-5)
    assert wrong != pytest.approx(expected, rel=1e-4)


def test_packing_on_a_gpu_is_for_flash_attention(
    llava: Path, prepared: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = opened(small(prepared, tmp_path, model_name_or_path=str(llava)))

    def packs(device: torch.device) -> bool:
        processes = Processes(0, 1, device)
        return stages._packs(stages.Stage(checkpoint, DataConfig(packing=True), SamplerConfig(4), processes, tmp_path))

    assert packs(CPU)
    assert not packs(GPU)
    assert "--packing: on a GPU by --attn_implementation flash_attention_2 alone; batches are padded" in (
        capfd.readouterr().err
    )
    checkpoint.model.config.text_config._attn_implementation = "flash_attention_2"
    assert packs(GPU)
    batch = LlavaFamily(checkpoint).collator_of(image, packing=True)(samples(checkpoint.model))
    assert "attention_mask" not in batch


def test_each_process_hashes_its_share(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together the hashes of all images, in the order that one process gives them in."""
    data = read_sft_data(DataConfig(str(prepared)))
    alone = image_hashes(data, True, Processes(0, 1, CPU))
    assert len(alone) == 36
    shares: dict[int, Any] = {}

    class OfTwo(Processes):
        def all_gather(self, value: Any) -> list[Any]:
            shares[self.rank] = value
            return [shares.get(rank, value) for rank in range(2)]

    image_hashes(data, True, OfTwo(0, 2, CPU))
    assert list(image_hashes(data, True, OfTwo(1, 2, CPU)).items()) == list(alone.items())
    assert [len(shares[rank][0]) for rank in range(2)] == [18, 18]
