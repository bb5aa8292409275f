"""The core as a user of two CSVs installs it: no extras, no torch, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "metrics"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("core")
    venv.create(folder, with_pip=True)
    program = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    install = [program, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(ROOT)]
    result = subprocess.run(install, capture_output=True, text=True)
    if result.returncode and "No matching distribution" in result.stderr:
        pytest.skip("no package index can be reached")
    assert result.returncode == 0, result.stderr
    return program


def run(python: Path, *words: object) -> subprocess.CompletedProcess[str]:
    result = subprocess.run([str(python), *map(str, words)], capture_output=True, text=True, cwd=python.parent)
    assert result.returncode == 0, result.stderr
    return result


def test_there_is_no_torch_and_evaluate_scores_two_csvs(python: Path, tmp_path: Path) -> None:
    absent = "import importlib.util as u; print([n for n in ('torch', 'transformers') if u.find_spec(n)])"
    assert run(python, "-c", absent).stdout.strip() == "[]"
    pairs = ("--pred", GOLDEN / "predictions.csv", "--gt", GOLDEN / "references.csv", "--out", tmp_path / "scores")
    run(python, "-m", "cxrgen", "evaluate", *pairs)
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert {"bleu_4", "rouge_l", "rule_f1_macro_14"} <= set(scores["metrics"])
    assert (tmp_path / "scores" / "report.html").is_file()


def test_phantoms_are_made_and_prepared(python: Path, tmp_path: Path) -> None:
    run(python, "-m", "cxrgen", "phantom", "--out", tmp_path / "phantom", "--studies", 4, "--test-studies", 2)
    run(python, "-m", "cxrgen", "prepare", tmp_path / "phantom", "--out", tmp_path / "prepared")
    assert (tmp_path / "prepared" / "studies.parquet").is_file()


def test_what_needs_torch_says_how_to_get_it(python: Path, tmp_path: Path) -> None:
    words = ("-m", "cxrgen", "train", "tiny", "--data_path", tmp_path, "--output_dir", tmp_path / "model")
    result = subprocess.run([str(python), *map(str, words)], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 1
    assert "cxrgen[model]" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
