"""Flags that bring weights: which metrics they ask for, and what reaches the score folder."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cxrgen.cli import main
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import write_csv
from cxrgen.evaluate import metric_options as weights
from cxrgen.evaluate.results import read_results
from cxrgen.metrics.clinical import chexbert
from cxrgen.metrics.clinical import radcliq as composite
from cxrgen.metrics.embedding import bertscore
from cxrgen.metrics.embedding.encoders import packaged_minilm

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"


def settings(*words: str, metrics: Sequence[str] = ()) -> dict[str, dict[str, object]]:
    parser = argparse.ArgumentParser()
    weights.add_arguments(parser)
    return weights.settings(parser.parse_args(words), metrics)


def test_each_flag_asks_for_its_metric(tmp_path: Path) -> None:
    assert settings() == {}
    checkpoint = {"checkpoint": Path("c.pth")}
    assert settings("--chexbert", "c.pth") == {"chexbert": checkpoint}
    both = settings("--chexbert", "c.pth", metrics=["chexbert.uncertain-negative"])
    assert both == {"chexbert": checkpoint, "chexbert.uncertain-negative": checkpoint}
    tiny = GOLDEN / "tiny_roberta"
    assert settings("--encoder", str(tiny)) == {"bertscore_encoder": {"encoder": tiny}}
    real = {"model_type": "roberta", "hidden_size": 768, "num_hidden_layers": 6, "vocab_size": 50265}
    (tmp_path / "config.json").write_text(json.dumps(real), encoding="utf-8")
    expected = {"bertscore": {"encoder": tmp_path, "cache": Path("kept")}}
    assert settings("--encoder", str(tmp_path), "--cache", "kept") == expected
    with pytest.raises(InputError, match=r"config\.json: no such file"):
        settings("--encoder", str(tmp_path / "nowhere"))


def test_settings_of_an_encoder_give_a_score_of_its_own(tmp_path: Path) -> None:
    tiny = GOLDEN / "tiny_roberta"
    words = ("--encoder-layer", "2", "--encoder-idf", "--encoder-baseline", "table.tsv")
    asked = {"layer": 2, "idf": True, "baseline": Path("table.tsv")}
    assert settings("--encoder", str(tiny), *words) == {"bertscore_encoder": {"encoder": tiny, **asked}}
    real = {"model_type": "roberta", "hidden_size": 768, "num_hidden_layers": 6, "vocab_size": 50265}
    (tmp_path / "config.json").write_text(json.dumps(real), encoding="utf-8")
    both = settings("--encoder", str(tmp_path), "--encoder-idf", "--cache", "kept")
    plain = {"encoder": tmp_path, "cache": Path("kept")}
    assert both == {"bertscore": plain, "bertscore_encoder": {**plain, "idf": True}}
    with pytest.raises(UsageError, match="--encoder-layer is a setting of --encoder; give --encoder as well"):
        settings("--encoder-layer", "0")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "layer"),
    [
        (["--encoder-layer", "5"], 5),
        (["--encoder-idf"], 6),
        (["--encoder-layer", "5", "--encoder-idf", "--encoder-baseline", "TABLE"], 5),
    ],
)
def test_settings_of_an_encoder_as_bert_score_knows_them(csvs: Path, words: list[str], layer: int) -> None:
    """The whole command beside the package, on the golden pairs that have words: on no text the package fails."""
    package = pytest.importorskip("bert_score")
    try:
        encoder = packaged_minilm()
    except InputError as error:
        pytest.skip(str(error))
    sides = []
    for name in ("predictions.csv", "references.csv"):
        with open(GOLDEN / name, encoding="utf-8", newline="") as file:
            sides.append([row["report"] for row in csv.DictReader(file)])
    pairs = [pair for pair in zip(*sides) if all(text.strip() for text in pair)]
    for place, file in enumerate((csvs / "pred.csv", csvs / "gt.csv")):
        write_csv(file, ["study_id", "report"], [(str(number), pair[place]) for number, pair in enumerate(pairs)])
    table = csvs / "table.tsv"
    rows = [f"{number},0.25,{number / 10},0.125\n" for number in range(7)]
    table.write_text("LAYER,P,R,F\n" + "".join(rows), encoding="utf-8")
    words = [word.replace("TABLE", str(table)) for word in words]
    files = ["--pred", str(csvs / "pred.csv"), "--gt", str(csvs / "gt.csv"), "--out", str(csvs / "out")]
    assert main(["evaluate", *files, "--metrics", "bertscore_encoder", "--encoder", str(encoder), *words]) == 0
    ours = pq.read_table(csvs / "out" / "per_study.parquet")["bertscore_encoder"].to_pylist()
    rescaled = "--encoder-baseline" in words
    theirs = package.score(
        *map(list, zip(*pairs)),
        model_type=str(encoder),
        num_layers=layer,
        idf="--encoder-idf" in words,
        rescale_with_baseline=rescaled,
        baseline_path=str(table) if rescaled else None,
        lang="en",
        device="cpu",
    )
    np.testing.assert_allclose(ours, theirs[2].tolist(), atol=1e-4)
    scores = json.loads((csvs / "out" / "scores.json").read_text())["metrics"]
    signature = scores["bertscore_encoder"]["signature"]
    assert f"layer:{layer}|idf:{'of the references' if '--encoder-idf' in words else 'no'}" in signature


def test_a_cache_serves_whatever_bertscore_is_asked_for() -> None:
    assert settings("--cache", "kept", metrics=["bleu", "bertscore_minilm"]) == {
        "bertscore_minilm": {"cache": Path("kept")}
    }
    with_chexbert = settings("--cache", "kept", "--chexbert", "c.pth", metrics=["bleu"])
    assert with_chexbert == {"chexbert": {"checkpoint": Path("c.pth"), "cache": Path("kept")}}
    with pytest.raises(UsageError, match="--cache"):
        settings("--cache", "kept", metrics=["bleu"])


def test_the_python_with_radeval_goes_to_what_it_serves() -> None:
    python = Path("env/bin/python")
    assert settings("--radeval", str(python), metrics=["bleu", "green", "radgraph"]) == {
        "radgraph": {"python": python},
        "green": {"python": python},
    }
    with pytest.raises(UsageError, match=r"--radeval serves radgraph, .*--metrics"):
        settings("--radeval", str(python), metrics=["bleu"])


def test_radcliq_is_called_with_what_its_parts_need() -> None:
    found = settings("--chexbert", "c.pth", "--radeval", "python", metrics=["radcliq"])
    parts = {"chexbert": {"checkpoint": Path("c.pth")}, "radgraph_combined": {"python": Path("python")}}
    assert found == {**parts, "radcliq": {"settings": parts}}


@pytest.mark.slow
def test_radcliq_gets_the_settings_of_its_parts(
    csvs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All four parts run: the small encoder in distilroberta's place, the small checkpoint, made-up annotations."""
    pytest.importorskip("torch")
    checkpoint, encoder = GOLDEN / "tiny_chexbert.pth", GOLDEN / "tiny_roberta"
    monkeypatch.setattr(bertscore, "follows", lambda folder, recipe: True)
    monkeypatch.setitem(bertscore.PRESETS, bertscore.DEFAULT, dataclasses.replace(bertscore.DISTILROBERTA, layer=2))
    monkeypatch.setattr(chexbert, "_HEAD_SIZE", 8)
    monkeypatch.setenv("PYTHONPATH", str(GOLDEN.parents[1] / "metrics" / "radeval_stand_in"))
    flags = ["--chexbert", str(checkpoint), "--encoder", str(encoder), "--radeval", sys.executable]
    files = [str(csvs / name) for name in ("pred.csv", "gt.csv", "out")]
    command = ["evaluate", "--pred", files[0], "--gt", files[1], "--out", files[2]]
    assert main([*command, "--metrics", "radcliq,radgraph_combined", *flags]) == 0
    scores = json.loads((csvs / "out" / "scores.json").read_text())["metrics"]
    means = read_results(csvs / "out").measured["radcliq"].counts[:, :4].mean(axis=0)
    assert scores["radcliq_v1"]["value"] == pytest.approx(composite.V1.predict(means))
    names = list(composite.COMPONENTS)[:3]
    np.testing.assert_allclose(means[:3], [scores[name]["value"] for name in names])
    assert (scores["radcliq_v1"]["better"], scores["bertscore"]["better"]) == ("lower", "higher")
    assert main([*command, "--metrics", "radcliq"]) == 1
    assert "bertscore needs the encoder distilroberta-base" in capsys.readouterr().err


