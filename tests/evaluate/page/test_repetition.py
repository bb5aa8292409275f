import pytest

from cxrgen.evaluate.page.repetition import commonest_sentence, degeneration, sentences, signs, tally


def signs_of(texts: list[str]) -> dict[str, float]:
    return signs(tally(texts))


def test_sentences_ignore_case_blanks_and_stops() -> None:
    assert sentences("Heart  normal. LUNGS clear!\n\nNo effusion") == ["heart normal", "lungs clear", "no effusion"]
    assert sentences(" \n") == []


def test_decimals_and_titles_end_no_sentence() -> None:
    assert sentences("The tip is 4.5 cm deep. Seen by Dr. Doe.") == ["the tip is 4.5 cm deep", "seen by dr. doe"]


def test_signs_by_hand() -> None:
    found = signs_of(["a b c a b c. X.", "x. x.", "", "X."])
    assert found["empty"] == 0.25
    assert found["distinct texts"] == 1.0
    assert found["texts that repeat a sentence"] == 0.25
    assert found["commonest sentence, share of texts"] == 0.75
    assert found["distinct sentences"] == pytest.approx(2 / 5)
    assert found["repeated word triples"] == pytest.approx(0.0)
    assert signs_of(["a b c a b c"])["repeated word triples"] == pytest.approx(1 / 4)
    assert signs_of([""])["commonest sentence, share of texts"] == 0.0


def test_constant_writer_is_seen() -> None:
    assert signs_of(["Same text."] * 10)["distinct texts"] == 0.1
    assert commonest_sentence(tally(["B. a.", "a.", "b."])) == "a"


def test_panel_escapes_the_commonest_sentence() -> None:
    section = degeneration(["<b>bold</b>."], ["x"])
    assert any("&lt;b&gt;" in part for part in section.parts)
