"""The weight-free scores of cxrgen against the programs they equal, and the whole command: time and memory.

3,858 pairs (the size of MIMIC-CXR's usual test set) are made of Open-I reports, the findings of one with the impression
of another, so that no text occurs twice and nothing is saved by remembering; without the table, of made-up sentences.
Each part runs on both sides turn about and must give the same value. Parts without a reference, or whose reference is
not installed (`[bench]`, Java), are null. `ratio` is all references' time over ours; METEOR, which is the same Java
program on both sides, stands apart. `limit_fraction` is the time of cutting all texts at blanks over ours.
BERTScore, which needs an encoder, stands apart too: a few hundred of the pairs, as `bertscore.py` measures it.
At the beginning `cxrgen evaluate` scores all pairs with intervals, baselines and page in a process of its own.

    python benchmarks/evaluate.py [--quick] [--meteor] [--reports reports.csv]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxrgen.core.errors import InputError
from cxrgen.core.files import write_csv
from cxrgen.core.progress import say
from cxrgen.core.tables import read_csv
from cxrgen.metrics import measure
from cxrgen.metrics.clinical import labels, temporal
from cxrgen.metrics.lexical import cider, ngrams, ptb, text_stats, token_table
from cxrgen.metrics.lexical import porter as stems
from cxrgen.metrics.lexical import tokenizers as words
from cxrgen.text import prior_mentions, rule_labels, sentences

PAIRS = 3_858
Texts = Sequence[str]
Part = tuple[Callable[[], float], Callable[[], float] | None]  # ours, theirs: both give the set's value


def open_i_texts(path: Path, count: int) -> list[str]:
    """Different texts of real findings and impressions, each findings with another report's impression."""
    rows = [row.cells for row in read_csv(path).rows]
    draw = random.Random(0)
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts[f"{draw.choice(rows)['findings']} {draw.choice(rows)['impression']}"] = None
    return list(texts)


def made_up_texts(count: int) -> list[str]:
    """Different texts of seven made-up sentences each."""
    draw = random.Random(0)
    places = ("left lower lobe", "right lower lobe", "left apex", "right middle lobe", "lingula", "both bases")
    findings = ("opacity", "atelectasis", "effusion", "consolidation", "nodule", "pneumothorax", "edema", "scarring")
    forms = ("There is {} in the {}.", "No {} in the {}.", "Stable {}, {}.", "The {} of the {} has improved.")
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts[" ".join(draw.choice(forms).format(draw.choice(findings), draw.choice(places)) for _ in range(7))] = None
    return list(texts)


def whole(metric: str, name: str, hypotheses: Texts, references: Texts) -> float:
    measured = measure(metric, hypotheses, references)
    return float(measured.aggregate(measured.counts.sum(axis=0))[name])


def parts(hypotheses: list[str], references: list[str], with_meteor: bool) -> dict[str, Part]:
    """Each score with its reference, in the order in which they run; Treebank tokens are a part of their own."""
    there = originals()
    cut: dict[str, list[str]] = {}

    def ours(metric: str, name: str) -> Callable[[], float]:
        return lambda: whole(metric, name, hypotheses, references)

    def tokens_of_both() -> float:
        return float(sum(len(words.treebank(text)) for text in (*hypotheses, *references)))

    def tokens_by_java() -> float:
        both = there.treebank([*hypotheses, *references])
        cut["hyp"], cut["ref"] = both[: len(hypotheses)], both[len(hypotheses) :]
        return float(sum(len(line.split()) for line in both))

    def coco(scorer: str, tokenised: bool) -> Callable[[], float]:
        def run() -> float:
            sides = (cut["hyp"], cut["ref"]) if tokenised else (hypotheses, references)
            return float(there.coco_scorer(scorer, *sides))

        return run

    def last(values: dict[str, list[float]], name: str) -> float:
        return values[name][-1]

    has = {name: importlib.util.find_spec(name) is not None for name in ("sacrebleu", "fast_bleu", "rouge_score")}
    java = there.missing("pycocoevalcap", java=True) is None
    scorers = there.missing("pycocoevalcap") is None
    found: dict[str, Part] = {
        "treebank tokens": (tokens_of_both, tokens_by_java if java else None),
        "bleu": (ours("bleu", "bleu_4"), coco("bleu", True) if java else None),
        "rouge": (ours("rouge", "rouge_l"), coco("rouge", True) if java else None),
        "cider": (ours("cider", "cider"), coco("cider", True) if java else None),
        "bleu.coco-raw": (ours("bleu.coco-raw", "bleu_4.coco-raw"), coco("bleu", False) if scorers else None),
        "bleu.sacrebleu": (
            ours("bleu.sacrebleu", "bleu_4.sacrebleu"),
            (lambda: there.sacrebleu_set(hypotheses, references)) if has["sacrebleu"] else None,
        ),
        "bleu.cxr-report-metric": (
            ours("bleu.cxr-report-metric", "bleu_2.cxr-report-metric"),
            (lambda: last(there.report_metric(hypotheses, references, (2,)), "bleu_2")) if has["fast_bleu"] else None,
        ),
        "rouge.rouge-score": (
            ours("rouge.rouge-score", "rouge_l.rouge-score"),
            (lambda: last(there.rouge_score(hypotheses, references, False), "rouge_l")) if has["rouge_score"] else None,
        ),
        "rouge.radeval": (
            ours("rouge.radeval", "rouge_l.radeval"),
            (lambda: last(there.rouge_score(hypotheses, references, True), "rouge_l")) if has["rouge_score"] else None,
        ),
    }
    for metric, name in (("rule", "rule_similarity"), ("temporal", "temporal_f1"), ("flips", "side_flips")):
        found[metric] = (ours(metric, name), None)
    found["form"] = (ours("form", "length_ratio"), None)
    if with_meteor and java:
        found["meteor"] = (
            ours("meteor", "meteor"),
            lambda: last(there.meteor(cut["hyp"], cut["ref"]), "meteor"),
        )
    return found