@pytest.mark.slow
def test_scores_with_weights_can_be_read_back(csvs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(chexbert, "_HEAD_SIZE", 8)  # the small checkpoint's
    checkpoint, encoder = GOLDEN / "tiny_chexbert.pth", GOLDEN / "tiny_roberta"
    files = [str(csvs / name) for name in ("pred.csv", "gt.csv", "out")]
    command = ["evaluate", "--pred", files[0], "--gt", files[1], "--out", files[2], "--metrics", "toy"]
    flags = ["--chexbert", str(checkpoint), "--encoder", str(encoder), "--cache", str(csvs / "kept")]
    assert main([*command, *flags]) == 0
    content = json.loads((csvs / "out" / "scores.json").read_text())
    assert {"overlap", "chexbert_similarity", "chexbert_f1_micro_14", "bertscore_encoder"} <= set(content["metrics"])
    assert "bertscore" in content["sum"]["missing"], "another encoder's score is not bertscore"
    assert sorted(file.suffix for file in (csvs / "kept").iterdir()) == [".rows", ".rows", ".safetensors"]
    results = read_results(csvs / "out")
    for name, score in (("chexbert", "chexbert_similarity"), ("bertscore_encoder", "bertscore_encoder")):
        measured = results.measured[name]
        again = measured.aggregate(measured.counts.sum(axis=0))[score]
        assert again == pytest.approx(content["metrics"][score]["value"])


def test_missing_weights_are_one_line(csvs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(csvs / name) for name in ("pred.csv", "gt.csv", "out")]
    command = ["evaluate", "--pred", files[0], "--gt", files[1], "--out", files[2]]
    for more, message in (
        (["--metrics", "chexbert"], "needs chexbert.pth"),
        (["--metrics", "bertscore"], "needs the encoder distilroberta-base"),
        (["--metrics", "toy", "--chexbert", str(csvs / "nothing.pth")], "nothing.pth: no such file"),
    ):
        assert main([*command, *more]) == 1
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cxrgen evaluate")]
        assert message in line
