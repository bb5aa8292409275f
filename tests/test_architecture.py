"""The rules of the layout that can be checked: which room may import which, no cycle of files, who is free of torch.

The order, as docs/architecture.md shows it: core, html <- imaging, text, phantom <- sources, metrics, model <-
llava_med <- generate <- train; prepare stands on sources, evaluate on metrics, train also on evaluate, whose intervals
its label scores have; demo, doctor and cli on top.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "cxrgen"

GROUND = {"core", "html"}
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "html": {"core"},
    "imaging": GROUND,
    "text": GROUND,
    "phantom": GROUND | {"text"},
    "sources": GROUND | {"imaging", "text"},
    "metrics": GROUND | {"text", "phantom"},
    "model": GROUND | {"imaging", "text"},
    "llava_med": GROUND | {"imaging", "text", "model"},
    "generate": GROUND | {"imaging", "text", "metrics", "model", "llava_med"},
    "train": GROUND | {"imaging", "text", "metrics", "evaluate", "model", "llava_med", "generate"},
    "views": GROUND | {"imaging", "phantom"},
    "prepare": GROUND | {"imaging", "text", "sources"},
    "evaluate": GROUND | {"text", "metrics"},
    "doctor": GROUND | {"imaging", "text", "model", "llava_med", "generate", "train"},
    "demo": GROUND | {"imaging", "text", "phantom", "metrics", "model", "llava_med", "generate", "train", "evaluate"},
    "ablate": GROUND | {"text", "phantom"},
    "cli": {"core", "phantom"},
    "__main__": {"cli"},
    "__init__": {"core", "generate"},
}
WITHOUT_TORCH = ("core", "html", "imaging", "text", "phantom", "sources", "prepare", "metrics", "evaluate", "ablate")


def files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def name_of(path: Path) -> str:
    """cxrgen.train.run for src/cxrgen/train/run.py; a package goes by its folder."""
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def imported_names(path: Path) -> set[str]:
    """All of cxrgen that a file imports, wherever in it: modules, and names of modules."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("cxrgen.")}


def imported_rooms(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported_names(path)}


def imported_modules(path: Path, modules: Iterable[str]) -> set[str]:
    """The files that a file imports: `cxrgen.a.b.name` is in cxrgen.a.b, or in the file that has exactly this name."""
    known = set(modules)
    longest = (name if name in known else name.rpartition(".")[0] for name in imported_names(path))
    return {name for name in longest if name in known} - {name_of(path)}


def cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """One cycle of the graph as the names on it, or []."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return way[way.index(name) :]
        if name in done:
            return []
        for other in sorted(graph[name]):
            if found := walk(other, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := walk(name, []))), [])


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_run_downward(path: Path) -> None:
    room = path.relative_to(SOURCE).with_suffix("").parts[0]
    assert room in MAY_IMPORT, f"a new room {room}: say in this test what it may import"
    forbidden = imported_rooms(path) - MAY_IMPORT[room] - {room}
    assert not forbidden, f"{path.name} imports {sorted(forbidden)}"


def test_the_order_of_rooms_has_no_cycle() -> None:
    assert not cycle(MAY_IMPORT)


def test_no_cycle_of_files() -> None:
    modules = {name_of(path): path for path in files()}
    assert not cycle({name: imported_modules(path, modules) for name, path in modules.items()})


def test_the_check_for_cycles_can_fail() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


def imports_torch(code: str) -> bool:
    program = f"import sys\n{code}\nprint('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return result.stdout.strip().endswith("True")


def test_rooms_without_torch() -> None:
    light = [
        f"cxrgen.{path.relative_to(SOURCE).with_suffix('').as_posix().replace('/', '.')}"
        for room in WITHOUT_TORCH
        for path in sorted((SOURCE / room).rglob("*.py"))
        if path.stem != "__init__"
    ]
    light.append("cxrgen.cli")
    assert not imports_torch("\n".join(f"import {name}" for name in light))


def test_the_check_for_torch_can_fail() -> None:
    assert imports_torch("import cxrgen.model.tower")
