from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cxrgen.metrics.lexical import bleu


def test_every_golden_pair(hypotheses: list[str], references: list[str], per_pair: dict[str, Any]) -> None:
    measured = bleu.measure(hypotheses, references)
    values = measured.aggregate(measured.counts)
    for order in bleu.ORDERS:
        golden = per_pair["coco_bleu/ptb"][f"bleu{order}"]["per_pair"]
        np.testing.assert_allclose(values[f"bleu_{order}"], golden, atol=1e-6)


@pytest.mark.parametrize("example", "ABCD")
def test_micro_examples(micro: dict[str, Any], example: str) -> None:
    reference, hypothesis = micro["examples"][example]
    measured = bleu.measure([hypothesis], [reference])
    values = measured.aggregate(measured.counts.sum(axis=0))
    np.testing.assert_allclose(list(values.values()), micro["results"][example]["coco/ptb"], atol=5e-5)


def test_micro_corpus(micro: dict[str, Any]) -> None:
    pairs = [micro["examples"][example] for example in "ABCD"]
    measured = bleu.measure([pair[1] for pair in pairs], [pair[0] for pair in pairs])
    values = measured.aggregate(measured.counts.sum(axis=0))
    np.testing.assert_allclose(list(values.values()), micro["results"]["corpus of A-D"]["coco/ptb"], atol=5e-5)


def test_aggregate_takes_leading_dimensions(hypotheses: list[str], references: list[str]) -> None:
    measured = bleu.measure(hypotheses, references)
    weights = np.random.default_rng(0).integers(0, 3, size=(5, 4, len(hypotheses))).astype(float)
    sums = weights @ measured.counts
    values = measured.aggregate(sums)["bleu_4"]
    assert values.shape == (5, 4)
    assert values[2, 3] == measured.aggregate(sums[2, 3])["bleu_4"]


def test_empty_texts_score_nothing() -> None:
    measured = bleu.measure(["", "", "Clear."], ["", "Clear.", ""])
    values = measured.aggregate(measured.counts)
    assert np.isfinite(values["bleu_1"]).all()
    assert (values["bleu_1"] < 1e-5).all()


PAIRS = [("test", "a test"), ("No effusion .", "No effusion ."), ("", "a")]


@pytest.mark.parametrize(("hypothesis", "reference"), PAIRS)
def test_a_set_of_one_study_is_a_set_to_sacrebleu(hypothesis: str, reference: str) -> None:
    """sacrebleu.corpus_bleu of one text is not its sentence_bleu: orders that it cannot have make the set's value 0."""
    result = bleu.measure([hypothesis], [reference], "sacrebleu")
    of_set = result.aggregate(result.counts.sum(axis=0))
    assert of_set["bleu_4.sacrebleu"] == 0
    own = {name: float(values[0]) for name, values in result.per_study().items()}
    if hypothesis == reference:
        assert list(own.values()) == pytest.approx([1, 1, 1, 1])
    elif hypothesis:
        assert list(own.values()) == pytest.approx([math.exp(-1)] * 4)


def test_sets_of_sacrebleu_against_the_package() -> None:
    package = pytest.importorskip("sacrebleu")
    for hypothesis, reference in (("test", "a test"), ("The lungs are clear.", "Lungs are clear."), ("a b c", "a b c")):
        result = bleu.measure([hypothesis], [reference], "sacrebleu")
        theirs = package.corpus_bleu([hypothesis], [[reference]]).score / 100
        assert result.aggregate(result.counts.sum(axis=0))["bleu_4.sacrebleu"] == pytest.approx(theirs, abs=1e-9)
        alone = package.sentence_bleu(hypothesis, [reference]).score / 100
        assert result.per_study()["bleu_4.sacrebleu"][0] == pytest.approx(alone, abs=1e-9)
