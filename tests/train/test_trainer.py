from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path

import pytest
import torch
from tests.train.material import Gradients, assert_close
from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from cxrgen.core.errors import InputError
from cxrgen.model.batches import IGNORE, Sample, batch_order, collate
from cxrgen.model.tower import ConvTowerConfig
from cxrgen.train.trainer import FitSettings, fit, learning_rate_share, supervised_loss

IMAGE, PAD = 63, 0


def tiny_model() -> LlavaForConditionalGeneration:
    torch.manual_seed(0)
    text = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=PAD,
    )
    tower = ConvTowerConfig(image_size=32, tokens=2, hidden_size=8, channels=(4, 8))
    return LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=tower,
            text_config=text,
            image_token_index=IMAGE,
            vision_feature_layer=-1,
            vision_feature_select_strategy="full",
        )
    )


def samples(count: int, seed: int = 0) -> list[Sample]:
    """Conversations of uneven length with none, one or two images."""
    generator = torch.Generator().manual_seed(seed)
    result = []
    for number in range(count):
        answer = torch.randint(1, 60, (3 + number % 5,), generator=generator).tolist()
        prompt = [1, *[IMAGE, IMAGE] * (number % 3), 5, 6]
        images = tuple(f"{number}-{view}" for view in range(number % 3))
        result.append(Sample(str(number), (*prompt, *answer), (*[IGNORE] * len(prompt), *answer), images))
    return result


def image(name: str) -> torch.Tensor:
    return torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(hash_of(name)))


def hash_of(name: str) -> int:
    return sum(ord(letter) * 31**place for place, letter in enumerate(name)) % 2**31


def batches(parts: list[list[Sample]]) -> list[dict]:
    return [collate(part, PAD, image) for part in parts]


def test_loss_at_supervised_positions_is_the_full_loss() -> None:
    model = tiny_model().eval()
    batch = collate(samples(6), PAD, image)
    loss, count = supervised_loss(model, batch)
    inputs = {name: value for name, value in batch.items() if name != "ids"}
    torch.testing.assert_close(loss / count, model(**inputs).loss)


def test_training_learns_and_history_is_the_loss_of_each_step() -> None:
    model = tiny_model()
    parts = batches([samples(6)]) * 30
    history = fit(model, parts, FitSettings(steps=30, learning_rate=1e-2, warmup_steps=2))
    assert len(history) == 30
    assert history[-1] < 0.5 * history[0]


def test_accumulation_weighs_tokens_and_equals_one_batch() -> None:
    whole, parts = tiny_model(), tiny_model()
    whole.model.vision_tower.eval()
    some = samples(6)
    settings = FitSettings(steps=1, learning_rate=1e-2, train=("model.language_model", "model.multi_modal_projector"))
    freeze_norms(whole), freeze_norms(parts)
    first, second = Gradients(), Gradients()
    one = fit(whole, batches([some]), settings, first)
    cut = batches([some[:1], some[1:3], some[3:]])
    two = fit(parts, cut, dataclasses.replace(settings, accumulation=3), second)
    assert one == pytest.approx(two, rel=1e-5)
    assert first.seen.keys() == {name for name, each in whole.named_parameters() if each.requires_grad}
    assert_close(second.seen, first.seen)


