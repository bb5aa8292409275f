"""From an image name in somebody's table to a file inside the folder where the images are, or a refusal.

Tables hold paths of the machine they were made on, and names of files that were converted or copied since. So leading
folders of a name may be left away (`mimic/files/a.jpg` is `files/a.jpg`), its ending may be another (`a.png`), and its
case may differ; which of these holds is decided once for a table, by what finds files, and said. A name must never lead
out of its folder: parents, drive letters, backslashes, NUL and links to elsewhere are refused (`bad-path`). Where a
table lies beside the folder of its images, `../` is such a leading folder: it is left away below the folder that the
user named.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from cxrgen.core.errors import RejectError
from cxrgen.core.files import is_file

_LOOKED_AT = 200  # names tried to find out where a table's paths start
_MOST_LEFT_AWAY = 8
_DRIVE = re.compile(r"[A-Za-z]:")
_ENDINGS = (".png", ".jpg", ".jpeg", ".dcm", ".tif", ".tiff", ".webp", ".bmp")

Locate = Callable[[str], Path]


def inside(folder: Path, name: str) -> Path:
    """The file `name` of `folder`, whether or not it is there; raises RejectError when it lies outside."""
    return _checked(folder.resolve(), name)


def _checked(top: Path, name: str) -> Path:
    """`inside` for a folder that is resolved already."""
    if not name or "\0" in name or "\\" in name or _DRIVE.match(name) or ".." in PurePosixPath(name).parts:
        raise RejectError(
            "bad-path",
            "the name holds a parent, a drive letter, a backslash or NUL; say where images are with --image-folder",
        )
    try:
        file = (top / name).resolve()
    except (OSError, RuntimeError, ValueError):
        raise RejectError("bad-path", "the name is too long, or a link that leads to itself") from None
    if file != top and top not in file.parents:
        raise RejectError("bad-path", "the name leads out of its folder; say where images are with --image-folder")
    return file


@dataclass(frozen=True)
class _Rule:
    """How a table's names become files: below which folder, with what ending, in any case or the very one."""

    folder: Path
    away: int = 0  # leading folders that are left away
    ending: str = ""  # in place of the name's own; "" keeps that
    any_case: bool = False
    listings: dict[Path, dict[str, str]] = field(default_factory=dict, compare=False)  # of folders: folded -> name

    def file(self, name: str) -> Path:
        return _checked(self._top, self.name(name))

    @cached_property
    def _top(self) -> Path:
        return self.folder.resolve()

    def name(self, name: str) -> str:
        """The name below the folder; at least the file's own stays."""
        parts = PurePosixPath(name).parts
        if not parts:
            return ""
        path = PurePosixPath(*parts[min(self.away, len(parts) - 1) :])
        if self.ending:
            own = path.suffix.lower() in (*_ENDINGS, ".gz")
            path = path.with_name((path.stem if own else path.name) + self.ending)
        return self._as_on_disk(path) if self.any_case and not path.is_absolute() else str(path)

    def _as_on_disk(self, path: PurePosixPath) -> str:
        """The path with the spelling that folders on disk have; as far as there is one."""
        folder = self.folder
        for part in path.parts:
            if folder not in self.listings:
                self.listings[folder] = _listing(folder)
            exact = self.listings[folder].get(_folded(part), part)
            folder = folder / (part if os.path.lexists(folder / part) else exact)
        return str(folder.relative_to(self.folder))

    def remarks(self) -> list[str]:
        return [
            *([f"the first {self.away} folder(s) of image names are left away"] if self.away else []),
            *([f"image names end in {self.ending} on disk"] if self.ending else []),
            *(["image names differ from those on disk in upper and lower case"] if self.any_case else []),
        ]


def locator(names: Sequence[str], folders: Sequence[Path]) -> tuple[Locate, str]:
    """How a table's names are turned into files, and a remark when names are not simply under the first folder.

    The returned function raises RejectError for a name that leads out of the folder.
    """
    sample = [name for name in names[:: max(1, len(names) // _LOOKED_AT)][:_LOOKED_AT] if _is_plain(name)]
    deepest = min(max((len(PurePosixPath(name).parts) for name in sample), default=1), _MOST_LEFT_AWAY)
    starts = [(folder, away) for folder in folders for away in range(deepest)]
    best, hits = _best([_Rule(*start) for start in starts], sample)
    if 2 * hits < len(sample):
        rules = [_Rule(*start, any_case=True) for start in starts]
        rules += [_Rule(*start, ending=ending) for start in starts for ending in _ENDINGS]
        rules += [_Rule(*start, ending=ending, any_case=True) for start in starts for ending in _ENDINGS]
        other, more = _best(rules, sample)
        best = other if more > hits else best
    top = best.folder.resolve()

    def locate(name: str) -> Path:
        return _checked(top, best.name(name.strip()) if _is_plain(name) else name)

    return locate, "; ".join(best.remarks())


def is_there(locate: Locate, name: str) -> bool:
    """Whether a name is that of a file."""
    try:
        return is_file(locate(name))
    except RejectError:
        return False


def _best(rules: Iterable[_Rule], sample: Sequence[str]) -> tuple[_Rule, int]:
    """The first of the rules that find most names, and how many it finds."""
    best, most = None, -1
    for rule in rules:
        hits = sum(is_there(rule.file, name) for name in sample)
        if hits > most:
            best, most = rule, hits
        if most == len(sample):
            break
    assert best is not None
    return best, most


def _is_plain(name: str) -> bool:
    return bool(name.strip()) and "\0" not in name and PurePosixPath(name).name not in ("", "..")


def _listing(folder: Path) -> dict[str, str]:
    """Folded name -> name of what is in a folder; of names that differ in case alone the first."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return {}
    return {_folded(name): name for name in reversed(names)}


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
