"""Agreement with radiologists beside each score, and groups of studies from a table of their own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cxrgen.cli import main
from cxrgen.core.errors import InputError
from cxrgen.core.files import write_csv
from cxrgen.evaluate.agreement import read_agreement


def evaluate(csvs: Path, *more: str) -> int:
    files = [str(csvs / name) for name in ("pred.csv", "gt.csv", "out")]
    return main(["evaluate", "--pred", files[0], "--gt", files[1], "--out", files[2], "--metrics", "toy", *more])


def test_what_meta_prints_stands_beside_each_score(csvs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(csvs) == 0
    write_csv(csvs / "errors.csv", ("study_id", "errors"), [(f"000{n}", str(n % 4)) for n in range(1, 7)])
    capsys.readouterr()
    given = [str(csvs / "errors.csv"), str(csvs / "out"), "--out", str(csvs / "agreement.json")]
    assert main(["meta", *given, "--json"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == json.loads((csvs / "agreement.json").read_text())
    tau = {row["score"]: row["tau"] for row in json.loads(printed)["agreement"]}
    assert tau["overlap"] is not None
    assert evaluate(csvs, "--agreement", str(csvs / "agreement.json")) == 0
    assert json.loads((csvs / "out" / "scores.json").read_text())["agreement"]["overlap"]["tau"] == tau["overlap"]
    page = (csvs / "out" / "report.html").read_text()
    shown = re.findall(r'title="overlap">[^<]*</a> <span class="soft" title="[^"]*, 6 reports">τ ([^<]+)<', page)
    assert [float(value.replace("−", "-")) for value in shown] == [pytest.approx(tau["overlap"], abs=1e-3)]
    assert "Kendall&#x27;s tau" in page or "Kendall's tau" in page
    assert evaluate(csvs) == 0
    assert "τ" not in (csvs / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"agreement": 1},
        {"agreement": [1]},
        {"agreement": [{"score": "x", "tau": "high", "ci95": None, "n": 3}]},
        {"agreement": [{"score": "x", "tau": 0.1, "ci95": [0, None], "n": 3}]},
        {"agreement": [{"score": "x", "tau": 0.1, "ci95": None}]},
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: object) -> None:
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"x.json: not what `cxrgen meta TABLE DIR --out FILE` writes"):
        read_agreement(tmp_path / "x.json")


def test_groups_from_a_table(csvs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"000{n}", "north" if n < 4 else "south", "old") for n in range(1, 6)] + [("9999", "west", "new")]
    write_csv(csvs / "sites.csv", ("study_id", "Site", "scanner"), rows)
    assert evaluate(csvs, "--by", "site,scanner", "--by-table", str(csvs / "sites.csv")) == 0
    groups = json.loads((csvs / "out" / "scores.json").read_text())["groups"]
    assert {name: of["n"] for name, of in groups.items()} == {
        "site: north": 3,
        "site: south": 2,
        "site: unknown": 1,
        "scanner: old": 5,
        "scanner: unknown": 1,
    }
    capsys.readouterr()
    for more, code, words in (
        (["--by", "sex", "--by-table", str(csvs / "sites.csv")], 2, "--by sex: no such column in --gt or --by-table"),
        (["--by-table", str(csvs / "sites.csv")], 2, "--by-table holds the columns of --by; name them there"),
    ):
        assert evaluate(csvs, *more) == code
        assert words in capsys.readouterr().err
    write_csv(csvs / "sites.csv", ("study_id", "site"), [("1", "x"), ("1", "y")])
    assert evaluate(csvs, "--by", "site", "--by-table", str(csvs / "sites.csv")) == 1
    assert "sites.csv:3: its study was given before" in capsys.readouterr().err
    write_csv(csvs / "sites.csv", ("study_id", "site"), [("1", "x")])
    assert evaluate(csvs, "--by", "site", "--by-table", str(csvs / "sites.csv")) == 1
    assert "none of the scored studies is in it" in capsys.readouterr().err
