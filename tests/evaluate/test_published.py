"""Published values stand beside a run only where test set and section are the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrgen.cli import main
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.tables import read_csv
from cxrgen.evaluate.published import read_published
from cxrgen.metrics import metric_of

TABLE = Path(__file__).parents[2] / "docs" / "published.csv"


def test_the_table_names_scores_that_exist_and_its_sources() -> None:
    rows = [row.cells for row in read_csv(TABLE).rows]
    assert len(rows) > 80
    for row in rows:
        metric_of(row["score"])
        assert row["source"], row
        assert row["definition"], row
        assert 0 < float(row["value"]) < (4 if row["score"].startswith("radcliq") else 1), row
    assert len({(row["system"], row["set"], row["score"]) for row in rows}) == len(rows)


def test_only_the_same_set_and_section(tmp_path: Path) -> None:
    found = read_published(TABLE, "mimic-cxr-findings", "findings")
    assert {each.system for each in found} == {"MAIRA-1 7B", "LLaVA-Rad 7B", "MAIRA-2 7B"}
    assert {each.n for each in found} == {"2461"}
    assert read_published(TABLE, "mimic-cxr-findings", "findings and impression") == []
    with pytest.raises(UsageError, match="--set"):
        read_published(TABLE, "mimic-cxr-finding", "findings")
    (tmp_path / "p.csv").write_text(
        "system,set,n,section,score,value,definition,source\na,s,1,findings,bleu_1,high,d,b\n"
    )
    with pytest.raises(InputError, match="no number"):
        read_published(tmp_path / "p.csv", "s", "findings")


def test_on_the_page(csvs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ("--pred", csvs / "pred.csv", "--gt", csvs / "gt.csv", "--out", csvs / "out", "--metrics", "bleu")
    words = ["evaluate", *map(str, files), "--published", str(TABLE)]
    assert main([*words, "--set", "mimic-cxr-findings", "--section", "findings"]) == 0
    page = (csvs / "out" / "report.html").read_text()
    assert "MAIRA-2 7B" in page
    assert "RaDialog" not in page
    assert main(["evaluate", *map(str, files)]) == 0
    assert "Published values" not in (csvs / "out" / "report.html").read_text()
    capsys.readouterr()
    assert main(words) == 2
    assert "--published, --set and --section go together" in capsys.readouterr().err
