"""The second stage on rewards: TRL's loss, the tokens that were written, runs that gain and can be resumed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from tests.forked import cxrgen
from tests.tiny_models import gemma3
from tests.train.material import assert_close, assert_equal, weights

from cxrgen.core.errors import InputError, UsageError
from cxrgen.generate.decoding.reports import write_reports
from cxrgen.generate.decoding.sampling import make_sampler
from cxrgen.generate.samples import sampled
from cxrgen.metrics import rewards
from cxrgen.model.batches import answer_ids
from cxrgen.model.checkpoint import open_model_folder
from cxrgen.model.families import family_of
from cxrgen.train.config import DataConfig, TrainConfig, make_config
from cxrgen.train.data import read_sft_data
from cxrgen.train.dpo import token_log_probabilities
from cxrgen.train.grpo import ADVANTAGES, BEFORE, REFERENCE, group_advantages, policy_loss
from cxrgen.train.pipeline import train
from cxrgen.train.policy_callback import PolicyCallback
from cxrgen.train.second_stages import PolicyConfig

ROWS, LENGTH, WORDS = 6, 9, 11
LONGEST = 7  # tokens of a report


@pytest.mark.parametrize("policy_loss_name", ["dr_grpo", "grpo"])
@pytest.mark.parametrize(("kl_weight", "temperature", "clip_high"), [(0.0, 1.0, 0.2), (0.3, 0.7, 0.28)])
def test_the_loss_is_trls_on_fixed_logits(
    policy_loss_name: str, kl_weight: float, temperature: float, clip_high: float
) -> None:
    trl = pytest.importorskip("trl", reason="needs trl, which comes with the extra dev")
    generator = torch.Generator().manual_seed(0)
    logits, sampling, start = (torch.randn(ROWS, LENGTH, WORDS, generator=generator) for _ in range(3))
    sampling = logits + 0.4 * sampling  # some ratios are clipped, some are not
    ids = torch.randint(0, WORDS, (ROWS, LENGTH), generator=generator)
    mask = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    for row, answer in enumerate((4, 2, 3, 3, 1, 7)):  # tokens of the reports, which begin at 2; the rest is padding
        mask[row, 2 : 2 + answer] = 1
    advantages = torch.tensor([0.5, -0.5, 1.0, -1.0, 0.2, -0.2])
    config = PolicyConfig(
        policy_loss=policy_loss_name,
        kl_weight=kl_weight,
        sample_temperature=temperature,
        clip_high=clip_high,
        sample_tokens=LONGEST,
    )
    batch: dict[str, Any] = {"input_ids": ids, "labels": ids.masked_fill(mask == 0, -100)}

    def model_of(values: torch.Tensor) -> Any:
        return lambda logits_to_keep, **_: SimpleNamespace(logits=values[:, logits_to_keep])

    before = token_log_probabilities(model_of(sampling), batch, temperature)[0]
    given = {ADVANTAGES: advantages, BEFORE: before}
    if kl_weight:
        given[REFERENCE] = token_log_probabilities(model_of(start), batch, temperature)[0]
    total, count, seen = policy_loss(model_of(logits), {**batch, **given}, config)

    def trls(values: torch.Tensor) -> torch.Tensor:
        return (values[:, 1:-1] / temperature).log_softmax(-1).gather(2, ids[:, 2:, None])[..., 0]

    trainer = MagicMock()
    trainer._get_per_token_logps_and_entropies.return_value = (trls(logits), torch.zeros(ROWS, LONGEST), None)
    trainer.model.training, trainer.accelerator.gather = False, lambda value: value
    trainer.accelerator.reduce = lambda value, reduction: value
    trainer.aux_loss_enabled = trainer.use_vllm = trainer._entropy_bonus_enabled = False
    trainer.top_entropy_quantile, trainer.off_policy_mask_threshold = 1.0, None
    trainer.importance_sampling_level, trainer.beta, trainer.loss_type = "token", kl_weight, policy_loss_name
    trainer.args.use_bias_correction_kl, trainer.args.delta = False, None
    trainer.epsilon_low, trainer.epsilon_high, trainer.max_completion_length = config.clip_low, clip_high, LONGEST
    inputs = {"prompt_ids": ids[:, :2], "completion_ids": ids[:, 2:], "completion_mask": mask[:, 2:]}
    inputs |= {"prompt_mask": torch.ones(ROWS, 2), "advantages": advantages}
    inputs |= {"old_per_token_logps": trls(sampling), "ref_per_token_logps": trls(start)}
    theirs = trl.GRPOTrainer._compute_loss(trainer, None, inputs)
    assert float(total / count) == pytest.approx(float(theirs), abs=1e-5)
    assert count == ROWS
    assert 0 < seen[1] < seen[2] == mask.sum(), "of the tokens some are clipped"


def test_advantages_are_what_a_reward_is_above_its_group() -> None:
    rewards = np.array([[0.0, 1.0, 2.0], [5.0, 5.0, 5.0]])
    plain = group_advantages(rewards, PolicyConfig())
    assert plain.tolist() == [[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    scaled = group_advantages(2 * rewards, PolicyConfig(policy_loss="grpo"))
    assert scaled[0] == pytest.approx([-1.0, 0.0, 1.0], abs=1e-3)
    assert scaled[1].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("kind", ["llava", "gemma"])
def test_what_is_learnt_are_the_very_tokens_that_were_written(
    kind: str, writer: Path, prepared: Path, tmp_path: Path
) -> None:
    """The log-probabilities of training are those that the engine had when it wrote."""
    checkpoint = open_model_folder(writer if kind == "llava" else gemma3(tmp_path / "gemma"))
    data = read_sft_data(DataConfig(data_path=str(prepared)))
    asked = sampled([each[0] for each in data.variants[:3]], 2)
    sampler = make_sampler(1.0, seed=3)
    written = dict(write_reports(checkpoint, asked, data.folder, 6, 12, sampler, scored=True))
    family = family_of(checkpoint)
    reports = [written[place] for place in range(6)]
    rows = [family.answered(question, report.tokens, data.folder) for question, report in zip(asked, reports)]
    with torch.no_grad():
        logps, mask = token_log_probabilities(checkpoint.model.eval(), family.collator(data.folder)(rows))
    lengths = mask.sum(dim=1).tolist()
    means = ((logps * mask).sum(dim=1) / mask.sum(dim=1)).tolist()
    whole = [place for place in range(6) if lengths[place] == len(reports[place].tokens)]
    assert len(whole) >= 3, "the others were cut behind a special token that a random model may write"
    assert [means[at] for at in whole] == pytest.approx([reports[at].log_probability for at in whole], abs=1e-4)


def test_behind_a_special_token_nothing_is_learnt() -> None:
    """It may stand for an image, which the model would then look for."""
    assert answer_ids([5, 6, 7], {9}, pad=0) == ([5, 6, 7], [5, 6, 7])
    assert answer_ids([5, 9, 7, 9], {9}, pad=0) == ([5, 0], [5, 9])


def run_of(model: Path, data: Path, out: Path, **changes: Any) -> TrainConfig:
    settings = {"model_name_or_path": str(model), "data_path": str(data), "output_dir": str(out), "threads": 1}
    settings |= {"stage": "grpo", "max_steps": 4, "learning_rate": 3e-3, "per_device_train_batch_size": 4}
    settings |= {"group_size": 4, "sample_tokens": 24, "reward": "rouge_l", "watch_steps": 50, "watch_studies": 6}
    return make_config({**settings, "save_steps": 2, "lr_scheduler_type": "constant", **changes})


def lines_of(out: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


def shorter(reports: Sequence[str], references: Sequence[str], studies: object = ()) -> list[float]:
    return [-len(report.split()) / 10 for report in reports]


def test_a_run_lifts_its_reward_and_ends_the_same_when_resumed(
    writer: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rewards.REWARDS, "shorter", shorter)
    given: dict[str, Any] = {"updates": 2, "max_steps": 8, "save_steps": 4, "view_dropout": 0.3, "reward": "shorter"}
    losses = train(run_of(writer, prepared, tmp_path / "whole", **given))
    gained = lines_of(tmp_path / "whole", "reward")
    assert gained[0] == gained[1], "two steps on the same reports"
    assert gained[-1] > gained[0] + 0.1
    assert max(lines_of(tmp_path / "whole", "clipped")) > 0
    assert lines_of(tmp_path / "whole", "kl")[0] == pytest.approx(0.0, abs=1e-6), "it begins where the reference is"
    assert max(lines_of(tmp_path / "whole", "clipped")[::2]) == 0.0, "the first step on new reports clips nothing"

    half = tmp_path / "half"
    train(run_of(writer, prepared, half, **given))
    shutil.rmtree(half / "checkpoint-8")
    assert train(run_of(writer, prepared, half, resume=True, **given)) == losses
    assert_equal(weights(half), weights(tmp_path / "whole"))
    assert (half / "log.jsonl").read_text().count('"held_reward"') == 2, "at the start and at the end"


def test_any_class_by_its_own_template(prepared: Path, tmp_path: Path) -> None:
    model = gemma3(tmp_path / "gemma")
    losses = train(run_of(model, prepared, tmp_path / "run", max_steps=2, sample_tokens=8))
    assert len(losses) == 2
    assert json.loads((tmp_path / "run" / "cxrgen.json").read_text())["template"] == "chat"


def test_adapters_are_held_to_the_model_without_them(writer: Path, prepared: Path, tmp_path: Path) -> None:
    given = {"train_modules": "lora", "lora_rank": 2, "lora_dropout": 0.0, "max_steps": 3, "learning_rate": 3e-2}
    train(run_of(writer, prepared, tmp_path / "run", **given))
    distances = lines_of(tmp_path / "run", "kl")
    assert distances[0] == pytest.approx(0.0, abs=1e-6)
    assert distances[-1] > 1e-4


def test_a_stop_waits_for_the_end_of_a_round() -> None:
    """A round's reports are in the memory of the process, so a run ends between two of them."""
    callback = PolicyCallback.__new__(PolicyCallback)
    callback.policy, callback._asked_to_stop = SimpleNamespace(updates=3), True  # type: ignore[assignment]
    stops = []
    for callback._step in range(5):
        stops.append(callback.should_stop())
    assert stops == [True, False, False, True, False]


