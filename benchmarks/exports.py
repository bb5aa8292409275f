"""Does each tool's own reader open our export? An environment a tool from its wheel; what the reader says is recorded.

    python benchmarks/exports.py [--tools ms-swift trl] [--work FOLDER] [--out exports.json]

A small phantom set is prepared and exported with `cxrgen export-data`, images of earlier studies included. Each tool
gets an environment with its wheel and those of its dependencies that its reader imports, in the versions that the tool
asks for; torch, and what needs no other version, is seen from this Python's packages, so that minutes are enough. The
tool's reader then opens the export: rows and images are counted, every image is decoded. LLaVA has no wheel with its
reader, so its export is checked by tests alone. A tool that cannot be installed or imported is recorded with the last
line of its error.

LLaMA-Factory imports torchaudio, whose only wheel for Linux links CUDA; beside a torch without CUDA its compiled parts,
which no image needs, are removed, and torchaudio goes on in Python as it provides for.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DATASETS = """
import datasets
found = datasets.load_dataset(FOLDER)
rows = found["train"]
shown = [picture.convert("L").size for row in rows for picture in row["images"]]
print(datasets.__version__, {name: len(each) for name, each in found.items()}, len(shown), "images of train decoded")
"""
_TRL = """
import datasets, trl
from trl import data_utils
rows = datasets.load_dataset(FOLDER)["train"]
assert all(data_utils.is_conversational(row) for row in rows)
shown = 0
for row in rows:
    parts = [part["type"] for message in row["messages"] for part in message["content"]]
    assert parts.count("image") == len([picture.convert("L") for picture in row["images"]])
    shown += parts.count("image")
print(trl.__version__, len(rows), "conversations,", shown, "images decoded")
"""
_SWIFT = """
import swift
from swift.dataset import load_dataset
from swift.template.vision_utils import load_image
rows, _ = load_dataset([FOLDER + "/train.jsonl"], strict=True)
shown = 0
for row in rows:
    asked = sum(message["content"].count("<image>") for message in row["messages"])
    assert asked == len([load_image(image["path"]) for image in row["images"]])
    shown += asked
print(swift.__version__, len(rows), "rows,", shown, "images decoded")
"""
_FACTORY = """
from importlib.metadata import version
from llamafactory.data.loader import _load_single_dataset
from llamafactory.data.mm_plugin import get_mm_plugin
from llamafactory.data.parser import get_dataset_list
from llamafactory.hparams import DataArguments, ModelArguments
from transformers import Seq2SeqTrainingArguments
(described,) = get_dataset_list(["cxr_train"], FOLDER)
settings = Seq2SeqTrainingArguments(output_dir=FOLDER + "/unused", use_cpu=True)
model = ModelArguments(model_name_or_path="none")
rows = _load_single_dataset(described, model, DataArguments(dataset_dir=FOLDER), settings)
plugin = get_mm_plugin("llava", image_token="<image>")
shown = 0
for row in rows:
    assert len(row["_prompt"]) == len(row["_response"]) == 1
    pictures = plugin._regularize_images(row["_images"], image_max_pixels=10**7, image_min_pixels=1)["images"]
    assert len(pictures) == row["_prompt"][0]["content"].count("<image>")
    shown += len(pictures)
print(version("llamafactory"), len(rows), "rows,", shown, "images decoded")
"""


@dataclass(frozen=True)
class Reader:
    """A tool: its wheel, what of its dependencies its reader imports, and the code that opens an export at FOLDER."""

    code: str
    wheel: str
    needs: tuple[str, ...]  # in the versions that the wheel asks for, with what they need themselves
    alone: tuple[str, ...] = ()  # the same, without what they need themselves


READERS = {
    "hf-datasets": Reader(
        _DATASETS, "datasets", ("dill", "multiprocess", "xxhash", "pandas", "fsspec", "httpx", "huggingface-hub")
    ),
    "trl": Reader(_TRL, "trl", ("accelerate", "datasets", "transformers")),
    "ms-swift": Reader(
        _SWIFT, "ms-swift", ("accelerate", "datasets", "json-repair", "modelscope", "peft", "transformers", "trl")
    ),
    "llama-factory": Reader(
        _FACTORY,
        "llamafactory",
        ("accelerate", "datasets", "omegaconf", "peft", "transformers", "trl"),
        ("torchaudio",),
    ),
}
_REQUIREMENTS = """
import sys
from importlib.metadata import requires
from packaging.requirements import Requirement
wheel, *names = sys.argv[1:]
for each in map(Requirement, requires(wheel) or []):
    if each.name.lower() in names and (each.marker is None or each.marker.evaluate({"extra": ""})):
        print(f"{each.name}{each.specifier}")
"""


def environment(folder: Path, reader: Reader) -> Path:
    """The Python of an environment for a reader, over the packages of this one. Raises CalledProcessError."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    site = next((folder / "lib").glob("python*/site-packages"))
    parents = [path for path in sys.path if path.endswith("site-packages")]
    (site / "parent.pth").write_text("\n".join(parents) + "\n")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-compile"]
    run([*pip, "--no-deps", reader.wheel])
    for names, flags in ((reader.needs, []), (reader.alone, ["--no-deps"])):
        if names:
            run([*pip, *flags, *run([str(python), "-c", _REQUIREMENTS, reader.wheel, *names]).split()])
    if not run([str(python), "-c", "import torch; print(torch.version.cuda or '')"]).strip():
        for compiled in (site / "torchaudio" / "lib").glob("*.so"):
            compiled.unlink()
    return python


def run(command: list[str], **variables: str) -> str:
    env = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout


def opened(tool: str, export: Path, work: Path) -> dict[str, Any]:
    """What the tool's reader said of an export."""
    reader = READERS[tool]
    started = time.monotonic()
    caches = {"HF_HOME": str(work / "huggingface"), "MODELSCOPE_CACHE": str(work / "modelscope")}
    try:
        python = environment(work / f"env-{tool}", reader)
        said = run([str(python), "-c", f"FOLDER = {str(export)!r}\n{reader.code}"], **caches)
        lines, whole = said.strip().splitlines(), True
    except subprocess.CalledProcessError as error:
        lines, whole = [line for line in (error.stderr or error.stdout or "").splitlines() if line.strip()], False
    seconds = round(time.monotonic() - started)
    return {"tool": tool, "opened": whole, "said": lines[-1] if lines else "no message", "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", nargs="+", choices=tuple(READERS), default=list(READERS))
    parser.add_argument("--work", type=Path, help="folder for environments (default: a temporary one)")
    parser.add_argument("--out", type=Path, help="JSON of what each reader said")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).absolute()
        cxrgen = [sys.executable, "-m", "cxrgen"]
        run([*cxrgen, "phantom", "--out", str(work / "phantom"), "--studies", "40"])
        run([*cxrgen, "prepare", str(work / "phantom"), "--out", str(work / "prepared")])
        results = []
        for tool in options.tools:
            export = work / f"export-{tool}"
            words = ["--to", tool, "--context", "indication,prior-report,prior-images,gap"]
            run([*cxrgen, "export-data", str(work / "prepared"), *words, "--out", str(export)])
            results.append(opened(tool, export, work))
            print(json.dumps(results[-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
