"""What a run knows of its prepared sets before it reads them: names, recipes, and whether several fit together.

Sets of one run must be made alike: a checkpoint records one image rule and one kind of report, and everything that
later meets it goes by that record. Imports no torch, so that a set that does not fit is refused at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cxrgen.core.errors import UsageError
from cxrgen.core.tables import read_json

_ALIKE = {  # option of prepare -> what a model would learn of sets that differ in it, and what to prepare them alike by
    "rendering": ("the same image would look different", "--rendering"),
    "size": ("images would be reduced to different sizes", "--size"),
    "view_rules": ("views would be named by different rules", "version of cxrgen"),
    "target": ("the same question would ask for different sections", "--target"),
    "text": ("reports would be cleaned in different ways", "--text"),
}


def data_recipe(data: Path) -> dict[str, Any]:
    """The options of `cxrgen prepare`, where the data are a prepared folder or a JSON file in one."""
    file = (data if data.is_dir() else data.parent) / "recipe.json"
    content = read_json(file) if file.is_file() else {}
    options = content.get("options", content) if isinstance(content, dict) else {}
    return options if isinstance(options, dict) else {}


def set_names(paths: Sequence[Path]) -> list[str]:
    """The names of the sets' folders; a name that stands twice gets a number."""
    names: list[str] = []
    for path in paths:
        name, number = path.absolute().name, 2
        while name in names:
            name, number = f"{path.absolute().name}-{number}", number + 1
        names.append(name)
    return names


def check_alike(paths: Sequence[Path]) -> None:
    """Raises UsageError unless all are different prepared folders that were made by the same rules."""
    for number, path in enumerate(paths):
        if not path.is_dir():
            raise UsageError(f"--data_path {path}: of several sets each is a prepared folder; prepare it first")
        if any(path.samefile(other) for other in paths[:number]):
            raise UsageError(f"--data_path {path}: given twice; --mix gives a set more weight")
    recipes = [data_recipe(path) for path in paths]
    for path, recipe in zip(paths[1:], recipes[1:]):
        for name, (why, way_out) in _ALIKE.items():
            one, other = recipes[0].get(name), recipe.get(name)
            if one != other:
                raise UsageError(
                    f"{paths[0]} was made with {name} {one}, {path} with {other}: {why}; "
                    f"prepare both with the same {way_out}"
                )
