"""What a CPU cannot show, tried on this machine's GPUs in a few minutes: each line passed, failed or skipped.

A check that lacks something is skipped with the reason, so that the list says what a machine can do and what it would
need for the rest. Models are made on the spot; only the comparison with vLLM needs a checkpoint folder, because vLLM
opens stock vision encoders only.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Check:
    """`needs` names GPUs and packages; `run` gets the checkpoint folder, returns a remark, and raises on failure."""

    name: str
    gpus: int
    packages: tuple[str, ...]
    run: Callable[[Path | None], str]
    needs_model: bool = False


@dataclass(frozen=True)
class Outcome:
    name: str
    result: str  # passed | failed | skipped
    detail: str


def gpu_checks(model: Path | None = None, checks: tuple[Check, ...] | None = None) -> list[Outcome]:
    """Run all checks, one after the other; none of them stops the others."""
    return [_outcome(check, model) for check in checks or CHECKS]


def _outcome(check: Check, model: Path | None) -> Outcome:
    missing = [name for name in check.packages if find_spec(name) is None]
    if missing:
        return Outcome(check.name, SKIPPED, f"needs {' and '.join(missing)}")
    found = _gpus()
    if found < check.gpus:
        return Outcome(check.name, SKIPPED, f"needs {check.gpus} GPU{'s' * (check.gpus > 1)}, {found} found")
    if check.needs_model and model is None:
        return Outcome(check.name, SKIPPED, "needs a checkpoint folder: cxrgen doctor MODEL --gpu")
    try:
        return Outcome(check.name, PASSED, check.run(model))
    except Exception as error:  # whatever a driver or a kernel raises is the result of the check
        lines = str(error).strip().splitlines() or [""]
        return Outcome(check.name, FAILED, f"{type(error).__name__}: {lines[-1]}")


def _gpus() -> int:
    if find_spec("torch") is None:
        return 0
    import torch

    return torch.cuda.device_count()


def _small_model(**how: Any) -> Any:
    """A new model of the demo's kind on the first GPU, its weights always the same."""
    from cxrgen.model.tiny import NewModel, new_model

    model, _ = new_model(NewModel(image_size=32, vocabulary=300), ["The heart is large."] * 3, seed=0)
    if how:
        model.set_attn_implementation(how["attention"])
    return model.to("cuda")


def _batch() -> Mapping[str, Any]:
    import torch

    ids = torch.arange(5, 69).remainder(290).add(5)[None].repeat(2, 1)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone(), "ids": ["a", "b"]}


def _bf16(_: Path | None) -> str:
    """Twenty steps in bfloat16 end where twenty in float32 end, but for rounding."""
    from cxrgen.train.trainer import FitSettings, fit

    settings = {"steps": 20, "learning_rate": 1e-3, "train": ("model.language_model",)}
    full = fit(_small_model(), [_batch()] * 20, FitSettings(**settings))  # type: ignore[arg-type]
    half = fit(_small_model(), [_batch()] * 20, FitSettings(**settings, bf16=True))  # type: ignore[arg-type]
    if not abs(full[-1] - half[-1]) < 0.05 * full[0]:
        raise AssertionError(f"last loss {half[-1]:.4f} in bfloat16, {full[-1]:.4f} in float32")
    return f"last loss {half[-1]:.4f}, {full[-1]:.4f} in float32"


def _flash_attention(_: Path | None) -> str:
    """FlashAttention's logits are those of torch's own attention, in bfloat16."""
    import torch

    ids = _batch()["input_ids"].to("cuda")
    with torch.no_grad():
        expected = _small_model(attention="sdpa").to(torch.bfloat16)(input_ids=ids).logits.float()
        found = _small_model(attention="flash_attention_2").to(torch.bfloat16)(input_ids=ids).logits.float()
    error = float((expected - found).abs().max())
    if not error < 0.1:
        raise AssertionError(f"logits differ by {error:.3f}")
    return f"logits differ by at most {error:.4f}"


