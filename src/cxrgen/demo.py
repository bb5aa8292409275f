"""The whole way on synthetic studies: make them, prepare, train, write reports, score them.

Every stage is one of the ordinary commands, and is printed before it runs, so it can be repeated by hand or with your
own data. Nothing is downloaded. The scores say whether a model learns from films; they say nothing about real ones.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
from pathlib import Path

from cxrgen.errors import InputError
from cxrgen.progress import say

_EXAMPLES = """examples:
  cxrgen demo --out runs/demo
  cxrgen demo --out runs/seed7 --seed 7
"""
_PARTS = ("phantom", "prepared", "model", "generate", "evaluate", "other")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("--out", required=True, type=Path, help="folder for everything that is made")
    parser.add_argument("--studies", type=int, default=6000, help="training studies (default: 6000)")
    parser.add_argument("--test-studies", type=int, default=200, help="test studies (default: 200)")
    parser.add_argument("--seed", type=int, default=1, help="of studies and model (default: 1)")
    parser.add_argument("--recipe", default="tiny", help="training recipe (default: tiny)")


def run(options: argparse.Namespace) -> int:
    out: Path = options.out
    strangers = {path.name for path in out.glob("*")} - set(_PARTS) if out.exists() else set()
    if strangers:
        raise InputError(f"{out}: holds {sorted(strangers)[0]!r}, which no demo makes; give an empty folder as --out")
    for part in _PARTS:
        shutil.rmtree(out / part, ignore_errors=True)
    phantom, prepared, model, other = (out / part for part in ("phantom", "prepared", "model", "other"))
    pred, gt = out / "generate" / "pred.csv", out / "generate" / "gt.csv"
    seed = str(options.seed)
    sizes = ("--studies", str(options.studies), "--test-studies", str(options.test_studies))
    _command("phantom", "cxrgen.phantom.write", "--out", phantom, *sizes, "--seed", seed)
    texts = phantom / "truth" / "test_reports.csv"
    _command("prepare", "cxrgen.data.prepare", phantom, "--out", prepared, "--text-file", texts)
    data = ("--data-path", prepared, "--output-dir", model, "--seed", seed)
    _command("train", "cxrgen.train.run", options.recipe, *data)
    questions = ("--question-file", prepared)
    answers = ("--answers-file-pred", pred, "--answers-file-gt", gt)
    _command("generate", "cxrgen.generate.run", "--model-name", model, *questions, *answers)
    floors: list[str | Path] = []
    for name in ("frequent", "nearest"):
        csv = other / f"{name}.csv"
        _command("generate", "cxrgen.generate.run", "--baseline", name, *questions, "--answers-file-pred", csv)
        floors += ["--floor", f"{name}={csv}"]
    known = ("--studies", prepared, "--truth", phantom / "findings.csv")
    _command("evaluate", "cxrgen.evaluate.run", "--pred", pred, "--gt", gt, *known, *floors, "--out", out / "evaluate")
    return 0


def _command(name: str, module_name: str, *words: str | Path) -> None:
    """Say the command, then run it as the command line would; a failure ends the demo."""
    texts = [str(word) for word in words]
    say(f"\n$ cxrgen {name} {' '.join(texts)}")
    module = importlib.import_module(module_name)
    parser = argparse.ArgumentParser(prog=f"cxrgen {name}")
    module.add_arguments(parser)
    code = module.run(parser.parse_args(texts))
    if code:
        raise InputError(f"the demo's `{name}` left with exit code {code}")
