"""Costly metrics over the system and its baselines: one load, each pair once; what baselines and boards leave out."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrgen import metrics
from cxrgen.cli import main
from cxrgen.core.files import write_csv
from cxrgen.evaluate.baselines import automatic
from cxrgen.evaluate.one_pass import measure_sets
from cxrgen.evaluate.pairs import read_pairs
from cxrgen.metrics import MetricResult, load, mean_of_studies
from cxrgen.metrics.clinical import chexbert, radcliq
from cxrgen.metrics.embedding import bertscore

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"
STAND_IN = GOLDEN.parents[1] / "metrics" / "radeval_stand_in"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the made-up radeval was asked, with a snapshot of GREEN's weights in its cache."""
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    monkeypatch.setenv("STAND_IN_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    model = tmp_path / "hub" / "models--StanfordAIMI--GREEN-radllama2-7b"
    for folder in ("snapshots/abc", "refs"):
        (model / folder).mkdir(parents=True)
    (model / "refs" / "main").write_text("abc", encoding="ascii")
    return tmp_path / "log"


def evaluate(csvs: Path, *more: str) -> Any:
    files = [str(csvs / name) for name in ("pred.csv", "gt.csv", "out")]
    assert main(["evaluate", "--pred", files[0], "--gt", files[1], "--out", files[2], *more]) == 0
    return json.loads((csvs / "out" / "scores.json").read_text())


def test_green_with_three_baselines_is_loaded_once(csvs: Path, log: Path) -> None:
    """It is asked for each different pair of all four sets once, and with a cache not at all the second time."""
    pairs = read_pairs(csvs / "pred.csv", csvs / "gt.csv")
    write_csv(csvs / "third.csv", ("study_id", "report"), [(name, "Lungs clear.") for name in pairs.study_ids])
    subjects = pairs.subjects or ()
    sets = [pairs.hypotheses, ["Lungs clear."] * 6, *automatic(pairs.references, subjects, pairs.study_ids).values()]
    different = {pair for texts in sets for pair in zip(texts, pairs.references)}
    words = ["--metrics", "green", "--baseline", f"third={csvs / 'third.csv'}", "--cache", str(csvs / "kept")]
    content = evaluate(csvs, *words)
    loaded, *groups = log.read_text().split()
    assert loaded == "green:loaded"
    assert groups == [f"green:{len(different)}"]
    assert len(different) < 24
    assert content["metrics"]["green"]["value"] == pytest.approx(2 / 6)
    assert content["baselines"]["third"]["green"]["value"] == pytest.approx(1 / 6)
    assert content["baselines"]["normal"]["green"]["value"] == 0
    assert "weights:StanfordAIMI/GREEN-radllama2-7b@abc" in content["metrics"]["green"]["signature"]
    log.write_text("")
    assert evaluate(csvs, *words) == content
    assert log.read_text() == ""


@pytest.mark.parametrize(("choice", "with_bleu", "with_green"), [("cheap", True, False), ("none", False, False)])
def test_baselines_cost_no_more_than_asked(
    csvs: Path, log: Path, choice: str, with_bleu: bool, with_green: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    content = evaluate(csvs, "--metrics", "green,bleu", "--auto-baselines", choice)
    assert log.read_text().split() == ["green:loaded", "green:6"]
    assert content["metrics"]["green"]["value"] == pytest.approx(2 / 6)
    for name in ("normal", "shuffled"):
        found = content["baselines"].get(name, {})
        assert (("bleu_1" in found), ("green" in found)) == (with_bleu, with_green)
    assert ("against_baseline" in content["metrics"]["bleu_1"]) == with_bleu
    assert "against_baseline" not in content["metrics"]["green"]
    assert "green" in capsys.readouterr().out


def test_a_given_baseline_is_scored_whole(csvs: Path, log: Path) -> None:
    given = ["--baseline", f"copy={csvs / 'gt.csv'}"]
    content = evaluate(csvs, "--metrics", "green", "--auto-baselines", "cheap", *given)
    assert content["baselines"]["copy"]["green"]["value"] == 1


SETS = {"": ["Lungs clear.", "", "No effusion."], "normal": ["Normal."] * 3, "copy": ["Heart.", "Large heart", "a b"]}
REFERENCES = ["Heart.", "Large heart", "No left effusion"]


@pytest.mark.parametrize("metric", ["chexbert", "bertscore_encoder", "bertscore_encoder idf", "bleu", "cider"])
def test_sets_together_have_the_values_of_each_alone(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a pair's value depends on the other references, which are then not counted once a set."""
    pytest.importorskip("torch")
    monkeypatch.setattr(chexbert, "_HEAD_SIZE", 8)
    name, _, idf = metric.partition(" ")
    settings: Mapping[str, Mapping[str, Any]] = {
        "chexbert": {"checkpoint": GOLDEN / "tiny_chexbert.pth"},
        "bertscore_encoder": {"encoder": GOLDEN / "tiny_roberta", **({"idf": True} if idf else {})},
    }
    together = measure_sets([name], SETS, REFERENCES, settings)
    for own, texts in SETS.items():
        alone = metrics.measure(name, texts, REFERENCES, **settings.get(name, {}))
        np.testing.assert_allclose(together[own][name].counts, alone.counts, atol=1e-5)
        assert together[own][name].signature == alone.signature


def test_the_parts_of_a_metric_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """RadCliQ takes its parts' counts, and its signature holds theirs with the hashes of their weights."""
    calls = []
    scores = {metric: score for score, metric in radcliq.COMPONENTS.items()}

    def one(metric: str, hypotheses: Sequence[str], references: Sequence[str], **options: Any) -> MetricResult:
        calls.append((metric, len(hypotheses)))
        return mean_of_studies({scores[metric]: [0.25] * len(hypotheses)}, f"{metric}|weights:of {metric}")

    for part in radcliq.COMPONENTS.values():
        record = dataclasses.replace(load(part), measure=lambda *texts, part=part, **more: one(part, *texts, **more))
        file, _, name = metrics.METRICS[part.partition(".")[0]].partition(":")
        monkeypatch.setattr(sys.modules[file], name or "METRIC", record)
    found = measure_sets(["radcliq", "chexbert"], SETS, REFERENCES)
    assert list(found["normal"]) == ["radcliq", "chexbert"]
    together = [(part, 9) for part in ("radgraph_combined", "bertscore", "chexbert")]
    assert calls == [*together, *[("bleu.cxr-report-metric", 3)] * 3]
    for part in radcliq.COMPONENTS.values():
        assert f"({part}|weights:of {part})" in found[""]["radcliq"].signature


def test_a_board_is_one_row_and_names_what_is_missing(
    csvs: Path, log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here GREEN is there, the rest is not: said before the files are read, and the rest is computed."""
    content = evaluate(csvs, "--metrics", "rexrank")
    shown = capsys.readouterr()
    board = content["rexrank"]
    columns = ["BLEU-2", "BERTScore", "SembScore", "RadGraph", "1/RadCliQ-v1", "RaTEScore", "GREEN"]
    assert sorted(board["values"]) == sorted(columns)
    assert {name for name, value in board["values"].items() if value is not None} == {"BLEU-2", "GREEN"}
    assert board["values"]["BLEU-2"] == content["metrics"]["bleu_2.cxr-report-metric"]["value"]
    assert board["baselines"]["normal"]["GREEN"] == 0
    assert board["missing"].keys() == set(columns) - {"BLEU-2", "GREEN"}
    assert board["missing"]["1/RadCliQ-v1"] == "needs radgraph_combined, bertscore, chexbert"
    assert shown.out.splitlines()[0].split() == ["rexrank", *columns]
    assert shown.out.splitlines()[1].split()[0] == "reports"
    assert "left out: ratescore: needs Angelakeke/RaTE-NER-Deberta" in shown.err
    lines = shown.err.splitlines()
    assert all("left out: " in line for line in lines[:5]), "before anything is read"
    assert main(["evaluate", "--pred", "none.csv", "--gt", "none.csv", "--out", "out", "--metrics", "rexrank"]) == 1
    assert "left out: chexbert: chexbert needs chexbert.pth" in capsys.readouterr().err


def test_what_is_named_besides_a_board_is_not_left_out(
    csvs: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(csvs / name) for name in ("pred.csv", "gt.csv", "out")]
    command = ["evaluate", "--pred", files[0], "--gt", files[1], "--out", files[2]]
    assert main([*command, "--metrics", "rexrank,bertscore"]) == 1
    assert "bertscore needs the encoder distilroberta-base" in capsys.readouterr().err


@pytest.mark.slow
def test_a_whole_board(csvs: Path, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small encoders in the places of the real ones, made-up annotations."""
    pytest.importorskip("torch")
    monkeypatch.setattr(bertscore, "follows", lambda folder, recipe: True)
    monkeypatch.setitem(bertscore.PRESETS, bertscore.DEFAULT, dataclasses.replace(bertscore.DISTILROBERTA, layer=2))
    monkeypatch.setattr(chexbert, "_HEAD_SIZE", 8)
    (tmp_path / "appdirs.py").write_text(f"def user_cache_dir(name):\n    return {str(tmp_path)!r}\n", encoding="utf-8")
    weights = tmp_path / "0.1.18" / "radgraph" / "weights.th"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    monkeypatch.setenv("PYTHONPATH", f"{STAND_IN}:{tmp_path}")
    for repository in ("Angelakeke--RaTE-NER-Deberta", "FremyCompany--BioLORD-2023-C"):
        (tmp_path / "hub" / f"models--{repository}" / "snapshots" / "abc").mkdir(parents=True)
        (tmp_path / "hub" / f"models--{repository}" / "refs").mkdir()
        (tmp_path / "hub" / f"models--{repository}" / "refs" / "main").write_text("abc", encoding="ascii")
    flags = ["--chexbert", str(GOLDEN / "tiny_chexbert.pth"), "--encoder", str(GOLDEN / "tiny_roberta")]
    content = evaluate(csvs, "--metrics", "rexrank", *flags)
    assert content["rexrank"]["missing"] == {}
    assert all(value is not None for value in content["rexrank"]["values"].values())
    assert content["rexrank"]["values"]["1/RadCliQ-v1"] == content["metrics"]["radcliq_v1_inverse"]["value"]
    asked = log.read_text().split()
    assert asked.count("radgraph:loaded") == asked.count("green:loaded") == 1
