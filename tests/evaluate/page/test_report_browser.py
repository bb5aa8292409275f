"""report.html in a real browser: what a reader does with it works, and it asks for nothing. Needs chromium."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.browser import NEEDED, run_in

from cxrgen.cli import main
from cxrgen.core.files import write_csv
from cxrgen.core.records import Study, View, write_studies

pytestmark = NEEDED

NASTY = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
_FINDINGS = ("Small left pleural effusion.", "Pulmonary edema.", "Right pneumothorax.", "Cardiomegaly.", "No edema.")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 60 studies with images; every third report misses the effusion, the last is hostile text."""
    folder = tmp_path_factory.mktemp("browser")
    ids = [f"s{i:03}" for i in range(59)] + [f"s059 {NASTY}"]
    references = [f"{_FINDINGS[i % 3]} {_FINDINGS[i % 5]} Number {i}." for i in range(60)]
    reports = [text.replace(_FINDINGS[0], "Normal heart.") if i % 9 == 0 else text for i, text in enumerate(references)]
    reports[-1] = f"Edema. {NASTY}"
    write_csv(folder / "gt.csv", ("study_id", "report"), list(zip(ids, references)))
    write_csv(folder / "pred.csv", ("study_id", "report"), list(zip(ids, reports)))
    (folder / "set" / "images").mkdir(parents=True)
    for number in (0, 1):
        pixels = np.linspace(0, 255, 64 * 48).reshape(64, 48).astype(np.uint8)
        Image.fromarray(pixels if number else pixels.T).save(folder / "set" / "images" / f"{number}.png")
    views = (View("images/0.png", "frontal", "PA"), View("images/1.png", "lateral", "LL"))
    write_studies(folder / "set" / "studies.parquet", [Study(name, name, "test", "", views) for name in ids])
    words = ["--pred", folder / "pred.csv", "--gt", folder / "gt.csv", "--studies", folder / "set"]
    more = ["--out", folder / "out", "--metrics", "rule,bleu,rouge", "--name", f"new & {NASTY}", "--note", NASTY]
    assert main(["evaluate", *map(str, words), *map(str, more)]) == 0
    return folder / "out" / "report.html"


def used(report: Path, script: str, width: int = 1200) -> dict[str, Any]:
    found = run_in(report, script, width)
    assert "error" not in found, found
    assert found["console"] == []
    assert found["requests"] == []
    return found


@pytest.mark.parametrize("width", [400, 1600])
def test_it_fits_and_hostile_text_stays_text(report: Path, width: int) -> None:
    found = used(
        report,
        f"""for (const d of all("details")) d.open = true;
        const wide = all("body *").filter((e) => !e.closest(".scroll, pre, dialog, textarea, svg")
          && e.getBoundingClientRect().right > {width} + 1);
        return {{title: inner.title, scripts: inner.scripts.length, scroll: inner.documentElement.scrollWidth,
          wide: wide.map((e) => e.tagName + "." + e.className), images: all("img[src='x']").length}};""",
        width,
    )
    assert found["title"] != "run"
    assert (found["scripts"], found["images"], found["wide"]) == (1, 0, [])
    assert found["scroll"] <= width


def test_filter_search_sort_and_links(report: Path) -> None:
    found = used(
        report,
        """const shown = () => all("#cases article:not([hidden])");
        const ids = () => shown().map((e) => e.querySelector("h3 span").textContent);
        const set = (id, value, kind) => { $(id).value = value; $(id).dispatchEvent(new page.Event(kind)); };
        const first = {count: $("#count").textContent, shown: shown().length, ids: ids()};
        $("#more").click();
        const more = shown().length;
        const link = all("a[href='#errors:missed:pleural_effusion']")[0];
        link.click();
        await pause(100);
        const missed = {words: link.textContent, kind: $("#kind").value, finding: $("#finding").value, ids: ids(),
          chips: shown().every((e) => e.querySelector(".chips").textContent.includes("missed: pleural effusion"))};
        set("#kind", "", "change"); set("#finding", "", "change");
        set("#search", "number 17", "input");
        const searched = ids();
        set("#search", "", "input");
        set("#order", "1", "change");
        return {first, more, missed, searched, best: ids(), files: (set("#order", all("#order option").length - 1,
          "change"), ids())};""",
    )
    assert found["first"]["count"] == "60 studies, 24 shown"
    assert found["first"]["shown"] == 24
    assert found["more"] == 48
    missed = found["missed"]
    assert (missed["kind"], missed["finding"], missed["chips"]) == ("missed", "pleural_effusion", True)
    assert missed["ids"]
    assert len(missed["ids"]) == int(missed["words"])
    assert set(missed["ids"]) <= {f"Study s{i:03}" for i in range(0, 60, 9)}
    assert found["searched"] == ["Study s017"]
    assert found["files"][:3] == ["Study s000", "Study s001", "Study s002"]
    assert found["best"][0] not in found["first"]["ids"]


