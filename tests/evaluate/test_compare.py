import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrgen.cli import main
from cxrgen.core.errors import InputError
from cxrgen.core.records import Study, View, write_studies
from cxrgen.evaluate.differences import differences, ranking, standings
from cxrgen.evaluate.results import document, read_results, write_results
from cxrgen.evaluate.scores import evaluate
from cxrgen.evaluate.systems import System, on_common_studies
from cxrgen.evaluate.verdicts import BETTER, OPEN, WORSE

NOTHING: dict[str, tuple[str, ...]] = {"missing": (), "extra": (), "doubled": ()}


def _folder(path: Path, hypotheses: list[str], references: list[str], ids: list[str], subjects: list[str]) -> Path:
    scores = evaluate(hypotheses, references, ids, subjects, ["toy"])
    write_results(path, scores, tuple(subjects), document(scores, {}, NOTHING))
    return path


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Folders of a writer, a clearly better one, and one as good as the first; 60 studies of 30 patients."""
    rng = np.random.default_rng(0)
    ids, subjects = [f"s{i}" for i in range(60)], [f"p{i // 2}" for i in range(60)]
    references = [f"a{i} b{i} c{i} d{i}" for i in range(60)]

    def written(good: float) -> list[str]:
        return [" ".join(word for word in text.split() if rng.random() < good) for text in references]

    return [
        _folder(tmp_path / name / "scores", written(good), references, ids, subjects)
        for name, good in (("first", 0.5), ("better", 0.9), ("alike", 0.5))
    ]


def test_better_is_told_apart_and_alike_is_not(three: list[Path]) -> None:
    first, better, alike = (read_results(folder) for folder in three)
    (overlap,) = (row for row in differences({"": (first, better)}, 500)[""] if row.name == "overlap")
    assert overlap.ci95 is not None
    assert 0 < overlap.ci95[0] < overlap.difference < overlap.ci95[1]
    assert overlap.difference == pytest.approx(overlap.second - overlap.first)
    assert overlap.p == overlap.p_corrected == overlap.p_corrected_all == pytest.approx(1 / 501)
    (overlap,) = (row for row in differences({"": (first, alike)}, 500)[""] if row.name == "overlap")
    assert overlap.p > 0.05
    assert overlap.ci95 is not None
    assert overlap.ci95[0] < 0 < overlap.ci95[1]


def test_more_pairs_are_corrected_for_all_of_them(three: list[Path]) -> None:
    first, better, alike = (read_results(folder) for folder in three)
    fewer = (first.among(first.study_ids[:40]), alike.among(alike.study_ids[:40]))
    both = differences({"better": (first, better), "alike": (first, alike), "fewer": fewer}, 500)
    alone = differences({"better": (first, better)}, 500)["better"]
    assert [row.p for row in both["better"]] == [row.p for row in alone]
    assert [row.p_corrected for row in both["better"]] == [row.p_corrected for row in alone]
    rows = [row for of in both.values() for row in of]
    assert all(row.p <= row.p_corrected <= row.p_corrected_all for row in rows)
    assert any(row.p_corrected < row.p_corrected_all for row in rows)


def test_compared_with_itself_nothing_differs(three: list[Path]) -> None:
    results = read_results(three[0])
    for row in differences({"itself": (results, results)}, 100)["itself"]:
        assert (row.difference, row.ci95, row.p) == (0.0, (0.0, 0.0), 1.0)


def test_common_studies_only_and_in_any_order(tmp_path: Path, three: list[Path]) -> None:
    first = read_results(three[0])
    turned = first.among(first.study_ids[::-1][:40])
    systems, remarks = on_common_studies([System("a", first), System("b", turned)])
    one, two = (system.results for system in systems)
    assert one.study_ids == two.study_ids
    assert remarks == ["compared on the 40 common studies of 60"]
    assert differences({"turned": (one, two)}, 50)["turned"][0].difference == 0
    other = System("b", read_results(_folder(tmp_path / "other", ["a"], ["a"], ["x"], ["x"])))
    with pytest.raises(InputError, match="no study in common"):
        on_common_studies([System("a", first), other])


def test_scores_defined_otherwise_are_not_compared(three: list[Path]) -> None:
    first, better = (read_results(folder) for folder in three[:2])
    better.content["metrics"]["overlap"]["signature"] = "toy|other tokens"
    assert [row.name for row in differences({"": (first, better)}, 50)[""]] == ["extra"]


def test_command(three: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", *map(str, three), "--permutations", "50", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "better/scores (second) compared with first/scores (first)" in shown
    assert "better\n" in shown
    content = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert list(content["differences"]) == ["alike/scores", "better/scores"]
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "better/scores compared with first/scores" in page
    before = page
    assert main(words) == 0
    assert before == (tmp_path / "out" / "compare.html").read_text()


def test_equally_far_from_one_on_either_side_is_no_difference(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shared / "faults" / "metrics" / "length_ratio_straddles_1"
    if not folder.is_dir():
        pytest.skip("needs faults/metrics of the public data folder")
    for name in ("long", "short"):
        words = ["--pred", folder / f"{name}.csv", "--gt", folder / "gt.csv", "--out", tmp_path / name]
        assert main(["evaluate", *map(str, words), "--metrics", "length_ratio"]) == 0
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "long"), str(tmp_path / "short"), "--json"]) == 0
    (rows,) = json.loads(capsys.readouterr().out)["differences"].values()
    (row,) = (row for row in rows if row["name"] == "length_ratio")
    assert (row["first"], row["second"]) == pytest.approx((1.056, 0.944), abs=1e-3)
    assert abs(row["difference"]) < 1e-3
    assert row["p"] > 0.5


def test_wrong_calls(three: list[Path], tmp_path: Path) -> None:
    assert main(["compare", str(three[0])]) == 2
    assert main(["compare", str(three[0]), str(three[0])]) == 2
    assert main(["compare", str(three[0]), str(tmp_path / "nothing")]) == 1
    (three[1] / "scores.json").write_text('{"schema": 0}')
    assert main(["compare", str(three[0]), str(three[1])]) == 1


def test_the_best_and_those_level_with_it(three: list[Path]) -> None:
    """`better` is the best writer; `first` and `alike` are level with each other and not with it."""
    results = [read_results(folder) for folder in three]
    places = {"01": (0, 1), "02": (0, 2), "12": (1, 2)}
    pairs = {key: (results[one], results[two]) for key, (one, two) in places.items()}
    found = {places[key]: rows for key, rows in differences(pairs, 500).items()}
    (row,) = (row for row in standings(results, found) if row.name == "overlap")
    assert (row.best, row.level) == (1, frozenset({1}))
    assert row.ranks[1] == 1
    assert [ends.ends is not None for ends in row.intervals] == [True] * 3
    verdicts = {pair: next(r.verdict for r in rows if r.name == "overlap") for pair, rows in found.items()}
    assert verdicts == {(0, 1): BETTER, (0, 2): OPEN, (1, 2): WORSE}
    order = ranking([row], ["first", "better", "alike"])
    assert order[0] == ("better", 1.0, 1)


def test_level_systems_are_all_marked(three: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"a={three[0]}", f"b={three[2]}", "--permutations", "500"]
    assert main(["compare", *words, "--format", "markdown"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("**") == 2 * 4, "two systems, two scores"
    assert main(["compare", *words, "--format", "latex"]) == 0
    assert capsys.readouterr().out.count(r"\textbf{") == 4
    assert main(["compare", *words, "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "system,score,value,low,high,better,best_or_level"
    assert len(lines) == 5
    assert all(line.endswith(",yes") for line in lines[1:])


def test_every_pair_on_request_and_names(three: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = [f"{name}={folder}" for name, folder in zip("abc", three)]
    words = ["compare", *named, "--permutations", "100", "--out", str(tmp_path / "out")]
    assert main([*words, "--all-pairs", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert list(content["differences"]) == ["b against a", "c against a", "c against b"]
    assert content["table"]["overlap"]["best_or_level"] == ["b"]
    assert content["ranking"][0]["system"] == "b"
    for file in ("compare.html", "compare.json", "compare.csv", "compare.tex", "compare.md"):
        assert (tmp_path / "out" / file).is_file()
    assert main(["compare", f"a={three[0]}", f"a={three[1]}"]) == 2
    assert "two systems are called 'a'" in capsys.readouterr().err


def test_tables_of_reports_are_scored_and_compared(csvs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(csvs / name) for name in ("pred.csv", "copy.csv")]
    (csvs / "copy.csv").write_bytes((csvs / "gt.csv").read_bytes())
    words = ["compare", "--gt", str(csvs / "gt.csv"), *files, "--metrics", "toy,rouge", "--out", str(csvs / "out")]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "copy (second) compared with pred (first)" in shown
    assert "copy: mean rank 1.00" in shown
    assert "Heart" not in shown
    page = (csvs / "out" / "compare.html").read_text()
    assert "copy is better" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert main(["compare", *files]) == 2
    assert "give the references as --gt" in capsys.readouterr().err


def test_images_where_one_wins(csvs: Path) -> None:
    prepared = csvs / "prepared"
    (prepared / "images").mkdir(parents=True)
    Image.fromarray(np.zeros((40, 30), dtype=np.uint8)).save(prepared / "images" / "a.png")
    views = (View("images/a.png", "frontal", "PA"),)
    write_studies(prepared / "studies.parquet", [Study(f"000{i}", f"q{i}", "test", "", views) for i in range(1, 7)])
    (csvs / "copy.csv").write_bytes((csvs / "gt.csv").read_bytes())
    files = [str(csvs / name) for name in ("pred.csv", "copy.csv")]
    words = ["--gt", str(csvs / "gt.csv"), "--metrics", "rouge", "--studies", str(prepared), "--out", str(csvs / "out")]
    assert main(["compare", *files, *words]) == 0
    page = (csvs / "out" / "compare.html").read_text()
    assert "data:image/jpeg" in page
    assert "In no study." in page, "pred is nowhere better than a copy of the references"
