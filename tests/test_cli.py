"""The command line itself: wrong words, closed pipes, full devices, terminals of other code pages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cxrgen.cli import COMMANDS, main

CXRGEN = (sys.executable, "-m", "cxrgen")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("evalute",), "cxrgen: unknown command 'evalute'; choose from download, prepare, "),
        (("evaluate", "--prd", "a.csv"), "cxrgen evaluate: no flag --prd; did you mean --pred?"),
        (("prepare", "x", "--out", "y", "--taget", "both"), "cxrgen prepare: no flag --taget; did you mean --target?"),
        (
            ("prepare", "x", "--out", "y", "--target", "bth"),
            "cxrgen prepare: unknown --target 'bth'; choose from both, ",
        ),
        (("phantom", "--out"), "cxrgen phantom: --out: expected one argument; see `cxrgen phantom --help`"),
        (("phantom",), "cxrgen phantom: the following arguments are required: --out; see `cxrgen phantom --help`"),
        (("phantom", "--out", "x", "--size", "big"), "cxrgen phantom: --size: invalid int value: 'big'; see "),
    ],
)
def test_wrong_words_are_one_line_with_a_way_out(
    words: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.err.startswith(expected)
    assert said.err.count("\n") == 1
    assert not said.out


def test_the_nearest_choice_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("prepare", "x", "--out", "y", "--target", "finding")) == 2
    assert capsys.readouterr().err.endswith("did you mean 'findings'?\n")


@pytest.mark.parametrize(
    "name", ["evaluate", "prepare", "phantom", "generate", "merge", "convert", "download", "doctor", "train", "export"]
)
def test_help_needs_no_torch(name: str) -> None:
    program = f"import sys\nfrom cxrgen.cli import main\nmain([{name!r}, '--help'])\nprint('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("False\n")
    assert "examples:" in result.stdout


@pytest.mark.parametrize("words", [("--help",), ("evaluate", "--help"), ("doctor",)])
def test_a_full_device_is_one_line(words: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run([*CXRGEN, *words], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "no space left on the device" in result.stderr


@pytest.mark.parametrize("words", [("--help",), ("evaluate", "--help"), ("doctor",)])
def test_a_closed_pipe_ends_quietly(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run([*CXRGEN, *words], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (result.returncode, result.stderr) == (141, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_help_on_terminals_of_other_code_pages(encoding: str) -> None:
    for name in COMMANDS:
        environment = os.environ | {"PYTHONIOENCODING": encoding, "LANG": "C", "PYTHONUTF8": "0"}
        if name in ("train", "generate", "merge", "convert"):  # the same code, and seconds of imports
            continue
        result = subprocess.run([*CXRGEN, name, "--help"], capture_output=True, env=environment)
        assert (result.returncode, result.stderr) == (0, b"")


def test_without_docstrings() -> None:
    environment = os.environ | {"PYTHONOPTIMIZE": "2"}
    result = subprocess.run([*CXRGEN, "evaluate", "--help"], capture_output=True, env=environment, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_interrupt_while_a_command_is_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cxrgen.cli.importlib.import_module", interrupted)
    assert main(("phantom", "--out", "x")) == 130
    assert capsys.readouterr().err == "cxrgen phantom: interrupted; run it again to continue\n"


def test_an_interrupt_at_work_shows_no_traceback(tmp_path: Path) -> None:
    words = ("phantom", "--out", str(tmp_path / "out"), "--studies", "20000", "--workers", "1")
    process = subprocess.Popen([*CXRGEN, *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    first = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    said = first + process.communicate()[1]
    assert process.returncode == 130
    assert "Traceback" not in said
