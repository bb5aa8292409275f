"""A checkpoint folder in TRL's own trainer: it starts with the loss that this package has, and takes real steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from cxrgen.core.records import FRONTAL, LATERAL, Study, View
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
