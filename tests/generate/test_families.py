"""Generation by a model's own chat template: any batch writes what one by one would, with no fine-tuning at all too."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.tiny_models import TINY_MODELS, gemma3, qwen2_5_vl
from tests.train.material import write_image, write_prepared

import cxrgen
from cxrgen.cli import main
from cxrgen.core.errors import UsageError
from cxrgen.core.records import Conversation, Study, Turn, View, write_studies
from cxrgen.core.tables import read_csv
from cxrgen.generate.decoding.reports import write_reports
from cxrgen.generate.decoding.sampling import make_sampler
from cxrgen.generate.settings import Settings, read_format
from cxrgen.generate.vllm import VllmEngine
from cxrgen.model.checkpoint import Checkpoint, open_by_chat_template
from cxrgen.model.families import family_of
from cxrgen.model.parts import LANGUAGE, find_parts

LONGEST = 12  # tokens of a report


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number in range(4):
        write_image(folder / f"{number}.png", number, (40 + 8 * number, 32 + 4 * number))
    return folder


def asked(number: int) -> Conversation:
    lines = ["Frontal: <image>", "Lateral: <image>"][: number % 3]
    lines += ["Indication: Cough."] * (number % 2)
    names = tuple(f"{(number + k) % 4}.png" for k in range(number % 3))
    return Conversation(str(number), names, (Turn("human", "\n".join([*lines, "Write the report."])),))


STUDIES = [asked(number) for number in range(7)]


def written(checkpoint: Checkpoint, images: Path, size: int, **how: Any) -> dict[int, str]:
    found = write_reports(checkpoint, STUDIES, images, size, LONGEST, **how)
    return {number: prediction.report for number, prediction in found}


def one_by_one(checkpoint: Checkpoint, images: Path) -> dict[int, str]:
    """The reference: transformers' own generate, as a user would call it, one study after the other."""
    tokenizer, reports = checkpoint.tokenizer, {}
    for number, study in enumerate(STUDIES):
        inputs = family_of(checkpoint).prompt_inputs(study, images)  # type: ignore[attr-defined]
        with torch.no_grad():
            ids = checkpoint.model.generate(**inputs, max_new_tokens=LONGEST, do_sample=False)[0]
        answer = ids[inputs["input_ids"].shape[1] :].tolist()
        end = tokenizer.eos_token_id
        answer = answer[: answer.index(end)] if end in answer else answer
        reports[number] = tokenizer.decode(answer, skip_special_tokens=True).replace("\0", "").strip()
    return reports


def varied(name: str, folder: Path) -> Checkpoint:
    """Sharper than an untrained model, and now and then at an end."""
    checkpoint = open_by_chat_template(TINY_MODELS[name](folder))
    parts = find_parts(checkpoint.model)
    with torch.no_grad():
        for each, value in checkpoint.model.named_parameters():
            if parts.part_of(each) == LANGUAGE and value.ndim > 1:
                value.mul_(0.2 if "embed_tokens" in each and name == "gemma3" else 3.0)  # tied: else it repeats itself
        checkpoint.model.get_output_embeddings().weight[checkpoint.tokenizer.eos_token_id].mul_(1.5)
    return checkpoint


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("gemma3", "qwen2_5_vl") else pytest.mark.slow)
        for name in TINY_MODELS
        if name != "smolvlm" or importlib.util.find_spec("num2words")
    ],
)
def test_any_batch_is_greedy_one_by_one(name: str, images: Path, tmp_path: Path) -> None:
    """None, one and two images, prompts of uneven length, reports that end early; sampling does not depend either."""
    checkpoint = varied(name, tmp_path / name)
    expected = one_by_one(checkpoint, images)
    assert len(set(expected.values())) > 3
    for size in (1, 3, 7):
        assert written(checkpoint, images, size) == expected
    drawn = [written(checkpoint, images, size, sampler=make_sampler(0.9, 0.95, seed=3)) for size in (2, 7)]
    assert drawn[0] == drawn[1] != expected


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gemma3(tmp_path_factory.mktemp("gemma") / "gemma")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    write_prepared(folder, 6, 0)
    studies = []
    for number in range(6):
        views = tuple(View(f"images/{number:04}-{kind}.png", kind) for kind in ("frontal", "lateral")[: 1 + number % 2])
        studies.append(Study(f"{number:03}", f"p{number}", "test", views=views, report="Clear."))
    write_studies(folder / "studies.parquet", studies)
    return folder


