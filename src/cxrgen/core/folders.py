"""Folders that are either whole or not there, are written by one run at a time, and fit on the disk."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cxrgen.core.errors import InputError
from cxrgen.core.files import disk_is_full, make_folder

LOCK = ".lock"  # stays in the folder, since removing it could free a lock that another run is about to take


@contextmanager
def new_folder(target: Path, replace: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `target` that takes its name at the end, or is gone after an error.

    Raises InputError when `target` is there and not empty, unless it is to be replaced, and OSError with the name of
    `target` where the disk is full, in whatever words a library says so.
    """
    target = Path(target)
    if not replace and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target}: is there already; remove it, or choose another place")
    make_folder(target.parent)
    temporary, old = (target.with_name(f".{target.name}.{os.getpid()}.{suffix}") for suffix in ("tmp", "old"))
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if target.exists():
            os.replace(target, old)
        os.replace(temporary, target)
    except Exception as error:
        if not disk_is_full(error):
            raise
        number = (isinstance(error, OSError) and error.errno) or errno.ENOSPC
        raise OSError(number, os.strerror(number), str(target)) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def require_space(folder: Path, needed: float) -> None:
    """Raise InputError when the disk under `folder`, which need not be there yet, has no room for `needed` bytes."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise InputError(
            f"{folder}: {size_text(needed)} are needed, {size_text(free)} are free on this disk; "
            "make room or choose another place"
        )


def size_text(count: float) -> str:
    """A number of bytes as people read it."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


@contextmanager
def locked(folder: Path, instead: str = "wait for it, or choose another folder") -> Iterator[None]:
    """Hold a folder, made if need be, for this process; the lock ends with the process, however that ends.

    Raises InputError when another run holds it, with what to do `instead`, or when nothing can be written there.
    A file system without locks lets every run in.
    """
    make_folder(folder)
    lock = FileLock(str(folder / LOCK), mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"{folder}: another run is writing there; {instead}") from None
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        lock.release()
