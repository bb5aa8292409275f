"""Scores in Python: lists, dicts and data frames in; text, table, frame and picture out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cxrgen.core.errors import InputError, UsageError
from cxrgen.evaluate import evaluate

REFERENCES = {"b": "heart normal", "a": "small left effusion", "c": "edema, effusion", "d": "x y", "e": "z", "f": "w"}
REPORTS = {"a": "small effusion", "b": "heart normal", "c": "edema", "d": "x", "e": "z", "f": "other"}


class Frame:
    """What `evaluate` asks of a data frame: column names and columns by name."""

    def __init__(self, **columns: list[str]) -> None:
        self._of = columns
        self.columns = list(columns)

    def __getitem__(self, name: str) -> list[str]:
        return self._of[name]


def frame(texts: dict[str, str], **more: list[str]) -> Frame:
    return Frame(study_id=list(texts), report=list(texts.values()), **more)


def test_lists_dicts_and_frames_give_the_same() -> None:
    ids = list(REFERENCES)
    expected = evaluate([REPORTS[name] for name in ids], list(REFERENCES.values()), ids, metrics=["toy"])
    tables = [pa.table({"id": list(of), "report": list(of.values())}) for of in (REPORTS, REFERENCES)]
    for given in ((REPORTS, REFERENCES), (frame(REPORTS), frame(REFERENCES)), tables, (REPORTS, frame(REFERENCES))):
        found = evaluate(*given, metrics=["toy"])
        assert found.study_ids == tuple(ids)
        assert found.values() == expected.values()
        assert found.metrics["overlap"].interval == expected.metrics["overlap"].interval
    assert evaluate(["a"], ["a"], metrics=["toy"]).study_ids == ("0",)


def test_patients_come_with_a_frame() -> None:
    found = evaluate(REPORTS, frame(REFERENCES, subject_id=["p", "p", "q", "q", "r", "r"]), metrics=["toy"])
    assert found.patients == 3


@pytest.mark.parametrize(
    ("reports", "references", "error"),
    [
        ({"a": "x"}, {"b": "x"}, InputError),
        ({"a": "x"}, ["x"], UsageError),
        (Frame(study_id=["a", "a"], report=["x", "y"]), {"a": "x"}, InputError),
        (Frame(study=["a"], report=["x"]), {"a": "x"}, InputError),
        (Frame(study_id=["a"], text=["x"]), {"a": "x"}, InputError),
    ],
)
def test_what_cannot_be_matched(reports: Any, references: Any, error: type[InputError]) -> None:
    with pytest.raises(error):
        evaluate(reports, references, metrics=["toy"])


def test_a_score_is_one_line_and_scores_are_a_line_each() -> None:
    found = evaluate(REPORTS, REFERENCES, metrics=["toy", "rule"])
    (line,) = repr(found.metrics["overlap"]).splitlines()
    low, high = found.metrics["overlap"].interval or (0.0, 0.0)
    assert line == f"{found.metrics['overlap'].value:.3f} ({low:.3f} to {high:.3f}), higher is better"
    lines = repr(found).splitlines()
    assert lines[0] == "scores of 6 studies of 6 patients"
    assert f"overlap: {line}" in lines
    assert "rule_f1_edema" not in repr(found)
    shown = found._repr_html_()
    assert "<td" in shown
    assert "overlap" in shown


def test_a_picture_that_can_be_kept(tmp_path: Path) -> None:
    drawing = evaluate(REPORTS, REFERENCES, metrics=["toy"]).plot()
    assert "<svg" in drawing._repr_html_()
    drawing.save(tmp_path / "scores.html")
    assert "overlap" in (tmp_path / "scores.html").read_text()


def test_frames_need_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    found = evaluate(REPORTS, REFERENCES, metrics=["toy"])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        found.to_frame()


def test_frames() -> None:
    pytest.importorskip("pandas")
    found = evaluate(REPORTS, REFERENCES, metrics=["toy"])
    table = found.to_frame()
    assert table.loc["overlap", "value"] == found.metrics["overlap"].value
    assert list(table.columns) == ["value", "low", "high", "better"]
    studies = found.per_study_frame()
    assert studies.loc["b", "overlap"] == 1.0
    assert len(studies) == 6
