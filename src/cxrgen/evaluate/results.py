"""A score folder: scores.json for programs, per_study.parquet with every study's own values and counts.

No report text is in either; the page beside them is the only file that holds some. The counts are kept so that two
folders can be compared later by resampling both the same way, without scoring again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import cxrgen
from cxrgen.evaluate.scores import Score, Scores, sum_score
from cxrgen.files import replacing, write_json

SCHEMA_VERSION = 1


def document(
    scores: Scores,
    floors: Mapping[str, Scores],
    left_out: Mapping[str, tuple[str, ...]],
    notes: tuple[str, ...] = (),
    inputs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of scores.json; values that are undefined become null."""
    total, missing = sum_score(scores.metrics)
    return {
        "schema": SCHEMA_VERSION,
        "cxrgen": cxrgen.__version__,
        "n": scores.n,
        "patients": scores.patients,
        "signature": scores.signature(),
        "left_out": {kind: list(names) for kind, names in left_out.items()},
        "notes": list(notes),
        "inputs": dict(inputs or {}),
        "metrics": {
            name: {**_numbers(score), "direction": score.direction, "signature": score.signature}
            for name, score in scores.metrics.items()
        },
        "floors": {
            floor: {name: _numbers(score) for name, score in of.metrics.items()} for floor, of in floors.items()
        },
        "sum": {"value": total, "missing": missing},
    }


def _numbers(score: Score) -> dict[str, Any]:
    return {
        "value": score.value if math.isfinite(score.value) else None,
        "ci95": list(score.interval) if score.interval else None,
    }


def write_results(folder: Path, scores: Scores, subjects: tuple[str, ...], content: Mapping[str, Any]) -> None:
    """Write scores.json and per_study.parquet, each atomically; the same scores give the same bytes."""
    columns: dict[str, Any] = {"study_id": pa.array(scores.study_ids, pa.string())}
    columns["subject_id"] = pa.array(subjects, pa.string())
    for name, values in scores.per_study.items():
        columns[name] = pa.array(np.broadcast_to(values, scores.n), pa.float64(), from_pandas=True)  # NaN becomes null
    for name, measured in scores.measured.items():
        width = measured.counts.shape[1]
        flat = pa.array(np.ascontiguousarray(measured.counts, dtype=np.float64).reshape(-1))
        columns[f"counts.{name}"] = pa.FixedSizeListArray.from_arrays(flat, width)
    table = pa.table(columns).replace_schema_metadata({"cxrgen_schema": str(SCHEMA_VERSION)})
    with replacing(folder / "per_study.parquet") as temporary:
        pq.write_table(table, temporary, compression="zstd")
        temporary.chmod(0o600)
    write_json(folder / "scores.json", content)
