"""Errors that a judge listed, in a real browser: a chip leads to the studies with that kind. Needs chromium."""

from __future__ import annotations

import json
from pathlib import Path

from tests.browser import NEEDED, run_in
from tests.metrics.clinical.judge_server import Reply, judging

from cxrgen.cli import main
from cxrgen.core.files import write_csv

pytestmark = NEEDED
HOSTILE = "<img src=x onerror=\"document.title='run'\">"


def test_a_chip_of_a_judge_shows_the_studies_with_that_error(tmp_path: Path) -> None:
    texts = [f"Edema {number}." for number in range(20)]
    for name in ("pred", "gt"):
        write_csv(tmp_path / f"{name}.csv", ("study_id", "report"), [(f"s{i}", text) for i, text in enumerate(texts)])
    found = {"matched": [], "errors": [{"kind": "wrong_severity", "finding": HOSTILE, "urgent": True}]}
    with judging() as judge:
        judge.by_report = {text: Reply(json.dumps(found)) for text in texts[:3]}
        files = ["--pred", str(tmp_path / "pred.csv"), "--gt", str(tmp_path / "gt.csv"), "--out", str(tmp_path / "out")]
        assert main(["evaluate", *files, "--metrics", "rule", "--judge", judge.url, "--judge-model", "small"]) == 0
    script = """
        const chips = all("a.chip.judge");
        chips[0].click();
        await pause(200);
        const kind = $("#kind").value, shown = all("#cases article:not([hidden])").length;
        $("#kind").value = "judge_urgent";
        $("#kind").dispatchEvent(new page.Event("change"));
        await pause(100);
        return {chips: chips.length, text: chips[0].textContent, title: inner.title, kind, shown,
                urgent: all("#cases article:not([hidden])").length, images: all("#cases img").length};
    """
    seen = run_in(tmp_path / "out" / "report.html", script, 1200)
    assert seen["console"] == []
    assert seen["requests"] == []
    assert (seen["chips"], seen["kind"], seen["shown"], seen["urgent"]) == (3, "judge_wrong_severity", 3, 3)
    assert seen["text"] == f"judge: ! urgent, wrong severity: {HOSTILE}"
    assert (seen["images"], "run" in seen["title"]) == (0, False)
