"""The demo's steps on a few studies: what it leaves, and how its pages are linked. Learning is checked elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cxrgen.cli import main
from cxrgen.train.recipes_command import recipe_texts


@pytest.mark.slow
def test_the_page_of_scores_links_the_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = {"tower_steps": 3, "text_steps": 1, "max_steps": 2, "vocabulary": 400}
    recipe = tmp_path / "few.yaml"
    lines = recipe_texts()["tiny"].splitlines()
    kept = [line for line in lines if line.split(":")[0] not in few]
    recipe.write_text("\n".join([*kept, *(f"{name}: {value}" for name, value in few.items())]))
    out = tmp_path / "demo"
    sizes = ("--studies", "40", "--test-studies", "12", "--seed", "5", "--recipe", str(recipe), "--threads", "1")
    assert main(["demo", "--out", str(out), *sizes]) == 0
    page = out / "evaluate" / "report.html"
    links = re.findall(r'<a href="([^"#][^"]*)">([^<]*)</a>', page.read_text(encoding="utf-8"))
    assert links == [("../other/compare/compare.html", "with the lateral against without, one checkpoint, paired")]
    compared = page.parent / links[0][0]
    assert "both images" in compared.read_text(encoding="utf-8")
    assert "threads: 1\n" in (out / "model" / "recipe.yaml").read_text()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"{links[0][1]}: {out / 'other' / 'compare' / 'compare.html'}"


def test_threads_are_checked_before_anything_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(tmp_path / "demo"), "--threads", "-1"]) == 2
    assert "--threads -1: at least 0" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
