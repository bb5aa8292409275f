"""One rule for better and worse, the same on the page, in compare and in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cxrgen.cli import main
from cxrgen.core.files import write_csv
from cxrgen.evaluate.verdicts import BETTER, OPEN, WORSE, Ends, gain, gain_ends, verdict
from cxrgen.metrics import Better


@pytest.mark.parametrize(
    ("first", "second", "ends", "p", "better", "expected"),
    [
        (0.2, 0.3, (0.05, 0.15), 0.01, "higher", BETTER),
        (0.2, 0.3, (0.05, 0.15), 0.01, "lower", WORSE),
        (0.3, 0.2, (-0.15, -0.05), 0.01, "lower", BETTER),
        (0.2, 0.3, (0.05, 0.15), 0.05, "higher", OPEN),
        (0.2, 0.3, (-0.01, 0.21), 0.01, "higher", OPEN),
        (0.2, 0.3, (0.0, 0.2), 0.01, "higher", OPEN),
        (0.2, 0.3, None, 0.01, "higher", OPEN),
        (0.00041, 0.00049, (0.00001, 0.0001), 0.001, "higher", OPEN),  # 0.000 against 0.000
        (0.12340, 0.12349, (0.00001, 0.0001), 0.001, "higher", OPEN),  # 0.123 against 0.123
    ],
)
def test_all_three_must_hold(first: float, second: float, ends: Ends, p: float, better: Better, expected: str) -> None:
    assert verdict(first, second, second - first, ends, p, better) == expected


def test_best_at_one_goes_by_the_distance_from_one() -> None:
    assert verdict(1.4, 0.9, -0.3, (-0.4, -0.2), 0.01, "nearer_to_1") == BETTER
    assert verdict(0.95, 1.05, 0.0, (-0.01, 0.01), 0.01, "nearer_to_1") == OPEN


def test_a_gain_above_zero_is_better_whichever_way_the_score_runs() -> None:
    assert gain(0.1, "higher") == gain(-0.1, "lower") == gain(-0.1, "nearer_to_1") == 0.1
    assert gain_ends((-0.3, -0.1), "lower") == (0.1, 0.3)
    assert gain_ends((0.1, 0.3), "higher") == (0.1, 0.3)
    assert gain_ends(None, "lower") is None


def test_the_same_verdict_in_table_json_and_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`good` has most words of its references, `none` not one: the score by words says so everywhere."""
    references = {f"{i:02}": [f"{letter}{i}" for letter in "abcdefgh"[: 4 + i % 5]] for i in range(24)}
    kept = {"gt": lambda i: 8, "good": lambda i: 3 + i % 4, "none": lambda i: 0}
    for name, count in kept.items():
        rows = [(study, " ".join(words[: count(int(study))]) or "the") for study, words in references.items()]
        write_csv(tmp_path / f"{name}.csv", ("study_id", "report"), rows)
    for name in ("good", "none"):
        files = ["--pred", tmp_path / f"{name}.csv", "--gt", tmp_path / "gt.csv", "--out", tmp_path / name]
        assert main(["evaluate", *map(str, files), "--metrics", "toy"]) == 0
        printed = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("overlap"))
        against = json.loads((tmp_path / name / "scores.json").read_text())["metrics"]["overlap"]["against_baseline"]
        assert printed.endswith(against["verdict"])
        assert (name, against["verdict"]) in (("good", "better"), ("none", OPEN))
    for pair, expected in ((("none", "good"), "better"), (("good", "none"), "worse"), (("good", "good2"), OPEN)):
        if pair[1] == "good2":
            (tmp_path / "good2").mkdir()
            for file in ("scores.json", "per_study.parquet"):
                (tmp_path / "good2" / file).write_bytes((tmp_path / "good" / file).read_bytes())
        words = [str(tmp_path / name) for name in pair]
        assert main(["compare", *words, "--permutations", "500", "--json"]) == 0
        (rows_of,) = json.loads(capsys.readouterr().out)["differences"].values()
        (row,) = (row for row in rows_of if row["name"] == "overlap")
        assert row["verdict"] == expected
        assert (row["gain"] > 0) == (expected == "better")
