"""`cxrgen meta`: Kendall's tau of scores with errors that people counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cxrgen.cli import main
from cxrgen.core.errors import InputError
from cxrgen.core.tables import read_csv
from cxrgen.evaluate.error_tables import read_errors
from cxrgen.evaluate.meta import case_weights, order_signs, weighted_tau


def tau(one: list[float], two: list[float]) -> float:
    return float(weighted_tau(order_signs(np.array(one)), order_signs(np.array(two)), np.ones((1, len(one))))[0])


def test_tau_by_hand() -> None:
    assert tau([1, 2, 3], [1, 2, 3]) == 1
    assert tau([1, 2, 3], [3, 2, 1]) == -1
    assert tau([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)
    assert tau([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / np.sqrt(2 * 3))
    assert np.isnan(tau([1, 1], [1, 2]))


def test_tau_equals_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(0)
    for _ in range(20):
        one, two = random.integers(0, 6, 40).astype(float), random.integers(0, 4, 40).astype(float)
        assert tau(one.tolist(), two.tolist()) == pytest.approx(stats.kendalltau(one, two).statistic)


def test_a_draw_that_repeats_reports_is_tau_of_the_repeated() -> None:
    one, two, times = [1.0, 2, 3, 5], [2.0, 1, 3, 3], [2, 0, 1, 3]
    repeated = [[value for value, n in zip(of, times) for _ in range(n)] for of in (one, two)]
    signs = (order_signs(np.array(one)), order_signs(np.array(two)))
    assert float(weighted_tau(*signs, np.array([times], dtype=float))[0]) == pytest.approx(tau(*repeated))


def test_cases_are_drawn_whole() -> None:
    weights = case_weights(["a", "a", "b", "c"], 0)
    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert not np.array_equal(weights[:, 0], weights[:, 2])


def test_errors_are_added_over_rows_and_averaged_over_readers(tmp_path: Path) -> None:
    rows = ["study_id,case,rater,category,errors", "a,1,x,miss,2", "a,1,x,side,1", "a,1,y,miss,0", "b,1,x,miss,1"]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    counted, case_of = read_errors(read_csv(tmp_path / "t.csv"), "errors", "case", "rater")
    assert counted == {"a": 1.5, "b": 1.0}
    assert case_of == {"a": "1", "b": "1"}
    (tmp_path / "t.csv").write_text("study_id,errors\na,many\n")
    with pytest.raises(InputError, match="no count of errors"):
        read_errors(read_csv(tmp_path / "t.csv"), "errors", "case", "rater")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reports with fewer words of their reference have more errors: overlap agrees, extra words do not vary."""
    words = ["a", "b", "c", "d", "e", "f", "g", "h"]
    for name, cut in (("gt", lambda i: 8), ("pred", lambda i: 8 - i)):
        lines = [f"{i},{' '.join(words[: cut(i)])}" for i in range(7)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["study_id,report", *lines]) + "\n")
    (tmp_path / "t.csv").write_text("\n".join(["id,errors", *(f"{i},{i}" for i in range(7))]) + "\n")
    files = ["--pred", tmp_path / "pred.csv", "--gt", tmp_path / "gt.csv", "--out", tmp_path / "scores"]
    assert main(["evaluate", *map(str, files), "--metrics", "toy,form"]) == 0
    capsys.readouterr()
    assert main(["meta", str(tmp_path / "t.csv"), str(tmp_path / "scores"), "--json"]) == 0
    rows = {row["score"]: row for row in json.loads(capsys.readouterr().out)["agreement"]}
    assert rows["overlap"]["tau"] == rows["length_ratio"]["tau"] == pytest.approx(1)
    assert rows["extra"]["tau"] is None
    assert rows["overlap"]["n"] == 7
    assert main(["meta", str(tmp_path / "t.csv"), str(tmp_path / "scores")]) == 0
    assert "7 reports" in capsys.readouterr().out
