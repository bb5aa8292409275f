from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxrgen.cli import main
from cxrgen.core.errors import InputError
from cxrgen.demo.tower_probe import linear_f1, linear_probe_scores
from cxrgen.demo.tower_probe import main as probe
from cxrgen.phantom.findings import NAMES

SIZES = {"train": 600, "valid": 100, "test": 200}


@pytest.fixture(scope="module")
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


@pytest.mark.slow
def test_f1_of_every_finding_from_either_view_and_both(trained: Path) -> None:
    scores = linear_probe_scores(trained / "model", trained / "prepared", trained / "phantom" / "findings.csv")
    assert set(scores) == {"frontal", "lateral", "both"}
    for values in scores.values():
        assert set(values) == {f"finding_f1_{name}" for name in NAMES} | {"finding_f1_macro", "finding_f1_macro_9"}
        assert all(0 <= value <= 1 for value in values.values())


def test_a_linear_reader_finds_what_is_in_the_features() -> None:
    generator = np.random.default_rng(0)
    labels = {split: generator.random((count, len(NAMES))) < 0.4 for split, count in SIZES.items()}
    noise = {split: generator.normal(size=(count, 40)) for split, count in SIZES.items()}
    shown = {split: np.concatenate([labels[split] * 1.0, noise[split] * 0.1], axis=1) for split in SIZES}
    assert linear_f1(shown, labels)["finding_f1_macro"] > 0.97
    assert linear_f1(noise, labels)["finding_f1_macro_9"] < 0.65  # the F1 of a blind yes is 0.57


@pytest.mark.slow
def test_a_study_without_truth_is_named(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = (trained / "phantom" / "findings.csv").read_text().splitlines()
    short = tmp_path / "findings.csv"
    short.write_text("\n".join(table[:5]) + "\n")
    with pytest.raises(InputError, match="no truth for"):
        linear_probe_scores(trained / "model", trained / "prepared", short)
    assert probe([str(trained / "model"), str(trained / "prepared"), str(short)]) == 1
    assert "no truth for" in capsys.readouterr().err
