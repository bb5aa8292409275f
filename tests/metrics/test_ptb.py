from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cxrgen.metrics.ptb import tokens

# Dropped by the original after its tokeniser has run; the upper-case brackets in its list never match lower-cased text.
PUNCTUATION = {"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"}


def jar_tokens(texts: Sequence[str], folder: Path) -> list[list[str]]:
    """The original's tokens of each text, in one call of Java."""
    spec = importlib.util.find_spec("pycocoevalcap")
    if spec is None or shutil.which("java") is None:
        pytest.skip("needs Java and the package pycocoevalcap, whose wheel holds the tokeniser")
    package = Path(next(iter(spec.submodule_search_locations or ())))
    jar = next((package / "tokenizer").glob("*.jar"))
    file = folder / "texts.txt"
    file.write_text("\n".join(" ".join(text.splitlines()) for text in texts) + "\n", encoding="utf-8")
    command = ["java", "-Dfile.encoding=UTF-8", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer"]
    result = subprocess.run(
        [*command, "-preserveLines", "-lowerCase", str(file)], capture_output=True, check=True, env=dict(os.environ)
    )
    lines = result.stdout.decode("utf-8").split("\n")
    return [[word for word in line.rstrip().split(" ") if word and word not in PUNCTUATION] for line in lines][
        : len(texts)
    ]


@pytest.mark.parametrize("example", "ABCD")
def test_micro_examples(micro: dict[str, Any], example: str) -> None:
    assert [" ".join(tokens(text)) for text in micro["examples"][example]] == micro["results"][example]["coco ptb text"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("There's no effusion; the heart doesn't look big.", "there 's no effusion the heart does n't look big"),
        ("1. Well-expanded lungs (50%).", "1 well-expanded lungs -lrb- 50 % -rrb-"),
        ("At 4:30 p.m. Dr. X saw it on 12/31/2011.", "at 4:30 p.m. dr. x saw it on 12/31/2011"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_rules(text: str, expected: str) -> None:
    assert " ".join(tokens(text)) == expected


@pytest.mark.parametrize(
    "line_break", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
)
def test_every_line_break_is_a_blank(line_break: str) -> None:
    assert tokens(f"Heart normal.{line_break}Lungs clear") == ["heart", "normal", "lungs", "clear"]


def test_equal_to_java_on_the_golden_reports(hypotheses: list[str], references: list[str], tmp_path: Path) -> None:
    texts = hypotheses + references
    assert [tokens(text) for text in texts] == jar_tokens(texts, tmp_path)
