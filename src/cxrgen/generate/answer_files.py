"""The files that reports are written to: CSV, or ReXrank's JSON, which its own programs and `cxrgen evaluate` read.

ReXrank's file is one object: study ids, each with its images, its reference where one is known (`report`), and what was
written (`model_prediction`). So the file of predictions alone can be scored against itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxrgen.core.errors import UsageError
from cxrgen.core.files import write_text
from cxrgen.core.records import Prediction
from cxrgen.generate.questions import write_reports_csv

FORMATS = ("csv", "rexrank")


def check_format(form: str, paths: Sequence[Path]) -> None:
    """Raise UsageError for file names that say another format."""
    for path in paths:
        if form == "rexrank" and path.suffix.lower() != ".json":
            raise UsageError(f"{path}: --answers-format rexrank writes JSON; give it a name that ends with .json")
        if form == "csv" and path.suffix.lower() == ".json":
            raise UsageError(f"{path}: reports are written as CSV; for ReXrank's JSON give --answers-format rexrank")


def write_predictions(
    path: Path,
    form: str,
    predictions: Sequence[Prediction],
    references: Sequence[Prediction],
    images: Mapping[str, Sequence[str]],
) -> None:
    """The reports that were written; `images` are the paths of each study's, `references` those that are known."""
    if form == "csv":
        write_reports_csv(path, predictions)
        return
    known = {each.study_id: {"report": each.report} for each in references}
    studies = {}
    for each in predictions:
        written = {"model_prediction": each.report}
        studies[each.study_id] = {**_images(images, each.study_id), **known.get(each.study_id, {}), **written}
    _write_rexrank(path, studies)


def write_references(
    path: Path, form: str, references: Sequence[Prediction], images: Mapping[str, Sequence[str]]
) -> None:
    """The reports to compare with."""
    if form == "csv":
        write_reports_csv(path, references)
    else:
        _write_rexrank(path, {e.study_id: {**_images(images, e.study_id), "report": e.report} for e in references})


def _images(images: Mapping[str, Sequence[str]], study: str) -> dict[str, Any]:
    return {"image_path": list(images.get(study, ()))}


def _write_rexrank(path: Path, studies: Mapping[str, Mapping[str, Any]]) -> None:
    write_text(path, json.dumps(studies, indent=2, ensure_ascii=False) + "\n", private=True)
