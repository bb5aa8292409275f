"""A checkpoint folder in TRL's own trainers: the loss that this package has, our rewards, and real steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from cxrgen.core.records import FRONTAL, LATERAL, Study, View
from cxrgen.metrics.rewards import for_trl, mixed
from cxrgen.model.batches import Sample, collate
from cxrgen.model.checkpoint import open_checkpoint, write_checkpoint
from cxrgen.model.conversation import encode
from cxrgen.model.pixels import image_pixels
from cxrgen.text.prompts import IMAGE, study_conversation
from cxrgen.train.config import make_config
from cxrgen.train.init_model import init_model
from cxrgen.train.trainer import supervised_loss

REPORT = "The lungs are clear."
SMALL = {"vocabulary": 200, "image_size": 32, "image_tokens": 2, "layers": 1, "hidden_size": 32, "heads": 2}


@pytest.mark.slow
def test_trls_trainer_takes_the_folder(tmp_path: Path) -> None:
    trl = pytest.importorskip("trl", reason="needs trl, which comes with the extra dev")
    datasets = pytest.importorskip("datasets")
    from transformers import AutoModelForImageTextToText, AutoProcessor

    config = make_config(SMALL)
    folder, image = tmp_path / "model", tmp_path / "a.png"
    write_checkpoint(folder, init_model(config.model, config.tiny, [f"{REPORT} Frontal: Lateral: Write the report."]))
    Image.new("RGB", (32, 32), (90, 90, 90)).save(image)
    conversation = study_conversation(
        Study("1", "p", views=(View(str(image), FRONTAL), View(str(image), LATERAL)), report=REPORT)
    )

    first, second, rest = conversation.turns[0].text.split(IMAGE)
    picture = {"type": "image"}
    content = [{"type": "text", "text": first}, picture, {"type": "text", "text": second}, picture]
    row = {
        "images": [Image.open(image), Image.open(image)],
        "prompt": [{"role": "user", "content": [*content, {"type": "text", "text": rest}]}],
        "completion": [{"role": "assistant", "content": [{"type": "text", "text": REPORT}]}],
    }
    model = AutoModelForImageTextToText.from_pretrained(folder)
    before = [parameter.clone() for parameter in model.parameters()]
    trainer = trl.SFTTrainer(
        model=model,
        processing_class=AutoProcessor.from_pretrained(folder),
        train_dataset=datasets.Dataset.from_list([row] * 4),
        args=trl.SFTConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=2,
            per_device_train_batch_size=2,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_steps=1,
            max_length=None,
            bf16=False,
            gradient_checkpointing=False,
        ),
    )
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert len(losses) == 2
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters()))

    checkpoint = open_checkpoint(folder)
    ids, labels = encode(conversation.turns, checkpoint.tokenizer, checkpoint.format, 2)
    sample = Sample("1", ids, labels, conversation.images)
    images = checkpoint.processor.image_processor
    batch = collate([sample, sample], 0, lambda path: image_pixels([Path(path)], images, checkpoint.format)[0])
    checkpoint.model.train()  # as TRL has it: the small encoder normalises by its batch
    with torch.no_grad():
        total, count = supervised_loss(checkpoint.model, batch)
    assert losses[0] == pytest.approx(float(total) / int(count), abs=1e-5)


@pytest.mark.slow
def test_trls_grpo_trainer_takes_the_folder_and_our_rewards(tmp_path: Path) -> None:
    """Two steps on a model that sees two images, rewarded by a mix of scores."""
    trl = pytest.importorskip("trl", reason="needs trl, which comes with the extra dev")
    datasets = pytest.importorskip("datasets")
    from transformers import AutoModelForImageTextToText, AutoProcessor

    config = make_config(SMALL)
    folder, image = tmp_path / "model", tmp_path / "a.png"
    write_checkpoint(folder, init_model(config.model, config.tiny, [f"{REPORT} Frontal: Lateral: Write the report."]))
    Image.new("RGB", (32, 32), (90, 90, 90)).save(image)
    picture = {"type": "image"}
    words = [{"type": "text", "text": text} for text in ("Frontal: ", "\nLateral: ", "\nWrite the report.")]
    content = [words[0], picture, words[1], picture, words[2]]
    row = {
        "images": [Image.open(image), Image.open(image)],
        "prompt": [{"role": "user", "content": content}],
        "reference": REPORT,
    }
    rewards: list[float] = []
    reward = for_trl(mixed("gleu+rule_f1+0.5*length_penalty"))

    def watched(**given: object) -> list[float]:
        rewards.extend(reward(**given))  # type: ignore[arg-type]
        return rewards[-len(given["completions"]) :]  # type: ignore[arg-type]

    model = AutoModelForImageTextToText.from_pretrained(folder)
    before = [parameter.clone() for parameter in model.parameters()]
    trainer = trl.GRPOTrainer(
        model=model,
        processing_class=AutoProcessor.from_pretrained(folder),
        train_dataset=datasets.Dataset.from_list([row] * 4),
        reward_funcs=[watched],
        args=trl.GRPOConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=2,
            per_device_train_batch_size=4,
            num_generations=4,
            max_completion_length=8,
            temperature=1.5,
            learning_rate=1e-3,
            use_cpu=True,
            bf16=False,
            report_to="none",
            save_strategy="no",
            logging_steps=1,
            gradient_checkpointing=False,
        ),
    )
    trainer.train()
    assert len(rewards) == 8
    assert len(set(rewards)) > 1
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters()))
