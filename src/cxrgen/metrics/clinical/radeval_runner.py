"""One metric of the package radeval, run in whatever Python has that package. Nothing of cxrgen is imported here.

    python radeval_runner.py METRIC INPUT.json OUTPUT.json      scores; no network
    python radeval_runner.py --fetch METRIC                     fetches the metric's weights into radeval's caches

radeval brings packages that do not go with everything, and takes a graphics card's memory until its process ends, so it
gets a process of its own. Its parts are called directly and not through its `RadEval` class, which returns no labels,
no annotations and, where a text has no sentence, RaTEScores of the wrong pairs. Errors in scoring are reported by class
and line only: a message could quote a report.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

Work = dict[str, list[str]]
Loaded = Callable[[Work], Any]


def radgraph(module: Any, model: str) -> Loaded:
    """Texts to annotations: for each a dict of entities (tokens, label, relations), or None where radeval gave up."""
    annotate = module.RadGraph(model_type=model)

    def score(work: Work) -> list[Any]:
        found = annotate(work["texts"])
        return [found[str(place)]["entities"] if str(place) in found else None for place in range(len(work["texts"]))]

    return score


def ratescore(module: Any) -> Loaded:
    """Pairs to RaTEScores; 0.5, its value for a side without entities, also where a side has no sentence."""
    scorer = module.RaTEScore()
    sentences = importlib.import_module("radeval.metrics.RaTEScore.utils").sentence_split

    def score(work: Work) -> list[float]:
        has_sentence = {text: bool(sentences([text])[0]) for text in {*work["hypotheses"], *work["references"]}}
        pairs = list(zip(work["hypotheses"], work["references"]))
        whole = [place for place, pair in enumerate(pairs) if all(has_sentence[text] for text in pair)]
        values = [0.5] * len(pairs)
        if whole:
            hyp, ref = ([pairs[place][side] for place in whole] for side in (0, 1))
            found = scorer.compute_score(hyp, ref)[0]
            if len(found) != len(whole):
                raise ValueError("a pair without a score")
            for place, value in zip(whole, found):
                values[place] = float(value)
        return values

    return score


def green(module: Any) -> Loaded:
    """Pairs to GREEN scores; an answer of the model that cannot be read counts 0."""
    judge = module.GREEN("StanfordAIMI/GREEN-radllama2-7b", output_dir=".")

    def score(work: Work) -> list[float]:
        return [float(value or 0) for value in judge(work["references"], work["hypotheses"])[2]]

    return score


def srr(module: Any) -> Loaded:
    """Texts to the numbers of their SRR-BERT labels, findings with status; a label of any sentence is the text's."""
    model = module.SRRBert(model_type="leaves_with_statuses")
    module.srr_bert_parse_sentences("Clear.")  # needs sentence rules of nltk; their lack is reported before scoring

    def score(work: Work) -> list[list[int]]:
        split = [module.srr_bert_parse_sentences(text) for text in work["texts"]]
        rows = iter(model([sentence for sentences in split for sentence in sentences])[0])
        labels = [[next(rows) for _ in sentences] for sentences in split]
        return [sorted({int(label) for row in sentences for label in row.nonzero()[0]}) for sentences in labels]

    return score


METRICS: dict[str, tuple[str, Callable[[Any], Loaded]]] = {  # the module of radeval, and what to do with it
    "radgraph-xl": ("radgraph", lambda module: radgraph(module, "radgraph-xl")),
    "radgraph": ("radgraph", lambda module: radgraph(module, "radgraph")),
    "ratescore": ("RaTEScore.scorer", ratescore),
    "green": ("green_score.green", green),
    "srr": ("SRRBert.srr_bert", srr),
}


def import_part(metric: str, network: bool) -> Any:
    """A metric's module in radeval, which fetches things when it is imported and spells its name in two ways."""
    if not network:
        os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        try:
            nltk = importlib.import_module("nltk")
        except ModuleNotFoundError:
            pass
        else:
            vars(nltk)["download"] = lambda *_, **__: False
    sys.modules.setdefault("RadEval", importlib.import_module("radeval"))
    return importlib.import_module(f"radeval.metrics.{METRICS[metric][0]}")


def attempt(metric: str, work: Work) -> dict[str, Any]:
    """{"values": ...}, or {"stage": ..., "error": ...} that says what failed without quoting a text."""
    stage = "import"
    try:
        module = import_part(metric, network=False)
        stage = "load"
        score = METRICS[metric][1](module)
        stage = "score"
        return {"values": score(work)}
    except Exception as error:  # whatever radeval and its weights may raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        message = f"{type(error).__name__} in {os.path.basename(place.filename)}:{place.lineno}"
        if stage != "score":  # no text was read yet that could be quoted
            message = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return {"stage": stage, "error": message}


def main(words: list[str]) -> None:
    if words[0] == "--fetch":
        METRICS[words[1]][1](import_part(words[1], network=True))
        return
    metric, source, target = words
    with open(source, encoding="utf-8") as file:
        work = json.load(file)
    result = attempt(metric, work)
    with open(target, "w", encoding="utf-8") as file:
        json.dump(result, file)


if __name__ == "__main__":
    del sys.path[0]  # the folder of this file: its neighbours must not answer to the names of other packages
    main(sys.argv[1:])
