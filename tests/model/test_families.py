"""Every class that goes by its own chat template: labels, loss, padding and parts, against transformers' numbers."""

from __future__ import annotations

import copy
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.tiny_models import SENTENCES, TINY_MODELS, paligemma
from tests.train.material import assert_close, write_image

from cxrgen.core.errors import InputError
from cxrgen.core.records import Conversation, Turn
from cxrgen.model.batches import IGNORE, Sample, without_loss
from cxrgen.model.checkpoint import Checkpoint, open_by_chat_template, open_checkpoint, write_checkpoint
from cxrgen.model.families import family_of
from cxrgen.model.parts import LANGUAGE, find_parts
from cxrgen.train.config import TrainableConfig
from cxrgen.train.trainable import set_trainable
from cxrgen.train.trainer import supervised_loss

CLASSES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name == "smolvlm" and importlib.util.find_spec("num2words") is None,
            reason="SmolVLM's processor needs the package num2words; idefics3 has the same structure",
        ),
    )
    for name in TINY_MODELS
]
ASK = "Write the report."
VIEWS = ("Frontal", "Lateral")


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = TINY_MODELS[name](tmp_path_factory.mktemp("models") / name)
        return made[name]

    return folder


@pytest.fixture(scope="module")
def checkpoint_of(folder_of: Callable[[str], Path]) -> Callable[[str], Checkpoint]:
    opened: dict[str, Checkpoint] = {}

    def checkpoint(name: str) -> Checkpoint:
        if name not in opened:
            opened[name] = open_by_chat_template(folder_of(name))
        return opened[name]

    return checkpoint


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images of four sizes."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(4):
        write_image(folder / f"{number}.png", number, (40 + 8 * number, 32 + 4 * number))
    return folder


def conversation(number: int, count: int) -> Conversation:
    """`count` images, each in a line of its own that names its view, and one sentence or two as the report."""
    lines = [f"{view}: <image>" for view in VIEWS[:count]]
    report = " ".join(SENTENCES[(number + k) % 4] for k in range(1 + number % 2))
    turns = (Turn("human", "\n".join([*lines, ASK])), Turn("assistant", report))
    return Conversation(str(number), tuple(f"{(number + k) % 4}.png" for k in range(count)), turns)


STUDIES = [conversation(number, 1 + number % 2) for number in range(4)]


def samples(checkpoint: Checkpoint, images: Path, asked: list[Conversation]) -> list[Sample]:
    family = family_of(checkpoint)
    return [family.encode(each, images) for each in asked]


def messages(study: Conversation, images: Path) -> list[dict[str, Any]]:
    """The messages as a user of transformers would write them."""
    content: list[dict[str, Any]] = []
    for number, name in enumerate(study.images):
        content.append({"type": "text", "text": f"{chr(10) if number else ''}{VIEWS[number]}: "})
        content.append({"type": "image", "image": Image.open(images / name).convert("RGB")})
    content.append({"type": "text", "text": f"\n{ASK}"})
    answer = [{"type": "text", "text": study.turns[1].text}]
    return [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]


def own_inputs(checkpoint: Checkpoint, asked: list[dict[str, Any]], prompt: bool = False) -> dict[str, torch.Tensor]:
    how = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "add_generation_prompt": prompt}
    return dict(checkpoint.processor.apply_chat_template(asked, **how))


@pytest.mark.parametrize("name", CLASSES)
def test_labels_are_the_report_and_the_mark_that_ends_it(
    name: str, checkpoint_of: Callable[[str], Checkpoint], images: Path
) -> None:
    checkpoint = checkpoint_of(name)
    tokenizer = checkpoint.tokenizer
    for study, sample in zip(STUDIES, samples(checkpoint, images, STUDIES)):
        learnt = [label for label in sample.labels if label != IGNORE]
        first = list(sample.labels).index(learnt[0])
        assert (
            list(sample.labels[first : first + len(learnt)]) == learnt == list(sample.input_ids[first:][: len(learnt)])
        )
        assert tokenizer.decode(learnt).strip() == f"{study.turns[1].text}{tokenizer.eos_token}"
        assert learnt[-1] == tokenizer.eos_token_id
        prompt = own_inputs(checkpoint, messages(study, images)[:1], prompt=True)["input_ids"][0].tolist()
        assert list(sample.input_ids[:first]) == prompt  # what generation starts from, tokens of images included


