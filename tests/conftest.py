"""What tests of several rooms share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Drawn examples differ from run to run at a desk; where a failure would be nobody's change, they are always the same.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of public data that is not part of the project; tests that need it are skipped where it is not."""
    folder = Path(os.environ.get("CXRGEN_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("needs the public data folder: CXRGEN_SHARED, or `shared` beside the repository")
    return folder
