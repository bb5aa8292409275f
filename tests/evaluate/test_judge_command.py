"""`cxrgen evaluate --judge`: scores, page and folder; nothing is asked unless asked for, and no text is in any log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from tests.metrics.clinical.judge_server import Judge, Reply, judging

from cxrgen.cli import main
from cxrgen.core.files import write_csv
from cxrgen.core.tables import read_csv
from cxrgen.evaluate import evaluate as evaluate_texts
from cxrgen.evaluate.intervals import wilson
from cxrgen.evaluate.results import read_results

WRONG = {
    "matched": ["effusion"],
    "errors": [
        {"kind": "wrong_location", "finding": "quokka effusion", "urgent": True},
        {"kind": "omitted_comparison", "finding": "<b>new</b>", "urgent": False},
    ],
}


@pytest.fixture
def server() -> Iterator[Judge]:
    with judging() as judge:
        judge.by_report["Large left effusion."] = Reply(f"```json\n{json.dumps(WRONG)}\n```")
        judge.by_report["None"] = Reply("It says None.")
        yield judge


def evaluate(csvs: Path, *more: str, out: str = "out") -> int:
    files = [str(csvs / name) for name in ("pred.csv", "gt.csv", out)]
    return main(["evaluate", "--pred", files[0], "--gt", files[1], "--out", files[2], "--metrics", "toy", *more])


def content_of(csvs: Path) -> dict[str, dict[str, dict[str, object]]]:
    content: dict[str, dict[str, dict[str, object]]] = json.loads((csvs / "out" / "scores.json").read_text())
    return content


def test_a_judged_set(csvs: Path, server: Judge, capfd: pytest.CaptureFixture[str]) -> None:
    judge = ("--judge", server.url, "--judge-model", "small", "--judge-at-once", "1")
    assert evaluate(csvs, *judge) == 0
    said = capfd.readouterr()
    leaving = f"judge: the texts of 6 pairs are sent to {server.url.removesuffix('/v1')}, model small; 0 answers kept"
    assert said.err.count(leaving) == 1
    assert "judge: studies without a score: 1 broken answer; run again to ask for these" in said.err
    assert "effusion" not in said.err + said.out, "no text of a report or an answer is in a log"
    content = content_of(csvs)
    scores = content["metrics"]
    assert scores["judge_urgent"]["value"] == pytest.approx(1 / 5)
    assert scores["judge_matched"]["value"] == pytest.approx(1 / 5)
    assert content["unscored"] == {"judge": {"broken answer": 1, "no answer": 0, "not asked": 0}}
    assert "judge_urgent" not in content["baselines"]["normal"], "baselines cost calls"
    assert len(server.asked) == 7
    assert read_results(csvs / "out").measured["judge"].counts.shape == (6, 12)

    assert evaluate(csvs, *judge) == 0
    assert len(server.asked) == 9, "only the broken answer is asked for again"
    assert evaluate(csvs) == 0
    assert len(server.asked) == 9, "nothing is asked without --judge"
    assert "judge_urgent" not in content_of(csvs)["metrics"]


def test_errors_are_chips_that_filter(csvs: Path, server: Judge) -> None:
    judge = ("--judge", server.url, "--judge-model", "small")
    assert evaluate(csvs, *judge) == 0
    page = (csvs / "out" / "report.html").read_text()
    assert "judge: ! urgent, wrong place: quokka effusion" in page
    assert "judge: omitted comparison: &lt;b&gt;new&lt;/b&gt;" in page
    assert '<option value="judge_wrong_location">judge: wrong place (1)</option>' in page
    assert '<option value="judge_urgent">judge: urgent (1)</option>' in page
    data = json.loads(unescape(re.findall(r'<template id="data">(.*?)</template>', page, re.DOTALL)[0]))
    cards = [{key for chip in study["chips"] for key in data["chips"][chip]["keys"]} for study in data["studies"]]
    (judged,) = [keys for keys in cards if "judge_urgent:" in keys]
    assert {"judge_wrong_location:", "judge_omitted_comparison:"} <= judged
    assert evaluate(csvs, *judge, "--hide-text") == 0
    hidden = (csvs / "out" / "report.html").read_text()
    assert "quokka" not in hidden
    assert "judge: ! urgent, wrong place" in hidden
    assert evaluate(csvs) == 0
    assert "judge_" not in (csvs / "out" / "report.html").read_text()


def test_baselines_are_judged_on_request(csvs: Path, server: Judge, capsys: pytest.CaptureFixture[str]) -> None:
    server.by_report.clear()
    flags = ("--judge", server.url, "--judge-model", "small", "--judge-baselines")
    assert evaluate(csvs, *flags) == 0
    baselines = content_of(csvs)["baselines"]
    assert baselines.keys() == {"normal", "shuffled"}
    assert all("judge_urgent" in scores for scores in baselines.values())
    assert len(server.asked) > 12
    assert evaluate(csvs, *flags, "--judge-max-calls", "4", "--cache", str(csvs / "other")) == 0
    assert "judge: studies of the baseline normal without a score: " in capsys.readouterr().err


def test_what_cannot_be_asked_is_said_before_files_are_read(
    csvs: Path, server: Judge, capsys: pytest.CaptureFixture[str]
) -> None:
    (csvs / "gt.csv").unlink()
    remote = "https://judge.example.com/v1"
    for flags, words in (
        (("--judge", remote, "--judge-model", "m"), "would leave this machine for https://judge.example.com; give"),
        (("--judge", server.url), "a judge needs --judge URL and --judge-model NAME"),
        (("--judge-model", "m"), "--judge-model is a setting of --judge"),
        (("--metrics", "judge"), "a judge needs --judge URL"),
        (("--judge", server.url, "--judge-model", "m", "--judge-max-calls", "-1"), "give 0 or more"),
    ):
        assert evaluate(csvs, *flags) == 2
        assert words in capsys.readouterr().err
    assert server.asked == []


def test_values_have_intervals_between_patients_over_what_was_judged(server: Judge) -> None:
    texts = [f"Report {number}." for number in range(40)]
    server.by_report = {text: Reply(json.dumps(WRONG)) for text in texts[:10]}
    server.by_report |= {text: Reply("broken") for text in texts[10:20]}
    settings = {"judge": {"url": server.url, "model": "small"}}
    scores = evaluate_texts(texts, texts[::-1], metrics=["judge"], settings=settings)
    urgent = scores.metrics["judge_urgent"]
    assert urgent.value == pytest.approx(1 / 3)
    assert urgent.interval is not None
    assert urgent.interval == pytest.approx(wilson(1 / 3, 30), abs=0.02), "30 of 40 studies have a value"


def test_a_budget_is_that_of_the_run_with_several_references_too(csvs: Path, server: Judge) -> None:
    rows = [(*row.cells.values(), "Left effusion.") for row in read_csv(csvs / "gt.csv").rows]
    write_csv(csvs / "gt.csv", ("study_id", "subject_id", "report", "report_2"), rows)
    flags = ("--judge", server.url, "--judge-model", "small", "--judge-baselines", "--judge-max-calls", "4")
    files = [str(csvs / name) for name in ("pred.csv", "gt.csv", "out")]
    command = ["evaluate", "--pred", files[0], "--gt", files[1], "--out", files[2], "--metrics", "rouge", *flags]
    assert main(command) == 0
    assert len(server.asked) == 4
    unscored = content_of(csvs)["unscored"]["judge"]
    assert set(unscored["baselines"]) == {"normal", "shuffled"}  # type: ignore[call-overload]
