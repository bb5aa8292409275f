"""Files of published sets, which lie at other depths in every download."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from cxrgen.core.files import is_file

_DEPTH = 3  # ReXGradient-160K/download/metadata


def files_below(path: Path, name: re.Pattern[str], skip: Collection[str] = ()) -> Iterator[Path]:
    """Regular files whose name fits, in `path` or up to three folders below, the nearest first.

    Folders called as in `skip` hold images by the hundred thousand and are not walked through. A file given as `path`
    is itself, if its name fits.
    """
    if not path.is_dir():
        yield from [path] if name.fullmatch(path.name) and is_file(path) else []
        return
    found = []
    for folder, folders, names in os.walk(path):
        depth = len(Path(folder).relative_to(path).parts)
        folders[:] = sorted(each for each in folders if each not in skip and depth < _DEPTH and each[:1] != ".")
        found += [(depth, Path(folder, each)) for each in sorted(names) if name.fullmatch(each)]
    yield from (file for _, file in sorted(found) if is_file(file))
