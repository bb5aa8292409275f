"""Ways to compute the same thing give the same thing (fp32, 1e-5): packing, grouping, caching, several processes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.forked import cxrgen
from tests.train.material import Gradients, assert_close, small

from cxrgen.model.batches import IGNORE, Sample, collate, pack
from cxrgen.model.checkpoint import open_checkpoint
from cxrgen.model.features import precomputed_features, tower_features
from cxrgen.train.data import SamplerConfig, micro_batches
from cxrgen.train.pipeline import train
from cxrgen.train.trainer import FitSettings, fit, supervised_loss


@pytest.fixture
def model(llava: Path) -> Any:
    return load_model(llava).eval()


def samples(model: Any, count: int = 6) -> list[Sample]:
    """None, one or two images a sample, four tokens an image, answers of uneven length."""
    generator = torch.Generator().manual_seed(1)
    image = model.config.image_token_id
    made = []
    for number in range(count):
        answer = torch.randint(5, 300, (3 + 2 * number,), generator=generator).tolist()
        prompt = [1, *([image] * 4 + [7]) * (number % 3), 9]
        labels = (*[IGNORE] * len(prompt), *answer)
        made.append(Sample(str(number), (*prompt, *answer), labels, tuple(f"{number}{k}" for k in range(number % 3))))
    return made


def image(name: str) -> torch.Tensor:
    return torch.randn(3, 28, 28, generator=torch.Generator().manual_seed(int(name) + 1))


def loss_and_gradients(model: Any, batches: list[dict[str, Any]]) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    total = sum(supervised_loss(model, batch)[0] for batch in batches)
    total.backward()
    return float(total.detach()), {
        name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None
    }


def test_packed_grouped_and_one_by_one_are_equal(model: Any) -> None:
    some = samples(model)
    alone_loss, alone = loss_and_gradients(model, [collate([each], 0, image) for each in some])
    for batches in (
        [collate(some, 0, image)],
        [pack(some, 0, image)],
        [pack(some[:2], 0, image), pack(some[2:], 0, image)],
    ):
        loss, gradients = loss_and_gradients(model, batches)
        assert loss == pytest.approx(alone_loss, rel=1e-5)
        assert_close(gradients, alone)


def test_packing_without_the_mask_would_not_be_equal(model: Any) -> None:
    some = samples(model)
    packed = pack(some, 0, image)
    packed["attention_mask"] = torch.ones_like(packed["attention_mask"]).tril()
    wrong = float(supervised_loss(model, packed)[0].detach())
    right = float(supervised_loss(model, pack(some, 0, image))[0].detach())
    assert wrong != pytest.approx(right, rel=1e-4)


def test_head_at_supervised_positions_is_the_full_head(model: Any) -> None:
    batch = collate(samples(model), 0, image)
    loss, gradients = loss_and_gradients(model, [batch])
    model.zero_grad()
    logits = model(**{name: value for name, value in batch.items() if name not in ("ids", "labels")}).logits
    full = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORE, reduction="sum"
    )
    full.backward()
    assert loss == pytest.approx(float(full.detach()), rel=1e-5)
    expected = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    assert_close(gradients, expected)


def test_cached_features_are_recomputed_features(model: Any) -> None:
    model.model.vision_tower.requires_grad_(False)
    some = samples(model)
    loss, gradients = loss_and_gradients(model, [collate(some, 0, image)])
    with torch.no_grad():
        known = {name: tower_features(model, image(name)[None])[0] for each in some for name in each.images}
    with precomputed_features(model):
        cached_loss, cached = loss_and_gradients(model, [collate(some, 0, known.__getitem__)])
    assert cached_loss == pytest.approx(loss, rel=1e-5)
    assert_close(cached, gradients)


def test_the_cut_of_a_step_does_not_matter(llava: Path) -> None:
    """Token weighting: one batch of six, six of one, and packed pairs take the same step."""
    results = []
    for cut in (collate, pack):
        for size in (6, 2, 1):
            model = load_model(llava)
            some = samples(model)
            batches = [cut(some[first : first + size], 0, image) for first in range(0, 6, size)]
            settings = FitSettings(
                1, 1e-3, accumulation=6 // size, clip_norm=1e9, train=("model.language", "model.multi", "lm_")
            )
            callback = Gradients()
            results.append((fit(model, batches, settings, callback), callback.seen))
    for history, gradients in results[1:]:
        assert history == pytest.approx(results[0][0], rel=1e-5)
        assert_close(gradients, results[0][1])


def load_model(folder: Path) -> Any:
    from transformers import LlavaForConditionalGeneration

    return LlavaForConditionalGeneration.from_pretrained(folder)


def test_the_order_of_samples_does_not_know_processes() -> None:
    variants = [[Sample(str(n), (1,) * (3 + n * 7 % 11), (2,) * (3 + n * 7 % 11), ())] for n in range(22)]

    def steps(accumulation: int, count: int, first: int = 0) -> list[list[str]]:
        order = SamplerConfig(8, accumulation, seed=3)
        streams = [micro_batches(variants, order, rank, count, first) for rank in range(count)]
        return [
            sorted(
                sample.id
                for _ in range(accumulation)
                for stream in streams
                for sample in next(stream)
                if set(sample.labels) != {IGNORE}
            )
            for _ in range(7 - first)
        ]

    expected = steps(1, 1)
    assert steps(8, 1) == steps(1, 2) == steps(2, 2) == steps(1, 8) == expected
    assert steps(2, 2, first=4) == expected[4:]  # in the second epoch
    assert sorted(name for step in expected[:3] for name in step) == sorted(str(n) for n in range(22))


def command(llava: Path, prepared: Path, out: Path, *more: object) -> tuple[object, ...]:
    return (
        *("train", "--model_name_or_path", llava, "--data_path", prepared, "--output_dir", out),
        *("--global_batch_size", 8, "--per_device_train_batch_size", 2, "--learning_rate", 1e-3, "--max_steps", 5),
        *("--version", "v1", "--save_steps", 1, "--save_total_limit", 9, "--max_grad_norm", 1e9, *more),
    )


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def first_gradients(out: Path) -> dict[str, torch.Tensor]:
    """A tenth of the first step's gradients, summed over processes and never clipped: AdamW's first moments."""
    moments = load_file(out / "checkpoint-1" / "optimizer.safetensors")
    return {name.removesuffix("/exp_avg"): value for name, value in moments.items() if name.endswith("/exp_avg")}


def broken_off(run: Path, out: Path, step: int) -> Path:
    """A copy of a finished run as it was after `step`."""
    shutil.copytree(run, out)
    for later in out.glob("checkpoint-*"):
        if int(later.name.partition("-")[2]) > step:
            shutil.rmtree(later)
    return out


@pytest.fixture(scope="module")
def alone(llava: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    cxrgen(*command(llava, prepared, out, "--train_modules", "full"))
    return out


@pytest.mark.slow
@pytest.mark.parametrize("sharding", [(), ("--fsdp", "full_shard auto_wrap")], ids=["ddp", "fsdp"])
def test_two_processes_are_one(
    alone: Path, llava: Path, prepared: Path, tmp_path: Path, sharding: tuple[str, ...]
) -> None:
    """Gradients and losses; a checkpoint of either is resumed by the other."""
    out = tmp_path / "two"
    cxrgen(*command(llava, prepared, out, "--train_modules", "full", *sharding), processes=2)
    assert_close(first_gradients(out), first_gradients(alone))
    assert losses(out) == pytest.approx(losses(alone), rel=1e-5)
    one = broken_off(out, tmp_path / "one", 3)
    cxrgen(*command(llava, prepared, one, "--train_modules", "full", "--resume"))
    two = broken_off(alone, tmp_path / "again", 3)
    cxrgen(*command(llava, prepared, two, "--train_modules", "full", "--resume", *sharding), processes=2)
    for resumed in (one, two):
        assert losses(resumed) == pytest.approx(losses(alone), rel=1e-5)


@pytest.mark.slow
def test_a_stage_on_texts_comes_before_sharding(llava: Path, prepared: Path, tmp_path: Path) -> None:
    """The same model trains on texts, then on images; sharding it twice is an error of torch."""
    words = ("--train_modules", "full", "--text_steps", 2)
    cxrgen(*command(llava, prepared, tmp_path / "one", *words))
    cxrgen(*command(llava, prepared, tmp_path / "two", *words, "--fsdp", "full_shard auto_wrap"), processes=2)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)


@pytest.mark.slow
def test_text_only_batches_on_one_of_two_processes(tmp_path: Path, llava: Path) -> None:
    """A process whose batch holds no image still takes part in every gradient."""
    from tests.train.material import write_conversations

    data = write_conversations(tmp_path / "data", 6)
    more = ("--max_rejects", 0.5, "--image_folder", tmp_path / "data" / "images", "--train_modules", "full")
    for name, processes in (("one", 1), ("two", 2)):
        words = command(llava, data, tmp_path / name, *more, "--per_device_train_batch_size", 1)
        cxrgen(*words, processes=processes)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)


def test_packing_a_whole_run(prepared: Path, tmp_path: Path) -> None:
    padded = train(small(prepared, tmp_path / "padded", max_steps=3))
    packed = train(small(prepared, tmp_path / "packed", max_steps=3, packing=True))
    assert packed == pytest.approx(padded, rel=1e-5)
    assert open_checkpoint(tmp_path / "packed").format == open_checkpoint(tmp_path / "padded").format
