"""The scripts of examples/, run as their first lines say, small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForImageTextToText

import cxrgen
import cxrgen.model  # the line of the README

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_whole_way_in_python(tmp_path: Path) -> None:
    program = EXAMPLES / "train_llava.py"
    package = str(Path(cxrgen.__file__).parents[1])
    around = {**os.environ, "PYTHONPATH": package, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
    words = [sys.executable, str(program), "--out", str(tmp_path / "run"), "--studies", "30", "--steps", "4"]
    result = subprocess.run(words, capture_output=True, encoding="utf-8", env=around, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    printed = result.stdout.splitlines()
    assert [line.split()[0] for line in printed[-3:]] == ["loss:", "model", "shuffled"]
    assert "bleu_4" in printed[-2]
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "run" / "model")  # after `import cxrgen.model`
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    assert len(program.read_text(encoding="utf-8").splitlines()) <= 68, "the README promises about sixty lines"
