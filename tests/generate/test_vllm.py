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
from peft import PeftModel
from tests.generate.test_vllm_adapter import write_adapter
from transformers import AutoModelForImageTextToText

from cxrgen.cli import main
from cxrgen.core.errors import InputError
from cxrgen.core.records import Conversation, Turn
from cxrgen.core.tables import read_csv
from cxrgen.generate.settings import Settings, read_format
from cxrgen.generate.vllm import VllmEngine
from cxrgen.model.checkpoint import Checkpoint, open_checkpoint, write_checkpoint
from cxrgen.model.conversation import encode_prompt


@dataclass
class StandIn:
    """A vllm module that writes down what it is asked, and answers every prompt with the same words."""

    answer: list[int]

    def __post_init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.asked: list[tuple[dict[str, Any], Any]] = []
        self.adapter: Any = None

    def LLM(self, **options: Any) -> StandIn:
        self.options = options
        return self

    def SamplingParams(self, **options: Any) -> SimpleNamespace:
        return SimpleNamespace(**options)

    def generate(self, prompts: list[dict[str, Any]], how: list[Any], use_tqdm: bool, lora_request: Any) -> list[Any]:
        self.adapter = lora_request
        self.asked += zip(prompts, how)
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=self.answer)]) for _ in prompts]


@pytest.fixture
def stand_in(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    tokenizer = checkpoint.tokenizer
    answer = tokenizer("The heart is enlarged.", add_special_tokens=False)["input_ids"]
    module = StandIn([*answer, tokenizer.eos_token_id])
    monkeypatch.setitem(sys.modules, "vllm", module)  # type: ignore[arg-type]
    return module


def test_prompts_are_those_of_training_with_one_token_an_image(
    model: Path, prepared: Path, tmp_path: Path, checkpoint: Checkpoint, stand_in: StandIn
) -> None:
    out = tmp_path / "pred.csv"
    given = ("--model-name", model, "--question-file", prepared, "--answers-file-pred", out, "--engine", "vllm")
    assert main(["generate", *map(str, given), "--temperature", "0.5", "--max-new-tokens", "40"]) == 0
    assert {row.cells["report"] for row in read_csv(out).rows} == {"The heart is enlarged."}
    assert stand_in.options["limit_mm_per_prompt"] == {"image": 2}
    assert "max_num_seqs" not in stand_in.options  # vLLM forms its own batches
    image = checkpoint.model.config.image_token_id
    prompt, how = stand_in.asked[1]
    text = "Frontal: <image>\nLateral: <image>\nWrite the report."
    whole = encode_prompt([Turn("human", text)], checkpoint.tokenizer, checkpoint.format)
    runs = [token for place, token in enumerate(whole) if token != image or whole[place - 1] != image]
    assert prompt["prompt_token_ids"] == runs
    assert [shown.size for shown in prompt["multi_modal_data"]["image"]] == [
        (40, 40),
        (40, 40),
    ]  # after the aspect rule
    assert (how.temperature, how.max_tokens) == (0.5, 40)
    assert checkpoint.tokenizer.eos_token_id in how.stop_token_ids
    assert len({how.seed for _, how in stand_in.asked}) == 14


def test_an_adapter_is_handed_over_unmerged(
    prepared: Path, tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = write_adapter(tmp_path)
    request = SimpleNamespace(LoRARequest=lambda name, number, path: (name, number, Path(path)))
    monkeypatch.setitem(sys.modules, "vllm.lora", SimpleNamespace(request=request))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "vllm.lora.request", request)  # type: ignore[arg-type]
    engine = VllmEngine(Settings(adapter, read_format(adapter)), 1)
    list(engine.write([Conversation("1", (), (Turn("human", "Why?"),))], tmp_path, lambda number, why: None))
    told = stand_in.options
    assert (told["enable_lora"], told["max_lora_rank"]) == (True, 8)  # the least room for rank 4
    assert (Path(told["model"]) / "trained.safetensors").is_file()
    _, number, low_rank = stand_in.adapter
    assert number > 0
    assert (low_rank / "adapter_model.safetensors").is_file()
    with pytest.raises(InputError, match="bfloat16"):
        VllmEngine(Settings(adapter, read_format(adapter), dtype="float32"), 1)


def test_whole_weights_are_handed_over_without_adapter(model: Path, tmp_path: Path, stand_in: StandIn) -> None:
    engine = VllmEngine(Settings(model, read_format(model)), 1)
    list(engine.write([Conversation("1", (), (Turn("human", "Why?"),))], tmp_path, lambda number, why: None))
    assert (stand_in.options["model"], stand_in.adapter) == (str(model), None)
    assert "enable_lora" not in stand_in.options


def test_a_image_that_cannot_be_read_fails_alone(model: Path, tmp_path: Path, stand_in: StandIn) -> None:
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
def test_the_real_one_writes_what_transformers_writes(
    clip_checkpoint: Checkpoint, prepared: Path, tmp_path: Path
) -> None:
    """A random LLaVA with a CLIP encoder, which vLLM knows; in float32 the two engines differ in few reports."""
    pytest.importorskip("vllm")
    write_checkpoint(tmp_path / "model", clip_checkpoint)
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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_real_one_runs_an_adapter_as_it_runs_it_merged(prepared: Path, tmp_path: Path) -> None:
    """In bfloat16, in which vLLM's adapters run; merging rounds a little, so a few reports may differ."""
    pytest.importorskip("vllm")
    adapter = write_adapter(tmp_path)
    checkpoint = open_checkpoint(adapter)
    base = AutoModelForImageTextToText.from_pretrained(tmp_path / "base", dtype=torch.float32)
    merged = PeftModel.from_pretrained(base, adapter).merge_and_unload()
    write_checkpoint(tmp_path / "merged", replace(checkpoint, model=merged))
    reports = {}
    for name in ("base", "adapter", "merged"):
        out = tmp_path / f"{name}.csv"
        given = ("--model-name", tmp_path / name, "--question-file", prepared, "--answers-file-pred", out)
        more = ("--engine", "vllm", "--dtype", "bfloat16", "--max-new-tokens", 20)
        assert main(["generate", *map(str, given), *map(str, more)]) == 0
        reports[name] = [row.cells["report"] for row in read_csv(out).rows]
    assert sum(one == other for one, other in zip(reports["adapter"], reports["merged"])) >= 8
    assert reports["adapter"] != reports["base"]
