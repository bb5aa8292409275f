"""METEOR 1.5, by the original program: words matched exactly, by stem, by synonym and by paraphrase table.

The program and its tables are Java and 100 MB, and no other implementation gives its numbers, so this is the one score
that needs Java; the package pycocoevalcap carries both. The program is asked for its match counts only. The score is
made of their sums here (Denkowski and Lavie 2014, equations 1 to 5, English parameters), so intervals need no Java.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrgen.core.errors import InputError
from cxrgen.metrics import Floats, Metric, MetricResult
from cxrgen.metrics.lexical.ptb import tokens
from cxrgen.metrics.several import best_of, by_score

_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase
_COUNTS = 23  # 4 lengths, 4 x 4 matches (content and function words of both sides), chunks, words matched on each side
_NOT_A_WORD = "zzzz"


def measure(hypotheses: Sequence[str], references: Sequence[str]) -> MetricResult:
    """`meteor` of N pairs of texts; counts are the (N, 23) match counts of the original program.

    A report without words matches nothing, but its reference's words still count as missed. Raises InputError without
    Java or pycocoevalcap.
    """
    pairs = [(" ".join(tokens(hyp)), " ".join(tokens(ref))) for hyp, ref in zip(hypotheses, references)]
    different = list(dict.fromkeys(pairs))
    found = dict(zip(different, _match_counts(different))) if different else {}
    counts = np.array([found[pair] for pair in pairs], dtype=np.float64).reshape(len(pairs), _COUNTS)
    return MetricResult(counts, _meteor, "meteor|1.5|en|-norm|tokens:ptb|a:.85 b:.2 g:.6 d:.75|level:corpus")


def _match_counts(pairs: Sequence[tuple[str, str]]) -> list[Floats]:
    """The 23 counts that the program gives for each (report, reference) of Treebank tokens."""
    folder = _folder()
    lines = [f"SCORE ||| {_line(ref)} ||| {_line(hyp)}\n" for hyp, ref in pairs]
    command = [
        "java",
        "-Xmx2G",
        "-Dfile.encoding=UTF-8",
        "-jar",
        "meteor-1.5.jar",
        "-",
        "-",
        "-stdio",
        "-l",
        "en",
        "-norm",
    ]
    done = subprocess.run(command, cwd=folder, input="".join(lines).encode(), capture_output=True, check=False)
    answers = done.stdout.decode("utf-8", "replace").splitlines()
    if done.returncode or len(answers) != len(lines):
        raise InputError(f"meteor: the program answered {len(answers)} of {len(lines)} pairs; check `java -version`")
    rows = [np.array(answer.split(), dtype=np.float64) for answer in answers]
    for row, (hyp, ref) in zip(rows, pairs):
        row[[0, 2]] *= bool(hyp)
        row[[1, 3]] *= bool(ref)
        if row[20] <= 1 and row[21] == row[0] and row[22] == row[1]:
            row[20] = 0  # the original counts no break for a text that is its reference, nor in the sum of a set
    return rows


def _line(text: str) -> str:
    """What the original's wrapper sends, but never nothing: the program waits for ever on an empty text."""
    return text.replace("|||", "").replace("  ", " ").strip() or _NOT_A_WORD


def _folder() -> Path:
    spec = importlib.util.find_spec("pycocoevalcap")
    if spec is None or shutil.which("java") is None:
        what = "Java (a `java` command)" if spec else "the package pycocoevalcap (`pip install 'cxrgen[bench]'`)"
        raise InputError(f"meteor needs {what}; leave it out of --metrics or install it")
    return Path(next(iter(spec.submodule_search_locations or ()))) / "meteor"


def _meteor(sums: Floats) -> dict[str, Floats]:
    matched = sums[..., 4:20].reshape(*sums.shape[:-1], 4, 4) * _WEIGHTS[:, None]  # stage, (content, function) x side
    content = matched.sum(axis=-2)
    with np.errstate(divide="ignore", invalid="ignore"):
        sides = []
        for side in (0, 1):
            words, function = sums[..., side], sums[..., 2 + side]
            weighted = _DELTA * content[..., side] + (1 - _DELTA) * content[..., 2 + side]
            sides.append(weighted / (_DELTA * (words - function) + (1 - _DELTA) * function))
        precision, recall = sides
        mean = precision * recall / (_ALPHA * precision + (1 - _ALPHA) * recall)
        chunks, together = sums[..., 20], (sums[..., 21] + sums[..., 22]) / 2
        value = mean * (1 - _GAMMA * (chunks / together) ** _BETA)
    return {"meteor": np.where(together > 0, np.nan_to_num(value), 0.0)}


METRIC = Metric(measure, "overlap", several=best_of(measure, by_score("meteor"), "the best meteor"))
