"""What tests of several rooms share: settings, public data, small made-up sources."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

from cxrgen.cli import main

# Drawn examples differ from run to run at a desk; where a failure would be nobody's change, they are always the same.
# How long drawing takes says something of the machine alone.
settings.register_profile("desk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("desk"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of public data that is not part of the project; tests that need it are skipped where it is not."""
    folder = Path(os.environ.get("CXRGEN_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("needs the public data folder: CXRGEN_SHARED, or `shared` beside the repository")
    return folder


def _image(path: Path, seed: int = 0, size: tuple[int, int] = (80, 96)) -> Path:
    """An image of its own: dark corners, a bright middle, noise from `seed`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = size
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    grey = 200 * np.exp(-2 * (x**2 + y**2)) + np.random.default_rng(seed).uniform(0, 40, size)
    Image.fromarray(grey.astype(np.uint8)).save(path)
    return path


def _table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    return path


@pytest.fixture
def write_image() -> Callable[..., Path]:
    return _image


@pytest.fixture
def write_table() -> Callable[..., Path]:
    return _table


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """Six studies of the course layout, variant B: a frontal and a lateral each; the last two are for testing."""
    folder = tmp_path / "course"
    columns = ["Path", "ViewPosition", "split", "findings", "impression"]
    train, test = [], []
    for number in range(1, 7):
        study = f"{number:04}"
        for image, view in ((1, "PA"), (2, "LATERAL")):
            name = f"{study}-{image:04}.png"
            _image(folder / "images" / name, 10 * number + image)
            row = [f"images/{name}", view]
            if number < 5:
                split = "train" if number < 4 else "validate"
                train.append([*row, split, f"Synthetic heart {number} is normal.", f"Synthetic chest {number}."])
            else:
                test.append([*row, "test"])
    _table(folder / "train.csv", columns, train)
    _table(folder / "test.csv", columns[:3], test)
    return folder


@pytest.fixture
def prepare(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run `cxrgen prepare` in this process: (exit code, all that it printed)."""

    def run(*words: object, workers: int = 1) -> tuple[int, str]:
        code = main(["prepare", *map(str, words), "--workers", str(workers)])
        printed = capfd.readouterr()
        return code, printed.out + printed.err

    return run
