"""Drafts off, from all training reports and from the reports of the nearest images: calls and seconds.

A trained model writes the test studies of a prepared set, one at a time, by the three ways in turn; all must write the
same. `ratio` is the time with all reports over that with the nearest, without what reading the training images costs;
tokens a call do not depend on the machine. `image_calls` is what one training image costs in calls of one row,
`reports_an_image` how many reports must be written for each training image before the nearest pay (null: never).

    python benchmarks/drafts.py --model runs/demo/model --prepared runs/demo/prepared
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from cxrgen.core.records import Conversation, read_studies
from cxrgen.generate.decoding.decode import DraftsFor, write_reports
from cxrgen.generate.decoding.ngram_drafts import Drafts
from cxrgen.generate.decoding.prefill import Images
from cxrgen.generate.decoding.sampling import greedy
from cxrgen.generate.nearest import NearestDrafts
from cxrgen.model.checkpoint import Checkpoint, open_checkpoint
from cxrgen.text.prompts import shown_views, study_conversation

GROUP = 10  # studies that one way writes before the next has its turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/demo/model"))
    parser.add_argument("--prepared", type=Path, default=Path("runs/demo/prepared"))
    parser.add_argument("--quick", action="store_true", help="20 test and 500 training studies, else 100 and 2,500")
    options = parser.parse_args()
    tests, trainings = (20, 500) if options.quick else (100, 2500)
    bundle = open_checkpoint(options.model)
    shown = [(each.report, shown_views(each, bundle.format.views)) for each in read_studies(options.prepared, "train")]
    training = [(report, views[0].path) for report, views in shown if report and views][:trainings]
    end = bundle.tokenizer.eos_token_id
    encoded = bundle.tokenizer([report for report, _ in training], add_special_tokens=False)["input_ids"]
    reports = [[*ids, end] for ids in encoded]
    everything = Drafts(reports)
    images = Images(bundle, options.prepared)
    started = time.perf_counter()
    nearest = NearestDrafts(images, [image for _, image in training], reports)
    image = (time.perf_counter() - started) / len(training)
    ways: dict[str, DraftsFor | None] = {"off": None, "all": lambda *_: everything, "nearest": nearest}
    seconds, calls = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0)
    asked = [
        study_conversation(each, bundle.format.views, bundle.format.prompt)
        for each in read_studies(options.prepared, "test")[:tests]
    ]
    for start in range(0, len(asked), GROUP):
        some = asked[start : start + GROUP]
        written = {}
        for way, drafts in ways.items():
            before = time.perf_counter()
            written[way], spent = by(bundle, some, options.prepared, drafts)
            seconds[way] += time.perf_counter() - before
            calls[way] += spent
        assert written["off"] == written["all"] == written["nearest"], "drafts changed what is written"
    saved = (seconds["all"] - seconds["nearest"]) / len(asked)
    tokens = calls["off"]  # one a call
    parts = {f"tokens_a_call_{way}": round(tokens / calls[way], 2) for way in ways}
    parts |= {f"off_over_{way}": round(seconds["off"] / seconds[way], 2) for way in ("all", "nearest")}
    parts |= {
        "image_calls": round(image / (seconds["off"] / calls["off"]), 2),
        "reports_an_image": round(image / saved, 2) if saved > 0 else None,
        "tokens_a_report": round(tokens / len(asked), 1),
    }
    record = {
        "name": "drafts",
        "ratio": round(seconds["all"] / seconds["nearest"], 2),
        "parts": parts,
        "limit_fraction": None,
        "machine": {"cpus": os.cpu_count(), "threads": torch.get_num_threads(), "processor": platform.processor()},
    }
    print(json.dumps(record))


def by(
    bundle: Checkpoint, asked: Sequence[Conversation], folder: Path, drafts: DraftsFor | None
) -> tuple[dict[str, str], int]:
    """The reports, greedy, one study at a time, and how many calls of the model that took."""
    calls = 0

    def choose(logits: torch.Tensor, studies: Sequence[str], steps: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        return greedy(logits, studies, steps)

    written = write_reports(bundle, asked, folder, 1, 300, choose, drafts)
    return {report.study_id: report.report for _, report in written}, calls


if __name__ == "__main__":
    main()
