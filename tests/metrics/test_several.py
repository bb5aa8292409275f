"""Several references of a study: equal to the reference programs, and never otherwise than one where there is one."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrgen.core.errors import InputError, UsageError
from cxrgen.metrics import METRICS, load, measure, measure_several
from cxrgen.metrics.lexical import meteor, text_stats
from cxrgen.metrics.lexical.ptb import tokens
from cxrgen.metrics.several import best_of, by_findings, by_score

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"
spec = importlib.util.spec_from_file_location("originals", Path(__file__).with_name("originals.py"))
assert spec is not None
assert spec.loader is not None
originals = importlib.util.module_from_spec(spec)
spec.loader.exec_module(originals)

BLEU = ("bleu_1", "bleu_2", "bleu_3", "bleu_4")
ROUGE = ("rouge_1", "rouge_2", "rouge_l")
SAME = [  # metric, suffix of its scores, the original's answers, the scores there
    ("bleu", "", "coco-ptb", BLEU),
    ("bleu.coco-raw", ".coco-raw", "coco-raw", BLEU),
    ("bleu.radeval", ".radeval", "coco-raw", BLEU),
    ("bleu.sacrebleu", ".sacrebleu", "sacrebleu", BLEU),
    ("rouge", "", "coco-ptb", ("rouge_l",)),
    ("rouge.coco-raw", ".coco-raw", "coco-raw", ("rouge_l",)),
    ("rouge.rouge-score", ".rouge-score", "rouge-score", ROUGE),
    ("rouge.radeval", ".radeval", "radeval", ROUGE),
    ("cider", "", "coco-ptb", ("cider",)),
    ("cider.coco-raw", ".coco-raw", "coco-raw", ("cider",)),
]


@pytest.fixture(scope="module")
def odd() -> tuple[list[str], list[list[str]]]:
    strings = json.loads((GOLDEN / "odd_strings.json").read_text(encoding="utf-8"))
    hypotheses, references = originals.odd_several(strings)
    assert {len(of) for of in references} == {1, 2, 3}
    return hypotheses, references


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    return dict(json.loads((GOLDEN / "several_recorded.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize(("metric", "suffix", "original", "names"), SAME, ids=lambda value: str(value))
def test_equal_to_the_program(
    odd: tuple[list[str], list[list[str]]],
    recorded: dict[str, Any],
    metric: str,
    suffix: str,
    original: str,
    names: tuple[str, ...],
) -> None:
    measured = measure_several(metric, *odd)
    each, whole = measured.per_study(), measured.aggregate(measured.counts.sum(axis=0))
    for name in names:
        ours = [*each[name + suffix], whole[name + suffix]]
        np.testing.assert_allclose(ours, recorded[original][name], rtol=0, atol=1e-6, err_msg=name)
    assert "|references:several" in measured.signature


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="needs Java")
def test_meteor_equal_to_the_program(odd: tuple[list[str], list[list[str]]], recorded: dict[str, Any]) -> None:
    pytest.importorskip("pycocoevalcap")
    kept = [i for i, (hyp, of) in enumerate(zip(*odd)) if all(tokens(text) for text in (hyp, *of))]
    measured = measure_several("meteor", *([side[i] for i in kept] for side in odd))
    each, whole = measured.per_study(), measured.aggregate(measured.counts.sum(axis=0))
    np.testing.assert_allclose([*each["meteor"], whole["meteor"]], recorded["meteor"]["meteor"], atol=1e-6)


LEXICAL = [f"{name}.{preset}" for name in ("bleu", "rouge", "cider") for preset in load(name).presets]


@pytest.mark.parametrize(
    "metric", [*LEXICAL, "rule", "rule.uncertain-own-class", "temporal", "temporal.radeval", "form"]
)
def test_one_reference_gives_the_numbers_of_one(
    metric: str, odd: tuple[list[str], list[list[str]]], hypotheses: list[str], references: list[str]
) -> None:
    for hyps, refs in ((odd[0], [of[0] for of in odd[1]]), (hypotheses, references)):
        one, several = measure(metric, hyps, refs), measure_several(metric, hyps, [[text] for text in refs])
        for way in (one.per_study(), one.aggregate(one.counts.sum(axis=0))):
            assert way
        for name, values in one.per_study().items():
            np.testing.assert_allclose(several.per_study()[name], values, rtol=1e-12, atol=1e-12, err_msg=name)


def test_a_copy_of_any_reference_is_as_good_as_of_the_first() -> None:
    references = [["Lungs are clear now .", "Small left effusion ."], ["No pneumothorax seen .", "Large heart ."]]
    for metric in ("bleu.coco-raw", "rouge.coco-raw"):
        first = measure_several(metric, [of[0] for of in references], references).per_study()
        second = measure_several(metric, [of[1] for of in references], references).per_study()
        name = "rouge_l.coco-raw" if metric.startswith("rouge") else "bleu_2.coco-raw"
        np.testing.assert_allclose([first[name], second[name]], 1, atol=1e-6)


def test_findings_are_those_of_the_reference_that_disagrees_least() -> None:
    report = ["Left pleural effusion. Cardiomegaly."]
    references = [["Pneumothorax.", "Left pleural effusion. Cardiomegaly. Edema.", "Left pleural effusion."]]
    found = measure_several("rule", report, references)
    alone = measure("rule", report, [references[0][1]])
    assert np.array_equal(found.counts, alone.counts), "of two with one error each the one with more hits"
    assert "of each study the one with the fewest false alarms and misses" in found.signature
    normal = measure_several("rule", ["Lungs clear."], [["Edema.", "Lungs clear."]])
    assert np.array_equal(normal.counts, measure("rule", ["Lungs clear."], ["Lungs clear."]).counts)


def test_words_of_change_are_the_best_over_references() -> None:
    texts = ["Improved edema.", "Stable."]
    references = [["New edema.", "Improved edema."], ["Stable.", "Unchanged."]]
    values = measure_several("temporal", texts, references).per_study()
    assert values["temporal_f1"].tolist() == [1, 1]


def test_the_nearest_length_counts() -> None:
    found = measure_several("form", ["a b c"], [["a", "a b c d", "a b c d e f"]])
    assert found.per_study()["length_ratio"].tolist() == [3 / 4]


@pytest.mark.parametrize("name", ["flips", "radcliq"])
def test_a_metric_without_a_definition_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} has no definition for several references"):
        measure_several(name, ["a"], [["a", "b"]])


def test_every_other_metric_has_one() -> None:
    assert {name for name in METRICS if load(name).several is None} == {"flips", "radcliq"}


@pytest.mark.parametrize("name", [name for name in METRICS if load(name).several is not None])
def test_no_studies(name: str) -> None:
    options = {"truth": []} if load(name).needs_truth else {}
    measured = measure_several(name, [], [], **options)
    assert measured.counts.shape[0] == 0


def test_the_best_of_several_by_a_score_that_is_best_low_or_undefined() -> None:
    nearest = best_of(text_stats.measure, by_score("repetition"), "least repetition")
    assert nearest(["a b", "c"], [["a", "b c d"], [""]]).counts.shape == (2, 4)
    undefined_last = best_of(text_stats.measure, by_score("length_ratio"), "nearest length")
    assert undefined_last(["a b"], [["", "a b c"]]).per_study()["length_ratio"].tolist() == [2 / 3]


def test_by_findings_orders_by_errors_then_hits() -> None:
    result = measure("rule", ["Edema.", "Edema.", "Edema."], ["Edema.", "Lungs clear.", "Edema. Cardiomegaly."])
    order = np.argsort(by_findings(result), kind="stable")
    assert order.tolist() == [0, 2, 1]


def test_meteor_takes_the_best_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    def counts(pairs: list[tuple[str, str]]) -> list[Any]:
        rows = []
        for hyp, ref in pairs:
            shared = len(set(hyp.split()) & set(ref.split()))
            row = np.zeros(23)
            row[[0, 1]] = len(hyp.split()), len(ref.split())
            row[[4, 5]] = shared
            row[20], row[21], row[22] = 1, shared, shared
            rows.append(row)
        return rows

    monkeypatch.setattr(meteor, "_match_counts", counts)
    found = measure_several("meteor", ["small left effusion"], [["clear lungs", "left effusion"]])
    assert found.counts[0, 4] == 2


def test_metrics_of_radeval_take_the_best_reference(stand_in: Path) -> None:
    """The stand-in's RaTEScore is the share of words that are alike; its labels are lengths of sentences."""
    texts, references = ["lungs clear", "heart normal"], [["heart", "lungs clear"], ["heart big", "other words"]]
    best = measure_several("ratescore", texts, references).per_study()["ratescore"]
    each = [measure("ratescore", [text] * 2, of).per_study()["ratescore"] for text, of in zip(texts, references)]
    assert best.tolist() == [values.max() for values in each]
    found = measure_several("srr.upper", ["abcd. abc"], [["ab", "abcd"]])
    assert np.array_equal(found.counts, measure("srr.upper", ["abcd. abc"], ["abcd"]).counts)


@pytest.mark.slow
def test_bertscore_takes_the_best_reference() -> None:
    pytest.importorskip("torch")
    texts, references = ["Lungs clear."], [["Large right effusion.", "The lungs are clear."]]
    try:
        best = measure_several("bertscore_minilm", texts, references).per_study()["bertscore_minilm"]
    except InputError as error:
        pytest.skip(str(error))
    each = measure("bertscore_minilm", texts * 2, references[0]).per_study()["bertscore_minilm"]
    assert best.tolist() == [each.max()]
    assert each[1] > each[0]
