from __future__ import annotations

from pathlib import Path

import pytest

from cxrgen.cli import main


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tower of a few steps on a few plain phantoms."""
    out = tmp_path_factory.mktemp("probe")
    phantom, prepared = str(out / "phantom"), str(out / "prepared")
    made = ("--studies", "240", "--test-studies", "60", "--seed", "3", "--style", "plain", "--workers", "1")
    assert main(["phantom", "--out", phantom, *made]) == 0
    assert main(["prepare", phantom, "--out", prepared, "--text-file", f"{phantom}/truth/test_reports.csv"]) == 0
    few = ("--tower_steps", "20", "--text_steps", "1", "--max_steps", "1", "--vocabulary", "400")
    assert main(["train", "tiny", "--data_path", prepared, "--output_dir", str(out / "model"), *few]) == 0
    return out
