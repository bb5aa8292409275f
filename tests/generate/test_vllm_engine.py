"""What is handed to vLLM and made of its answers, with a stand-in; the real one needs a GPU."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cxrgen.cli import main
from cxrgen.errors import InputError
from cxrgen.files import read_csv
from cxrgen.generate.settings import Settings, read_format
from cxrgen.generate.vllm_engine import VllmEngine
from cxrgen.model.bundle import Bundle, save_bundle
from cxrgen.model.conversation import encode_prompt
from cxrgen.records import Conversation, Turn


@dataclass
class StandIn:
    """A vllm module that writes down what it is asked, and answers every prompt with the same words."""

    answer: list[int]

    def __post_init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.asked: list[tuple[dict[str, Any], Any]] = []

    def LLM(self, **options: Any) -> StandIn:
        self.options = options
        return self

    def SamplingParams(self, **options: Any) -> SimpleNamespace:
        return SimpleNamespace(**options)

    def generate(self, prompts: list[dict[str, Any]], how: list[Any], use_tqdm: bool) -> list[Any]:
        self.asked += zip(prompts, how)
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=self.answer)]) for _ in prompts]


@pytest.fixture
def stand_in(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    tokenizer = bundle.tokenizer
    answer = tokenizer("The heart is enlarged.", add_special_tokens=False)["input_ids"]
    module = StandIn([*answer, tokenizer.eos_token_id])
    monkeypatch.setitem(sys.modules, "vllm", module)  # type: ignore[arg-type]
    return module


def test_prompts_are_those_of_training_with_one_token_a_film(
    model: Path, prepared: Path, tmp_path: Path, bundle: Bundle, stand_in: StandIn
) -> None:
    out = tmp_path / "pred.csv"
    given = ("--model-name", model, "--question-file", prepared, "--answers-file-pred", out, "--engine", "vllm")
    assert main(["generate", *map(str, given), "--temperature", "0.5", "--max-new-tokens", "40"]) == 0
    assert {row.cells["report"] for row in read_csv(out).rows} == {"The heart is enlarged."}
    assert stand_in.options["limit_mm_per_prompt"] == {"image": 2}
    image = bundle.model.config.image_token_id
    prompt, how = stand_in.asked[1]
    text = "Frontal: <image>\nLateral: <image>\nWrite the report."
    whole = encode_prompt([Turn("human", text)], bundle.tokenizer, bundle.format)
    runs = [token for place, token in enumerate(whole) if token != image or whole[place - 1] != image]
    assert prompt["prompt_token_ids"] == runs
    assert [film.size for film in prompt["multi_modal_data"]["image"]] == [(40, 40), (40, 40)]  # after the aspect rule
    assert (how.temperature, how.max_tokens) == (0.5, 40)
    assert bundle.tokenizer.eos_token_id in how.stop_token_ids
    assert len({how.seed for _, how in stand_in.asked}) == 14


def test_an_adapter_is_to_be_merged_first(model: Path, tmp_path: Path, stand_in: StandIn) -> None:
    settings = Settings(model, read_format(model))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="--merge_adapter"):
        VllmEngine(replace(settings, model=tmp_path), 1)


def test_a_film_that_cannot_be_read_fails_alone(model: Path, tmp_path: Path, stand_in: StandIn) -> None:
    engine = VllmEngine(Settings(model, read_format(model)), 1)
    asked = [
        Conversation("1", ("gone.png",), (Turn("human", "<image>\nWhy?"),)),
        Conversation("2", (), (Turn("human", "Why?"),)),
    ]
    told: list[int] = []
    written = dict(engine.write(asked, tmp_path, lambda number, why: told.append(number)))
    assert told == [0]
    assert written[1].study_id == "2"


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_the_extra_is_named(model: Path) -> None:
    with pytest.raises(InputError, match=r"cxrgen\[vllm\]"):
        VllmEngine(Settings(model, read_format(model)), 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_real_one_writes_what_transformers_writes(clip_bundle: Bundle, prepared: Path, tmp_path: Path) -> None:
    """A random LLaVA with a CLIP tower, which vLLM knows; in float32 the two engines differ in few reports."""
    pytest.importorskip("vllm")
    save_bundle(tmp_path / "model", clip_bundle)
    reports = {}
    for engine in ("transformers", "vllm"):
        out = tmp_path / f"{engine}.csv"
        given = ("--model-name", tmp_path / "model", "--question-file", prepared, "--answers-file-pred", out)
        more = ("--engine", engine, "--dtype", "float32", "--max-new-tokens", 40)
        assert main(["generate", *map(str, given), *map(str, more)]) == 0
        reports[engine] = [row.cells["report"] for row in read_csv(out).rows]
    pairs = list(zip(reports["transformers"], reports["vllm"]))
    assert len(pairs) == 14
    assert sum(one == other for one, other in pairs) >= 10
