"""The whole chain as a user types it, small: a few phantoms, a few steps. Learning is the demo's business, not this."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest
from tests.forked import cxrgen

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("chain")
    cxrgen("phantom", "--out", out / "phantom", "--studies", 40, "--test-studies", 12, "--seed", 5)
    texts = out / "phantom" / "truth" / "test_reports.csv"
    cxrgen("prepare", out / "phantom", "--out", out / "prepared", "--text-file", texts)
    few = ("--tower_steps", 3, "--text_steps", 2, "--max_steps", 4, "--vocabulary", 400)
    cxrgen("train", "tiny", "--data_path", out / "prepared", "--output_dir", out / "model", *few)
    generate(out, "pred.csv", 5)
    return out


def generate(out: Path, name: str, batch_size: int) -> None:
    cxrgen(
        *("generate", "--model-name", out / "model", "--question-file", out / "prepared"),
        *("--answers-file-pred", out / name, "--answers-file-gt", out / "gt.csv"),
        *("--batch-size", batch_size, "--max-new-tokens", 30),
    )


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_two_csvs_have_the_same_studies_in_the_same_order(chain: Path) -> None:
    columns = []
    for name in ("pred.csv", "gt.csv"):
        with open(chain / name, encoding="utf-8", newline="") as file:
            table = list(csv.reader(file))
        assert table[0] == ["study_id", "report"]
        columns.append([row[0] for row in table[1:]])
    assert columns[0] == columns[1]
    assert len(set(columns[0])) == 12


def test_one_by_one_writes_the_same_csv(chain: Path) -> None:
    generate(chain, "single.csv", 1)
    assert digest(chain / "single.csv") == digest(chain / "pred.csv")


def test_the_same_seed_trains_the_same_model(chain: Path) -> None:
    few = ("--tower_steps", 3, "--text_steps", 2, "--max_steps", 4, "--vocabulary", 400)
    cxrgen("train", "tiny", "--data_path", chain / "prepared", "--output_dir", chain / "again", *few)
    assert digest(chain / "again" / "model.safetensors") == digest(chain / "model" / "model.safetensors")


def test_scores_baselines_and_page(chain: Path) -> None:
    baseline = chain / "frequent.csv"
    cxrgen(
        *("generate", "--baseline", "frequent", "--question-file", chain / "prepared"),
        *("--answers-file-pred", baseline),
    )
    result = cxrgen(
        *("evaluate", "--pred", chain / "pred.csv", "--gt", chain / "gt.csv", "--out", chain / "scores"),
        *("--studies", chain / "prepared", "--truth", chain / "phantom" / "findings.csv"),
        *("--baseline", f"frequent={baseline}"),
    )
    scores = json.loads((chain / "scores" / "scores.json").read_text())
    assert scores["n"] == 12
    assert set(scores["baselines"]) == {"normal", "shuffled", "frequent"}
    assert {"bleu_1", "bleu_4", "rouge_l", "rule_f1_macro_14", "finding_f1_macro"} <= set(scores["metrics"])
    assert str(chain / "scores" / "report.html") in result.stdout


def test_no_report_text_on_the_screen(chain: Path) -> None:
    with open(chain / "gt.csv", encoding="utf-8", newline="") as file:
        reports = [row["report"] for row in csv.DictReader(file)]
    result = cxrgen(
        *("generate", "--model-name", chain / "model", "--question-file", chain / "prepared"),
        *("--answers-file-pred", chain / "quiet.csv", "--max-new-tokens", 5),
    )
    printed = result.stdout + result.stderr
    assert not any(sentence in printed for report in reports for sentence in report.split(". ") if len(sentence) > 8)


def test_a_folder_that_is_no_model(chain: Path) -> None:
    result = cxrgen(
        *("generate", "--model-name", chain / "prepared", "--question-file", chain / "prepared"),
        *("--answers-file-pred", chain / "never.csv"),
        code=1,
    )
    assert "no config.json" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (chain / "never.csv").exists()


def test_a_missing_image_is_named(chain: Path) -> None:
    result = cxrgen(
        *("generate", "--model-name", chain / "model", "--question-file", chain / "prepared"),
        *("--image-folder", chain / "nowhere", "--answers-file-pred", chain / "never.csv"),
        code=1,
    )
    assert "no such image" in result.stderr
    assert not (chain / "never.csv").exists()