def test_the_script_makes_the_cards_that_stand_in_the_page(report: Path) -> None:
    """The first studies are in the page for readers without a script; with it they are made from data."""
    written = re.findall(r'<article class="case">.*?</article>', report.read_text(encoding="utf-8"), re.DOTALL)
    static = json.dumps(written).replace("<", "\\u003c")
    found = used(
        report,
        f"""const box = inner.createElement("template");
        box.innerHTML = {static}.join("");
        const made = all("#cases article").slice(0, {len(written)}).map((card) => card.outerHTML);
        return {{written: [...box.content.children].map((card) => card.outerHTML), made}};""",
    )
    assert len(written) == 12
    assert found["made"] == found["written"]
    every = "".join(written)
    for part in ('class="shot"', 'class="right"', 'class="missing"', 'class="chip missed"', "no error"):
        assert part in every, part


def test_images_are_enlarged_and_windowed(report: Path) -> None:
    found = used(
        report,
        """$("article:not([hidden]) .shot").click();
        const words = () => $("#large-words").textContent;
        const open = $("#viewer").open, first = words(), source = $("#large").src;
        const key = (name) => $("#viewer").dispatchEvent(new page.KeyboardEvent("keydown", {key: name, bubbles: true}));
        key("ArrowRight");
        const second = words(), moved = $("#large").src !== source;
        key("ArrowLeft");
        const back = words();
        const at = (kind, x, y, target) => target.dispatchEvent(new page.PointerEvent(kind,
          {clientX: x, clientY: y, bubbles: true}));
        at("pointerdown", 100, 100, $("#large")); at("pointermove", 100 + $("#large").clientWidth / 2, 100, page);
        at("pointerup", 0, 0, page);
        const dragged = words(), slope = $("#levels [slope]").getAttribute("slope");
        $("#large").dispatchEvent(new page.MouseEvent("dblclick", {bubbles: true}));
        const reset = words();
        $("#close").click();
        return {open, first, second, moved, back, dragged, slope, reset, closed: !$("#viewer").open};""",
    )
    assert found["open"]
    assert found["closed"]
    assert found["moved"]
    assert found["first"].startswith("frontal PA image")
    assert found["second"].startswith("lateral LL image")
    assert found["back"] == found["first"] == found["reset"]
    assert "window 150 %" in found["dragged"]
    assert float(found["slope"]) == pytest.approx(2 / 3)


def test_ticked_scores_are_copied(report: Path) -> None:
    found = used(
        report,
        """const ticks = all(".tick");
        for (const tick of ticks) tick.checked = tick.dataset.name === "bleu_4";
        const texts = {};
        for (const button of all("[data-copy]")) {
          button.click();
          await pause(300);
          texts[button.dataset.copy] = $("#copied").value;
        }
        return {ticks: ticks.map((tick) => tick.dataset.name), texts, status: $("#copy-status").textContent};""",
    )
    assert len(set(found["ticks"])) == len(found["ticks"]), "no score stands twice"
    texts = found["texts"]
    assert texts["CSV"].splitlines()[0] == "score,system,value,low,high,better,baseline,baseline_value"
    assert texts["CSV"].splitlines()[1].startswith('bleu_4,"new & </script>')
    assert texts["LaTeX"].startswith("\\begin{tabular}{lr}\n & BLEU-4 \\\\\n\\hline\nnew \\& ")
    assert "| BLEU-4 | 0." in texts["Markdown"]
    assert found["status"].startswith("1 scores")
