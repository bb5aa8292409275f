"""What a perfect reader could score, computed from the table alone: the limit that the scene itself sets.

Each set of images shows a known part of a study's row. A perfect reader is right about what is shown; of what is not,
it names the likeliest by the shares of the whole table, and claims a finding that it cannot see (the best F1 of a blind
guess). The grain of the images is left out, so no reader of pixels quite gets there.

    frontal  everything but the depth of an opacity (middle lobe or lingula against lower lobe)
    lateral  everything but sides, and rib fractures, which are drawn on frontals alone
    both     everything

None of them tells a cause (the indication does) or a change (the earlier study does: its images all of it, its report
what words say, which is less than how far fluid has risen).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from cxrgen.phantom.findings import COLUMNS, NAMES, NINE

Row = Mapping[str, str]
VIEW_SETS = ("frontal", "lateral", "both")
_UNSEEN = {"frontal": (), "lateral": ("fracture",), "both": ()}
_CONTEXT = {"cause": "indication", "change": "prior"}  # detail -> what tells it
_DETAILS = ("side", "lobe", "depth", "size", *_CONTEXT)


def optimum(rows: Sequence[Row], table: Sequence[Row]) -> dict[str, dict[str, float | None]]:
    """View set -> score name -> the best that can be expected on `rows`, with the shares of `table` known.

    Names are those of the finding scores. With `+ indication` or `+ prior` behind it, a score says what that further
    input is worth. None stands where no row has what is asked for.
    """
    rows, table = [_with_depth(row) for row in rows], [_with_depth(row) for row in table]
    return {views: _scores(views, rows, table) for views in VIEW_SETS}


def context_optimum(
    truth: Mapping[str, Row], study_ids: Sequence[str], views: str, parts: Collection[str]
) -> dict[str, float | None]:
    """Score name -> the best that can be expected with images of `views` and these parts of the context.

    `truth` holds the rows of findings.csv by study, `study_ids` those that are scored. Of the parts, `indication` tells
    causes, `prior-images` and `prior-report` changes; the others tell nothing here. Without an earlier study, whether a
    finding is there now is seen, and so which changes it can have.
    """
    table = [_with_earlier(row, truth) for row in truth.values()]
    rows = [_with_earlier(truth[name], truth) for name in study_ids]
    scores = {name: value for name, value in _scores(views, rows, table).items() if " + " not in name}
    for detail in _CONTEXT:
        columns = [column for column in COLUMNS if column.endswith(f"_{detail}")]
        known = partial(_known, parts=frozenset(parts))
        scores[f"finding_{detail}_accuracy"] = _best_guess(columns, rows, table, known)
    return scores


def _with_earlier(row: Row, truth: Mapping[str, Row]) -> Row:
    """The row with the cells of the earlier study behind "before ", where there is one."""
    before = truth.get(row.get("prior_study_id", ""), {})
    return _with_depth({**row, **{f"before {name}": cell for name, cell in before.items()}})


def _known(column: str, row: Row, parts: frozenset[str]) -> str:
    """What is known of a cause or change beyond its own words: alike for studies that nothing tells apart."""
    finding, _, detail = column.rpartition("_")
    if detail == "cause":
        return row[column] if "indication" in parts else ""
    if "prior-images" in parts:
        return row[column]
    seen = [row[finding], row.get(f"{finding}_size", "")]
    if "prior-report" in parts:
        seen += [row.get(f"before {finding}", ""), row.get(f"before {finding}_size", "")]
    return " ".join(seen)


def _with_depth(row: Row) -> Row:
    lobe = row["opacity_lobe"]
    return {**row, "opacity_depth": "" if not lobe or "upper" in lobe else "back" if "lower" in lobe else "front"}


def _scores(views: str, rows: Sequence[Row], table: Sequence[Row]) -> dict[str, float | None]:
    f1 = {name: _f1(name, views, rows) for name in NAMES}
    scores = {
        "finding_f1_macro": _mean([f1[name] for name in NAMES]),
        "finding_f1_macro_9": _mean([f1[name] for name in NINE]),
        **{f"finding_f1_{name}": value for name, value in f1.items()},
    }
    for detail in _DETAILS:
        columns = [column for column in (*COLUMNS, "opacity_depth") if column.endswith(f"_{detail}")]
        name = f"finding_{detail}_accuracy"
        scores[name] = _accuracy(columns, views, rows, table)
        if detail in _CONTEXT:
            scores[f"{name} + {_CONTEXT[detail]}"] = None if scores[name] is None else 1.0
    return scores


def _f1(name: str, views: str, rows: Sequence[Row]) -> float | None:
    present = sum(row[name] == "1" for row in rows)
    if not present:
        return None
    return 2 * present / (len(rows) + present) if name in _UNSEEN[views] else 1.0


def _accuracy(columns: Sequence[str], views: str, rows: Sequence[Row], table: Sequence[Row]) -> float | None:
    """Expected share of right words over the filled cells of `columns`, by what images of `views` show of them."""
    return _best_guess(columns, rows, table, lambda column, row: _shown(column, row[column], views))


def _best_guess(
    columns: Sequence[str], rows: Sequence[Row], table: Sequence[Row], known: Callable[[str, Row], str]
) -> float | None:
    """Expected share of right words for a reader who names the likeliest word of the rows that look like this one."""
    right, counted = 0.0, 0
    for column in columns:
        groups: dict[str, Counter[str]] = {}
        for row in table:
            if row[column]:
                groups.setdefault(known(column, row), Counter())[row[column]] += 1
        for row in rows:
            if row[column]:
                group = groups[known(column, row)]
                right += max(group.values()) / group.total()
                counted += 1
    return right / counted if counted else None


def _shown(column: str, value: str, views: str) -> str:
    """What a set of images shows of a cell: words that look alike get the same answer."""
    detail = column.rpartition("_")[2]
    if detail in _CONTEXT or (detail, views) in {("side", "lateral"), ("depth", "frontal")}:
        return ""
    if detail == "lobe" and views == "frontal":
        return value if "upper" in value else "right, below" if "right" in value else "left, below"
    if detail == "lobe" and views == "lateral":
        return "upper" if "upper" in value else "back" if "lower" in value else "front"
    return value


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
