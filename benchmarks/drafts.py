"""Drafts off, from all training reports and from the reports of the nearest films: calls and seconds.

A trained model writes the test studies of a prepared set, one at a time, by the three ways in turn; all must write the
same. `ratio` is the time with the nearest over that with all reports, without what reading the training films costs;
`calls` are tokens written in a call, which do not depend on the machine. `film_calls` is what one training film costs
in calls of one row, `reports_a_film` how many reports must be written for each training film before the nearest pay.

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

from cxrgen.generate.decode import DraftsFor, write_reports
from cxrgen.generate.drafts import Drafts
from cxrgen.generate.nearest import NearestDrafts
from cxrgen.generate.prompt import Films
from cxrgen.model.bundle import Bundle, load_bundle
from cxrgen.records import Conversation, read_studies
from cxrgen.text.prompts import study_conversation

GROUP = 10  # studies that one way writes before the next has its turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/demo/model"))
    parser.add_argument("--prepared", type=Path, default=Path("runs/demo/prepared"))
    parser.add_argument("--quick", action="store_true", help="20 test and 500 training studies, else 100 and 2,500")
    options = parser.parse_args()
    tests, trainings = (20, 500) if options.quick else (100, 2500)
    bundle = load_bundle(options.model)
    training = [each for each in read_studies(options.prepared, "train") if each.report and each.views][:trainings]
    end = bundle.tokenizer.eos_token_id
    texts = [each.report or "" for each in training]
    reports = [[*ids, end] for ids in bundle.tokenizer(texts, add_special_tokens=False)["input_ids"]]
    everything = Drafts(reports)
    films = Films(bundle, options.prepared)
    started = time.perf_counter()
    nearest = NearestDrafts(films, [each.views[0].path for each in training], reports)
    film = (time.perf_counter() - started) / len(training)
    ways: dict[str, DraftsFor | None] = {"off": None, "all": lambda *_: everything, "nearest": nearest}
    seconds, calls, tokens = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0), 0
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
        tokens += sum(map(len, written["off"].values()))
        assert written["off"] == written["all"] == written["nearest"], "drafts changed what is written"
    saved = (seconds["all"] - seconds["nearest"]) / len(asked)
    parts = {f"calls_{way}": round(tokens / calls[way], 2) for way in ways}
    parts |= {f"off_over_{way}": round(seconds["off"] / seconds[way], 2) for way in ("all", "nearest")}
    parts |= {
        "film_calls": round(film / (seconds["off"] / calls["off"]), 2),
        "reports_a_film": round(film / saved, 2) if saved > 0 else float("inf"),
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
    bundle: Bundle, asked: Sequence[Conversation], folder: Path, drafts: DraftsFor | None
) -> tuple[dict[str, list[int]], int]:
    """The tokens of each report, greedy, one study at a time, and how many calls of the model that took."""
    tokens: dict[str, list[int]] = {each.id: [] for each in asked}
    calls = 0

    def choose(logits: torch.Tensor, studies: Sequence[str], steps: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        chosen: list[int] = logits.argmax(dim=-1).tolist()
        for study, step, token in zip(studies, steps, chosen):
            tokens[study][step:] = [token]  # what followed a wrong draft is written over
        return chosen

    list(write_reports(bundle, asked, folder, 1, 300, choose, drafts))
    end = bundle.tokenizer.eos_token_id
    return {study: row[: row.index(end) + 1] if end in row else row for study, row in tokens.items()}, calls


if __name__ == "__main__":
    main()
