"""Every preset of the overlap scores against the program it is named after."""

from __future__ import annotations

import csv
import importlib.util
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrgen.core.errors import UsageError
from cxrgen.metrics import measure, metric_of
from cxrgen.metrics.lexical import bleu, cider, rouge
from cxrgen.metrics.lexical.porter import stem
from cxrgen.metrics.lexical.ptb import tokens

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"
spec = importlib.util.spec_from_file_location("originals", Path(__file__).with_name("originals.py"))
assert spec is not None
assert spec.loader is not None
originals = importlib.util.module_from_spec(spec)
spec.loader.exec_module(originals)

PACKAGES = ("pycocoevalcap", "sacrebleu", "fast_bleu", "rouge_score")
# Metric, suffix of its scores, the original's answers, the scores there.
SAME = [
    ("bleu", "", "coco-ptb", ("bleu_1", "bleu_2", "bleu_3", "bleu_4")),
    *(
        (f"bleu.{p}", f".{p}", p, ("bleu_1", "bleu_2", "bleu_3", "bleu_4"))
        for p in ("coco-raw", "r2gen", "r2gen-iu", "sacrebleu")
    ),
    ("bleu.radeval", ".radeval", "coco-raw", ("bleu_1", "bleu_2", "bleu_3", "bleu_4")),
    ("bleu.cxr-report-metric", ".cxr-report-metric", "cxr-report-metric", ("bleu_1", "bleu_2", "bleu_3", "bleu_4")),
    ("rouge", "", "coco-ptb", ("rouge_l",)),
    *((f"rouge.{p}", f".{p}", p, ("rouge_l",)) for p in ("coco-raw", "r2gen", "r2gen-iu")),
    *((f"rouge.{p}", f".{p}", p, ("rouge_1", "rouge_2", "rouge_l")) for p in ("rouge-score", "radeval")),
    ("cider", "", "coco-ptb", ("cider",)),
    *((f"cider.{p}", f".{p}", p, ("cider",)) for p in ("coco-raw", "r2gen", "r2gen-iu")),
]


