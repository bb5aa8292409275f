"""Does each tool's own reader open our export? An environment a tool from its wheel; what the reader says is recorded.

    python benchmarks/exports.py [--tools hf-datasets trl] [--work FOLDER] [--out exports.json]

A small phantom set is prepared and exported with `cxrgen export-data`. Each tool gets an environment that sees the
packages of this Python (so torch is not installed again) and its own wheel on top, and its reader opens the export:
rows are counted, a picture is decoded. LLaVA has no wheel with its reader, so its export is checked by tests alone. A
tool that cannot be installed or imported is recorded with the last line of its error.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

_DATASETS = """
import datasets
found = datasets.load_dataset(FOLDER)
first = found["train"][0]
assert all(picture.size[0] > 1 for picture in first["images"])
print(datasets.__version__, {name: len(each) for name, each in found.items()}, type(first["images"][0]).__name__)
"""
_TRL = """
import datasets, trl
from trl import data_utils
found = datasets.load_dataset(FOLDER)["train"]
first = found[0]
assert data_utils.is_conversational(first)
shown = sum(part["type"] == "image" for message in first["messages"] for part in message["content"])
assert shown == len(first["images"])
print(trl.__version__, len(found), shown)
"""
_SWIFT = """
try:
    from swift.dataset import load_dataset
except ImportError:
    from swift.llm import load_dataset
import swift
found, _ = load_dataset([FOLDER + "/train.jsonl"])
first = found[0]
assert first["messages"] and first["images"]
print(getattr(swift, "__version__", "?"), len(found), sorted(first))
"""
_FACTORY = """
import os
os.environ["DISABLE_VERSION_CHECK"] = "1"
from importlib.metadata import version
from llamafactory.data.parser import get_dataset_list
from llamafactory.data.converter import get_dataset_converter
from llamafactory.hparams import DataArguments
import json
(described,) = get_dataset_list(["cxr_train"], FOLDER)
rows = json.load(open(os.path.join(FOLDER, described.dataset_name)))
converter = get_dataset_converter(described.formatting, described, DataArguments(dataset_dir=FOLDER))
first = converter(rows[0])
assert first["_images"] and first["_response"]
print(version("llamafactory"), len(rows), sorted(first))
"""
READERS: dict[str, tuple[list[str], str]] = {  # tool -> (what pip installs, what its reader does)
    "hf-datasets": (["datasets"], _DATASETS),
    "trl": (["datasets", "--no-deps", "trl"], _TRL),
    "ms-swift": (["ms-swift"], _SWIFT),
    "llama-factory": (["datasets", "--no-deps", "llamafactory", "trl"], _FACTORY),
}


def environment(folder: Path, words: list[str]) -> Path:
    """The Python of an environment with these packages over those of this one. Raises CalledProcessError."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    site = next((folder / "lib").glob("python*/site-packages"))
    parents = [path for path in sys.path if path.endswith("site-packages")]
    (site / "parent.pth").write_text("\n".join(parents) + "\n")
    with_deps, _, alone = " ".join(words).partition("--no-deps")
    for packages, flags in ((with_deps.split(), []), (alone.split(), ["--no-deps"])):
        if packages:
            run([str(python), "-m", "pip", "install", "--quiet", *flags, *packages])
    return python


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout


def opened(tool: str, export: Path, work: Path) -> dict[str, Any]:
    """What the tool's reader said of an export."""
    words, reader = READERS[tool]
    try:
        python = environment(work / f"env-{tool}", words)
        said = run([str(python), "-c", f"FOLDER = {str(export)!r}\n{reader}"])
    except subprocess.CalledProcessError as error:
        lines = [line for line in (error.stderr or error.stdout or "").splitlines() if line.strip()]
        return {"tool": tool, "opened": False, "said": lines[-1] if lines else "no message"}
    return {"tool": tool, "opened": True, "said": said.strip().splitlines()[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", nargs="+", choices=tuple(READERS), default=list(READERS))
    parser.add_argument("--work", type=Path, help="folder for environments (default: a temporary one)")
    parser.add_argument("--out", type=Path, help="JSON of what each reader said")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        cxrgen = [sys.executable, "-m", "cxrgen"]
        run([*cxrgen, "phantom", "--out", str(work / "phantom"), "--studies", "40"])
        run([*cxrgen, "prepare", str(work / "phantom"), "--out", str(work / "prepared")])
        results = []
        for tool in options.tools:
            export = work / f"export-{tool}"
            run([*cxrgen, "export-data", str(work / "prepared"), "--to", tool, "--out", str(export)])
            results.append(opened(tool, export, work))
            print(json.dumps(results[-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
