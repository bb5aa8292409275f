"""The house rules that can be checked: which room may import which, and who stays free of torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "cxrgen"

GROUND = {"errors", "records", "files", "page", "progress", "workers", "__init__"}
MAY_IMPORT = {
    "text": GROUND,
    "phantom": GROUND | {"text"},
    "data": GROUND | {"text", "phantom"},
    "model": GROUND | {"text", "phantom", "data"},
    "metrics": GROUND | {"text", "phantom"},
    "evaluate": GROUND | {"text", "phantom", "metrics"},
    "generate": GROUND | {"text", "phantom", "data", "model", "metrics"},
    "train": GROUND | {"text", "phantom", "data", "model", "metrics", "generate"},
    "demo": GROUND | {"text", "phantom", "data", "model", "metrics", "generate", "train", "evaluate"},
    "doctor": GROUND | {"text", "phantom", "data", "model", "metrics", "generate", "train", "evaluate"},
    "cli": GROUND | {"demo", "doctor"},
    "__main__": {"cli"},
    # Registering the small tower is the package's own doing, at the moment transformers is imported; `load` is called.
    "__init__": {"model", "generate"},
} | dict.fromkeys(GROUND - {"__init__"}, GROUND)


def room_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return parts[0]


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("cxrgen.")}
    return rooms - {"__version__"}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_run_downward(path: Path) -> None:
    room = room_of(path)
    assert room in MAY_IMPORT, f"a new room {room}: say in this test what it may import"
    forbidden = imported_rooms(path) - MAY_IMPORT[room] - {room}
    assert not forbidden, f"{path.name} imports {sorted(forbidden)}"


def imports_torch(code: str) -> bool:
    program = f"import sys\n{code}\nprint('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return result.stdout.strip().endswith("True")


def test_rooms_without_torch() -> None:
    light = [
        f"cxrgen.{path.relative_to(SOURCE).with_suffix('').as_posix().replace('/', '.')}"
        for room in ("text", "phantom", "data", "evaluate", "metrics", "page")
        for path in sorted((SOURCE / room).rglob("*.py"))
        if path.stem != "__init__"
    ]
    light.append("cxrgen.cli")
    assert not imports_torch("\n".join(f"import {name}" for name in light))


def test_the_check_for_torch_can_fail() -> None:
    assert imports_torch("import cxrgen.model.tower")
