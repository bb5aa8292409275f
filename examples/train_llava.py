"""The whole way in Python: synthetic studies, a prepared set, a fine-tuned LLaVA, its reports, their scores.

    python examples/train_llava.py --out runs/example                      # a new model of 6 million parameters
    python examples/train_llava.py --out runs/example --model llava-med    # LoRA on a LLaVA checkpoint folder

For your own data leave out `write_phantoms` and give `prepare` your folder or table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cxrgen
from cxrgen.cli import main as command
from cxrgen.core.records import read_studies
from cxrgen.evaluate import evaluate
from cxrgen.evaluate.baselines import shuffled
from cxrgen.phantom.write import write_phantoms
from cxrgen.train import make_config, train

NEW_MODEL: dict[str, Any] = {"warmup_labels": "rule", "train_modules": "projector+llm", "learning_rate": 1e-3}
NEW_MODEL |= {"cache_features": True, "features_in": "memory"}  # of an encoder that no other run has
LORA = {"train_modules": "lora", "gradient_checkpointing": True, "learning_rate": 1e-4}


def make_data(out: Path, studies: int) -> Path:
    """Images and a table, as a hospital has them, to one folder that training and generation read."""
    write_phantoms(out / "phantom", studies, test_studies=20, seed=1, style="plain")
    texts = out / "phantom" / "truth" / "test_reports.csv"
    command(["prepare", str(out / "phantom"), "--out", str(out / "prepared"), "--text-file", str(texts)])
    return out / "prepared"


def train_model(prepared: Path, out: Path, base: str, steps: int) -> Path:
    """Any flag of `cxrgen train` by its name; a new vision encoder first learns labels read from the reports."""
    how: dict[str, Any] = {**LORA, "model_name_or_path": base} if base else {**NEW_MODEL, "tower_steps": steps}
    how |= {"data_path": str(prepared), "output_dir": str(out / "model")}
    losses = train(make_config(how, max_steps=steps, per_device_train_batch_size=16, bf16=True))
    print(f"loss: {losses[0]:.3f} at the first step, {losses[-1]:.3f} at the last")
    return out / "model"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/example"))
    parser.add_argument("--model", default="", help="LLaVA checkpoint folder; default: a new small model")
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    prepared = make_data(options.out, options.studies)
    writer = cxrgen.load(train_model(prepared, options.out, options.model, options.steps), max_new_tokens=200)

    studies = read_studies(prepared, "test")  # one at a time; `cxrgen generate` writes the same reports in batches
    reports = [
        writer.report([prepared / view.path for view in study.views], shown=[view.view for view in study.views])
        for study in studies
    ]
    references = [study.report or "" for study in studies]
    ids, patients = [study.study_id for study in studies], [study.subject_id for study in studies]
    for name, hypotheses in (("model", reports), ("shuffled", shuffled(references, patients, ids))):
        scores = evaluate(hypotheses, references, ids, patients).metrics
        print(name, {score: round(scores[score].value, 3) for score in ("bleu_4", "rouge_l", "rule_f1_micro_14")})


if __name__ == "__main__":
    main()
