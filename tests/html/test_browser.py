"""A page in a real browser: fits a telephone and a desk, runs nothing, loads nothing. Needs chromium; skips without."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cxrgen import html as page
from cxrgen.html import Bar, Section

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NASTY = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")]

_HARNESS = """<!DOCTYPE html><meta charset="utf-8"><body><script>
addEventListener("load", () => {
  const inner = document.querySelector("iframe").contentDocument;
  const wide = [...inner.querySelectorAll("body *")].filter(
    (e) => !e.closest(".scroll, pre") && e.getBoundingClientRect().right > WIDTH + 1);
  const found = {
    title: inner.title, scroll: inner.documentElement.scrollWidth, sections: inner.querySelectorAll("section").length,
    wide: wide.map((e) => e.tagName + "." + e.getAttribute("class")), scripts: inner.scripts.length,
    bar: inner.querySelector("rect").getBoundingClientRect().width,
    plot: inner.querySelector("svg").getBoundingClientRect().width};
  document.body.innerHTML = "<pre id=found>" + JSON.stringify(found) + "</pre>";
});
</script><iframe style="width:WIDTHpx;height:3000px;border:0" srcdoc="PAGE"></iframe>"""


def _opened(text: str, width: int, folder: Path) -> dict[str, object]:
    harness = folder / f"harness{width}.html"
    filled = _HARNESS.replace("WIDTH", str(width)).replace("PAGE", html.escape(text))
    harness.write_text(filled, encoding="utf-8")
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"),
        *(
            "--disable-background-networking",
            f"--user-data-dir={folder / f'profile{width}'}",
            "--window-size=1400,3100",
        ),
        *("--dump-dom", harness.as_uri()),
    ]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL)
    assert found, shown[-2000:]
    return dict(json.loads(html.unescape(found[1])))


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
    found = _opened(page.render("Fine", [Section("One", parts), Section("Two", [])], long_word), width, tmp_path)
    assert found["title"] == "Fine"
    assert found["scripts"] == 0
    assert found["sections"] == 2
    assert found["wide"] == []
    assert int(str(found["scroll"])) <= width
    assert float(str(found["bar"])) == pytest.approx(float(str(found["plot"])) / 2, abs=1)