@pytest.mark.parametrize("name", CLASSES)
def test_the_loss_is_that_of_transformers_on_the_same_messages(
    name: str, checkpoint_of: Callable[[str], Checkpoint], images: Path
) -> None:
    """Ids, pixels and every other tensor from the processor, the loss from the model's own forward pass."""
    checkpoint = checkpoint_of(name)
    model = checkpoint.model.eval()
    collate = family_of(checkpoint).collator(images)
    for study, sample in zip(STUDIES[:2], samples(checkpoint, images, STUDIES[:2])):
        asked = messages(study, images)
        if name in ("llava", "llava_next"):  # their template ends no answer, so training adds the end token
            asked[1]["content"][0]["text"] += checkpoint.tokenizer.eos_token
        inputs = own_inputs(checkpoint, asked)
        batch = collate([sample])
        assert inputs.keys() == batch.keys() - {"labels", "ids"}
        for key, value in inputs.items():
            assert torch.equal(batch[key], value), key
        start = own_inputs(checkpoint, asked[:1], prompt=True)["input_ids"].shape[1]
        labels = inputs["input_ids"].clone()
        labels[:, :start] = IGNORE
        end = labels[0].tolist().index(checkpoint.tokenizer.eos_token_id, start)
        labels[:, end + 1 :] = IGNORE
        with torch.no_grad():
            expected = float(model(**inputs, labels=labels).loss)
            loss, count = supervised_loss(model, batch)
        assert float(loss / count) == pytest.approx(expected, rel=1e-5)


def gradients(model: Any, batches: list[dict[str, Any]]) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    total = sum(supervised_loss(model, batch)[0] for batch in batches)
    total.backward()
    found = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
    return float(total.detach()), found


@pytest.mark.parametrize("name", CLASSES)
def test_a_padded_batch_equals_single_samples(
    name: str, checkpoint_of: Callable[[str], Checkpoint], images: Path
) -> None:
    """One, two and no images, texts of uneven length; loss and gradients."""
    checkpoint = checkpoint_of(name)
    model = checkpoint.model.train()
    some = samples(checkpoint, images, [*STUDIES[:3], conversation(4, 0)])
    collate = family_of(checkpoint).collator(images)
    loss, together = gradients(model, [collate(some)])
    alone_loss, alone = gradients(model, [collate([each]) for each in some])
    assert loss == pytest.approx(alone_loss, rel=1e-5)
    assert_close(together, alone, 2e-5)


@pytest.mark.parametrize("name", CLASSES)
def test_parts_hold_every_parameter_and_all_that_is_trained_learns(
    name: str, checkpoint_of: Callable[[str], Checkpoint], images: Path
) -> None:
    batch = family_of(checkpoint_of(name)).collator(images)(samples(checkpoint_of(name), images, STUDIES[:2]))
    for mode, tower in (("projector", "frozen"), ("full", "frozen"), ("llm", "last-1"), ("lora", "full")):
        model = copy.deepcopy(checkpoint_of(name).model)
        parts = find_parts(model)
        owners = {each: parts.part_of(each) for each, _ in model.named_parameters()}
        assert all(owners.values())
        set_trainable(model, TrainableConfig(mode, tower, lora_rank=2, lora_dropout=0.0))
        _, learning = gradients(model.train(), [batch])
        trained = {each for each, value in model.named_parameters() if value.requires_grad}
        assert learning.keys() == trained
        if mode == "projector":
            assert trained == {each for each, part in owners.items() if part == "projector"}
        if mode == "lora":
            adapters = {each for each in trained if "lora_" in each}
            assert adapters
            assert {parts.part_of(each) for each in adapters} == {LANGUAGE}


@pytest.mark.parametrize("name", CLASSES)
def test_a_written_checkpoint_asks_as_the_one_it_came_from(
    name: str,
    checkpoint_of: Callable[[str], Checkpoint],
    folder_of: Callable[[str], Path],
    images: Path,
    tmp_path: Path,
) -> None:
    write_checkpoint(tmp_path / "written", checkpoint_of(name))
    again = open_checkpoint(tmp_path / "written")
    for one, other in zip(samples(checkpoint_of(name), images, STUDIES), samples(again, images, STUDIES)):
        assert one == other
    settings = [
        json.loads((each / "processor_config.json").read_text()) for each in (folder_of(name), tmp_path / "written")
    ]
    assert settings[0] == settings[1]  # a video processor's too, which is not opened