_TWO = """
from cxrgen.doctor.gpu import _batch, _small_model
from cxrgen.train.trainer import FitSettings, fit
losses = fit(_small_model(), [_batch()] * 3, FitSettings(3, 1e-3, train=("model.language_model",), distribution="fsdp"))
print("losses", *losses)
"""


def _fsdp(_: Path | None) -> str:
    """A model sharded over two GPUs has the losses of one that is not."""
    from cxrgen.train.trainer import FitSettings, fit

    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "two.py"
        script.write_text(_TWO, encoding="utf-8")
        words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    lines = [line for line in done.stdout.splitlines() if line.startswith("losses ")]
    if done.returncode or not lines:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no losses were printed"])[-1])
    sharded = [float(word) for word in lines[0].split()[1:]]
    whole = fit(_small_model(), [_batch()] * 3, FitSettings(3, 1e-3, train=("model.language_model",)))
    if any(abs(one - other) > 1e-3 * other for one, other in zip(sharded, whole)):
        raise AssertionError(f"losses {sharded}, {whole} on one GPU")
    return f"last loss {sharded[-1]:.4f}, {whole[-1]:.4f} on one GPU"


def _qlora(_: Path | None) -> str:
    """Adapters over a language model in four bits learn."""
    import torch
    from transformers import AutoModelForImageTextToText

    from cxrgen.model.quantization import quantization
    from cxrgen.train.config import TrainableConfig
    from cxrgen.train.trainable import set_trainable
    from cxrgen.train.trainer import FitSettings, fit

    with tempfile.TemporaryDirectory() as folder:
        _small_model().save_pretrained(folder)
        model = AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype=torch.float32,
            quantization_config=quantization(4, torch.bfloat16, "QLoRA"),
            local_files_only=True,
        )
    set_trainable(model, TrainableConfig("qlora", lora_dropout=0.0))
    history = fit(model, [_batch()] * 20, FitSettings(20, 1e-2, train=None, bf16=True))
    if not history[-1] < history[0]:
        raise AssertionError(f"the loss went from {history[0]:.4f} to {history[-1]:.4f}")
    return f"loss {history[0]:.4f} to {history[-1]:.4f} in 20 steps"


def _vllm(model: Path | None) -> str:
    """vLLM continues a prompt of text alone with the tokens that transformers continues it with, in float32."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoTokenizer
    from vllm import LLM, SamplingParams

    prompt = AutoTokenizer.from_pretrained(model, local_files_only=True)("Write the report.")["input_ids"]
    stock = AutoModelForImageTextToText.from_pretrained(model, dtype=torch.float32, local_files_only=True).to("cuda")
    ids = torch.tensor([prompt], device="cuda")
    expected = stock.generate(input_ids=ids, max_new_tokens=32, do_sample=False)[0, len(prompt) :].tolist()
    del stock
    torch.cuda.empty_cache()
    engine = LLM(model=str(model), dtype="float32", enforce_eager=True, max_model_len=1024)
    written = engine.generate([{"prompt_token_ids": prompt}], SamplingParams(temperature=0.0, max_tokens=32))
    found = list(written[0].outputs[0].token_ids)
    same = sum(one == other for one, other in zip(expected, found))
    if found[: len(expected)] != expected:
        raise AssertionError(f"{same} of {len(expected)} tokens agree")
    return f"{same} tokens agree"


CHECKS = (
    Check("training in bfloat16", 1, ("torch", "transformers"), _bf16),
    Check("FlashAttention", 1, ("torch", "transformers", "flash_attn"), _flash_attention),
    Check("FSDP on two GPUs", 2, ("torch", "transformers"), _fsdp),
    Check("QLoRA", 1, ("torch", "transformers", "peft", "bitsandbytes"), _qlora),
    Check("vLLM writes transformers' tokens", 1, ("torch", "transformers", "vllm"), _vllm, needs_model=True),
)
