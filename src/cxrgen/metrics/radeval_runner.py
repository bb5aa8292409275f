"""One metric of the package radeval, run in whatever Python has that package. Nothing of cxrgen is imported here.

    python radeval_runner.py METRIC INPUT.json OUTPUT.json      scores; no network
    python radeval_runner.py --fetch METRIC                     fetches the metric's weights into radeval's caches

radeval brings packages that do not go with everything, and takes a graphics card's memory until its process ends, so
it gets a process of its own. Its parts are called below its `RadEval` class, which gives no labels, no annotations and,
where a text has no sentence, RaTEScores of the wrong pairs. Errors are told by their kind and place: a message could
quote a report.
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


def radgraph(model: str) -> Loaded:
    """Texts to annotations: for each a dict of entities (tokens, label, relations), or None where radeval gave up."""
    annotate = importlib.import_module("radeval.metrics.radgraph").RadGraph(model_type=model)

    def score(work: Work) -> list[Any]:
        found = annotate(work["texts"])
        return [found[str(place)]["entities"] if str(place) in found else None for place in range(len(work["texts"]))]

    return score


def ratescore() -> Loaded:
    """Pairs to RaTEScores; 0.5, its value for a side without entities, also where a side has no sentence."""
    scorer = importlib.import_module("radeval.metrics.RaTEScore.scorer").RaTEScore()
    sentences = importlib.import_module("radeval.metrics.RaTEScore.utils").sentence_split

    def score(work: Work) -> list[float]:
        has_sentence = {text: bool(sentences([text])[0]) for text in {*work["hypotheses"], *work["references"]}}
        pairs = list(zip(work["hypotheses"], work["references"]))
        whole = [place for place, pair in enumerate(pairs) if all(has_sentence[text] for text in pair)]
        values = [0.5] * len(pairs)
        if whole:
            said, wanted = ([pairs[place][side] for place in whole] for side in (0, 1))
            found = scorer.compute_score(said, wanted)[0]
            if len(found) != len(whole):
                raise ValueError("a pair without a score")
            for place, value in zip(whole, found):
                values[place] = float(value)
        return values

    return score


def green() -> Loaded:
    """Pairs to GREEN scores; an answer of the model that cannot be read counts 0."""
    metric = importlib.import_module("radeval.metrics.green_score.adapter").GreenMetric()

    def score(work: Work) -> list[float]:
        found = metric.compute(work["references"], work["hypotheses"], per_sample=True)["green"]
        return [float(value or 0) for value in found]

    return score


def srr() -> Loaded:
    """Texts to the numbers of their SRR-BERT labels, findings with status; a label of any sentence is the text's."""
    module = importlib.import_module("radeval.metrics.SRRBert.srr_bert")
    model = module.SRRBert(model_type="leaves_with_statuses")

    def score(work: Work) -> list[list[int]]:
        split = [module.srr_bert_parse_sentences(text) for text in work["texts"]]
        rows = iter(model([sentence for sentences in split for sentence in sentences])[0])
        labels = [[next(rows) for _ in sentences] for sentences in split]
        return [sorted({int(label) for row in sentences for label in row.nonzero()[0]}) for sentences in labels]

    return score


METRICS: dict[str, Callable[[], Loaded]] = {
    "radgraph-xl": lambda: radgraph("radgraph-xl"),
    "radgraph": lambda: radgraph("radgraph"),
    "ratescore": ratescore,
    "green": green,
    "srr": srr,
}


def prepare(network: bool) -> None:
    """Make radeval importable: it fetches sentence rules when it is imported, and names itself in two spellings."""
    if not network:
        os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        try:
            nltk = importlib.import_module("nltk")
        except ModuleNotFoundError:
            pass
        else:
            vars(nltk)["download"] = lambda *_, **__: False
    sys.modules.setdefault("RadEval", importlib.import_module("radeval"))


def attempt(metric: str, work: Work) -> dict[str, Any]:
    """{"values": ...}, or {"stage": ..., "error": ...} that says what failed without quoting a text."""
    stage = "import"
    try:
        prepare(network=False)
        stage = "load"
        score = METRICS[metric]()
        stage = "score"
        return {"values": score(work)}
    except ImportError as error:
        return {"stage": "import", "error": f"{type(error).__name__}: {error.name or 'a package'}"}
    except Exception as error:  # whatever radeval and its weights may raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}:{place.lineno}"
        return {"stage": stage, "error": f"{type(error).__name__} in {where}"}


def main(words: list[str]) -> None:
    if words[0] == "--fetch":
        prepare(network=True)
        METRICS[words[1]]()
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
