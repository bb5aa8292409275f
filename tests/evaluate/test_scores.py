import math
import subprocess
import sys

import numpy as np
import pytest

from cxrgen.errors import InputError, UsageError
from cxrgen.evaluate import evaluate
from cxrgen.evaluate.scores import SUM_OF, Score, sum_score


def test_values_by_hand() -> None:
    scores = evaluate(["a b", "x"], ["a b c d", "x y"], ["1", "2"], metrics=["toy"])
    assert scores.metrics["overlap"].value == 3 / 6
    assert scores.metrics["extra"].direction == "down"
    assert scores.metrics["extra"].value == 0
    assert scores.per_study["overlap"].tolist() == [0.5, 0.5]
    assert scores.metrics["overlap"].interval == (0.5, 0.5)
    assert scores.n == 2
    assert scores.patients == 2


def test_row_order_does_not_matter() -> None:
    hypotheses = [f"w{i} w{i * 7 % 5}" for i in range(20)]
    references = [f"w{i * 3 % 20} w{i} w{i % 2}" for i in range(20)]
    ids = [f"s{i:02d}" for i in range(20)]
    subjects = [f"p{i % 6}" for i in range(20)]
    forward = evaluate(hypotheses, references, ids, subjects, ["toy"])
    turned = evaluate(hypotheses[::-1], references[::-1], ids[::-1], subjects[::-1], ["toy"])
    assert forward.metrics["overlap"].interval == turned.metrics["overlap"].interval
    assert forward.patients == 6


def test_wrong_calls_are_refused() -> None:
    with pytest.raises(InputError, match="2 hypotheses for 1"):
        evaluate(["a", "b"], ["a"], ["1"], metrics=["toy"])
    with pytest.raises(InputError, match="'1' stands twice"):
        evaluate(["a", "b"], ["a", "b"], ["1", "1"], metrics=["toy"])
    with pytest.raises(InputError, match="no studies"):
        evaluate([], [], [], metrics=["toy"])
    with pytest.raises(UsageError, match="no metric 'nonsense'"):
        evaluate(["a"], ["a"], ["1"], metrics=["nonsense"])
    with pytest.raises(UsageError, match="--truth"):
        evaluate(["a"], ["a"], ["1"], metrics=["findings"])


def test_sum_needs_all_its_parts() -> None:
    def score(value: float) -> Score:
        return Score(value, None, "up", "", np.zeros(1))

    whole = {name: score(0.5) for name in SUM_OF}
    assert sum_score(whole) == (3.0, [])
    assert sum_score({name: s for name, s in whole.items() if name != "bertscore"}) == (None, ["bertscore"])
    assert sum_score({**whole, "bleu_4": score(math.nan)}) == (None, ["bleu_4"])


def test_importing_the_room_is_light() -> None:
    """`import cxrgen.evaluate` alone must not pay for numpy, let alone torch."""
    code = "import sys, cxrgen.evaluate; sys.exit(any(m in sys.modules for m in ('numpy', 'torch', 'pyarrow')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
