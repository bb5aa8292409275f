"""A page in a real browser: fits a telephone and a desk, runs nothing, loads nothing. Needs chromium; skips without."""

from pathlib import Path

import pytest
from tests.browser import NEEDED, run_in

from cxrgen import html as page
from cxrgen.html import Bar, Section

NASTY = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"

pytestmark = NEEDED

_LOOK = """
const wide = all("body *").filter(
  (e) => !e.closest(".scroll, pre") && e.getBoundingClientRect().right > WIDTH + 1);
return {
  title: inner.title, scroll: inner.documentElement.scrollWidth, sections: all("section").length,
  wide: wide.map((e) => e.tagName + "." + e.getAttribute("class")), scripts: inner.scripts.length,
  bar: $("rect").getBoundingClientRect().width, plot: $("svg").getBoundingClientRect().width};
"""


@pytest.mark.parametrize("width", [360, 1200])
def test_page_fits_and_runs_nothing(width: int, tmp_path: Path) -> None:
    long_word = "pneumo" * 40
    parts = [
        page.whisker_chart([Bar("a_rather_long_metric_name ↑", 0.5, (0.25, 0.75), {"normal": 0.1}), Bar("b", 1.0)]),
        page.note(NASTY + long_word),
        page.table(["column"] * 14, [[NASTY, *range(13)]]),
        page.heat_map(["a", "b"], ["a", "b"], [[3, 4], [0, 1]]),
        page.side_by_side(page.histogram([1, 2, 2, 5]), page.line_chart({"x": [(0, 1), (5, 2)], "y": [(0, 3)]})),
        page.tag("div", NASTY, " ", long_word, class_="report"),
        page.facts({f"count {i}": 10**i for i in range(9)}),
    ]
    written = tmp_path / "page.html"
    written.write_text(page.render("Fine", [Section("One", parts), Section("Two", [])], long_word), encoding="utf-8")
    found = run_in(written, _LOOK.replace("WIDTH", str(width)), width)
    assert found["title"] == "Fine"
    assert found["scripts"] == 0
    assert found["sections"] == 2
    assert found["wide"] == []
    assert int(str(found["scroll"])) <= width
    assert float(str(found["bar"])) == pytest.approx(float(str(found["plot"])) / 2, abs=1)
    assert found["requests"] == []
    assert found["console"] == []