@pytest.fixture(scope="module")
def strings() -> list[str]:
    return list(json.loads((GOLDEN / "odd_strings.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    return dict(json.loads((GOLDEN / "odd_recorded.json").read_text(encoding="utf-8")))


@pytest.fixture
def reports(shared: Path) -> list[tuple[str, str]]:
    """Findings and impression of 1,000 real reports."""
    with open(shared / "data" / "openi_reports" / "reports.csv", encoding="utf-8", newline="") as file:
        return [(row["findings"], row["impression"]) for row in csv.DictReader(file)]


def assert_same(hypotheses: list[str], references: list[str], answers: dict[str, dict[str, list[float]]]) -> None:
    for metric, suffix, original, names in SAME:
        measured = measure(metric, hypotheses, references)
        each, whole = measured.per_study(), measured.aggregate(measured.counts.sum(axis=0))
        for name in names:
            ours = [*each[name + suffix], whole[name + suffix]]
            least = 1e-5 if original == "cxr-report-metric" else 1e-6
            np.testing.assert_allclose(ours, answers[original][name], rtol=0, atol=least, err_msg=f"{metric} {name}")


def test_every_preset_stands_beside_its_original() -> None:
    held = {metric for metric, *_ in SAME}
    for metric, module in (("bleu", bleu), ("rouge", rouge), ("cider", cider)):
        assert {metric, *(f"{metric}.{preset}" for preset in module.PRESETS if preset != module.DEFAULT)} <= held


def test_odd_strings_as_recorded(strings: list[str], recorded: dict[str, Any]) -> None:
    assert len(strings) >= 200
    assert_same(*originals.odd_pairs(strings), recorded["values"])


def test_odd_strings_are_cut_as_recorded(strings: list[str], recorded: dict[str, Any]) -> None:
    for text, line in zip(strings, recorded["treebank"], strict=True):
        assert " ".join(tokens(text)) == " ".join(word for word in line.split(" ") if word), repr(text)


@pytest.mark.skipif(bool(originals.missing(*PACKAGES, java=True)), reason="needs Java and the extra [bench]")
def test_odd_strings_through_the_originals(strings: list[str], hypotheses: list[str], references: list[str]) -> None:
    texts = [*strings, *hypotheses, *references]
    lines = originals.treebank(texts)
    assert [" ".join(tokens(text)) for text in texts] == [" ".join(w for w in x.split(" ") if w) for x in lines]
    few = random.Random(5).sample(strings, 60)
    assert_same(few, few[::-1], originals.everything(few, few[::-1]))
    assert_same(hypotheses, references, originals.everything(hypotheses, references))


@pytest.mark.slow
@pytest.mark.skipif(bool(originals.missing(*PACKAGES, java=True)), reason="needs Java and the extra [bench]")
def test_two_thousand_real_pairs(reports: list[tuple[str, str]]) -> None:
    findings, impressions = map(list, zip(*reports))
    hypotheses = [*impressions, *findings[1:], findings[0]]
    references = [*findings, *findings]
    assert len(hypotheses) == 2000
    assert_same(hypotheses, references, originals.everything(hypotheses, references))


def test_golden_pairs(hypotheses: list[str], references: list[str], per_pair: dict[str, Any]) -> None:
    coco = {f"bleu_{n}": f"bleu{n}" for n in bleu.ORDERS}
    keys = {"coco-raw": "coco_bleu/raw", "cxr-report-metric": "cxr_report_metric/fast_bleu"}
    for preset, key in keys.items():
        for name, there in coco.items():
            golden = per_pair[key][there]["per_pair"]
            np.testing.assert_allclose(_each(f"bleu.{preset}", name, hypotheses, references), golden, atol=1e-6)
    for preset, key in {"r2gen": "r2gen_clean/mimic_cxr", "r2gen-iu": "r2gen_clean/iu_xray"}.items():
        for name, there in coco.items():
            golden = per_pair[key][f"coco_{there}"]["per_pair"]
            np.testing.assert_allclose(_each(f"bleu.{preset}", name, hypotheses, references), golden, atol=1e-6)
    measured = measure("bleu.sacrebleu", hypotheses, references)
    each = measured.per_study()
    for name, there in coco.items():
        golden = per_pair["sacrebleu/13a/cased"][there]["per_pair_effective_order"]
        np.testing.assert_allclose(100 * each[f"{name}.sacrebleu"], golden, atol=1e-6)
    golden = per_pair["radeval/per_sample"]["bleu"]
    np.testing.assert_allclose(_each("bleu.radeval", "bleu_4", hypotheses, references), golden)
    for n in "12L":
        golden = per_pair["radeval/per_sample"][f"rouge{n}"]
        np.testing.assert_allclose(_each("rouge.radeval", f"rouge_{n.lower()}", hypotheses, references), golden)
        golden = per_pair["rouge_score/nostem"][f"rouge{n}"]["per_pair_f"]
        np.testing.assert_allclose(_each("rouge.rouge-score", f"rouge_{n.lower()}", hypotheses, references), golden)
    golden = per_pair["coco_rouge_l/raw"]["per_pair"]
    np.testing.assert_allclose(_each("rouge.coco-raw", "rouge_l", hypotheses, references), golden)


def _each(metric: str, name: str, hypotheses: list[str], references: list[str]) -> Any:
    measured = measure(metric, hypotheses, references)
    return measured.per_study()[f"{name}.{metric.partition('.')[2]}"]


@pytest.mark.parametrize("example", "ABCD")
def test_micro_examples(micro: dict[str, Any], example: str) -> None:
    reference, hypothesis = micro["examples"][example]
    known = micro["results"][example]
    keys = {"coco-raw": "coco/raw", "cxr-report-metric": "fast_bleu/crm", "sacrebleu": "sacre eff order"}
    for preset, key in keys.items():
        measured = measure(f"bleu.{preset}", [hypothesis], [reference])
        np.testing.assert_allclose(np.concatenate(list(measured.per_study().values())), known[key], atol=5e-5)


def test_micro_corpus(micro: dict[str, Any]) -> None:
    """Four short reports: the set's value is not the mean of theirs."""
    references, hypotheses = zip(*(micro["examples"][example] for example in "ABCD"))
    known = micro["results"]["corpus of A-D"]
    keys = {"coco-raw": "coco/raw", "cxr-report-metric": "mean fast_bleu/crm", "sacrebleu": "sacre corpus cased"}
    for preset, key in keys.items():
        measured = measure(f"bleu.{preset}", hypotheses, references)
        whole = measured.aggregate(measured.counts.sum(axis=0))
        np.testing.assert_allclose(list(whole.values()), known[key], atol=5e-5)


@pytest.mark.skipif(bool(originals.missing("nltk")), reason="needs the package nltk")
def test_stems_are_nltk_s() -> None:
    from nltk.stem.porter import PorterStemmer

    endings = "s|ed|ing|ies|ied|eed|y|ly|ness|ful|ational|izer|bli|alli|fulli|logi|icate|ical|ance|er|ement|ion|e|ll"
    draw = random.Random(7)
    begins = ["".join(draw.choices("aeiouybcdlnrst", k=draw.randint(1, 6))) for _ in range(20_000)]
    words = [begin + draw.choice(endings.split("|")) for begin in begins]
    theirs = PorterStemmer()
    assert [stem(word) for word in words] == [theirs.stem(word) for word in words]


def test_names_lead_to_metrics() -> None:
    assert metric_of("bleu_2.cxr-report-metric") == "bleu.cxr-report-metric"
    assert metric_of("rouge_l") == "rouge"
    assert metric_of("bleu_4.coco-ptb") == metric_of("bleu.coco-ptb") == "bleu"
    assert metric_of("prior_rate") == "temporal"
    assert metric_of("radcliq_v1") == "radcliq"
    assert metric_of("finding_f1_macro") == "findings"
    with pytest.raises(UsageError, match="unknown --metrics 'blue'"):
        metric_of("blue")
    with pytest.raises(UsageError, match="unknown preset of bleu 'coco'; choose from coco-ptb"):
        metric_of("bleu_4.coco")
    with pytest.raises(UsageError, match="has no presets"):
        metric_of("form.coco")


def test_signatures_tell_presets_apart() -> None:
    signatures = {preset: measure(f"bleu.{preset}", ["a"], ["a"]).signature for preset in bleu.PRESETS}
    assert len(set(signatures.values())) == len(signatures)
    assert all("tokens:" in signature and "smooth:" in signature for signature in signatures.values())
