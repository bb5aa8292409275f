"""N-grams counted some thousands of pairs at a time, beside counting them one text at a time."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from cxrgen.metrics.lexical import cider, ngrams, token_table, tokenizers
from cxrgen.metrics.lexical.tokenizers import blanks


def texts(seed: int, count: int = 60) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choice("abcde") for _ in range(draw.choice((0, 1, 2, 3, 9, 30)))) for _ in range(count)]


def grams(text: str, order: int) -> Counter[tuple[str, ...]]:
    words = text.split()
    return Counter(tuple(words[start : start + order]) for start in range(len(words) - order + 1))


@pytest.mark.parametrize("at_once", [1, 7, 4096])
def test_matches_and_totals(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "_PAIRS_AT_ONCE", at_once)
    hyp, ref = texts(0), texts(1)
    for part in ngrams.parts(blanks, hyp, ref):
        for number, order in ((number, part.order(number)) for number in (1, 2, 3, 4)):
            sides = [[grams(text, number) for text in side[part.rows]] for side in (hyp, ref)]
            assert order.matches().tolist() == [(one & other).total() for one, other in zip(*sides)]
            assert [total.tolist() for total in order.totals()] == [[each.total() for each in side] for side in sides]


@pytest.mark.parametrize("at_once", [7, 4096])
def test_matches_of_a_set_whoever_counted_them(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIDEr counts n-grams first, and what is remembered of some sets may be forgotten in between."""
    monkeypatch.setattr(ngrams, "_PAIRS_AT_ONCE", at_once)
    hyp, ref = texts(7), texts(8)
    expected = [[(grams(one, n) & grams(other, n)).total() for n in ngrams.ORDERS] for one, other in zip(hyp, ref)]
    for forgotten in (lambda: None, ngrams._known_matches.cache_clear):
        assert ngrams.match_counts(blanks, hyp, ref).tolist() == expected
        cider.cider_d(blanks, hyp, ref)
        forgotten()
        assert ngrams.match_counts(blanks, hyp, ref).tolist() == expected


def test_values_do_not_depend_on_what_was_measured_before() -> None:
    """To the last digit: n-grams are summed in the order of their tokens' numbers."""
    hyp, ref = texts(9), texts(10)
    found = []
    for measured_before in ((), (lambda: ngrams.match_counts(blanks, hyp, ref),)):
        for cached in (token_table.token_table, cider.document_counts, ngrams._known_matches):
            cached.cache_clear()
        for measure in measured_before:
            measure()
        found.append(cider.cider_d(blanks, hyp, ref).tolist())
    assert found[0] == found[1]


def test_numbers_too_large_to_stand_beside_a_study_are_numbered_again() -> None:
    text = np.array([0, 0, 1, 2, 2, 3])
    ngram = np.array([1 << 60, 7, 5, 1 << 60, 1 << 60, 5])
    order = ngrams.counted(text, ngram, 2)
    assert order.matches().tolist() == [1, 1]
    assert order.ngram[order.of_ref == 0].tolist() == [7, 1 << 60, 5]


def test_pairs_of_tokens_too_large_to_stand_beside_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = [token_table.token_table(blanks).numbered(texts(seed)) for seed in (4, 5)]
    usual = ngrams.Ngrams(*sides)
    monkeypatch.setattr(ngrams, "_NUMBER_BITS", 8)
    apart = ngrams.Ngrams(*sides)
    assert usual.bigrams.tolist() == apart.bigrams.tolist() == sorted(set(apart.bigrams.tolist()))
    assert usual.of_order(2)[1].tolist() == apart.of_order(2)[1].tolist()


@pytest.mark.parametrize("at_once", [3, 4096])
def test_documents_are_those_of_the_whole_set(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cider.cider_d(blanks, texts(2), texts(3))
    cider.document_counts.cache_clear()
    monkeypatch.setattr(ngrams, "_PAIRS_AT_ONCE", at_once)
    np.testing.assert_allclose(cider.cider_d(blanks, texts(2), texts(3)), whole, atol=1e-12)


def test_a_long_text_is_counted_apart() -> None:
    assert list(ngrams.slices([5, 9_000_000, 5, 5])) == [slice(0, 1), slice(1, 2), slice(2, 4)]
    assert list(ngrams.slices([])) == []


def test_treebank_tokens_are_numbered_alike_whichever_way_they_are_cut() -> None:
    """Tokens that hold a blank ("1\u00a01/2") are cut again; all others have the numbers of the line's tokens."""
    some = [
        "A 1 1/2 cm nodule. Lungs are clear.",
        "",
        "Lungs\u00a0are clear. 2 1/2 cm.",
        "1 2 1/2 nodules, clear lungs.",
    ]
    for sets in ([some], [["Lungs are clear."], some, [*some, "New 3 1/4 words."]], [[some[1]], some[:1]]):
        apart = token_table.TokenTable(tokenizers.treebank)
        finer = token_table.FinerTable(token_table.TokenTable(tokenizers.treebank_line))
        for batch in sets:
            expected, found = apart.numbered(batch), finer.numbered(batch)
            assert found.flat.tolist() == expected.flat.tolist()
            assert found.lengths.tolist() == expected.lengths.tolist() == finer.lengths(batch).tolist()
    assert apart.lengths(some).tolist() != token_table.TokenTable(tokenizers.treebank_line).lengths(some).tolist()


def test_a_table_that_has_grown_starts_again_with_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_table, "_MOST_TEXTS", 2)
    table = token_table.TokenTable(str.split)
    first = table.numbered(["b a", "a", "c"])
    again = table.numbered(["a b c", ""])
    assert first.flat.tolist() == [0, 1, 1, 2]
    assert again.flat.tolist() == [1, 0, 2]
    assert again.lengths.tolist() == [3, 0]
