"""Whatever bytes, cells, JSON or texts come: an exit code that is documented, one line, nothing half-written."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrgen.core.records import read_studies
from cxrgen.text.marks import without_marks
from cxrgen.text.sections import split_sections
from cxrgen.text.special_tokens import without_special_tokens

Prepare = Callable[..., tuple[int, str]]
SOME = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MANY = settings(max_examples=150, deadline=None)
PIECES = st.sampled_from(
    ["FINDINGS:", "IMPRESSION:", "Clear.", "\n", "\r", "<br>", "&nbsp;", "\\n", "\\.br\\", "{\\rtf1"]
    + ["_x000D_", "</s>", "<image>", "###", "___", "sep=;", ",", ";", '"', "\ufeff"]
    + [ "\u2028", "\x00", "ADDENDUM", "None", "a.png", "['a' 'b']", "PA", "5E+07"]
)  # fmt: skip
TEXT = st.lists(PIECES | st.text(max_size=8), max_size=12).map("".join)
COLUMNS = st.lists(
    st.sampled_from(["study_id", "image", "view", "split", "findings", "report", "date", "age", "labels", ""]) | TEXT,
    min_size=1, max_size=6,
)  # fmt: skip


def checked(prepare: Prepare, path: Path) -> None:
    out = path.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    code, said = prepare(path, "--kind", "table", "--out", out)
    assert code in (0, 1, 2, 3)
    assert "Traceback" not in said
    errors = [line for line in said.splitlines() if line.startswith("cxrgen prepare: ")]
    assert len(errors) == (code != 0)
    if code in (0, 3):
        read_studies(out)
    else:
        assert not (out / "studies.parquet").exists()
    assert not list(out.rglob("*.tmp"))


@SOME
@given(columns=COLUMNS, body=st.lists(st.lists(TEXT, max_size=6), max_size=5))
def test_tables(tmp_path: Path, prepare: Prepare, columns: list[str], body: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([columns, *[row[: len(columns)] + [""] * (len(columns) - len(row)) for row in body]])
    (tmp_path / "t.csv").write_bytes(text.getvalue().encode("utf-8", "replace"))
    checked(prepare, tmp_path / "t.csv")


@SOME
@given(data=st.binary(max_size=300) | TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")))
@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.csv.gz"])
def test_bytes(tmp_path: Path, prepare: Prepare, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    checked(prepare, tmp_path / name)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["study_id", "id", "image", "images", "conversations", "findings", "report", "split", "from", "value"]
)


@SOME
@given(items=st.lists(st.dictionaries(KEYS | TEXT, VALUES, max_size=5), max_size=4))
def test_json_values(tmp_path: Path, prepare: Prepare, items: list[dict[str, object]]) -> None:
    (tmp_path / "t.json").write_text(json.dumps(items), encoding="utf-8")
    checked(prepare, tmp_path / "t.json")


@MANY
@given(text=TEXT)
def test_texts(text: str) -> None:
    """Marks are taken out for good, and what sections say stood in the text."""
    plain, kinds = without_marks(text)
    assert without_marks(plain)[0] == plain
    assert (plain == text) == (not kinds)
    assert without_special_tokens(plain) == plain
    for style in ("tolerant", "mimic"):
        for section in split_sections(plain, style).values():
            assert all(word in plain for word in section.split())