def freeze_norms(model: LlavaForConditionalGeneration) -> None:
    """Batch normalisation depends on the batch's composition; a frozen tower runs in evaluation mode anyway."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.0
            module.track_running_stats = False
            module.running_mean = module.running_var = None
            module.forward = lambda x: x  # type: ignore[method-assign]


def test_rule_original_is_the_mean_of_micro_batch_means() -> None:
    model = tiny_model()
    freeze_norms(model)
    some = batches([samples(6)[:1], samples(6)[1:]])
    expected = 0.0
    for batch in some:
        loss, count = supervised_loss(model, batch)
        expected += (loss / count).item() / 2
    history = fit(model, some, FitSettings(steps=1, learning_rate=0.0, accumulation=2, loss_rule="original"))
    assert history == pytest.approx([expected], rel=1e-6)


def test_only_the_named_modules_change() -> None:
    model = tiny_model()
    before = copy.deepcopy(model.state_dict())
    fit(
        model,
        batches([samples(6)]) * 2,
        FitSettings(steps=2, learning_rate=1e-2, train=("model.multi_modal_projector",)),
    )
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {
        f"model.multi_modal_projector.linear_{number}.{kind}" for number in (1, 2) for kind in ("weight", "bias")
    }


def test_bad_runs_are_stopped_with_their_step() -> None:
    with pytest.raises(InputError, match="ran out at step 2"):
        fit(tiny_model(), batches([samples(2)]), FitSettings(steps=2, learning_rate=1e-3))
    nothing = [Sample("a", (1, 2, 3), (IGNORE,) * 3, ())]
    with pytest.raises(InputError, match="without any supervised token"):
        fit(tiny_model(), batches([nothing]), FitSettings(steps=1, learning_rate=1e-3))
    broken = tiny_model()
    with torch.no_grad():
        broken.lm_head.weight[3] = math.nan
    with pytest.raises(InputError, match="step 1: the loss is nan"):
        fit(broken, batches([samples(2)]), FitSettings(steps=1, learning_rate=1e-3))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_no_numbers_stop_the_run(value: float) -> None:
    """Also where the loss would be finite: minus infinity at a token that no label asks for."""
    broken = tiny_model()
    broken.lm_head.bias = torch.nn.Parameter(torch.zeros(64))
    with torch.no_grad():
        broken.lm_head.bias[62] = value
    with pytest.raises(InputError, match=r"step 1: the loss is nan; .* this step's studies"):
        fit(broken, batches([samples(2)]), FitSettings(steps=1, learning_rate=1e-3))


def test_gradients_are_clipped_or_not() -> None:
    """0 is no clipping, as in other trainers; clipped to nought, nothing would be learnt without a word."""
    from tests.train.material import small

    from cxrgen.train.stages import fit_settings, sampler_config

    norms = []
    for most in (0.0, 1e-3):
        optim = small(Path("data"), Path("out"), max_grad_norm=most, max_steps=1).optim
        callback = Gradients()
        settings = fit_settings(optim, 6, sampler_config(optim, seed=0, view_dropout=0.0, processes=1))
        fit(tiny_model(), batches([samples(6)]), dataclasses.replace(settings, train=("",)), callback)
        norms.append(math.sqrt(sum(float((each**2).sum()) for each in callback.seen.values())))
    assert norms[0] > 0.1
    assert norms[1] == pytest.approx(1e-3, rel=1e-3)


def test_learning_rate_rises_from_nought_and_falls_to_nought() -> None:
    settings = FitSettings(steps=10, learning_rate=1.0, warmup_steps=2)
    shares = [learning_rate_share(step, settings) for step in range(11)]
    assert shares[:3] == [0.0, 0.5, 1.0]
    assert shares[6] == pytest.approx(0.5)
    assert shares[10] == pytest.approx(0.0)


def test_batch_order_covers_everything_once_and_groups_lengths() -> None:
    lengths = [(number * 7919) % 97 for number in range(1003)]
    order = batch_order(lengths, 16, seed=5, epoch=0)
    assert sorted(index for batch in order for index in batch) == list(range(1003))
    assert order == batch_order(lengths, 16, seed=5, epoch=0)
    assert order != batch_order(lengths, 16, seed=5, epoch=1)
    spread = [max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in order]
    assert sum(spread) / len(spread) < 10  # 97 / 50 within a stretch; random batches would spread over about 85


def test_the_projector_starts_with_all_directions_alike() -> None:
    from cxrgen.model.checkpoint import Checkpoint
    from cxrgen.model.conversation import Format
    from cxrgen.model.tiny import NewModel, new_model
    from cxrgen.train.warmup import whiten_projector_init

    sizes = NewModel(image_size=32, image_tokens=4, vocabulary=300, layers=1, hidden_size=64, tower_size=16)
    model, processor = new_model(sizes, ["The heart is enlarged."], seed=0)
    generator = torch.Generator().manual_seed(0)
    loudness = torch.logspace(1, -1, 16)  # the faintest direction a hundredth of the loudest
    features = torch.randn(500, 4, 16, generator=generator) * loudness + 3.0
    whiten_projector_init(Checkpoint(model, processor, Format(image_tokens=4)), features, seed=1)
    heard = model.model.multi_modal_projector.linear_1(features.flatten(0, 1))
    assert heard.mean(dim=0).abs().max() < 1e-3
    spread = torch.linalg.eigvalsh(torch.cov((heard.T).double()))[-16:]
    assert spread.max() / spread.min() < 20  # random directions alone; it was ten thousand
