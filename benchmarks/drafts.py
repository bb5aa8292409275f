"""Drafts from all training reports against drafts from the reports of the nearest films: tokens written in a call.

A trained model writes the test studies of a prepared set, once; then its tokens are written again on paper, with each
store of drafts, and the model calls that this takes are counted. Counts do not depend on the machine. Films are near
when their tower features correlate. `ratio` is calls with all reports over calls with the nearest, at seven drafted;
`film_calls` is what the features of one training film cost, in steps of one row: all are needed before the first draft,
once for a checkpoint.

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

from cxrgen.generate.decode import write_reports
from cxrgen.generate.drafts import Drafts
from cxrgen.model.bundle import Bundle, load_bundle
from cxrgen.model.features import in_slices, tower_features
from cxrgen.model.pixels import film_pixels
from cxrgen.records import FRONTAL, Study, read_studies
from cxrgen.text.prompts import study_conversation

NEAREST = (4, 16, 64, 256)
DRAFTED = (7, 3, 1)  # tokens a row: of one, two and four rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/demo/model"))
    parser.add_argument("--prepared", type=Path, default=Path("runs/demo/prepared"))
    parser.add_argument("--quick", action="store_true", help="20 test and 500 training studies, else 100 and 2,500")
    options = parser.parse_args()
    tests, trainings = (20, 500) if options.quick else (100, 2500)
    bundle = load_bundle(options.model)
    training = [each for each in read_studies(options.prepared, "train") if each.report][:trainings]
    test = read_studies(options.prepared, "test")[:tests]
    end = bundle.tokenizer.eos_token_id
    texts = [each.report or "" for each in training]
    reports = [[*ids, end] for ids in bundle.tokenizer(texts, add_special_tokens=False)["input_ids"]]
    answers, step = written(bundle, test, options.prepared)
    started = time.perf_counter()
    known = features(bundle, training, options.prepared)
    film = (time.perf_counter() - started) / len(training)
    order = (features(bundle, test, options.prepared, known[1])[0] @ known[0].T).argsort(dim=1, descending=True)
    stores = {"all": [Drafts(reports)] * len(test)}
    for count in NEAREST:
        stores[f"nearest_{count}"] = [Drafts(reports[place] for place in row[:count].tolist()) for row in order]
    tokens = sum(map(len, answers))
    parts = {
        f"{name}_{most}_drafted": round(tokens / sum(map(calls, answers, some, [most] * len(answers))), 2)
        for name, some in stores.items()
        for most in DRAFTED
    }
    record = {
        "name": "drafts",
        "ratio": round(max(parts[f"nearest_{count}_7_drafted"] for count in NEAREST) / parts["all_7_drafted"], 3),
        "parts": {**parts, "film_calls": round(film / step, 2), "tokens_a_report": round(tokens / len(test), 1)},
        "limit_fraction": None,
        "machine": {"cpus": os.cpu_count(), "threads": torch.get_num_threads(), "processor": platform.processor()},
    }
    print(json.dumps(record))


def written(bundle: Bundle, studies: Sequence[Study], folder: Path) -> tuple[list[list[int]], float]:
    """The tokens of each report, greedy, and the seconds that a step of one row takes."""
    tokens: dict[str, list[int]] = {each.study_id: [] for each in studies}

    def choose(logits: torch.Tensor, asked: Sequence[str], steps: Sequence[int]) -> list[int]:
        chosen: list[int] = logits.argmax(dim=-1).tolist()
        for study, token in zip(asked, chosen):
            tokens[study].append(token)
        return chosen

    asked = [study_conversation(each, bundle.format.views, bundle.format.prompt) for each in studies]
    list(write_reports(bundle, asked[1:], folder, 32, 300, choose))
    started = time.perf_counter()
    list(write_reports(bundle, asked[:1], folder, 1, 300, choose))
    step = (time.perf_counter() - started) / len(tokens[studies[0].study_id])
    return list(tokens.values()), step


@torch.inference_mode()
def features(
    bundle: Bundle, studies: Sequence[Study], folder: Path, mean: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, F) of length 1, less `mean`, which is their own where none is given; and the mean."""
    parts = []
    for some in in_slices(studies, 32):
        views = [next((view for view in each.views if view.view == FRONTAL), each.views[0]) for each in some]
        films = film_pixels(
            [folder / view.path for view in views], bundle.processor.image_processor, bundle.format.aspect
        )
        parts.append(tower_features(bundle.model, films).flatten(1))
    rows = torch.cat(parts)
    mean = rows.mean(dim=0) if mean is None else mean
    return torch.nn.functional.normalize(rows - mean, dim=1), mean


def calls(answer: Sequence[int], drafts: Drafts, most: int) -> int:
    """Model calls that write `answer`, of which a call gives its prompt's first token, and one right token a call."""
    count, there = 1, 1
    while there < len(answer):
        drafted = drafts.after(answer[:there], min(most, len(answer) - there - 1))
        right = next((n for n, token in enumerate(drafted) if token != answer[there + n]), len(drafted))
        there += right + 1
        count += 1
    return count


if __name__ == "__main__":
    main()
