"""README, CONTRIBUTING and docs/ say what is true: links, commands, folders, functions, the table of imports."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.test_architecture import MAY_IMPORT, SOURCE, WITHOUT_TORCH

from cxrgen.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PLAIN = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PLAIN += [ROOT / "docs" / f"{name}.md" for name in ("tutorial", "architecture", "results")]
PRIVATE = re.compile(
    r"\bfilms?\b|\bfloors?\b|\btold\b|\btowers?\b|\bdice\b|\bdrafts?\b|scoreboard|the room's", re.IGNORECASE
)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def commands(page: Path) -> list[str]:
    """Every cxrgen command in the shell blocks of a page, each on one line."""
    blocks = re.findall(r"```(bash|console)\n(.*?)```", text_of(page), re.DOTALL)
    lines = [(language, line) for language, block in blocks for line in block.replace("\\\n", " ").splitlines()]
    typed = [line.removeprefix("$ ") for language, line in lines if language == "bash" or line.startswith("$ ")]
    parts = [part.strip() for line in typed for part in line.split("&&")]
    return [part.partition("-m ")[2] if part.startswith("torchrun") else part for part in parts if "cxrgen " in part]


def links(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if not target.startswith(("http://", "https://", "#")):
            yield target.partition("#")[0]


def rows(page: str) -> list[list[str]]:
    """The cells of every table row of a page of docs/."""
    lines = text_of(ROOT / "docs" / page).splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    assert [target for target in links(page) if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_flags_that_exist(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in commands(page):
        words = shlex.split(command, comments=True)
        if words[0] == "cxrgen":
            monkeypatch.setattr(importlib.import_module(COMMANDS[words[1]][0]), "run", lambda options: 0)
            assert main(words[1:]) == 0, command


def test_the_check_of_commands_can_fail(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("cxrgen.prepare.run.run", lambda options: 0)
    assert main(["prepare", "data", "--out", "x", "--imagefolder", "y"]) == 2
    assert "no flag --imagefolder" in capsys.readouterr().err
    assert len(commands(ROOT / "README.md")) >= 4


def test_the_readme_prepares_a_table_with_the_columns_it_names(
    tmp_path: Path, write_image: Callable[..., Path], write_table: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = text_of(ROOT / "README.md")
    named = re.search(r"with the columns (.*?);", readme, re.DOTALL)
    assert named is not None
    columns = re.findall(r"`(\w+)`", named[1])
    assert columns == ["study_id", "subject_id", "image", "view", "findings", "impression"]
    for number in range(10):
        write_image(tmp_path / "images" / f"{number}.png", number)
    rows = [(f"s{n}", f"p{n}", f"{n}.png", "PA", f"Synthetic {n}.", "None.") for n in range(10)]
    write_table(tmp_path / "reports.csv", columns, rows)
    monkeypatch.chdir(tmp_path)
    (command,) = (line for line in commands(ROOT / "README.md") if line.startswith("cxrgen prepare reports.csv"))
    assert main(shlex.split(command)[1:]) == 0
    assert (tmp_path / "prepared" / "studies.parquet").is_file()


def test_the_folder_tree_of_the_readme() -> None:
    tree = re.search(r"```\n(src/cxrgen/\n.*?)```", text_of(ROOT / "README.md"), re.DOTALL)
    assert tree is not None
    packages = {line.split("/")[0].strip() for line in tree[1].splitlines() if line.startswith("  ")}
    assert packages == {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    beside = {line.split("/")[0] for line in tree[1].splitlines() if not line.startswith("  ")}
    ours = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))}
    assert beside == ours - {"runs", "build", "shared"}
    assert all(len(line.split("/", 1)[1]) > 10 for line in tree[1].splitlines()[1:]), "a folder without its line"


def test_the_picture_of_the_readme_is_small() -> None:
    pictures = [target for target in links(ROOT / "README.md") if target.endswith((".jpg", ".png"))]
    assert pictures
    assert all((ROOT / picture).stat().st_size < 200_000 for picture in pictures)


def test_the_table_of_imports() -> None:
    listed = {name.strip("`").split("`")[0]: imports for name, _, imports in (row for row in rows("architecture.md"))}
    del listed["folder"], listed["---"]
    order = [name for name in listed if name in MAY_IMPORT]
    for name in order:
        imports = {each.strip() for each in listed[name].split(",") if each.strip()}
        assert imports == MAY_IMPORT[name], name
        assert all(order.index(each) < order.index(name) for each in imports), f"{name} stands above what it imports"
    assert set(order) == MAY_IMPORT.keys() - {"cli", "__main__", "__init__"}


def test_the_mark_of_torch() -> None:
    folders = {row[0] for row in rows("architecture.md") if row[0].split("`")[1:2] and "." not in row[0]}
    unmarked = {name.strip("`") for name in folders if "(torch" not in name}
    assert unmarked & MAY_IMPORT.keys() == set(WITHOUT_TORCH)


def defines(name: str) -> bool:
    """Whether `cxrgen.a.b.c` is defined as c in the file or the package cxrgen.a.b."""
    *parts, last = name.split(".")[1:]
    path = SOURCE.joinpath(*parts)
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.is_file():
        return False
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return last in {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_functions_that_are_named_exist(page: str) -> None:
    named = [name for name in re.findall(r"`(cxrgen(?:\.\w+)+)`", text_of(ROOT / page)) if name.count(".") > 1]
    assert [name for name in named if not defines(name)] == []
    assert not defines("cxrgen.core.records.Film")


@pytest.mark.parametrize("page", PLAIN, ids=lambda page: page.name)
def test_words_of_the_field(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`]*`", "", text_of(page), flags=re.DOTALL)
    assert sorted({word.lower() for word in PRIVATE.findall(prose)}) == []
