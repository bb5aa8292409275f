"""The programs that the overlap scores must equal, called the way their users call them; nothing here is our own.

R2Gen's cleaner cannot be installed. It is written again here from its description, letter by letter and without
regular expressions, so that it shares nothing with `cxrgen.text.cleaning`.

Run as a script, it records what they answer on the made-up strings of `odd_strings.json`, so that the check lives on
where Java or a package is absent: `python tests/metrics/originals.py`, and `... several` for several references.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"
LINE_BREAKS = re.compile("[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
# Dropped by the original after its tokeniser has run; the upper-case brackets in its list never match lower-cased text.
PUNCTUATION = {"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"}
_BETWEEN = "zz"  # a line between two texts: the tokeniser peeks over a line's end

Texts = Sequence[str]
PairValues = dict[str, list[float]]  # name to the pairs' values, then the set's


def missing(*packages: str, java: bool = False) -> str | None:
    """Why these originals cannot be asked, or None."""
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if absent:
        return f"needs the package {absent[0]}"
    return "needs Java" if java and shutil.which("java") is None else None


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    return Path(next(iter(spec.submodule_search_locations or ())))


def treebank(texts: Texts) -> list[str]:
    """The line that pycocoevalcap's tokeniser makes of each text, all in one call of Java."""
    jar = next((_package("pycocoevalcap") / "tokenizer").glob("*.jar"))
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("".join(f"{LINE_BREAKS.sub(' ', text)}\n{_BETWEEN}\n" for text in texts))
        file.flush()
        command = ["java", "-Dfile.encoding=UTF-8", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer"]
        done = subprocess.run([*command, "-preserveLines", "-lowerCase", file.name], capture_output=True, check=True)
    lines = done.stdout.decode("utf-8").split("\n")
    assert all(line.rstrip() == _BETWEEN for line in lines[1 : 2 * len(texts) : 2])
    return [
        " ".join(w for w in line.rstrip().split(" ") if w not in PUNCTUATION) for line in lines[: 2 * len(texts) : 2]
    ]


def coco(hypotheses: Texts, references: Texts) -> PairValues:
    """BLEU-1..4, ROUGE-L and CIDEr-D of pycocoevalcap's bare scorers on texts as they are given."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    gts, res = ({i: [text] for i, text in enumerate(texts)} for texts in (references, hypotheses))
    whole, each = Bleu(4).compute_score(gts, res, verbose=0)
    values = {f"bleu_{order}": [*map(float, each[order - 1]), float(whole[order - 1])] for order in (1, 2, 3, 4)}
    for name, scorer in (("rouge_l", Rouge()), ("cider", Cider())):
        value, single = scorer.compute_score(gts, res)
        values[name] = [*map(float, single), float(value)]
    return values


def coco_scorer(name: str, hypotheses: Texts, references: Texts) -> float:
    """The set's value by one of pycocoevalcap's bare scorers: `bleu` (BLEU-4), `rouge` or `cider`."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    gts, res = ({i: [text] for i, text in enumerate(texts)} for texts in (references, hypotheses))
    if name == "bleu":
        return float(Bleu(4).compute_score(gts, res, verbose=0)[0][3])
    return float((Rouge() if name == "rouge" else Cider()).compute_score(gts, res)[0])


def r2gen(text: str, mimic: bool) -> str:
    """What R2Gen scores of a report of MIMIC-CXR or of IU X-ray: its words turned to numbers and back, so one blank."""
    if mimic:
        text = text.replace("\n", " ")
        for double, times in (("__", 7), ("  ", 6)):
            for _ in range(times):
                text = text.replace(double, double[0])
    for _ in range(8 if mimic else 3):
        text = text.replace("..", ".")
    text = text.replace("1. ", "")
    for before in (". ", " "):
        for number in "2345":
            text = text.replace(f"{before}{number}. ", ". ")
    removed = set(".,?;*!%^&_+()[]{}\"/\\'") | set(map(chr, range(ord(":"), ord("[") + 1)))
    sentences = text.strip().lower().split(". ")
    kept = ["".join(sign for sign in sentence.strip() if sign not in removed) for sentence in sentences]
    return " ".join((" . ".join(kept) + " .").split())


def sacrebleu_set(hypotheses: Texts, references: Texts) -> float:
    """sacrebleu's BLEU-4 of the set, as a part of 1."""
    from sacrebleu.metrics import BLEU

    return float(BLEU().corpus_score(list(hypotheses), [list(references)]).score / 100)


def sacrebleu(hypotheses: Texts, references: Texts) -> PairValues:
    """sacrebleu's values, which are in percent, as parts of 1; a pair's by effective order."""
    from sacrebleu.metrics import BLEU

    values = {}
    for order in (1, 2, 3, 4):
        sentence, corpus = BLEU(max_ngram_order=order, effective_order=True), BLEU(max_ngram_order=order)
        each = [sentence.sentence_score(h, [r]).score / 100 for h, r in zip(hypotheses, references)]
        values[f"bleu_{order}"] = [*each, corpus.corpus_score(list(hypotheses), [list(references)]).score / 100]
    return values


def report_metric(hypotheses: Texts, references: Texts, orders: Sequence[int] = (1, 2, 3, 4)) -> PairValues:
    """CXR-Report-Metric's BLEU column: its tokens, fast-bleu; the set's value is the column's mean."""
    from fast_bleu import BLEU

    # fast-bleu takes no single weight, so BLEU-1 is a pair of weights
    weights = {f"bleu_{order}": (1.0, 0.0) if order == 1 else (1 / order,) * order for order in orders}
    cut = [
        [[w for w in text.lower().replace(".", " .").split(" ") if w] for text in side]
        for side in (hypotheses, references)
    ]
    values: PairValues = {name: [] for name in weights}
    for hypothesis, reference in zip(*cut):
        for name, score in BLEU([reference], weights).get_score([hypothesis]).items():
            values[name].append(float(score[0]))
    return {name: [*each, sum(each) / len(each)] for name, each in values.items()}


def rouge_score(hypotheses: Texts, references: Texts, stemmer: bool) -> PairValues:
    """F1 of ROUGE-1, -2 and -L of the package rouge-score; RadEval calls it with the stemmer."""
    from rouge_score.rouge_scorer import RougeScorer

    names = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
    scorer = RougeScorer(list(names.values()), use_stemmer=stemmer)
    scores = [scorer.score(reference, hypothesis) for hypothesis, reference in zip(hypotheses, references)]
    each = {name: [float(score[key].fmeasure) for score in scores] for name, key in names.items()}
    return {name: [*values, sum(values) / len(values)] for name, values in each.items()}


def meteor(hypotheses: Texts, references: Texts) -> PairValues:
    """METEOR 1.5 by pycocoevalcap's own wrapper on texts as they are given; no text may be empty."""
    from pycocoevalcap.meteor.meteor import Meteor

    gts, res = ({i: [text] for i, text in enumerate(texts)} for texts in (references, hypotheses))
    value, each = Meteor().compute_score(gts, res)
    return {"meteor": [*map(float, each), float(value)]}


def everything(hypotheses: Texts, references: Texts, with_meteor: bool = False) -> dict[str, PairValues]:
    """All values by metric and preset. METEOR, which takes a minute, only where both texts have words."""
    said, wanted = treebank(hypotheses), treebank(references)
    values = {
        "coco-ptb": coco(said, wanted),
        "coco-raw": coco(hypotheses, references),
        "r2gen": coco(*([r2gen(text, True) for text in side] for side in (hypotheses, references))),
        "r2gen-iu": coco(*([r2gen(text, False) for text in side] for side in (hypotheses, references))),
        "sacrebleu": sacrebleu(hypotheses, references),
        "cxr-report-metric": report_metric(hypotheses, references),
        "rouge-score": rouge_score(hypotheses, references, stemmer=False),
        "radeval": rouge_score(hypotheses, references, stemmer=True),
    }
    if with_meteor:
        worded = [i for i in range(len(said)) if said[i] and wanted[i]]
        values["meteor"] = meteor([said[i] for i in worded], [wanted[i] for i in worded])
    return values


def odd_pairs(strings: Texts) -> tuple[list[str], list[str]]:
    """Every odd string against a copy that lost its last word and gained one, and against its neighbour."""
    shorter = [" ".join([*text.split(" ")[:-1], "heart"]) for text in strings]
    return [*shorter, *strings], [*strings, *strings[1:], strings[0]]


Lists = Sequence[Sequence[str]]


def odd_several(strings: Texts) -> tuple[list[str], list[list[str]]]:
    """Every odd string that holds something, less its last word, against itself and up to two of its neighbours."""
    kept = [text for text in strings if text.strip()]
    shorter = [" ".join([*text.split(" ")[:-1], "heart"]) for text in kept]
    around = [[kept[(i + step) % len(kept)] for step in range(1 + i % 3)] for i in range(len(kept))]
    return shorter, around


def coco_several(hypotheses: Texts, references: Lists) -> PairValues:
    """pycocoevalcap's bare scorers with one reference or more."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    gts, res = dict(enumerate(map(list, references))), {i: [text] for i, text in enumerate(hypotheses)}
    whole, each = Bleu(4).compute_score(gts, res, verbose=0)
    values = {f"bleu_{order}": [*map(float, each[order - 1]), float(whole[order - 1])] for order in (1, 2, 3, 4)}
    for name, scorer in (("rouge_l", Rouge()), ("cider", Cider())):
        value, single = scorer.compute_score(gts, res)
        values[name] = [*map(float, single), float(value)]
    return values


def sacrebleu_several(hypotheses: Texts, references: Lists) -> PairValues:
    """sacrebleu with one reference or more."""
    from sacrebleu.metrics import BLEU

    most = max(map(len, references))
    streams = [[of[i] if i < len(of) else None for of in references] for i in range(most)]
    values = {}
    for order in (1, 2, 3, 4):
        sentence, corpus = BLEU(max_ngram_order=order, effective_order=True), BLEU(max_ngram_order=order)
        each = [sentence.sentence_score(h, list(of)).score / 100 for h, of in zip(hypotheses, references)]
        values[f"bleu_{order}"] = [*each, corpus.corpus_score(list(hypotheses), streams).score / 100]
    return values


def rouge_score_several(hypotheses: Texts, references: Lists, stemmer: bool) -> PairValues:
    """rouge-score's own way with several references."""
    from rouge_score.rouge_scorer import RougeScorer

    names = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
    scorer = RougeScorer(list(names.values()), use_stemmer=stemmer)
    scores = [scorer.score_multi(list(of), hypothesis) for hypothesis, of in zip(hypotheses, references)]
    each = {name: [float(score[key].fmeasure) for score in scores] for name, key in names.items()}
    return {name: [*values, sum(values) / len(values)] for name, values in each.items()}


def meteor_several(hypotheses: Texts, references: Lists) -> PairValues:
    """METEOR 1.5 by pycocoevalcap's own wrapper; no text may be empty."""
    from pycocoevalcap.meteor.meteor import Meteor

    gts, res = dict(enumerate(map(list, references))), {i: [text] for i, text in enumerate(hypotheses)}
    value, each = Meteor().compute_score(gts, res)
    return {"meteor": [*map(float, each), float(value)]}


def everything_several(hypotheses: Texts, references: Lists) -> dict[str, PairValues]:
    """All values with several references by metric and preset; METEOR's of studies all of whose texts have words."""
    said, flat = treebank(hypotheses), iter(treebank([text for of in references for text in of]))
    wanted = [[next(flat) for _ in of] for of in references]
    worded = [i for i in range(len(said)) if said[i] and all(wanted[i])]
    return {
        "coco-ptb": coco_several(said, wanted),
        "coco-raw": coco_several(hypotheses, references),
        "sacrebleu": sacrebleu_several(hypotheses, references),
        "rouge-score": rouge_score_several(hypotheses, references, stemmer=False),
        "radeval": rouge_score_several(hypotheses, references, stemmer=True),
        "meteor": meteor_several([said[i] for i in worded], [wanted[i] for i in worded]),
    }


def record_several() -> None:
    strings = json.loads((GOLDEN / "odd_strings.json").read_text(encoding="utf-8"))
    values = everything_several(*odd_several(strings))
    rounded = {
        preset: {name: [float(f"{value:.9g}") for value in column] for name, column in of.items()}
        for preset, of in values.items()
    }
    (GOLDEN / "several_recorded.json").write_text(json.dumps(rounded), encoding="utf-8")


def record() -> None:
    strings = json.loads((GOLDEN / "odd_strings.json").read_text(encoding="utf-8"))
    values: dict[str, Any] = everything(*odd_pairs(strings), with_meteor=True)
    rounded = {
        preset: {name: [float(f"{value:.9g}") for value in column] for name, column in of.items()}
        for preset, of in values.items()
    }
    content = {"treebank": treebank(strings), "values": rounded}
    (GOLDEN / "odd_recorded.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__" and sys.argv[1:] == ["several"]:
    sys.exit(missing("pycocoevalcap", "sacrebleu", "rouge_score", java=True) or record_several())
if __name__ == "__main__":
    sys.exit(missing("pycocoevalcap", "sacrebleu", "fast_bleu", "rouge_score", java=True) or record())
