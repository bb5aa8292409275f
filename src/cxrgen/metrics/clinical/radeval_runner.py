"""One metric of the package radeval, run in whatever Python has that package. Nothing of cxrgen is imported here.

    python radeval_runner.py METRIC              answers questions until its input ends; no network
    python radeval_runner.py --fetch METRIC      fetches the metric's weights into radeval's caches

The first line it prints says which radeval and which weights are there, before either is loaded. Then each line of
input holds texts and is answered by a line with their values. The model is loaded for the first of them and stays.

radeval brings packages that do not go with everything, and takes a graphics card's memory until its process ends, so it
gets a process of its own. Its parts are called directly and not through its `RadEval` class, which returns no labels,
no annotations and, where a text has no sentence, RaTEScores of the wrong pairs. Errors in scoring are reported by class
and line only: a message could quote a report.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, TextIO

Work = dict[str, list[str]]
Loaded = Callable[[Work], Any]
_CXR_BERT = "microsoft/BiomedVLP-CXR-BERT-general"
SRR_MODELS = {  # radeval's name of the model, and the repository of its weights
    "srr": ("leaves_with_statuses", "StanfordAIMI/SRR-BERT-Leaves-with-Statuses"),
    "srr.leaves": ("leaves", "StanfordAIMI/SRR-BERT-Leaves"),
    "srr.upper-with-statuses": ("upper_with_statuses", "StanfordAIMI/SRRG-BERT-Upper-with-Statuses"),
    "srr.upper": ("upper", "StanfordAIMI/SRR-BERT-Upper"),
}
REPOSITORIES = {  # on the Hugging Face hub, of the metrics whose weights are kept in its cache
    "ratescore": ("Angelakeke/RaTE-NER-Deberta", "FremyCompany/BioLORD-2023-C"),
    "green": ("StanfordAIMI/GREEN-radllama2-7b",),
    **{metric: (repository, _CXR_BERT) for metric, (_, repository) in SRR_MODELS.items()},
}
WEIGHTS = {  # what each metric needs besides radeval, for people
    "radgraph-xl": "radgraph-xl.tar.gz of StanfordAIMI/RRG_scorers",
    "radgraph": "radgraph.tar.gz of StanfordAIMI/RRG_scorers",
    "ratescore": " and ".join(REPOSITORIES["ratescore"]),
    "green": f"{REPOSITORIES['green'][0]} (14 GB)",
    **{name: f"{repository}, {_CXR_BERT} and nltk's punkt_tab" for name, (_, repository) in SRR_MODELS.items()},
}


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


def srr(module: Any, model_type: str) -> Loaded:
    """Texts to the numbers of their SRR-BERT labels; a label of any sentence is the text's."""
    model = module.SRRBert(model_type=model_type)
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
    **{
        metric: ("SRRBert.srr_bert", functools.partial(srr, model_type=model_type))
        for metric, (model_type, _) in SRR_MODELS.items()
    },
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


def description(metric: str) -> dict[str, str]:
    """{"version": ..., "weights": ...} as they would be used; or what is wrong, where there is no radeval."""
    if importlib.util.find_spec("radeval") is None:
        return {"stage": "import", "error": "ModuleNotFoundError: No module named 'radeval'"}
    from importlib import metadata  # takes longer than all other imports of this file

    try:
        version = metadata.version("radeval")
    except metadata.PackageNotFoundError:
        version = "not known"
    return {"version": version, "weights": snapshots(metric)}


def snapshots(metric: str) -> str:
    """The snapshot of each of the metric's weights in the caches; empty where one of them is not found."""
    if metric not in REPOSITORIES:
        return radgraph_hash(metric)
    found = {repository: revision(repository) for repository in REPOSITORIES[metric]}
    return ",".join(f"{repository}@{commit}" for repository, commit in found.items()) if all(found.values()) else ""


def revision(repository: str) -> str:
    """First digits of the commit that the hub's cache holds as the main one, empty where it holds none."""
    try:
        cache = importlib.import_module("huggingface_hub.constants").HF_HUB_CACHE
        place = os.path.join(cache, "models--" + repository.replace("/", "--"))
        with open(os.path.join(place, "refs", "main"), encoding="ascii") as file:
            commit = file.read().strip()
        return commit[:12] if os.path.isdir(os.path.join(place, "snapshots", commit)) else ""
    except (ModuleNotFoundError, OSError, ValueError):
        return ""


def radgraph_hash(model: str) -> str:
    """First digits of the SHA-256 of RadGraph's weights where radeval unpacks them, empty where it has not yet."""
    try:
        folder = importlib.import_module("appdirs").user_cache_dir("radgraph")
        file = os.path.join(folder, "0.1.18", model, "weights.th")  # the version that radeval names its folder by
        digest = hashlib.sha256()
        with open(file, "rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()[:12]
    except (ModuleNotFoundError, OSError):
        return ""


def answers(metric: str, questions: TextIO, out: TextIO) -> None:
    """Answer each line of work by {"values": ...}, or {"stage": ..., "error": ...} that quotes no text."""
    tell(out, description(metric))
    score: Loaded | None = None
    for line in questions:
        stage = "import"
        try:
            if score is None:
                module = import_part(metric, network=False)
                stage = "load"
                score = METRICS[metric][1](module)
            stage = "score"
            answer = {"values": score(json.loads(line))}
        except Exception as error:  # whatever radeval and its weights may raise
            answer = {"stage": stage, "error": what_happened(error, stage)}
        tell(out, answer)


def what_happened(error: Exception, stage: str) -> str:
    """An error for people; its message only while no text was read that it could quote."""
    if stage != "score":
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {os.path.basename(place.filename)}:{place.lineno}"


def tell(out: TextIO, answer: dict[str, Any]) -> None:
    out.write(json.dumps(answer) + "\n")
    out.flush()


def main(words: list[str]) -> None:
    if words[0] == "--fetch":
        METRICS[words[1]][1](import_part(words[1], network=True))
        return
    questions, out = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # radeval's parts print, and may start processes that would read
        os.dup2(nowhere, stream)
    answers(words[0], questions, out)


if __name__ == "__main__":
    del sys.path[0]  # the folder of this file: its neighbours must not answer to the names of other packages
    main(sys.argv[1:])
