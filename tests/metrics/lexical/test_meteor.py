from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cxrgen.core.errors import InputError
from cxrgen.metrics.lexical import meteor
from cxrgen.metrics.lexical.ptb import tokens

GOLDEN = Path(__file__).parents[2] / "golden" / "metrics"
ABSENT = importlib.util.find_spec("pycocoevalcap") is None or shutil.which("java") is None
needs_java = pytest.mark.skipif(ABSENT, reason="needs Java and the package pycocoevalcap")


def values(counts: list[list[float]]) -> list[float]:
    each = meteor._meteor(np.array(counts))["meteor"].tolist()
    return [*each, float(meteor._meteor(np.array(counts).sum(axis=0))["meteor"])]


def test_values_from_the_program_s_own_counts() -> None:
    """Counts and values that the original program printed for six made-up pairs, and for all together.

    The fourth pair is a text and itself, where it does not count the one chunk.
    """
    rows = """5 8 2 3 3 3 1 1 0 0 0 0 0 0 0 0 0 0 0 0 1 4 4 = 0.3217020826235284
              3 2 1 0 2 2 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 2 2 = 0.4660191824608054
              3 3 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 = 0.0
              1 1 0 0 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 1 = 1.0
              5 7 1 2 1 1 1 1 1 1 0 0 1 1 0 0 0 0 0 0 4 4 4 = 0.19999999999999996
              3 2 3 2 0 0 1 1 0 0 0 0 0 0 0 0 0 0 0 0 1 1 1 = 0.18604651162790697"""
    counts, known = zip(*(row.split(" = ") for row in rows.splitlines()))
    got = values([[float(count) for count in row.split()] for row in counts])
    np.testing.assert_allclose(got, [*map(float, known), 0.2438442841879633], atol=1e-12)


@pytest.mark.slow
@needs_java
def test_odd_strings_as_the_original_s_wrapper_scores_them() -> None:
    """And texts without words, on which the original waits for ever: they match nothing and cost recall."""
    strings = json.loads((GOLDEN / "odd_strings.json").read_text(encoding="utf-8"))
    recorded = json.loads((GOLDEN / "odd_recorded.json").read_text(encoding="utf-8"))["values"]["meteor"]["meteor"]
    shorter = [" ".join([*text.split(" ")[:-1], "heart"]) for text in strings]
    pairs = zip([*shorter, *strings], [*strings, *strings[1:], strings[0]])
    worded = [(said, wanted) for said, wanted in pairs if tokens(said) and tokens(wanted)]
    empty = [("", "Heart normal."), ("Lungs clear.", ""), ("", ""), ("Lungs clear.", "Lungs clear.")]
    counts = meteor.measure(*zip(*worded, *empty)).counts
    measured = meteor.measure([], [])
    got = measured.aggregate(counts)["meteor"]
    whole = measured.aggregate(counts[: len(worded)].sum(axis=0))["meteor"]
    np.testing.assert_allclose([*got[: len(worded)], whole], recorded, atol=1e-6)
    assert got[len(worded) :].tolist() == [0, 0, 0, 1]
    assert 0 < measured.aggregate(counts[len(worded) :].sum(axis=0))["meteor"] < 1
    assert measured.aggregate(np.ones((3, 2, len(counts))) @ counts)["meteor"].shape == (3, 2)


def test_without_java_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="meteor needs"):
        meteor.measure(["a"], ["b"])
    assert meteor.measure([], []).counts.shape == (0, 23)  # a score folder can be read back anywhere