def test_a_batch_without_images_gets_a_blank_one_for_several_processes(
    checkpoint_of: Callable[[str], Checkpoint], images: Path
) -> None:
    checkpoint = checkpoint_of("qwen2_5_vl")
    some = samples(checkpoint, images, [conversation(0, 0), conversation(1, 0)])
    family = family_of(checkpoint)
    model = checkpoint.model.train()
    loss, _ = gradients(model, [family.collator(images)(some)])
    same, found = gradients(model, [family.collator(images, always_images=True)(some)])
    assert same == pytest.approx(loss, rel=1e-6)
    assert found.keys() == {each for each, value in model.named_parameters() if value.requires_grad}
    nothing = family.collator(images)([without_loss(some[0])])
    assert int((nothing["labels"] != IGNORE).sum()) == 0


def test_special_tokens_in_words_are_words(checkpoint_of: Callable[[str], Checkpoint], images: Path) -> None:
    checkpoint = checkpoint_of("gemma3")
    turns = (
        Turn("human", "Frontal: <image>\nWhy <end_of_turn> <start_of_image>?"),
        Turn("assistant", "<bos> <b> </s>."),
    )
    sample = family_of(checkpoint).encode(Conversation("1", ("0.png",), turns), images)
    text = checkpoint.tokenizer.decode(sample.input_ids)
    assert text.count("<start_of_image>") == 1
    assert text.count("<end_of_turn>") == 2
    assert "[end_of_turn] [start_of_image]" in text
    assert "<b> [/s]." in text


def test_several_rounds_learn_every_answer(checkpoint_of: Callable[[str], Checkpoint], images: Path) -> None:
    checkpoint = checkpoint_of("qwen3_vl")
    rounds = [
        Turn("human", "<image>\nHeart?"),
        Turn("assistant", "Large."),
        Turn("human", "Lungs?"),
        Turn("assistant", "Clear."),
    ]
    sample = family_of(checkpoint).encode(Conversation("1", ("0.png",), tuple(rounds)), images)
    assert (
        checkpoint.tokenizer.decode([each for each in sample.labels if each != IGNORE])
        == "Large.<|im_end|>Clear.<|im_end|>"
    )
    late = (*rounds[:2], Turn("human", "<image> Lungs?"), rounds[3])
    with pytest.raises(InputError, match="behind the first answer"):
        family_of(checkpoint).encode(Conversation("1", ("0.png", "1.png"), late), images)
    with pytest.raises(InputError, match="3 images, but 2 have no <image>"):
        family_of(checkpoint).encode(Conversation("1", ("0.png", "1.png", "2.png"), tuple(rounds)), images)


def test_an_image_that_was_changed_since_it_was_counted_is_refused(
    checkpoint_of: Callable[[str], Checkpoint], tmp_path: Path
) -> None:
    checkpoint = checkpoint_of("qwen2_5_vl")
    write_image(tmp_path / "0.png", 0)
    (sample,) = samples(checkpoint, tmp_path, [conversation(0, 1)])
    write_image(tmp_path / "0.png", 0, (80, 32))
    with pytest.raises(InputError, match="images of an item have other sizes"):
        family_of(checkpoint).collator(tmp_path)([sample])


def test_a_class_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="PaliGemmaProcessor has no chat template"):
        open_by_chat_template(paligemma(tmp_path / "model"))


def test_templates_that_cannot_be_used_are_refused(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folder_of("gemma3"), tmp_path / "model")
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        open_by_chat_template(folder)
    (folder / "chat_template.jinja").write_text(template.replace("model\n' }}{%- endif", "model\n<think>' }}{%- endif"))
    with pytest.raises(InputError, match="does not begin a conversation with the prompt"):
        open_by_chat_template(folder)


def test_packing_is_refused(checkpoint_of: Callable[[str], Checkpoint], images: Path) -> None:
    checkpoint = checkpoint_of("gemma3")
    with pytest.raises(InputError, match="--packing: exact for class llava alone"):
        family_of(checkpoint).collator(images, packing=True)