def generate(model: Path, prepared: Path, out: Path, *more: object) -> list[str]:
    words = ("--model-name", model, "--question-file", prepared, "--answers-file-pred", out, "--max-new-tokens", 8)
    assert main(["generate", *map(str, (*words, *more))]) == 0
    return [row.cells["report"] for row in read_csv(out).rows]


def test_a_model_of_another_origin_is_asked_without_fine_tuning(gemma: Path, prepared: Path, tmp_path: Path) -> None:
    plain = generate(gemma, prepared, tmp_path / "a.csv")
    assert len(plain) == 6
    assert generate(gemma, prepared, tmp_path / "b.csv", "--batch-size", 1) == plain
    assert generate(gemma, prepared, tmp_path / "c.csv", "--question", "Describe this chest X-ray.") != plain
    report = cxrgen.load(gemma, max_new_tokens=8).report([prepared / "images" / "0000-frontal.png"])
    assert report == plain[0]


def test_one_unreadable_image_fails_alone_and_the_rest_goes_on(gemma: Path, prepared: Path, tmp_path: Path) -> None:
    broken = tmp_path / "set"
    (broken / "images").mkdir(parents=True)
    for file in (prepared / "images").iterdir():
        (broken / "images" / file.name).write_bytes(file.read_bytes())
    (broken / "studies.parquet").write_bytes((prepared / "studies.parquet").read_bytes())
    whole = (broken / "images" / "0002-frontal.png").read_bytes()
    (broken / "images" / "0002-frontal.png").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "pred.csv"
    words = ("--model-name", gemma, "--question-file", broken, "--answers-file-pred", out, "--max-new-tokens", 8)
    assert main(["generate", *map(str, words)]) == 3
    assert [row.cells["study_id"] for row in read_csv(out).rows] == ["000", "001", "003", "004", "005"]
    (broken / "images" / "0002-frontal.png").write_bytes(whole)
    assert main(["generate", *map(str, words)]) == 0  # only this one is written now
    assert [row.cells["report"] for row in read_csv(out).rows] == generate(gemma, prepared, tmp_path / "all.csv")


@pytest.mark.slow
def test_two_processes_write_the_same(gemma: Path, prepared: Path, tmp_path: Path) -> None:
    expected = generate(gemma, prepared, tmp_path / "one.csv")
    assert generate(gemma, prepared, tmp_path / "two.csv", "--num-chunks", 2) == expected


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--conv-mode", "v1"), "its own chat template"),
        (("--compat", "original"), "its own chat template"),
        (("--speculative", "ngram"), "class llava"),
    ],
)
def test_what_only_llava_has_is_refused(
    gemma: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], said: str
) -> None:
    out = tmp_path / "pred.csv"
    words = ("--model-name", gemma, "--question-file", prepared, "--answers-file-pred", out, *more)
    assert main(["generate", *map(str, words)]) == 2
    assert said in capsys.readouterr().err


def test_a_question_for_a_file_of_questions_is_refused(gemma: Path, tmp_path: Path) -> None:
    from cxrgen.generate.questions import read_questions

    (tmp_path / "asked.json").write_text("[]")
    with pytest.raises(UsageError, match="holds its own questions"):
        read_questions(tmp_path / "asked.json", None, "test", read_format(gemma), "Describe.")


def test_vllm_gets_the_messages_as_the_template_writes_them(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = qwen2_5_vl(tmp_path / "qwen")
    seen: list[Any] = []

    class LLM:
        def __init__(self, **options: Any) -> None:
            self.options = options

        def generate(self, prompts: list[Any], how: list[Any], **_: Any) -> list[Any]:
            seen.extend(zip(prompts, how))
            return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=[])]) for _ in prompts]

    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=LLM, SamplingParams=lambda **how: how))  # type: ignore[arg-type]
    engine = VllmEngine(Settings(model, read_format(model), engine="vllm"), 2)
    list(engine.write([STUDIES[2]], images, lambda number, why: None))
    prompt, how = seen[0]
    tokenizer = engine.tokenizer
    mark = "<|vision_start|><|image_pad|><|vision_end|>"
    assert tokenizer.decode(prompt["prompt_token_ids"]) == (
        f"<|im_start|>user\nFrontal: {mark}\nLateral: {mark}\nWrite the report.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert [image.size for image in prompt["multi_modal_data"]["image"]] == [(56, 40), (64, 44)]
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in how["stop_token_ids"]
