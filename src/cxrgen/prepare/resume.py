"""What a prepared folder was made with, so that a run continues only what it would have made itself.

Images are known by their content, and every file of the folder by its name: what no study of the present run uses is
removed at its end, so images of withdrawn patients do not stay. Nothing outside the folder is ever touched.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError
from cxrgen.core.folders import LOCK
from cxrgen.imaging.view_classifier import read_classifier
from cxrgen.imaging.views import VIEW_RULES
from cxrgen.prepare.pseudonyms import read_key
from cxrgen.prepare.store_images import JOURNAL, read_stored
from cxrgen.sources import SOURCES, own_options
from cxrgen.text.cleaning import RECIPES

# Options that say where a set lies and how it is made, and do not shape it.
_PASSING = frozenset(
    {"source", "out", "kind", "image_folder", "text_file", "map", "tokenizer", "pseudonyms", "max_rejects", "workers"}
    | {"engine", "dry_run", "force", "json", "show_values"}
)
_STORED = re.compile(r"[0-9a-f]{20}\.(?:png|jpg)")
_UNFINISHED = re.compile(r"\.[0-9a-f]{20}\.(?:png|jpg)\.\d+\.tmp")


def recorded_options(options: argparse.Namespace, kind: str) -> dict[str, Any]:
    """The options that shape the set; where it lies and how fast it is made do not."""
    others = {name for other in SOURCES if other != kind for name in own_options(other)} - own_options(kind).keys()
    shaping = {name: value for name, value in vars(options).items() if name not in _PASSING | others}
    if options.pseudonyms:
        shaping["pseudonyms"] = hashlib.sha256(read_key(options.pseudonyms, options.out)).hexdigest()[:8]
    return {
        **shaping,
        "text": f"{options.text}/{RECIPES[options.text]}",
        "kind": kind,
        "views_by": f"picture/{read_classifier(options.views_by).sha256[:16]}" if options.views_by else "",
        "map": sorted(options.map),
        "text_file": bool(options.text_file),
        "view_rules": VIEW_RULES,
    }


def refuse_to_mix(out: Path, recorded: Mapping[str, Any], defaults: Mapping[str, Any], force: bool) -> None:
    """Raise InputError unless the folder can be written to and holds a set made with these options, or nothing.

    An option that is new since the set was made had its default then.
    """
    above = next(parent for parent in (out, *out.absolute().parents) if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise InputError(f"{out}: {above} is no folder that can be written to; choose another --out")
    _refuse_links(out)
    names = [path.name for path in out.glob("*") if path.name != LOCK] if out.is_dir() else []
    if names and not (out / JOURNAL).is_file():
        raise InputError(
            f"{out}: holds {len(names)} files or folders and no prepared set; give an empty or new folder as --out",
            detail=f"for instance {min(names)!r}",
        )
    if force:
        return
    before, _ = read_stored(out / JOURNAL)
    if before is None:
        return
    before = {**{name: defaults.get(name) for name in recorded}, **before}
    other = sorted(name for name in {*before, *recorded} if before.get(name) != recorded.get(name))
    if other:
        raise InputError(
            f"{out}: was made with {_difference(other[0], before, recorded)}; "
            "give another --out, or --force to make it anew"
        )


def _difference(name: str, before: Mapping[str, Any], recorded: Mapping[str, Any]) -> str:
    if name == "map":
        return "another --map"
    flag = "another version's view rules," if name == "view_rules" else f"--{name.replace('_', '-')}"
    return f"{flag} {before.get(name)}, not {recorded.get(name)}"


def _refuse_links(out: Path) -> None:
    """Raise InputError where what would be written inside the folder would land outside."""
    images = out / "images"
    folders = [images, *(images.iterdir() if images.is_dir() and not images.is_symlink() else ())]
    if any(folder.is_symlink() for folder in folders):
        raise InputError(f"{images}: is a link, or holds one, so images would be written elsewhere; remove the link")


def remove_unused(out: Path, used: Collection[str]) -> None:
    """Remove stored images that no study uses, and what workers left that were ended while writing."""
    for file in sorted((out / "images").glob("*/*")):
        stored = _STORED.fullmatch(file.name) and file.relative_to(out).as_posix() not in used
        if (stored or _UNFINISHED.fullmatch(file.name)) and (file.is_file() or file.is_symlink()):
            file.unlink()
