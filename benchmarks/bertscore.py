"""BERTScore of cxrgen against the package bert-score: cold, and with the vectors of the references on disk.

Both score the same pairs of Open-I reports with the packaged MiniLM at its last layer, each loaded once; no report
stands on both sides, so nothing is saved by a text that occurs twice. Groups of pairs go through the three sides turn
about and must get the same scores; ratios are of total times, the package's over ours.
`limit_fraction` is the time that the encoder's matrix products alone would take at the rate of one large product
measured in the same run, over the time that ours took cold.

    python benchmarks/bertscore.py [--quick] [--reports reports.csv]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from cxrgen.core.progress import say
from cxrgen.core.tables import read_csv
from cxrgen.metrics.embedding.bertscore import load_encoder, score
from cxrgen.metrics.embedding.encoders import packaged_minilm

GROUP = 50  # pairs; small, so that all sides meet the same moods of a busy machine
Pairs = tuple[list[str], list[str]]


def open_i_pairs(reports: Path, groups: int) -> list[Pairs]:
    """Groups of hypotheses and references, each the findings and impression of another report."""
    rows = [row.cells for row in read_csv(reports).rows]
    texts = sorted({f"{row['findings']} {row['impression']}".strip() for row in rows})
    random.Random(0).shuffle(texts)
    parts = [texts[start : start + GROUP] for start in range(0, 2 * groups * GROUP, GROUP)]
    return list(zip(parts[::2], parts[1::2]))


def compare(groups: Sequence[Pairs]) -> dict[str, float]:
    """`cold` and `cached`: bert-score's time over ours; `limit_fraction`. Raises AssertionError for other scores."""
    from bert_score import BERTScorer

    minilm = packaged_minilm()
    theirs = BERTScorer(model_type=str(minilm), num_layers=6, device="cpu")
    encoder = load_encoder(minilm, None)
    times = dict.fromkeys(("bert-score", "cold", "cached"), 0.0)
    tokens = 0
    with tempfile.TemporaryDirectory() as cache:

        def ours(hypotheses: list[str], references: list[str], folder: Path | None) -> np.ndarray:
            encoder.known.clear()
            return np.asarray(score(hypotheses, references, minilm, cache=folder)[2])

        sides: dict[str, Callable[[list[str], list[str]], np.ndarray]] = {
            "bert-score": lambda said, wanted: theirs.score(said, wanted)[2].numpy(),
            "cold": lambda said, wanted: ours(said, wanted, None),
            "cached": lambda said, wanted: ours(said, wanted, Path(cache)),
        }
        for _, wanted in groups:
            ours(wanted, wanted, Path(cache))  # the cache of references is filled, off the clock
        for side in sides.values():
            side(groups[0][0][:2], groups[0][1][:2])
        for number, group in enumerate(groups, 1):
            found = {}
            for name, side in sides.items():
                before = time.perf_counter()
                found[name] = side(*group)
                times[name] += time.perf_counter() - before
            for name in ("cold", "cached"):
                np.testing.assert_allclose(found[name], found["bert-score"], atol=1e-4)
            tokens += sum(map(len, encoder.token_ids([*group[0], *group[1]]).values()))
            say(
                f"group {number} of {len(groups)}: " + ", ".join(f"{name} {took:.1f} s" for name, took in times.items())
            )
    ratios = {name: round(times["bert-score"] / times[name], 3) for name in ("cold", "cached")}
    return {**ratios, "limit_fraction": round(least_seconds(encoder.model, tokens) / times["cold"], 3)}


def least_seconds(model: torch.nn.Module, tokens: int) -> float:
    """Seconds for the encoder's matrix products over so many tokens, at the rate of one large product here."""
    weights = sum(layer.weight.numel() for layer in model.modules() if isinstance(layer, torch.nn.Linear))
    left, right = torch.randn(1024, 1536), torch.randn(1536, 1536)
    rates = []
    for _ in range(5):
        before = time.perf_counter()
        left @ right
        rates.append(left.numel() * right.shape[1] / (time.perf_counter() - before))
    return weights * tokens / max(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two groups of pairs instead of six")
    shared = Path(os.environ.get("CXRGEN_SHARED", Path(__file__).parents[2] / "shared"))
    parser.add_argument("--reports", type=Path, default=shared / "data" / "openi_reports" / "reports.csv")
    options = parser.parse_args()
    parts: dict[str, float] = {}
    try:
        parts = compare(open_i_pairs(options.reports, 2 if options.quick else 6))
    except ModuleNotFoundError as error:
        say(f"{error.name} is not installed; pip install 'cxrgen[bench]'")
    record = {
        "name": "bertscore",
        "ratio": parts.get("cold"),
        "parts": {name: parts.get(name) for name in ("cold", "cached")},
        "limit_fraction": parts.get("limit_fraction"),
        "machine": {"cpus": os.cpu_count(), "threads": torch.get_num_threads(), "processor": platform.processor()},
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
