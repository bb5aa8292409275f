"""The second stage on pairs: TRL's loss, the right pairs, and a run that lifts the better report and can be resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from tests.tiny_models import gemma3
from tests.train.material import assert_equal, weights

from cxrgen.core.candidates import Candidates, write_candidates
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.records import read_studies
from cxrgen.metrics.consensus import read_utility
from cxrgen.model.checkpoint import open_checkpoint
from cxrgen.model.families import family_of
from cxrgen.train.config import DataConfig, TrainConfig, make_config
from cxrgen.train.data import SftData, read_sft_data
from cxrgen.train.dpo import encode_pairs, preference_losses, token_log_probabilities, weighted_sums
from cxrgen.train.pipeline import train
from cxrgen.train.preferences import pairs_of_candidates, pairs_of_patients, read_pairs
from cxrgen.train.second_stages import PreferenceConfig

ROWS, LENGTH, WORDS = 6, 9, 11  # three pairs


@pytest.mark.parametrize("pair_loss", ["sigmoid", "sigmoid_norm"])
@pytest.mark.parametrize("ld_alpha", [1.0, 0.5])
def test_the_loss_is_trls_on_fixed_logits(pair_loss: str, ld_alpha: float) -> None:
    trl = pytest.importorskip("trl", reason="needs trl, which comes with the extra dev")
    generator = torch.Generator().manual_seed(0)
    logits, start = (torch.randn(ROWS, LENGTH, WORDS, generator=generator) for _ in range(2))
    ids = torch.randint(0, WORDS, (ROWS, LENGTH), generator=generator)
    mask = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    for row, answer in enumerate((4, 2, 3, 3, 1, 5)):  # tokens of the answers, which begin at 2; the rest is padding
        mask[row, 2 : 2 + answer] = 1
    config = PreferenceConfig(pair_loss=pair_loss, ld_alpha=ld_alpha, beta=0.7)
    batch = {"input_ids": ids, "labels": ids.masked_fill(mask == 0, -100)}

    def model_of(values: torch.Tensor) -> Any:
        return lambda logits_to_keep, **_: SimpleNamespace(logits=values[:, logits_to_keep])

    reference = weighted_sums(*token_log_probabilities(model_of(start), batch), ld_alpha)
    ours = preference_losses(*token_log_probabilities(model_of(logits), batch), reference, config)

    order = torch.tensor([0, 2, 4, 1, 3, 5])  # TRL has all chosen rows first
    picked = ids[order][:, 1:, None]
    shifted = mask[order][:, 1:]
    log_probs = logits[order][:, :-1].log_softmax(-1).gather(2, picked)[..., 0] * shifted
    unused = torch.zeros_like(log_probs)  # read for TRL's log
    outputs = SimpleNamespace(log_probs=log_probs, entropy=unused, mean_logits=unused, is_top1=unused.bool())
    trainer = MagicMock()
    trainer.model.training, trainer.accelerator.device = False, "cpu"
    trainer.accelerator.gather_for_metrics = lambda value: value
    trainer.aux_loss_enabled = trainer.use_weighting = trainer.label_smoothing = False
    trainer.ld_alpha = None if ld_alpha == 1.0 else ld_alpha
    trainer.precompute_ref_logps, trainer.f_divergence_type = True, "reverse_kl"
    trainer.loss_types, trainer.loss_weights, trainer.beta = [pair_loss], [1.0], config.beta
    inputs = {"input_ids": ids[order], "completion_mask": mask[order], "attention_mask": torch.ones_like(ids)}
    inputs |= {"ref_chosen_logps": reference[::2], "ref_rejected_logps": reference[1::2]}
    theirs = trl.DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, return_outputs=False)
    assert float(ours.mean()) == pytest.approx(float(theirs), abs=1e-5)
    assert len(set(ours.tolist())) == 3


def data_of(prepared: Path) -> SftData:
    return read_sft_data(DataConfig(data_path=str(prepared)))


@pytest.fixture
def candidates(prepared: Path, tmp_path: Path) -> Path:
    """Of each training study: its own report, another one, and one that is worse than both."""
    path = tmp_path / "predictions.jsonl"
    rows = [
        Candidates(each.study_id, ("Words.", each.report or "", "No effusion is seen."), (-1.0, -0.5, -0.7))
        for each in read_studies(prepared, "train")
    ]
    write_candidates(path, rows)
    return path


def test_pairs_are_the_best_and_the_worst_candidate(prepared: Path, candidates: Path) -> None:
    data = data_of(prepared)
    items = {each[0].id: each for each in data.variants}
    pairs = pairs_of_candidates(items, [candidates], read_utility("rule+rouge_l"), 0.05)
    assert len(pairs) == len(items)
    for pair, variants in zip(pairs, data.variants):
        assert pair.better[0].turns == variants[0].turns
        assert pair.worse[0].turns[-1].text == "Words."
        assert pair.worse[0].turns[0] == variants[0].turns[0]
        assert pair.worse[0].images == variants[0].images
    assert pairs_of_candidates(items, [candidates], read_utility("rouge_l"), 1.01) == []


def test_pairs_with_another_patient_s_report(prepared: Path) -> None:
    data = data_of(prepared)
    items = {each[0].id: each for each in data.variants}
    patients = {study.study_id: study.subject_id for study in data.studies}
    one, same, other = (pairs_of_patients(items, patients, seed) for seed in (3, 3, 4))
    assert one == same != other
    texts = {each[0].turns[-1].text for each in data.variants}
    for pair in one:
        assert pair.worse[0].turns[-1].text in texts - {pair.better[0].turns[-1].text}
    alone = dict.fromkeys(items, "one patient")
    assert pairs_of_patients(items, alone, 3) == []


def run_of(model: Path, data: Path, out: Path, **changes: Any) -> TrainConfig:
    settings = {"model_name_or_path": str(model), "data_path": str(data), "output_dir": str(out), "threads": 1}
    settings |= {"stage": "dpo", "max_steps": 4, "learning_rate": 1e-3, "per_device_train_batch_size": 4}
    return make_config({**settings, "save_steps": 2, "lr_scheduler_type": "constant", **changes})


def margins(folder: Path, prepared: Path, candidates: Path) -> torch.Tensor:
    """Of each pair, the better report's log-probability less the worse one's."""
    config = PreferenceConfig("dpo", str(candidates), ld_alpha=1.0)
    checkpoint = open_checkpoint(folder)
    data = data_of(prepared)
    samples, preferences, _ = encode_pairs(checkpoint, read_pairs(config, data, 0), "cut", data.folder, config)
    batch = preferences.collate(family_of(checkpoint).collator(data.folder), [each[0] for each in samples])
    with torch.no_grad():
        sums = weighted_sums(*token_log_probabilities(checkpoint.model.eval(), batch), 1.0)
    return sums[::2] - sums[1::2]


def test_a_run_lifts_the_better_reports_and_ends_the_same_when_resumed(
    llava: Path, prepared: Path, candidates: Path, tmp_path: Path
) -> None:
    given = {"candidates": str(candidates), "other_patient_pairs": True, "view_dropout": 0.3}
    losses = train(run_of(llava, prepared, tmp_path / "whole", **given))
    assert losses[0] == pytest.approx(0.6931, abs=1e-3), "the first step begins where the reference is: log 2"
    assert losses[-1] < losses[0]
    train(run_of(llava, prepared, tmp_path / "start", **given, max_steps=1, learning_rate=0.0))
    gained = margins(tmp_path / "whole", prepared, candidates) - margins(tmp_path / "start", prepared, candidates)
    assert float(gained.mean()) > 0.1

    half = tmp_path / "half"
    train(run_of(llava, prepared, half, **given))
    shutil.rmtree(half / "checkpoint-4")
    assert train(run_of(llava, prepared, half, resume=True, **given)) == losses
    assert_equal(weights(half), weights(tmp_path / "whole"))
    candidates.write_text(candidates.read_text().replace("Words.", "Other words."))
    with pytest.raises(InputError, match="candidates"):
        train(run_of(llava, prepared, half, resume=True, **given))


def test_any_class_by_its_own_template(prepared: Path, candidates: Path, tmp_path: Path) -> None:
    model = gemma3(tmp_path / "gemma")
    losses = train(run_of(model, prepared, tmp_path / "run", candidates=str(candidates), max_steps=3))
    assert losses[0] == pytest.approx(0.6931, abs=1e-3)
    assert losses[-1] < losses[0]
    assert json.loads((tmp_path / "run" / "cxrgen.json").read_text())["template"] == "chat"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidates": ""}, "needs --candidates"),
        ({"model_name_or_path": ""}, "goes on from a trained model"),
        ({"packing": True}, "--packing is for --stage sft"),
        ({"stage": "sft"}, "--candidates is for --stage dpo"),
        ({"candidates": "absent.jsonl"}, "no such file"),
        ({"pair_gap": 2.0}, "no pair of reports"),
        ({"pair_utility": "bertscore"}, "--pair_utility: bertscore needs"),
    ],
)
def test_what_cannot_be_learnt_is_refused(
    llava: Path, prepared: Path, candidates: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    given = {"candidates": str(candidates), **changes}
    with pytest.raises((UsageError, InputError), match=message):
        train(run_of(llava, prepared, tmp_path / "run", **{"model_name_or_path": str(llava), **given}))