@pytest.mark.slow
def test_two_processes_are_one(writer: Path, prepared: Path, tmp_path: Path) -> None:
    """The same reports are sampled, and the same steps taken."""
    words = ("train", "--model_name_or_path", writer, "--data_path", prepared, "--stage", "grpo", "--max_steps", 3)
    words += ("--global_batch_size", 8, "--per_device_train_batch_size", 2, "--learning_rate", 1e-3, "--group_size", 4)
    words += ("--sample_tokens", 24, "--reward", "rouge_l", "--save_steps", 1, "--save_total_limit", 9)
    words += ("--watch_studies", 6, "--output_dir")
    cxrgen(*words, tmp_path / "one")
    cxrgen(*words, tmp_path / "two", processes=2)
    for name in ("reward", "words", "distinct", "held_reward", "held_words"):
        assert lines_of(tmp_path / "two", name) == pytest.approx(lines_of(tmp_path / "one", name), rel=1e-6)
    assert_close(weights(tmp_path / "two"), weights(tmp_path / "one"), within=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_name_or_path": ""}, "goes on from a trained model"),
        ({"packing": True}, "--packing is for --stage sft; leave it out of --stage grpo"),
        ({"candidates": "a.jsonl"}, "--candidates is for --stage dpo"),
        ({"stage": "sft", "outside_data": "x"}, "--outside_data is for --stage grpo"),
        ({"stage": "dpo", "reward_truth": "x"}, "--reward_truth is for --stage grpo"),
        ({"fsdp": "full_shard"}, "--fsdp with --stage grpo: each process samples"),
        ({"dataloader_num_workers": 2}, "--dataloader_num_workers with --stage grpo"),
        ({"save_strategy": "no"}, "the best state has to be kept"),
        ({"eval_strategy": "steps"}, "--watch_steps takes its place"),
        ({"split": "valid"}, "must not be learnt"),
        ({"updates": 3}, "--save_steps 2: a multiple of --updates 3"),
        ({"reward": "rouge"}, "unknown reward 'rouge'; choose from .*rouge_l"),
        ({"reward": "rouge_l+finding_f1"}, "needs the table of true findings: --reward_truth"),
        ({"reward": "finding_f1_macro"}, "finding_f1 is the one of each report"),
        ({"reward": "chexbert_similarity"}, "reward chexbert_similarity: "),
        ({"reward_truth": "absent.csv"}, "absent.csv: no such file"),
        ({"outside_data": "absent"}, "absent: no studies.parquet; give a folder .* as --outside_data"),
        ({"sample_temperature": 0.0}, "a number above 0"),
        ({"group_size": 1}, "--group_size 1: at least 2"),
    ],
)
def test_what_cannot_be_learnt_is_refused_before_the_run(
    llava: Path, prepared: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((UsageError, InputError), match=message):
        train(run_of(llava, prepared, tmp_path / "run", **{"model_name_or_path": str(llava), **changes}))
    assert not (tmp_path / "run").exists()
