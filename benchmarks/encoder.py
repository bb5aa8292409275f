"""What stems of the small vision encoder learn from the same studies, and the processor time that they take.

    python benchmarks/encoder.py PREPARED FINDINGS.csv OUT [--variant STEM:STEPS ...] [--seed 1] [--threads 1]

PREPARED is a prepared set of phantoms, FINDINGS.csv their truth. For each variant: a new encoder, the warm-up of recipe
`tiny` on the labels of the training reports, and the linear probe of the demo (`python -m cxrgen.demo.tower_probe`) on
split test, both images. Printed is a line of JSON for each variant; cpu_seconds are those of the warm-up, reading the
images included. Variants that have ended are not run again, so an interrupted run continues.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cxrgen.core.files import write_json
from cxrgen.core.records import read_studies
from cxrgen.core.tables import read_json
from cxrgen.demo.tower_probe import linear_probe_scores, read_set
from cxrgen.model.checkpoint import write_checkpoint
from cxrgen.text.localized_labels import localized_labels
from cxrgen.train.config import make_config
from cxrgen.train.flags import recipe_config
from cxrgen.train.init_model import init_model
from cxrgen.train.label_sets import LabelSet
from cxrgen.train.warmup import warm_up_tower

VARIANTS = ("strided:3200", "dense:1500")
SMALL = ("fracture", "atelectasis", "nodule")  # findings whose area is printed apart


def warmed_up(prepared: Path, out: Path, stem: str, steps: int, seed: int) -> float:
    """Write a checkpoint whose encoder is warmed up; the seconds of processor time that it took."""
    settings = replace(recipe_config(Path("tiny")).warmup, tower_steps=steps)
    config = make_config(encoder_stem=stem, output_dir=str(out))
    checkpoint = init_model(config.model, config.tiny, [], seed)
    studies = tuple(study for study in read_studies(prepared, "train") if study.report)
    sets = [LabelSet(prepared, studies, tuple(localized_labels(study.report or "") for study in studies))]
    start = time.process_time()
    warm_up_tower(checkpoint, sets, settings, seed)
    taken = time.process_time() - start
    write_checkpoint(out, checkpoint)
    return taken


def judged(model: Path, prepared: Path, truth: Path) -> dict[str, float]:
    """Macro F1, at the best threshold and at 0.5, mean area under the ROC curve, and that of the small findings."""
    limits = linear_probe_scores(read_set(model, prepared), truth)["both"]
    areas = {name.removeprefix("finding_auc_"): value for name, value in limits["linear_probe_auc"].items()}
    scores = {
        "f1": limits["linear_probe"]["finding_f1_macro"],
        "f1_at_half": limits["linear_probe_at_half"]["finding_f1_macro"],
        "auc": float(np.mean(list(areas.values()))),
    }
    return scores | {f"auc_{name}": areas[name] for name in SMALL if name in areas}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path, help="a prepared set of phantoms")
    parser.add_argument("truth", type=Path, help="findings.csv of the phantoms")
    parser.add_argument("out", type=Path, help="folder of the models and their scores")
    parser.add_argument("--variant", nargs="+", default=VARIANTS, metavar="STEM:STEPS", help="what is compared")
    parser.add_argument("--seed", type=int, default=1, help="of weights and order (default: 1)")
    parser.add_argument("--threads", type=int, default=1, help="(default: 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for variant in options.variant:
        stem, steps = variant.split(":")
        model = options.out / f"{stem}-{steps}-{options.seed}"
        record = model.with_suffix(".json")
        if not record.is_file():
            taken = warmed_up(options.prepared, model, stem, int(steps), options.seed)
            scores = judged(model, options.prepared, options.truth)
            write_json(record, {"variant": variant, "seed": options.seed, "cpu_seconds": taken, **scores})
        content = read_json(record)
        print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in content.items()}), flush=True)


if __name__ == "__main__":
    main()
