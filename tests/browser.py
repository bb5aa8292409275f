"""Pages in a headless Chromium: open a file in a frame of some width, run a script on it, get what it returns."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDED = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")]

_HARNESS = """<!DOCTYPE html><meta charset="utf-8"><body>
<iframe style="width:WIDTHpx;height:3000px;border:0" src="SOURCE"></iframe><script>
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
addEventListener("load", async () => {
  const frame = document.querySelector("iframe");
  const inner = frame.contentDocument, page = frame.contentWindow;
  const $ = (selector) => inner.querySelector(selector), all = (selector) => [...inner.querySelectorAll(selector)];
  let found;
  try {
    found = await (async () => { SCRIPT })();
    found.requests = page.performance.getEntriesByType("resource").map((entry) => entry.name)
      .filter((name) => !name.startsWith("data:"));
  } catch (error) { found = {error: String(error)}; }
  const shown = document.createElement("pre");
  shown.id = "found";
  shown.textContent = JSON.stringify(found);
  document.body.replaceChildren(shown);
});
</script>"""
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--allow-file-access-from-files", "--window-size=1700,3100"),
    *("--virtual-time-budget=20000", "--enable-logging=stderr", "--dump-dom"),
)


def run_in(page: Path, script: str, width: int, *flags: str) -> dict[str, Any]:
    """What `script`, the body of an async function, returns; and `console`, the lines that the page wrote there.

    The script sees `inner` (the page's document), `page` (its window), `$` and `all` (its elements), and `pause`.
    """
    filled = _HARNESS.replace("WIDTH", str(width)).replace("SOURCE", page.name).replace("SCRIPT", script)
    harness = page.with_name(f"harness{width}.html")
    harness.write_text(filled, encoding="utf-8")
    profile = page.with_name(f"profile{width}")
    command = [str(CHROMIUM), *_FLAGS, *flags, f"--user-data-dir={profile}", harness.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return {**json.loads(html.unescape(found[1])), "console": console}
