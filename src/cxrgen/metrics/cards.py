"""Metrics in words: plain names of scores, what each metric is, what it needs, and the program that it equals.

Pages and `cxrgen metrics` read them here. A metric without a card is shown by its own name, so a new metric works
without one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from cxrgen.core.errors import UsageError
from cxrgen.metrics import load, metric_of

_RADEVAL = "radeval (--radeval PYTHON)"
_UNCERTAIN = {
    "uncertain-positive": "an uncertain label counts as positive",
    "uncertain-negative": "an uncertain label counts as not positive",
    "uncertain-ignore": "a study is left out for a finding that either side is uncertain of",
    "uncertain-own-class": "uncertain is a class of its own",
}


@dataclass(frozen=True)
class Card:
    """A metric in a sentence; `equals` maps each preset, "" where there are none, to the program with equal values."""

    what: str
    equals: Mapping[str, str] = field(default_factory=dict)
    needs: str = ""


CARDS = {
    "bleu": Card(
        "Shared word runs of length 1 to 4, with a penalty for short texts (Papineni 2002); 0 to 1.",
        {
            "coco-ptb": "pycocoevalcap with its tokeniser, as captioning papers report it",
            "coco-raw": "pycocoevalcap's scorer, nltk's corpus_bleu, torchmetrics' BLEUScore; words cut at white space",
            "r2gen": "pycocoevalcap on R2Gen's cleaning for MIMIC-CXR",
            "r2gen-iu": "pycocoevalcap on R2Gen's cleaning for IU X-ray",
            "radeval": "RadEval 2.2",
            "sacrebleu": "sacrebleu, divided by 100, which HF evaluate runs; torchmetrics' SacreBLEUScore",
            "cxr-report-metric": "CXR-Report-Metric (fast-bleu), mean of studies; near nltk's sentence_bleu, method1",
        },
    ),
    "rouge": Card(
        "The longest common subsequence of words (Lin 2004), mean of studies; 0 to 1.",
        {
            "coco-ptb": "pycocoevalcap with its tokeniser",
            "coco-raw": "pycocoevalcap's scorer on words cut at blanks",
            "r2gen": "pycocoevalcap on R2Gen's cleaning for MIMIC-CXR",
            "r2gen-iu": "pycocoevalcap on R2Gen's cleaning for IU X-ray",
            "rouge-score": "rouge-score without stemmer; HF evaluate's rouge is the same program",
            "radeval": "rouge-score with stemmer, as in RadEval 2.2",
        },
    ),
    "cider": Card(
        "CIDEr-D (Vedantam 2015): word runs, rare ones weigh more; 0 to 10. Depends on the references scored together.",
        {
            "coco-ptb": "pycocoevalcap with its tokeniser",
            "coco-raw": "pycocoevalcap's scorer on words cut at blanks",
            "r2gen": "pycocoevalcap on R2Gen's cleaning for MIMIC-CXR",
            "r2gen-iu": "pycocoevalcap on R2Gen's cleaning for IU X-ray",
        },
    ),
    "meteor": Card(
        "Words matched exactly, by stem, synonym and paraphrase (Denkowski and Lavie 2014); 0 to 1.",
        {"": "METEOR 1.5 as pycocoevalcap runs it; nltk's meteor_score is another score"},
        "Java and pycocoevalcap",
    ),
    "rule": Card(
        "Agreement on CheXpert's 14 findings, read from both texts by this project's rules; a stand-in for CheXbert.",
        _UNCERTAIN,
    ),
    "temporal": Card(
        "Words of change shared by both texts (Bannur 2023), and the share of reports that mention an earlier image.",
        {"radeval": "RadEval 2.2's temporal F1, which has a shorter list of words"},
    ),
    "flips": Card(
        "Contradictions: findings that change sides, and findings that one text states and the other denies, of all "
        "that can be contradicted.",
    ),
    "form": Card("How often reports repeat themselves, and their length compared with the references'."),
    "findings": Card(
        "Findings of the report against the table of true ones, for synthetic studies.",
        needs="--truth findings.csv",
    ),
    "chexbert": Card(
        "Agreement on 14 findings as CheXbert labels both texts (Smit 2020), and the cosine of its vectors.",
        {**_UNCERTAIN, "uncertain-positive": "f1chexbert, RadEval; an uncertain label counts as positive"},
        "chexbert.pth (--chexbert FILE)",
    ),
    "bertscore": Card(
        "Tokens matched by the cosine of distilroberta-base's vectors, layer 5, rescaled (Zhang 2020).",
        {
            "cxr-report-metric": "CXR-Report-Metric's column; bert-score 0.3.13, which HF evaluate's bertscore runs",
            "radeval": "RadEval 2.2",
        },
        "the folder of distilroberta-base (--encoder DIR)",
    ),
    "bertscore_minilm": Card(
        "BERTScore with the packaged MiniLM, layer 6, not rescaled.", {"": "bert-score 0.3.13"}, "`make embedded`"
    ),
    "bertscore_encoder": Card(
        "BERTScore with an encoder and settings of your own.", {"": "bert-score 0.3.13"}, "an encoder (--encoder DIR)"
    ),
    "radgraph": Card(
        "F1 of the entities and relations that RadGraph-XL finds in both texts (Delbrouck 2022).",
        {"": "radgraph 0.1.18; radgraph_partial is what most papers call F1-RadGraph"},
        _RADEVAL,
    ),
    "radgraph_combined": Card(
        "Mean of entity F1 and relation F1 of the original RadGraph (Yu 2023).", {"": "CXR-Report-Metric"}, _RADEVAL
    ),
    "ratescore": Card("RaTEScore (Zhao 2024): medical entities matched by meaning.", {"": "RadEval 2.2"}, _RADEVAL),
    "green": Card("GREEN (Ostmeier 2024): errors as a 7B language model counts them.", {"": "RadEval 2.2"}, _RADEVAL),
    "srr": Card("F1 of SRR-BERT's 163 labels (Delbrouck 2025).", {"leaves-with-statuses": "RadEval 2.2"}, _RADEVAL),
    "radcliq": Card(
        "RadCliQ (Yu 2023): a mix of radgraph_combined, bertscore, chexbert_similarity and BLEU-2 that was fitted to "
        "radiologists' error counts; lower is better.",
        {"": "CXR-Report-Metric; ReXrank prints 1 / v1"},
        f"distilroberta-base, chexbert.pth, {_RADEVAL}",
    ),
    "judge": Card(
        "Findings that both texts state, and errors by kind and urgency, as a language model lists them; means of "
        "studies. As good as that model: `cxrgen meta` says how far it agrees with people.",
        needs="a chat endpoint (--judge URL --judge-model NAME), to which report texts are sent",
    ),
}

_NAMES = (  # pattern of a score's name, the plain name
    (r"bleu_(\d)", r"BLEU-\1"),
    (r"rouge_(\d|l)", r"ROUGE-\1"),
    (r"cider", "CIDEr-D"),
    (r"meteor", "METEOR"),
    (r"(rule|chexbert)_f1_(micro|macro|weighted|samples)_(\d+)", r"\1 F1, \2 over \3 findings"),
    (r"(rule|chexbert)_f1_(\w+)", r"\1 F1, \2"),
    (r"rule_similarity", "Rule-label similarity"),
    (r"chexbert_similarity", "CheXbert similarity"),
    (r"chexbert_label_cosine", "CheXbert label cosine"),
    (r"temporal_f1", "Words of change, F1"),
    (r"prior_rate", "Reports that mention an earlier image"),
    (r"side_flips", "Findings on the wrong side"),
    (r"negation_flips", "Findings with flipped negation"),
    (r"repetition", "Repeated word triples"),
    (r"length_ratio", "Length, of the references'"),
    (r"finding_f1_macro", "Finding F1, mean over 14"),
    (r"finding_f1_macro_(\d+)", r"Finding F1, mean over \1"),
    (r"finding_f1_(\w+)", r"Finding F1, \1"),
    (r"finding_(\w+)_accuracy", r"Found findings with the right \1"),
    (r"finding_distance_error_cm", "Error of the tube's distance, cm"),
    (r"bertscore", "BERTScore"),
    (r"bertscore_minilm", "BERTScore with MiniLM"),
    (r"bertscore_encoder", "BERTScore with another encoder"),
    (r"radgraph_(\w+)", r"RadGraph F1, \1"),
    (r"ratescore", "RaTEScore"),
    (r"green", "GREEN"),
    (r"srr_f1_weighted", "SRR-BERT F1, weighted"),
    (r"judge_matched", "Findings in both texts (judge)"),
    (r"judge_(missed|invented|misplaced)", r"Findings \1 (judge)"),
    (r"judge_severity", "Findings of wrong severity (judge)"),
    (r"judge_comparison", "Comparisons invented or omitted (judge)"),
    (r"judge_(urgent)", "Urgent errors (judge)"),
    (r"judge_errors", "All errors (judge)"),
    (r"radcliq_v(\d)", r"RadCliQ-v\1"),
    (r"radcliq_v(\d)_inverse", r"1 / RadCliQ-v\1"),
)


@cache
def plain_name(score: str) -> str:
    """A score's name in words: "bleu_2.sacrebleu" -> "BLEU-2 (sacrebleu)"; one that is not known stays as it is."""
    stem, _, preset = score.partition(".")
    for pattern, words in _NAMES:
        found = re.fullmatch(pattern, stem)
        if found:
            name = found.expand(words).replace("_", " ")
            name = re.sub(r"^rule\b", "Rule-label", name).replace("chexbert", "CheXbert").replace("ROUGE-l", "ROUGE-L")
            return f"{name} ({preset})" if preset else name
    return score


def metric_name(score: str) -> str:
    """The metric that gives a score, without preset; the score's own name where it is not known."""
    try:
        return metric_of(score).partition(".")[0]
    except UsageError:
        return score


def equal_to(score: str) -> str:
    """The program that a score equals, or empty: "bleu_2.sacrebleu" -> "sacrebleu, divided by 100; ..."."""
    metric = metric_name(score)
    card = CARDS.get(metric)
    if card is None:
        return ""
    preset = score.partition(".")[2] or load(metric).default_preset
    return card.equals.get(preset, "")
