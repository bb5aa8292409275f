"""A small prepared set, a tiny stock LLaVA folder, and the command as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from cxrgen.core.records import Study, View, write_studies
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.train.callbacks import RunCallback
from cxrgen.train.config import TrainConfig, make_config
from cxrgen.train.init_model import init_model
from cxrgen.train.trainer import Callback, FitState, StepRecord

SENTENCES = ("The heart is large.", "The heart is of normal size.", "There is a left effusion.", "No effusion is seen.")


def write_image(path: Path, seed: int, size: tuple[int, int] = (40, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)).save(path)


def write_prepared(folder: Path, train: int = 24, valid: int = 6, source: str = "phantom") -> Path:
    """Studies of one or two images and one to three sentences; labels of the data set's own."""
    studies = []
    for number in range(train + valid):
        views = []
        for kind in ("frontal", "lateral")[: 1 + number % 2]:
            name = f"images/{number:04}-{kind}.png"
            write_image(folder / name, 7 * number + len(views))
            views.append(View(name, kind, width=40, height=32))
        report = " ".join(SENTENCES[(number + k) % 4] for k in range(1 + number % 3))
        split = "train" if number < train else "valid"
        labels = {"Cardiomegaly": number % 2, "Pleural Effusion": number % 3 % 2}
        study = Study(f"{number:04}", f"p{number}", split, views=tuple(views), report=report, source=source)
        studies.append(Study(**{**vars(study), "labels": labels}))
    write_studies(folder / "studies.parquet", studies)
    return folder


def write_llava(folder: Path, seed: int = 0, tokens: bool = True, tied: bool = False) -> Path:
    """A stock LLaVA of a CLIP tower and a Llama, a few thousand weights; no cxrgen.json."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from cxrgen.model.tiny import learn_tokenizer

    torch.manual_seed(seed)
    tokenizer = learn_tokenizer([*SENTENCES, "USER: ASSISTANT: Human Write the report."] * 5, 320)
    if tokens:
        tokenizer.add_tokens(["<im_start>", "<im_end>"], special_tokens=True)
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=tied,
    )
    tower = CLIPVisionConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2, image_size=28, patch_size=14
    )
    image = tokenizer.convert_tokens_to_ids("<image>")
    layer = {"vision_feature_layer": -2, "tie_word_embeddings": tied}
    config = LlavaConfig(vision_config=tower, text_config=text, image_token_index=image, image_seq_length=4, **layer)
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer=tokenizer,
        patch_size=14,
        num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_conversations(folder: Path, count: int = 8) -> Path:
    """A LLaVA JSON file as the published ones are: an image or none, and one whose image is not there."""
    items = []
    for number in range(count):
        item = {
            "id": f"{number}_F1",
            "image": f"{number}_F1.jpg",
            "conversations": [
                {"from": "human", "value": "Write the report.\n<image>"},
                {"from": "gpt", "value": SENTENCES[number % 4]},
            ],
        }
        if number == 3:  # text alone
            del item["image"]
            item["conversations"][0]["value"] = "Write the report."
        elif number != 5:  # the fifth is missing
            write_image(folder / "images" / f"{number}_F1.jpg", number)
        items.append(item)
    file = folder / "train.json"
    file.write_text(json.dumps(items))
    return file


TORCHRUN = (sys.executable, "-m", "torch.distributed.run")  # torchrun, whether or not its folder is on the path


def torchrun(
    *words: object, options: tuple[str, ...] = ("--standalone", "--nproc_per_node=2")
) -> subprocess.CompletedProcess[str]:
    """Processes by torchrun itself."""
    command = [*TORCHRUN, *options, *map(str, words)]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert result.returncode == 0, result.stderr
    return result


def small(data: Path, out: Path, **changes: object) -> TrainConfig:
    """A run of a few steps that makes a new model; 24 samples are six steps an epoch."""
    sizes = {"image_size": 32, "image_tokens": 2, "vocabulary": 320, "layers": 1, "hidden_size": 32, "heads": 2}
    settings = {"max_steps": 8, "learning_rate": 1e-2, "per_device_train_batch_size": 4, "save_steps": 2, "threads": 1}
    return make_config({"data_path": str(data), "output_dir": str(out), **sizes, **settings, **changes})


def opened(config: TrainConfig) -> Checkpoint:
    """The model that a run starts from."""
    return init_model(config.model, config.tiny, [], config.seed)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Bit by bit."""
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], within: float = 1e-5) -> None:
    """No element differs by more than `within` of the largest element of its tensor.

    The gradient of an attention's key bias is nought (it moves all scores of a row alike, which no softmax sees), so
    what is computed is rounding alone; it is held to the scale of the key matrix beside it.
    """
    assert one.keys() == other.keys()
    for name in one:
        scale = other[name.replace("k_proj.bias", "k_proj.weight")].abs().max().item()
        far = (one[name] - other[name]).abs().max().item()
        assert far <= within * scale, f"{name}: {far:.2g} apart, the largest element is {scale:.2g}"


class Gradients(Callback):
    """Keeps the gradients of `fit`'s first step: AdamW's first moment is then a tenth of them."""

    def __init__(self) -> None:
        self.seen: dict[str, torch.Tensor] = {}

    def on_step_end(self, state: FitState, record: StepRecord) -> bool:
        if record.step == 1:
            for name, parameter in state.model.named_parameters():
                if parameter.requires_grad:
                    self.seen[name] = state.optimizer.state[parameter]["exp_avg"].clone() / (1 - 0.9)
        return False


class Crash(Exception):
    """Stands for a power cut: nothing is saved on the way out."""


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], object]) -> None:
    """Do something when a step is done and logged, before any checkpoint of it."""
    log = RunCallback.on_step_end

    def on_step_end(self: RunCallback, state: FitState, record: StepRecord) -> bool:
        if record.step == step:
            act()
        return log(self, state, record)

    monkeypatch.setattr(RunCallback, "on_step_end", on_step_end)


def crash() -> None:
    raise Crash


def write_seven_billion(folder: Path) -> Path:
    """config.json of LLaVA-Med 7B's shapes, and nothing else."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

    text = LlamaConfig(
        vocab_size=32003, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32
    )
    encoder = CLIPVisionConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, patch_size=14
    )
    LlavaConfig(vision_config=encoder, text_config=text, vision_feature_layer=-2).save_pretrained(folder)
    return folder
