"""A run of the original by its rules, written out here: projector and two rows, micro-batch means, AdamW, rates.

The model is the recorded tiny LLaVA-Med; its first loss is the recorded one. The reference below knows
nothing of `fit`: it computes whole logits, the whole embedding matrix's gradient, and AdamW from its formula.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.model.conftest import clip_folder, v1_folder, v1_tensors  # noqa: F401 - fixtures
from tests.model.made import GOLDEN
from tests.train.material import assert_close

from cxrgen.llava_med.convert_layout import convert
from cxrgen.model.checkpoint import open_checkpoint
from cxrgen.model.pixels import image_pixels
from cxrgen.train import FitSettings, fit
from cxrgen.train.config import TrainableConfig
from cxrgen.train.trainable import fold_rows, set_trainable
from cxrgen.train.trainer import Callback, StepRecord

RECORDED = json.loads((GOLDEN / "model.json").read_text())["forward_two_images"]
ROWS = [801, 802]  # <im_start>, <im_end>
STEPS, PEAK, ACCUMULATION = 40, 2e-3, 2
Batch = dict[str, Any]


@pytest.fixture
def start(tmp_path: Path, v1_folder: Path, clip_folder: Path) -> Any:  # noqa: F811
    convert(str(v1_folder), tmp_path / "stock", "stock", str(clip_folder))
    return open_checkpoint(tmp_path / "stock")


def micro_batches(checkpoint: Any) -> list[Batch]:
    """Batches of two, one and one samples of uneven length, for ever the same; no text-only sample among them."""
    images = {name: GOLDEN / f"images/000{int(name[1]) + 1}-0001.png" for name in RECORDED["samples"]}
    ids, labels = torch.tensor(RECORDED["input_ids"]), torch.tensor(RECORDED["labels"])
    names, processor = RECORDED["samples"], checkpoint.processor.image_processor
    pixels = image_pixels([images[name] for name in names], processor, checkpoint.format)
    rows = ([0, 1], [0], [1])
    return [
        {
            "input_ids": ids[row],
            "labels": labels[row],
            "attention_mask": (ids[row] != 0).long(),
            "pixel_values": pixels[row],
            "ids": [RECORDED["samples"][number] for number in row],
        }
        for step in range(STEPS * ACCUMULATION)
        for row in [rows[step % 3]]
    ]


def rate(step: int) -> float:
    warmup = math.ceil(0.03 * STEPS)
    if step < warmup:
        return PEAK * step / warmup
    return PEAK * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (STEPS - warmup)))


def reference(model: Any, batches: list[Batch]) -> tuple[list[float], list[torch.Tensor]]:
    projector, matrix = model.model.multi_modal_projector.linear_1, model.get_input_embeddings().weight
    model.requires_grad_(False).eval()
    trained = [projector.weight, projector.bias, matrix]
    for each in trained:
        each.requires_grad_(True)
    first = [torch.zeros_like(each) for each in trained]
    second = [torch.zeros_like(each) for each in trained]
    losses = []
    for step in range(STEPS):
        gradients = [torch.zeros_like(each) for each in trained]
        total = 0.0
        for batch in batches[step * ACCUMULATION : (step + 1) * ACCUMULATION]:
            loss = model(**{name: value for name, value in batch.items() if name != "ids"}).loss / ACCUMULATION
            total += float(loss.detach())
            for sum_, new in zip(gradients, torch.autograd.grad(loss, trained)):
                sum_ += new
        others = torch.ones(len(matrix), dtype=torch.bool)
        others[ROWS] = False
        gradients[2][others] = 0  # the original detaches the text around an image
        norm = math.sqrt(sum(float((each.double() ** 2).sum()) for each in gradients))
        with torch.no_grad():
            for value, gradient, one, two in zip(trained, gradients, first, second):
                gradient *= min(1.0, 1.0 / (norm + 1e-6))
                one.mul_(0.9).add_(gradient, alpha=0.1)
                two.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
                upper = one / (1 - 0.9 ** (step + 1))
                lower = (two / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8
                value -= rate(step) * upper / lower
        losses.append(total)
    return losses, [each.detach().clone() for each in trained]


class Rates(Callback):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_step_end(self, state: Any, record: StepRecord) -> bool:
        self.seen.append(record.learning_rate)
        return False


def test_fit_in_projector_mode_is_the_original_run(start: Any, tmp_path: Path) -> None:
    batches = micro_batches(start)
    expected, values = reference(open_checkpoint(tmp_path / "stock").model, batches)
    model = start.model
    set_trainable(model, TrainableConfig("projector"), ROWS)
    settings = FitSettings(
        steps=STEPS,
        learning_rate=PEAK,
        warmup_steps=math.ceil(0.03 * STEPS),
        accumulation=ACCUMULATION,
        loss_rule="original",
        train=None,
    )
    rates = Rates()
    history = fit(model, batches, settings, rates)
    fold_rows(model)
    assert history == pytest.approx(expected, rel=1e-5)
    assert rates.seen == pytest.approx([rate(step) for step in range(STEPS)], rel=1e-12)
    assert rates.seen[0] == 0.0
    projector = model.model.multi_modal_projector.linear_1
    found = [projector.weight, projector.bias, model.get_input_embeddings().weight]
    for one, other in zip(found, values):
        assert_close({"": one.detach()}, {"": other})
    assert history[-1] < history[0]


def test_the_first_loss_is_the_recorded_one(start: Any) -> None:
    set_trainable(start.model, TrainableConfig("projector"), ROWS)
    history = fit(start.model, micro_batches(start), FitSettings(1, 0.0, loss_rule="original", train=None))
    assert history == pytest.approx([RECORDED["loss"]], rel=1e-5)
