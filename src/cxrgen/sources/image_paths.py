"""From an image name in somebody's table to a file inside the folder where the images are, or a refusal.

Tables hold paths of the machine they were made on, so leading folders of a name may be left away (`mimic/files/a.jpg`
is `files/a.jpg`); how many is decided once for a table, by which choice finds files. A name must never lead out of its
folder: parents, drive letters, backslashes, NUL and links to elsewhere are refused (`bad-path`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from cxrgen.core.errors import RejectError

_LOOKED_AT = 200  # names tried to find out where a table's paths start
_MOST_LEFT_AWAY = 8
_DRIVE = re.compile(r"[A-Za-z]:")

Locate = Callable[[str], Path]


def inside(folder: Path, name: str) -> Path:
    """The file `name` of `folder`, whether or not it is there; raises RejectError when it lies outside."""
    return _checked(folder.resolve(), name)


def _checked(top: Path, name: str) -> Path:
    """`inside` for a folder that is resolved already."""
    if not name or "\0" in name or "\\" in name or _DRIVE.match(name) or ".." in PurePosixPath(name).parts:
        raise RejectError("bad-path", "the name holds a parent, a drive letter, a backslash or NUL")
    file = (top / name).resolve()
    if file != top and top not in file.parents:
        raise RejectError("bad-path", "the name leads out of its folder; say where images are with --image-folder")
    return file


def locator(names: Sequence[str], folders: Sequence[Path]) -> tuple[Locate, str]:
    """How a table's names are turned into files, and a remark when names are not simply under the first folder.

    The returned function raises RejectError for a name that leads out of the folder.
    """
    sample = names[:: max(1, len(names) // _LOOKED_AT)][:_LOOKED_AT]
    deepest = max((len(PurePosixPath(name).parts) for name in sample), default=1)
    best, best_hits = (folders[0], 0), 0
    for folder in folders:
        for away in range(min(deepest, _MOST_LEFT_AWAY)):
            hits = sum(_is_there(folder, _without(name, away)) for name in sample)
            if hits > best_hits:
                best, best_hits = (folder, away), hits
    folder, away = best
    top = folder.resolve()

    def locate(name: str) -> Path:
        if ".." in PurePosixPath(name).parts:
            raise RejectError("bad-path", "the name leads to a parent folder")
        return _checked(top, _without(name.strip(), away))

    remark = f"the first {away} folder(s) of image names are left away" if away else ""
    return locate, remark


def _without(name: str, away: int) -> str:
    """A name without its first `away` parts; at least the file's own name stays."""
    parts = PurePosixPath(name).parts
    return str(PurePosixPath(*parts[min(away, len(parts) - 1) :])) if parts else ""


def _is_there(folder: Path, name: str) -> bool:
    try:
        return inside(folder, name).is_file()
    except (RejectError, OSError, ValueError):
        return False
