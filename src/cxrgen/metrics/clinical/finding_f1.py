"""Reports against a table of true findings.

Only synthetic studies have such a table. The text is parsed back to findings and compared with the table that the
images were drawn from, so wording does not matter. The reference reports are not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cxrgen.core.errors import InputError
from cxrgen.metrics import Columns, Floats, Metric, MetricResult
from cxrgen.metrics.several import without_references
from cxrgen.phantom.findings import COLUMNS, NAMES, NINE, as_row
from cxrgen.phantom.parser import UNKNOWN, parse

_DETAILS = ("side", "lobe", "size", "change", "cause")  # columns {finding}_{detail} that count as right or wrong
_ACCURACIES = (*_DETAILS, "depth")
# Counts: hits, false alarms, misses of each finding; right and counted of each detail; centimetres off, distances
# given.
_FIRST_ACCURACY = 3 * len(NAMES)
_FIRST_DISTANCE = _FIRST_ACCURACY + 2 * len(_ACCURACIES)


def measure(
    hypotheses: Sequence[str], references: Sequence[str], truth: Sequence[Mapping[str, str]] | None = None
) -> MetricResult:
    """Finding scores of N texts against the N rows of findings.csv in `truth`; counts are (N, 3 x findings + 14).

    `finding_f1_macro` is over all findings, `finding_f1_macro_9` over those of `NINE`. A side, lobe, size, change or
    cause is counted where the finding is there and was reported and the table has one; leaving it out is wrong. Depth
    (middle lobe or lingula against lower lobe, which a frontal image alone cannot tell) is counted where neither is an
    upper lobe. `finding_distance_error_cm` is the mean error of the tube's distance to the carina where one was given.
    Raises InputError without `truth`, for another number of rows, or a row without a finding's column.
    """
    if truth is None:
        raise InputError("finding scores need the table of true findings; give it with --truth findings.csv")
    if len(truth) != len(hypotheses):
        raise InputError(f"{len(truth)} rows of true findings for {len(hypotheses)} reports; there must be one each")
    parsed = {text: as_row(parse(text)) for text in set(hypotheses)}
    complete = [_complete(row, number) for number, row in enumerate(truth, 1)]
    rows = [_counts(parsed[text], row) for text, row in zip(hypotheses, complete)]
    counts = np.array(rows, dtype=np.float64).reshape(len(rows), _FIRST_DISTANCE + 2)
    signature = f"findings|parser:phantom|findings:{','.join(NAMES)}|findings nobody has:left out"
    lower = frozenset({"finding_distance_error_cm"})
    return MetricResult(counts, _scores, signature, lower_is_better=lower, f1=_f1_columns())


def _f1_columns() -> dict[str, tuple[Columns, ...]]:
    """The columns of hits, false alarms and misses behind each finding's F1 and behind the macro averages."""
    columns = [(start, len(NAMES) + start, 2 * len(NAMES) + start) for start in range(len(NAMES))]
    found = {f"finding_f1_{name}": (columns[number],) for number, name in enumerate(NAMES)}
    nine = tuple(columns[NAMES.index(name)] for name in NINE)
    return found | {"finding_f1_macro": tuple(columns), "finding_f1_macro_9": nine}


def _complete(row: Mapping[str, str], number: int) -> Mapping[str, str]:
    """The row of a table of true findings, if it has all columns."""
    missing = [column for column in COLUMNS if column not in row]
    if missing:
        raise InputError(f"true findings, row {number}: no column {missing[0]!r}; use findings.csv of `cxrgen phantom`")
    return row


def _counts(hyp: Mapping[str, str], truth: Mapping[str, str]) -> list[float]:
    """The counts of one study from the findings of its report and those that are true."""
    pairs = [(hyp[name] == "1", truth[name] == "1") for name in NAMES]
    counts: list[float] = [int(a and b) for a, b in pairs]
    counts += [int(a and not b) for a, b in pairs]
    counts += [int(b and not a) for a, b in pairs]
    hits = [name for name, (a, b) in zip(NAMES, pairs) if a and b]
    for detail in _DETAILS:
        columns = [f"{name}_{detail}" for name in hits if truth.get(f"{name}_{detail}")]
        right = [hyp[column] == truth[column] for column in columns]
        counts += [sum(right), len(right)]
    lobes = [(hyp["opacity_lobe"], truth["opacity_lobe"])] if "opacity" in hits else []
    depths = [(_is_lower(a), _is_lower(b)) for a, b in lobes]
    deep = [a == b for a, b in depths if a is not None and b is not None]
    counts += [sum(deep), len(deep)]
    given = "et_tube" in hits and hyp["et_tube_cm"] != UNKNOWN
    return [*counts, abs(float(hyp["et_tube_cm"]) - float(truth["et_tube_cm"])) if given else 0, int(given)]


def _is_lower(lobe: str) -> bool | None:
    """True for a lower lobe, False for the middle lobe or lingula, None for an upper lobe or no known lobe."""
    return None if not lobe or "upper" in lobe or lobe == UNKNOWN else "lower" in lobe


def _scores(sums: Floats) -> dict[str, Floats]:
    hits, alarms, misses = np.moveaxis(sums[..., :_FIRST_ACCURACY].reshape(*sums.shape[:-1], 3, len(NAMES)), -2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        each = 2 * hits / (2 * hits + alarms + misses)
        occurs = np.isfinite(each)
        nine = [NAMES.index(name) for name in NINE]
        values = {
            f"finding_f1_macro{ending}": np.where(occurs, each, 0)[..., some].sum(-1) / occurs[..., some].sum(-1)
            for ending, some in (("", slice(None)), ("_9", nine))
        }
        values |= {f"finding_f1_{name}": each[..., column] for column, name in enumerate(NAMES)}
        for number, name in enumerate(_ACCURACIES):
            right, counted = (sums[..., _FIRST_ACCURACY + 2 * number + part] for part in (0, 1))
            values[f"finding_{name}_accuracy"] = right / counted
        values["finding_distance_error_cm"] = sums[..., _FIRST_DISTANCE] / sums[..., _FIRST_DISTANCE + 1]
    return values


METRIC = Metric(
    measure,
    "clinical",
    several=without_references(measure),
    scores=("finding",),
    by_default=True,
    needs_truth=True,
    headline={"finding_f1_macro": 10},
    study_order={"finding_f1_macro": 1},
)
