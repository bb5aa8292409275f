"""docs/tutorial.md, command by command: each ends well and prints what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cxrgen

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
_ELLIPSIS = "..."
_DEPENDS_ON_THE_PROCESSOR = re.compile(r"\d+\.\d+|–|\d+(?= (?:s|MB|tokens/s))")


def blocks() -> list[tuple[str, str]]:
    """(language, text) of every block of the page."""
    return re.findall(r"```(python|console)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def steps(block: str) -> list[tuple[str, list[str]]]:
    """(command, lines shown below it) of a console block."""
    parts = re.split(r"^\$ ", block.replace("\\\n", " "), flags=re.MULTILINE)[1:]
    return [(lines[0], lines[1:]) for lines in (part.splitlines() for part in parts)]


def plain(line: str) -> str:
    return " ".join(_DEPENDS_ON_THE_PROCESSOR.sub("#", line).split())


def missing(shown: list[str], printed: str) -> list[str]:
    """The lines of the page that were not printed, in the page's order."""
    left = iter([plain(line) for line in printed.splitlines()])
    return [line for line in shown if line != _ELLIPSIS and not any(plain(line) == other for other in left)]


def environment(folder: Path) -> dict[str, str]:
    """`cxrgen` and `python` are those that run the tests."""
    for name, words in (("cxrgen", "-m cxrgen "), ("python", "")):
        program = folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {words}"$@"\n')
        program.chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    package = str(Path(cxrgen.__file__).parents[1])
    return {**os.environ, "PATH": path, "PYTHONPATH": package, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}


def test_every_command_prints_what_the_page_shows(tmp_path: Path) -> None:
    around = environment(tmp_path)
    ran = 0
    for language, block in blocks():
        if language == "python":
            name = block.split(":")[0].removeprefix("# ")
            (tmp_path / name).write_text(block)
            continue
        for command, shown in steps(block):
            result = subprocess.run(
                ["sh", "-c", command],
                cwd=tmp_path,
                env=around,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
            )
            assert result.returncode == 0, f"{command}\n{result.stdout}"
            assert missing(shown, result.stdout) == [], f"{command}\n{result.stdout}"
            ran += 1
    assert ran >= 9


def test_the_comparison_can_fail() -> None:
    assert missing(["b 0.5", "..."], "a\nb  0.7\n") == []
    assert missing(["b 0.5"], "a\nc 0.5\n") == ["b 0.5"]
    assert missing(["b", "a"], "a\nb\n") == ["a"]
