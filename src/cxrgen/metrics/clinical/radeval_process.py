"""radeval in a process of its own: started once for a metric, asked as often as needed, ended with the metric.

Its models are too large, and depend on too many packages, to be rebuilt here. The process runs this Python or that of
another environment, so that radeval's requirements do not restrict the rest. Texts reach it through a pipe; what it
writes goes to a folder that only the user can read and that is removed afterwards. Network access is switched off.
Weights are radeval's own: it looks for them in its caches, and `radeval_runner.py --fetch` fills those.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError
from cxrgen.metrics.clinical import radeval_runner

_SCRIPT = os.path.abspath(radeval_runner.__file__)


@dataclass(frozen=True)
class RadEval:
    """A running process that computes one metric of radeval; the model is loaded when it is first asked."""

    metric: str
    program: str
    running: subprocess.Popen[str]
    version: str
    weights: str  # the weights' snapshots in radeval's caches; empty where they were not found

    @property
    def signature(self) -> str:
        """What the values depend on besides the metric's own settings."""
        return f"radeval:{self.version}|weights:{self.weights or 'not known'}"

    def ask(self, work: Mapping[str, Sequence[str]]) -> Any:
        """What `radeval_runner` makes of the texts in `work`.

        Raises InputError that says what is missing and how to bring it: the weights, or the place in radeval where it
        failed.
        """
        result = _exchange(self.running, self.metric, json.dumps(work))
        if "values" in result:
            return result["values"]
        raise InputError(f"{self.metric}: {_way_out(self.metric, result, self.program)}")


@contextmanager
def radeval(metric: str, python: Path | None = None) -> Iterator[RadEval]:
    """The process for `metric` in the Python `python` or this one; raises InputError where radeval is not installed."""
    # A relative path would be looked for in the process's own folder; links stay, since they tell an environment.
    program = os.path.abspath(python) if python and os.path.exists(python) else str(python or sys.executable)
    with tempfile.TemporaryDirectory() as folder:  # mode 700
        inside = {**os.environ, "TMPDIR": folder, "HF_DATASETS_CACHE": folder}  # copies of the texts go with the folder
        try:
            running = subprocess.Popen(
                [program, _SCRIPT, metric],
                cwd=folder,
                env=inside,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
            )
        except OSError as error:
            raise InputError(
                f"{program}: cannot be run ({type(error).__name__}); give a Python with --radeval"
            ) from None
        try:
            found = _exchange(running, metric)
            if "error" in found:
                raise InputError(f"{metric}: {_way_out(metric, found, program)}")
            yield RadEval(metric, program, running, found["version"], found["weights"])
        finally:
            _end(running)


def lacking(metric: str, python: Path | None = None) -> str:
    """What the metric cannot run without, as one line; empty where radeval and the weights are there."""
    try:
        with radeval(metric, python) as process:
            return "" if process.weights else _needed(metric, "not found", process.program)
    except InputError as error:
        return str(error)


def _exchange(running: subprocess.Popen[str], metric: str, question: str = "") -> Any:
    """The next line of the process, after a question if there is one; raises InputError where it has ended."""
    assert running.stdin is not None
    assert running.stdout is not None
    try:
        if question:
            running.stdin.write(question + "\n")
            running.stdin.flush()
        answer = running.stdout.readline()
    except BrokenPipeError:
        answer = ""
    if not answer:
        raise InputError(f"{metric}: radeval's process ended with code {running.wait()}; -9 means out of memory")
    return json.loads(answer)


def _end(running: subprocess.Popen[str]) -> None:
    running.kill()  # it keeps nothing that could be lost
    running.wait()
    for pipe in (running.stdin, running.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except BrokenPipeError:
            pass


def _way_out(metric: str, result: Mapping[str, str], program: str) -> str:
    needed = radeval_runner.WEIGHTS[metric]
    if result["stage"] == "import":
        return (
            f"the package radeval cannot be used by {program} ({result['error']}); make an environment for it, "
            "`python -m venv radeval && radeval/bin/pip install radeval 'numpy<2' 'pyarrow<22'`, and give "
            f"radeval/bin/python with --radeval; it will need {needed}"
        )
    if result["stage"] == "load":
        return _needed(metric, f"not found or not usable ({result['error']})", program)
    return f"radeval failed on these reports ({result['error']})"


def _needed(metric: str, state: str, program: str) -> str:
    """The weights that a metric needs, and the command that brings them."""
    fetch = f"`{program} {_SCRIPT} --fetch {metric}`"
    return f"needs {radeval_runner.WEIGHTS[metric]}, {state}; bring them, with a network, by {fetch}"
