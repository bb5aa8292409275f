"""The whole way in Python: synthetic studies, a prepared set, a fine-tuned LLaVA, its reports, their scores.

    python examples/train_llava.py --out runs/example                        # a new model of 6 million parameters
    python examples/train_llava.py --out runs/example --model llava-med      # LoRA on a LLaVA checkpoint folder

For your own data leave out `write_phantoms` and give `prepare` your folder or table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cxrgen
from cxrgen.cli import main
from cxrgen.core.records import read_studies
from cxrgen.evaluate import evaluate
from cxrgen.evaluate.baselines import shuffled
from cxrgen.phantom.write import write_phantoms
from cxrgen.train import make_config, train

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--out", type=Path, default=Path("runs/example"))
parser.add_argument("--model", default="", help="LLaVA checkpoint folder; default: a new small model")
parser.add_argument("--studies", type=int, default=2000)
parser.add_argument("--steps", type=int, default=1000, help="training steps, and as many of the vision encoder")
options = parser.parse_args()
phantom, prepared, model = (options.out / name for name in ("phantom", "prepared", "model"))

# Data: images and a table, as a hospital has them, to one folder that training and generation read.
write_phantoms(phantom, options.studies, test_studies=20, seed=1, style="plain")
texts = phantom / "truth" / "test_reports.csv"
main(["prepare", str(phantom), "--out", str(prepared), "--text-file", str(texts)])

# Training: any flag of `cxrgen train` by its name. A new vision encoder first learns labels read from the reports.
new = {"warmup_labels": "rule", "tower_steps": options.steps, "train_modules": "projector+llm", "cache_features": True}
lora = {"model_name_or_path": options.model, "train_modules": "lora", "gradient_checkpointing": True}
config = make_config(
    data_path=str(prepared),
    output_dir=str(model),
    max_steps=options.steps,
    per_device_train_batch_size=16,
    learning_rate=2e-4 if options.model else 1e-3,
    warmup_ratio=0.04,
    bf16=True,
    **(lora if options.model else new),
)
losses = train(config)
print(f"loss: {losses[0]:.3f} at the first step, {losses[-1]:.3f} at the last")

# Reports: one study at a time; `cxrgen generate` does the same in batches, with the same result.
studies = read_studies(prepared, "test")
writer = cxrgen.load(model, max_new_tokens=200)
views = [[view.view for view in study.views] for study in studies]
reports = [
    writer.report([prepared / view.path for view in study.views], shown=shown) for study, shown in zip(studies, views)
]

# Scores, beside those of other patients' reports.
references = [study.report or "" for study in studies]
ids, patients = [study.study_id for study in studies], [study.subject_id for study in studies]
for name, hypotheses in (("model", reports), ("shuffled", shuffled(references, patients, ids))):
    scores = evaluate(hypotheses, references, ids, patients).metrics
    print(name, {key: round(scores[key].value, 3) for key in ("bleu_4", "rouge_l", "rule_f1_micro_14")})
