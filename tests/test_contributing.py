"""Every example of CONTRIBUTING.md, put where the page says, then used as a user would."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrgen import metrics, sources
from cxrgen.cli import main
from cxrgen.core.records import read_studies
from cxrgen.evaluate.results import read_results
from cxrgen.text import cleaning, prompts

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
Prepare = Callable[..., tuple[int, str]]


def examples(title: str) -> list[str]:
    """The code blocks of a section."""
    section = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert section is not None, title
    return re.findall(r"```(?:python|yaml)\n(.*?)```", section[1], re.DOTALL)


def line_of_the_table(line: str, table: str) -> tuple[str, str]:
    """Key and value of `TABLE["key"] = "value"`."""
    found = re.match(rf'{table}\["(\w+)"\] = "([\w.]+)"', line)
    assert found is not None, line
    return found[1], found[2]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Write an example as a module that can be imported; gives the name."""

    def write(name: str, code: str) -> str:
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


@pytest.fixture
def csvs(tmp_path: Path, write_table: Callable[..., Path]) -> list[str]:
    columns = ("study_id", "report")
    truth = [("1", "Cardiomegaly. Edema."), ("2", "No pneumothorax."), ("3", "Pleural effusion.")]
    written = [("1", "Cardiomegaly."), ("2", "The lungs are clear."), ("3", "Pleural effusion.")]
    files = [write_table(tmp_path / name, columns, rows) for name, rows in (("p.csv", written), ("g.csv", truth))]
    return ["--pred", str(files[0]), "--gt", str(files[1]), "--out", str(tmp_path / "scores")]


def test_the_source(
    tmp_path: Path,
    prepare: Prepare,
    write_image: Callable[..., Path],
    module: Callable[[str, str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, line = examples("Add a source")
    kind, file = line_of_the_table(line, "SOURCES")
    monkeypatch.setitem(sources.SOURCES, kind, module(file.rpartition(".")[2], code))
    lines = []
    for number in range(12):
        image = write_image(tmp_path / "data" / f"{number}.png", number).name
        view = ("PA", "LATERAL")[number % 2]
        item = {"study": f"s{number // 2}", "patient": f"p{number // 4}", "image": image, "view": view, "site": "north"}
        lines.append(json.dumps({**item, "report": f"FINDINGS: Synthetic {number // 2}."}))
    lines.append(lines[-1].replace("north", "south").replace("s5", "s6"))
    (tmp_path / "data" / "images.ndjson").write_text("\n".join(lines))
    status, said = prepare(tmp_path / "data" / "images.ndjson", "--out", tmp_path / "out", "--site", "north")
    assert status == 0, said
    assert "ndjson (JSON lines with an image each)" in said
    studies = read_studies(tmp_path / "out")
    assert [study.study_id for study in studies] == [f"s{number}" for number in range(6)]
    assert [view.view for view in studies[2].views] == ["frontal", "lateral"]
    assert (studies[2].subject_id, studies[2].report) == ("p1", "Synthetic 2.")


def test_the_metric(
    csvs: list[str], tmp_path: Path, module: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, line = examples("Add a metric")
    name, place = line_of_the_table(line, "METRICS")
    assert place.startswith("cxrgen.metrics.clinical.")
    monkeypatch.setitem(metrics.METRICS, name, module(place.rpartition(".")[2], code))
    for within, expected in (("0", 2 / 3), ("1", 1.0)):
        assert main(["evaluate", *csvs, "--metrics", name, "--count-within", within]) == 0
        score = json.loads((tmp_path / "scores" / "scores.json").read_text())["metrics"][name]
        assert score["value"] == pytest.approx(expected)
        assert f"within:{within}" in score["signature"]
    assert name in read_results(tmp_path / "scores").measured
    assert name in (tmp_path / "scores" / "report.html").read_text(encoding="utf-8")


def test_the_cleaning_recipe(course: Path, tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = examples("Add a cleaning recipe")
    for table in (cleaning.RECIPES, cleaning._CLEANERS):
        monkeypatch.setitem(table, "lower", None)  # taken out again after the test
    exec(code, dict(vars(cleaning)))
    status, said = prepare(course, "--out", tmp_path / "out", "--text", "lower")
    assert status == 0, said
    assert "synthetic heart 1 is normal. synthetic chest 1." in [
        study.report for study in read_studies(tmp_path / "out")
    ]
    assert json.loads((tmp_path / "out" / "recipe.json").read_text())["options"]["text"] == "lower/1"


def test_the_prompt(course: Path, tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = examples("Add a prompt")
    monkeypatch.setitem(prompts.PROMPTS, "numbered", None)
    exec(code, dict(vars(prompts)))
    status, said = prepare(course, "--out", tmp_path / "out", "--prompt", "numbered")
    assert status == 0, said
    item = json.loads((tmp_path / "out" / "train.json").read_text())[0]
    assert item["conversations"][0]["value"] == "Image 1: <image>\nImage 2: <image>\nWrite the report."


@pytest.mark.slow
def test_the_training_recipe(course: Path, tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = examples("Add a training recipe")
    prepare(course, "--out", tmp_path / "prepared")
    monkeypatch.chdir(tmp_path)
    Path("frontal.yaml").write_text(code, encoding="utf-8")
    few = ("--max_steps", "2", "--vocabulary", "200", "--image_size", "64", "--layers", "1", "--hidden_size", "64")
    assert main(["train", "frontal.yaml", "--data_path", "prepared", "--output_dir", "model", *few]) == 0
    assert json.loads(Path("model/cxrgen.json").read_text())["views"] == "frontal"
