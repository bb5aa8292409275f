import json
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cxrgen.cli import main
from cxrgen.core.records import Study, View, write_studies
from cxrgen.evaluate.results import read_results


def _evaluate(folder: Path, *more: str) -> int:
    pred, gt, out = (str(folder / name) for name in ("pred.csv", "gt.csv", "out"))
    return main(["evaluate", "--pred", pred, "--gt", gt, "--out", out, "--metrics", "toy", *more])


def test_the_three_files_and_the_scoreboard(csvs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _evaluate(csvs) == 0
    shown = capsys.readouterr()
    assert shown.out.rstrip().endswith(str(csvs / "out" / "report.html"))
    assert "Heart" not in shown.out + shown.err
    content = json.loads((csvs / "out" / "scores.json").read_text())
    assert content["schema"] == 2
    assert content["n"] == 6
    assert content["patients"] == 4
    assert content["left_out"] == {"missing": [], "extra": [], "doubled": []}
    overlap = content["metrics"]["overlap"]
    assert overlap["ci95"] is None
    assert overlap["no_interval"] == "fewer than 5 patients"
    assert "none: fewer than 5 patients" in shown.out
    against = overlap["against_baseline"]
    assert against["difference"] == overlap["value"] - content["baselines"][against["name"]]["overlap"]["value"]
    assert 0 < against["p"] <= against["p_corrected"] <= 1
    assert (overlap["better"], content["metrics"]["extra"]["better"]) == ("higher", "lower")
    assert set(content["baselines"]) == {"normal", "shuffled"}
    assert set(content["baselines"]["normal"]) == set(content["metrics"])
    assert content["sum"]["value"] is None
    assert "bertscore" in content["sum"]["missing"]
    table = pq.read_table(csvs / "out" / "per_study.parquet")
    assert table["study_id"].to_pylist()[0] == "0001"
    assert table["overlap"].to_pylist()[0] == 1.0
    assert np.isclose(sum(row[0] for row in table["counts.toy"].to_pylist()) / 25, overlap["value"])
    for name in ("report.html", "per_study.parquet"):
        assert stat.S_IMODE((csvs / "out" / name).stat().st_mode) == 0o600


def test_same_input_same_bytes(csvs: Path) -> None:
    names = ("scores.json", "per_study.parquet", "report.html")
    assert _evaluate(csvs) == 0
    first = [(csvs / "out" / name).read_bytes() for name in names]
    assert _evaluate(csvs) == 0
    assert first == [(csvs / "out" / name).read_bytes() for name in names]
    assert _evaluate(csvs, "--seed", "1") == 0
    assert first[0] != (csvs / "out" / "scores.json").read_bytes()


def test_json_is_what_is_written(csvs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _evaluate(csvs, "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((csvs / "out" / "scores.json").read_text())


def test_page_escapes_texts_and_needs_nothing_from_outside(csvs: Path) -> None:
    assert _evaluate(csvs) == 0
    page = (csvs / "out" / "report.html").read_text()
    assert page.count("<script") == 1
    assert "<img src=x" not in page
    assert "&lt;script&gt;" in page
    assert "http://" not in page
    assert "https://" not in page


def test_given_baselines_stand_beside_the_computed_ones(csvs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (csvs / "copy.csv").write_bytes((csvs / "gt.csv").read_bytes())
    assert _evaluate(csvs, "--baseline", f"copy={csvs / 'copy.csv'}") == 0
    assert "1.000  copy" in capsys.readouterr().out
    assert _evaluate(csvs, "--floor", f"copy={csvs / 'copy.csv'}") == 0, "the flag's earlier name"
    for wrong in ("copy", "=x", f"normal={csvs / 'copy.csv'}"):
        assert _evaluate(csvs, "--baseline", wrong) == 2


def test_a_score_folder_of_schema_1_is_read(csvs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As it was written before 2: `direction` and `floors`."""
    assert _evaluate(csvs) == 0
    (csvs / "out").rename(csvs / "new")
    assert _evaluate(csvs) == 0
    content = json.loads((csvs / "out" / "scores.json").read_text())
    content |= {"schema": 1, "floors": content.pop("baselines")}
    for score in content["metrics"].values():
        score["direction"] = {"higher": "up", "lower": "down", "nearer_to_1": "one"}[score.pop("better")]
    (csvs / "out" / "scores.json").write_text(json.dumps(content))
    assert read_results(csvs / "out").content == json.loads((csvs / "new" / "scores.json").read_text())
    capsys.readouterr()
    assert main(["compare", str(csvs / "new"), str(csvs / "out"), "--permutations", "10"]) == 0
    assert "overlap ↑" in capsys.readouterr().out


def test_limits_and_remarks_stand_beside_the_scores(csvs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = csvs / "limits.json"
    limits.write_text('{"optimum": {"overlap": 0.987, "absent": 1.0, "extra": null}}')
    assert _evaluate(csvs, "--limits", str(limits), "--note", "Trained on <nothing>.") == 0
    printed = capsys.readouterr().out
    assert "optimum" in printed
    assert "0.987" in printed
    content = json.loads((csvs / "out" / "scores.json").read_text())
    assert content["limits"] == {"optimum": {"absent": 1.0, "overlap": 0.987}}
    assert "Trained on <nothing>." in content["notes"]
    page = (csvs / "out" / "report.html").read_text()
    assert "0.987" in page
    assert "Trained on &lt;nothing&gt;." in page
    for wrong in ("[]", '{"optimum": 1}', '{"optimum": {"bleu_1": "high"}}', "{"):
        limits.write_text(wrong)
        assert _evaluate(csvs, "--limits", str(limits)) == 1


@pytest.mark.parametrize("names", ["", " , "])
def test_nothing_to_measure_is_wrong_usage(csvs: Path, names: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _evaluate(csvs, "--metrics", names) == 2
    assert "--metrics is empty" in capsys.readouterr().err
    assert not (csvs / "out").exists()


def test_a_place_that_cannot_be_written_is_said_before_the_work(
    csvs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrgen.evaluate.pipeline.evaluate_sets", None)  # not reached
    for out, message in ((csvs / "gt.csv", "cannot be made a folder"), (csvs / "gt.csv" / "out", "cannot be made")):
        assert _evaluate(csvs, "--out", str(out)) == 1
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cxrgen evaluate")]
        assert message in line
    monkeypatch.setattr("os.access", lambda path, mode: False)  # tests may run as root, who may write anywhere
    assert _evaluate(csvs) == 1
    assert "nothing can be written there" in capsys.readouterr().err


def test_a_seed_below_zero_is_wrong_usage(csvs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _evaluate(csvs, "--seed", "-1") == 2
    assert "--seed -1: give 0 or more" in capsys.readouterr().err
    assert main(["compare", "a", "b", "--permutations", "0"]) == 2
    assert "--permutations 1 or more" in capsys.readouterr().err


def test_missing_predictions_stop_the_run_and_leave_no_files(csvs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (csvs / "pred.csv").read_text().splitlines()
    (csvs / "pred.csv").write_text("\n".join(lines[:-1]) + "\n")
    assert _evaluate(csvs) == 1
    assert "1 missing (gt.csv:7)" in capsys.readouterr().err
    assert not (csvs / "out").exists()
    assert _evaluate(csvs, "--allow_missing") == 0
    content = json.loads((csvs / "out" / "scores.json").read_text())
    assert content["left_out"]["missing"] == ["0005"]
    assert content["n"] == 5


def test_images_and_patients_come_from_the_prepared_set(csvs: Path) -> None:
    prepared = csvs / "prepared"
    (prepared / "images").mkdir(parents=True)
    Image.fromarray(np.arange(400 * 300, dtype=np.uint32).reshape(400, 300).astype(np.uint8)).save(
        prepared / "images" / "a.png"
    )
    views = (View("images/a.png", "frontal", "PA"), View("images/gone.png", "lateral", "LL"))
    write_studies(prepared / "studies.parquet", [Study(f"000{i}", f"q{i}", "test", "", views) for i in range(1, 7)])
    (csvs / "gt.csv").write_text((csvs / "gt.csv").read_text().replace("subject_id", "unused"))
    assert _evaluate(csvs, "--studies", str(prepared)) == 0
    page = (csvs / "out" / "report.html").read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 6
    assert page.count('"data:image/jpeg;base64,') == 12, "in the first studies' elements, and in the data of all"
    assert page.count("image not found</p>") == 6
    assert "frontal PA" in page
    assert json.loads((csvs / "out" / "scores.json").read_text())["patients"] == 6


def test_runs_where_torch_cannot_be_imported(csvs: Path) -> None:
    pytest.importorskip("cxrgen.metrics.lexical.bleu")
    code = """
import importlib.abc, sys
class NoTorch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ImportError(name)
sys.meta_path.insert(0, NoTorch())
from cxrgen.cli import main
from cxrgen.evaluate.results import read_results
code = main(sys.argv[1:])
assert "torch" not in sys.modules and "transformers" not in sys.modules
sys.exit(code)
"""
    words = ["evaluate", "--pred", csvs / "pred.csv", "--gt", csvs / "gt.csv", "--out", csvs / "out"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (csvs / "out" / "report.html").is_file()


def test_presets_are_named_in_files_and_read_back(csvs: Path) -> None:
    files = [str(csvs / name) for name in ("pred.csv", "gt.csv", "out")]
    command = ["evaluate", "--pred", files[0], "--gt", files[1], "--out", files[2]]
    assert main([*command, "--metrics", "bleu_2.cxr-report-metric,rouge.radeval,length_ratio"]) == 0
    content = json.loads((csvs / "out" / "scores.json").read_text())
    assert {"bleu_2.cxr-report-metric", "rouge_l.radeval", "length_ratio"} <= set(content["metrics"])
    assert content["metrics"]["length_ratio"]["better"] == "nearer_to_1"
    assert "cxr-report-metric" in content["metrics"]["bleu_2.cxr-report-metric"]["signature"]
    measured = read_results(csvs / "out").measured["bleu.cxr-report-metric"]
    again = measured.aggregate(measured.counts.sum(axis=0))["bleu_2.cxr-report-metric"]
    assert np.isclose(again, content["metrics"]["bleu_2.cxr-report-metric"]["value"])
    assert main([*command, "--metrics", "bleu_2.nonsense"]) == 2


def test_a_page_without_texts_or_images_has_neither(csvs: Path) -> None:
    prepared = csvs / "prepared"
    (prepared / "images").mkdir(parents=True)
    Image.fromarray(np.zeros((40, 30), dtype=np.uint8)).save(prepared / "images" / "a.png")
    views = (View("images/a.png", "frontal", "PA"),)
    write_studies(prepared / "studies.parquet", [Study(f"000{i}", f"q{i}", "test", "", views) for i in range(1, 7)])
    page = csvs / "out" / "report.html"
    assert _evaluate(csvs, "--studies", str(prepared), "--hide-text") == 0
    shown = page.read_text()
    assert "data:image/" in shown
    for words in ("effusion.", "onerror", "comma, here", "Lungs clear"):
        assert words not in shown
    assert _evaluate(csvs, "--studies", str(prepared), "--no-images") == 0
    assert "data:image/" not in page.read_text()
    assert "Lungs clear" in page.read_text()
    assert _evaluate(csvs, "--image-size", "8") == 2


def test_the_page_says_what_was_scored(csvs: Path) -> None:
    assert _evaluate(csvs, "--name", "new <model>") == 0
    page = (csvs / "out" / "report.html").read_text()
    assert "<h1>new &lt;model&gt;: report scores</h1>" in page
    assert "cxrgen evaluate --pred" in page
    assert "--name &#x27;new &lt;model&gt;&#x27;" in page
    assert "gt.csv" in page
    assert "Better than every baseline on 0 of 2 scores" in page


def test_per_study_values_for_spreadsheets(csvs: Path) -> None:
    assert _evaluate(csvs) == 0
    lines = (csvs / "out" / "per_study.csv").read_text().splitlines()
    assert lines[0] == "study_id,subject_id,overlap,extra"
    assert lines[1] == "0001,p1,1,0"
    assert len(lines) == 7
    assert stat.S_IMODE((csvs / "out" / "per_study.csv").stat().st_mode) == 0o600


def test_the_page_links_others_as_seen_from_it(csvs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        _evaluate(csvs, "--link", f"A <b>={csvs / 'other page' / 'a.html'}", "--link", f"B={csvs / 'out' / 'b.html'}")
        == 0
    )
    page = (csvs / "out" / "report.html").read_text()
    assert '<a href="../other%20page/a.html">A &lt;b&gt;</a>, <a href="b.html">B</a>' in page
    assert _evaluate(csvs, "--link", "a.html") == 2
    assert "--link 'a.html': write it as NAME=PAGE.html" in capsys.readouterr().err