def originals() -> Any:
    """The module of the tests that calls the reference programs."""
    path = Path(__file__).parents[1] / "tests" / "metrics" / "originals.py"
    spec = importlib.util.spec_from_file_location("originals", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def forget() -> None:
    """Nothing may be remembered from the round before."""
    lexical = (ptb, words, stems, ngrams, token_table, cider, text_stats)
    for module in (*lexical, sentences, prior_mentions, labels, rule_labels, temporal):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def race(found: dict[str, Part], rounds: int) -> dict[str, list[float | None]]:
    """Best time of each side of each part over the rounds; raises AssertionError when values differ."""
    times: dict[str, list[float | None]] = {name: [None, None] for name in found}
    for _ in range(rounds):
        forget()
        for name, sides in found.items():
            values = []
            for place, side in enumerate(sides):
                if side is not None:
                    start = time.perf_counter()
                    values.append(side())
                    spent = time.perf_counter() - start
                    before = times[name][place]
                    times[name][place] = spent if before is None else min(before, spent)
            assert np.ptp(values) < 1e-5, f"{name}: {values}"
    return times


def command(hypotheses: Texts, references: Texts) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak megabytes of `cxrgen evaluate` on all pairs, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        for name, texts in (("pred", hypotheses), ("gt", references)):
            rows = [(f"s{place:05}", text) for place, text in enumerate(texts)]
            write_csv(Path(folder) / f"{name}.csv", ("study_id", "report"), rows)
        options = ["--pred", f"{folder}/pred.csv", "--gt", f"{folder}/gt.csv", "--out", f"{folder}/scores"]
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "cxrgen", "evaluate", *options], check=True, stdout=subprocess.DEVNULL)
        spent = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024
    return spent, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e6


def bertscore(hypotheses: list[str], references: list[str], groups: int) -> dict[str, float | None]:
    """Ratios of BERTScore with the packaged MiniLM, cold and with cached references; null without an encoder."""
    names = {"cold": "bertscore_minilm", "cached": "bertscore_minilm cached"}
    try:
        from bertscore import GROUP, compare

        starts = range(0, groups * GROUP, GROUP)
        found = compare([(hypotheses[at : at + GROUP], references[at : at + GROUP]) for at in starts])
    except (ModuleNotFoundError, InputError) as error:
        say(f"no BERTScore: {error}")
        return dict.fromkeys(names.values())
    return {name: found[key] for key, name in names.items()}


def main() -> None:
    shared = Path(os.environ.get("CXRGEN_SHARED", Path(__file__).parents[2] / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="400 pairs, one round")
    parser.add_argument("--meteor", action="store_true", help="METEOR too, which takes minutes")
    parser.add_argument("--reports", type=Path, default=shared / "data" / "openi_reports" / "reports.csv")
    options = parser.parse_args()
    count = 400 if options.quick else PAIRS
    texts = open_i_texts(options.reports, 2 * count) if options.reports.is_file() else made_up_texts(2 * count)
    hypotheses, references = texts[:count], texts[count:]
    spent, processor, megabytes = command(hypotheses, references)  # first: the other parts start greater processes
    times = race(parts(hypotheses, references, options.meteor), 1 if options.quick else 2)
    start = time.perf_counter()
    for text in texts:
        text.split()
    least = time.perf_counter() - start
    say(f"{count} pairs{'':18}ours, s  reference, s   ratio")
    ratios: dict[str, float | None] = {}
    for name, (ours, theirs) in times.items():
        ratios[name] = round(theirs / ours, 2) if ours and theirs else None
        say(f"{name:28}{ours or 0:8.2f}{'' if theirs is None else f'{theirs:14.2f}{ratios[name]:8.1f}'}")
    apart = bertscore(hypotheses, references, 2 if options.quick else 6)
    ratios |= apart
    for name, value in apart.items():
        say(f"{name:28}{'':22}{value or 0:8.1f}")
    both = {name: sides for name, sides in times.items() if None not in sides and name != "meteor"}
    totals = [sum(sides[place] or 0 for sides in both.values()) for place in (0, 1)]
    cost = f"{spent:.1f} s ({processor:.1f} s of one core), {megabytes:.0f} MB"
    say(f"cxrgen evaluate, all that needs no weights, intervals and page: {cost}")
    result = {
        "name": "evaluate",
        "ratio": round(totals[1] / totals[0], 2) if both else None,
        "parts": {
            **ratios,
            "command_seconds": round(spent, 1),
            "command_processor_seconds": round(processor, 1),
            "command_megabytes": round(megabytes),
        },
        "limit_fraction": round(least / totals[0], 4) if both else None,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
