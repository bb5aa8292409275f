"""A new metric with options and weights is one file and one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from cxrgen import metrics
from cxrgen.cli import main
from cxrgen.evaluate.results import read_results

FILE = '''"""Share of the words of a list that both texts have."""

from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.metrics import Metric, Option, mean_of_studies


def measure(hypotheses, references, words=None):
    if hypotheses and words is None:
        raise InputError("listed needs a list of words; give it with --word-list")
    known = set(words.read_text(encoding="utf-8").split()) if words else set()
    shares = []
    for texts in zip(hypotheses, references):
        hyp, ref = (known & set(text.lower().split()) for text in texts)
        shares.append(len(hyp & ref) / max(1, len(ref)))
    return mean_of_studies({"listed_share": shares}, "listed|words:1")


METRIC = Metric(
    measure,
    "overlap",
    options=(Option("--word-list", "words", "the words that count", "FILE", Path),),
    asked_for=lambda given: "words" in given,
    headline={"listed_share": 5},
)
'''


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "listed_metric.py").write_text(FILE, encoding="utf-8")
    (tmp_path / "words.txt").write_text("lungs heart effusion. clear.", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(metrics.METRICS, "listed", "listed_metric")  # the line
    monkeypatch.delitem(sys.modules, "listed_metric", raising=False)
    return tmp_path / "words.txt"


def evaluate(csvs: Path, *more: str) -> int:
    files = [str(csvs / name) for name in ("pred.csv", "gt.csv", "out")]
    return main(["evaluate", "--pred", files[0], "--gt", files[1], "--out", files[2], *more])


def test_its_flag_asks_for_it_and_everything_knows_it(
    csvs: Path, listed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(csvs, "--metrics", "bleu", "--word-list", str(listed)) == 0
    assert "listed_share" in capsys.readouterr().out
    content = json.loads((csvs / "out" / "scores.json").read_text())
    assert content["metrics"]["listed_share"]["better"] == "higher"
    assert content["metrics"]["listed_share"]["signature"] == "listed|words:1"
    assert content["baselines"]["normal"].keys() == content["metrics"].keys()
    assert "listed" in read_results(csvs / "out").measured
    assert 'data-name="listed_share"' in (csvs / "out" / "report.html").read_text()


def test_its_name_asks_for_it_and_help_shows_its_flag(
    csvs: Path, listed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(csvs, "--metrics", "listed_share") == 1
    assert "listed needs a list of words; give it with --word-list" in capsys.readouterr().err
    assert evaluate(csvs, "--help") == 0
    assert "--word-list FILE" in capsys.readouterr().out


def test_a_flag_that_no_chosen_metric_uses_is_wrong_usage(csvs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(csvs, "--metrics", "bleu", "--radeval", "python") == 2
    assert "--radeval serves radgraph, radgraph_combined, ratescore, green, srr" in capsys.readouterr().err
