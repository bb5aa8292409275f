import json
import re
from html import unescape
from html.parser import HTMLParser

import pytest

from cxrgen import html as page
from cxrgen.html import Bar, Html, Section


class _Balanced(HTMLParser):
    """Fails on tags that are closed in another order than opened."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _check(text: str) -> None:
    parser = _Balanced()
    parser.feed(text)
    parser.close()
    assert parser.open == []


NASTY = "<script>alert(1)</script> & \"quoted\" 'single' </td>"


def test_everything_given_is_escaped_everywhere() -> None:
    parts = [
        page.paragraph(NASTY),
        page.note(NASTY),
        page.facts({NASTY: NASTY}),
        page.table([NASTY], [[NASTY]], caption=NASTY),
        page.image(b"\xff\xd8", NASTY, NASTY),
        page.whisker_chart([Bar(NASTY, 1.0, (0.5, 1.5), {NASTY: 0.2}, NASTY)], NASTY),
        page.histogram([1.0, 2.0], NASTY, label=NASTY),
        page.line_chart({NASTY: [(0, 1), (1, 2)], "b": [(0, 2)]}, NASTY, NASTY),
        page.heat_map([NASTY], [NASTY], [[3]], NASTY),
        page.side_by_side(NASTY),
        page.tag("p", NASTY, title=NASTY),
        *page.differing_words(NASTY, "other " + NASTY),
    ]
    text = page.render(NASTY, [Section(NASTY, parts, NASTY)], NASTY)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 20
    _check(text)
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", text)


def test_html_passes_and_text_does_not() -> None:
    assert page.html(Html("<b>x</b>")) == "<b>x</b>"
    assert page.html("<b>x</b>") == "&lt;b&gt;x&lt;/b&gt;"
    assert page.join(["<", Html("<br>")]) == "&lt;<br>"


def test_same_input_same_bytes_and_sections_are_linked() -> None:
    sections = [Section("One & two", [page.paragraph("a")]), Section("One & two", [page.paragraph("b")])]
    text = page.render("t", sections)
    assert text == page.render("t", sections)
    anchors = re.findall(r'<section id="([^"]+)"', text)
    assert len(set(anchors)) == 2
    assert all(f'href="#{anchor}"' in text for anchor in anchors)


@pytest.mark.parametrize(
    ("value", "text"), [(0.12345, "0.123"), (-0.5, "−0.500"), (-0.0001, "0.000"), (float("nan"), "–"), (None, "–")]
)
def test_numbers(value: float | None, text: str) -> None:
    assert page.number(value) == text


def test_whisker_chart_places_values_on_one_scale() -> None:
    chart = page.whisker_chart([Bar("a", 0.5, (0.25, 0.75), {"baseline": 0.1}), Bar("b", 1.0)])
    assert 'width="50.00%"' in chart
    assert 'x1="25.00%"' in chart
    assert 'x1="10.00%"' in chart
    assert 'width="100.00%"' in chart
    assert chart.count("baseline") == 2  # the tick's title and the legend
    assert "0.500" in chart


def test_charts_bear_empty_constant_negative_and_undefined_values() -> None:
    nan = float("nan")
    for part in (
        page.whisker_chart([]),
        page.whisker_chart([Bar("x", nan, (nan, nan), {"f": nan}), Bar("y", 0.0), Bar("z", -2.0, (-3.0, -1.0))]),
        page.histogram([]),
        page.histogram([3.0, 3.0, nan]),
        page.line_chart({}),
        page.line_chart({"flat": [(1, 5), (2, 5)], "none": []}),
        page.line_chart({"log": [(0, 10), (1, 0), (2, -1), (3, 1000)]}, log=True),
        page.heat_map([], [], []),
        page.heat_map(["a"], ["b"], [[0]]),
    ):
        _check(part)
        assert "nan" not in part
        assert "inf" not in part


def test_histogram_counts_every_value_once() -> None:
    chart = page.histogram([0, 1, 2, 3, 4, 4, 4], bins=4)
    counts = [int(count) for count in re.findall(r"<title>[^:]*: (\d+)</title>", chart)]
    assert counts == [1, 1, 1, 4]


def test_axis_words_are_round_and_inside() -> None:
    words = re.findall(r">([\d.,−]+)</text>", page.line_chart({"a": [(0, 0.13), (97, 1.9)]}))
    assert {"0.5", "1", "1.5", "0", "20", "80"} <= set(words)


def test_differing_words_mark_the_least() -> None:
    left, right = page.differing_words("No left effusion.\nHeart normal.", "No right  effusion. heart normal")
    assert left == "No <del>left</del> effusion.\nHeart normal."
    assert right == "No <ins>right</ins>  effusion. heart normal"
    assert page.differing_words("", "a b") == ("", "<ins>a b</ins>")
    assert page.differing_words("same", "same") == ("same", "same")


def test_differing_pieces_are_the_whole_text_and_alternate() -> None:
    left, right = page.differing_pieces("left effusion, small", "Small left edema")
    assert ("".join(left), "".join(right)) == ("left effusion, small", "Small left edema")
    assert left[1::2] == ["effusion, small"]
    assert right[1::2] == ["Small", "edema"]


def test_data_for_the_script_stay_text() -> None:
    element = page.for_script("data", json.dumps({"text": NASTY}))
    assert element.count("<") == 2
    assert (
        json.loads(unescape(element.removeprefix('<template id="data">').removesuffix("</template>")))["text"] == NASTY
    )


def test_differing_words_show_a_lone_sign() -> None:
    assert page.differing_words("a .", "a ;")[1] == "a <ins>;</ins>"
