import json
from pathlib import Path

import numpy as np
import pytest

from cxrgen.cli import main
from cxrgen.core.errors import InputError
from cxrgen.evaluate.compare import aligned, differences
from cxrgen.evaluate.results import document, read_results, write_results
from cxrgen.evaluate.scores import evaluate

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
    fewer = aligned(first, alike.among(alike.study_ids[:40]))[:2]
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
    one, two, remarks = aligned(first, turned)
    assert one.study_ids == two.study_ids
    assert remarks == ["compared on the 40 common studies of 60"]
    assert differences({"turned": (one, two)}, 50)["turned"][0].difference == 0
    with pytest.raises(InputError, match="no study in common"):
        aligned(first, read_results(_folder(tmp_path / "other", ["a"], ["a"], ["x"], ["x"])))


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
