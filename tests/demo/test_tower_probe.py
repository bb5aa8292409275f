from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxrgen.cli import main
from cxrgen.core.errors import InputError
from cxrgen.core.tables import read_csv
from cxrgen.demo.tower_probe import limits_table, linear_limits, linear_probe_scores, nearest_reports, read_set
from cxrgen.demo.tower_probe import main as probe
from cxrgen.phantom.findings import NAMES

SIZES = {"train": 600, "valid": 100, "test": 200}


@pytest.mark.slow
def test_f1_of_every_finding_from_either_view_and_both(trained: Path) -> None:
    read = read_set(trained / "model", trained / "prepared")
    scores = linear_probe_scores(read, trained / "phantom" / "findings.csv")
    out = trained / "nearest.csv"
    given = ("--model-name", trained / "model", "--question-file", trained / "prepared", "--answers-file-pred", out)
    assert main(["generate", "--baseline", "nearest", *map(str, given)]) == 0
    assert [row.cells["report"] for row in read_csv(out).rows] == [each.report for each in nearest_reports(read)]
    assert set(scores) == {"frontal", "lateral", "both"}
    for limits in scores.values():
        values = limits["linear_probe"]
        assert set(values) == {f"finding_f1_{name}" for name in NAMES} | {"finding_f1_macro", "finding_f1_macro_9"}
        assert all(0 <= value <= 1 for value in values.values())


def test_a_linear_reader_finds_what_is_in_the_features() -> None:
    generator = np.random.default_rng(0)
    labels = {split: generator.random((count, len(NAMES))) < 0.4 for split, count in SIZES.items()}
    noise = {split: generator.normal(size=(count, 40)) for split, count in SIZES.items()}
    shown = {split: np.concatenate([labels[split] * 1.0, noise[split] * 0.1], axis=1) for split in SIZES}
    seen, unseen = linear_limits(shown, labels), linear_limits(noise, labels)
    assert seen["linear_probe"]["finding_f1_macro"] > 0.97
    assert unseen["linear_probe"]["finding_f1_macro_9"] < 0.65  # the F1 of a blind yes is 0.57
    for column, name in enumerate(NAMES):
        share = labels["test"][:, column].mean()
        assert unseen["blind"][f"finding_f1_{name}"] == pytest.approx(2 * share / (1 + share))
        assert seen["linear_probe_over_blind"][f"finding_f1_{name}"] > 0.3
        assert abs(unseen["linear_probe_over_blind"][f"finding_f1_{name}"]) < 0.15
        assert seen["linear_probe_auc"][f"finding_auc_{name}"] > 0.99
        assert abs(unseen["linear_probe_auc"][f"finding_auc_{name}"] - 0.5) < 0.15
    assert unseen["linear_probe_at_half"]["finding_f1_macro"] < 0.3 < unseen["linear_probe"]["finding_f1_macro"]
    table = limits_table(seen).splitlines()
    assert len(table) == 1 + len(NAMES)
    assert all(word in table[0] for word in ("AUC", "F1 at .5", "blind F1", "F1 over blind"))


@pytest.mark.slow
def test_a_study_without_truth_is_named(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = (trained / "phantom" / "findings.csv").read_text().splitlines()
    short = tmp_path / "findings.csv"
    short.write_text("\n".join(table[:5]) + "\n")
    with pytest.raises(InputError, match="no truth for"):
        linear_probe_scores(read_set(trained / "model", trained / "prepared"), short)
    assert probe([str(trained / "model"), str(trained / "prepared"), str(short)]) == 1
    assert "no truth for" in capsys.readouterr().err
