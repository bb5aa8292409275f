"""What `cxrgen compare` does: read systems, test every pair on every score, write table and page, print them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from cxrgen.core.files import write_json, write_text
from cxrgen.core.folders import locked
from cxrgen.core.progress import say
from cxrgen.core.records import read_studies
from cxrgen.evaluate.differences import Difference, Standing, differences, ranking, standings
from cxrgen.evaluate.intervals import ends_text
from cxrgen.evaluate.page.compared import Compared, write_page
from cxrgen.evaluate.page.studies import Shown
from cxrgen.evaluate.scores import ARROWS
from cxrgen.evaluate.systems import System, on_common_studies, read_systems
from cxrgen.evaluate.tables import FORMATS
from cxrgen.html import number

_COLUMNS = ("score", "first", "second", "difference", "95 % interval", "p", "p (scores)", "p (all pairs)", "second is")
_FILES = {"csv": "compare.csv", "latex": "compare.tex", "markdown": "compare.md"}


def compare_systems(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    metrics = [name.strip() for name in options.metrics.split(",")] if options.metrics else None
    systems, notes = read_systems(options.systems, options.gt, metrics)
    systems, more = on_common_studies(systems)
    notes += more
    for remark in notes:
        say(f"note: {remark}")
    names = [system.name for system in systems]
    found = _all_pairs(systems, options.permutations, options.seed, options.all)
    standing = standings([system.results for system in systems], found)
    shown = {pair: rows for pair, rows in found.items() if options.all_pairs or pair[0] == 0}
    content = _content(names, notes, shown, standing, options)
    if options.out:
        with locked(options.out, "wait for it, or give another --out"):
            _write(options, systems, content, Compared(systems, standing, shown, notes, str(content["signature"])))
    if options.json:
        print(json.dumps(content, indent=2, ensure_ascii=False))
    elif options.format == "text":
        print(_plain(names, standing, shown))
    else:
        print(FORMATS[options.format](standing, names), end="")
    if options.out and options.format == "text" and not options.json:
        print(options.out / "compare.html")
    return 0


def _write(
    options: argparse.Namespace, systems: Sequence[System], content: Mapping[str, Any], compared: Compared
) -> None:
    """The files of --out, before anything is printed: a reader of the output may leave early."""
    names = [system.name for system in systems]
    write_json(options.out / "compare.json", content)
    for form, file in _FILES.items():
        write_text(options.out / file, FORMATS[form](compared.standing, names))
    common = set(systems[0].results.study_ids)
    studies = {s.study_id: s for s in read_studies(options.studies) if s.study_id in common} if options.studies else {}
    write_page(options.out / "compare.html", compared, studies, options.studies, Shown())


def _all_pairs(
    systems: Sequence[System], permutations: int, seed: int, finer: bool
) -> dict[tuple[int, int], list[Difference]]:
    """Differences of every pair of systems by their places, the earlier one first; tested together."""
    places = {f"{one} {two}": (one, two) for one, two in combinations(range(len(systems)), 2)}
    pairs = {key: (systems[one].results, systems[two].results) for key, (one, two) in places.items()}
    found = differences(pairs, permutations, seed, finer)
    return {places[key]: rows for key, rows in found.items()}


def _content(
    names: Sequence[str],
    notes: Sequence[str],
    shown: Mapping[tuple[int, int], Sequence[Difference]],
    standing: Sequence[Standing],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """compare.json; `differences` are by the second system's name, or "second against first" with --all-pairs."""
    against_first = all(first == 0 for first, _ in shown)
    key_of = {(one, two): names[two] if against_first else f"{names[two]} against {names[one]}" for one, two in shown}
    return {
        "schema": 1,
        "first": names[0],
        "systems": list(names),
        "notes": list(notes),
        "signature": f"intervals:mover|p:max-t,permutations:{options.permutations},seed:{options.seed}",
        "table": {row.name: _entry(row, names) for row in standing},
        "ranking": [
            {"system": name, "mean_rank": rank, "best_or_level": count}
            for name, rank, count in ranking(standing, names)
        ],
        "differences": {key_of[pair]: [row.entry() for row in rows] for pair, rows in shown.items()},
    }


def _entry(row: Standing, names: Sequence[str]) -> dict[str, Any]:
    values = {name: {"value": value, **asdict(ends)} for name, value, ends in zip(names, row.values, row.intervals)}
    level = [names[place] for place in sorted(row.level)]
    return {"better": row.better, "best": names[row.best], "best_or_level": level, "values": values}


def _cells(row: Difference) -> list[str]:
    values = [number(value) for value in (row.first, row.second, row.difference)]
    return [
        f"{row.name} {ARROWS[row.better]}",
        *values,
        ends_text(row.ci95, row.no_interval),
        *(f"{p:.4f}" for p in (row.p, row.p_corrected, row.p_corrected_all)),
        row.verdict,
    ]


def _plain(
    names: Sequence[str], standing: Sequence[Standing], shown: Mapping[tuple[int, int], Sequence[Difference]]
) -> str:
    lines = [FORMATS["text"](standing, names), ""]
    for name, rank, count in ranking(standing, names):
        lines.append(f"{name}: mean rank {rank:.2f}, best or level with it on {count} of {len(standing)} scores")
    for (one, two), rows in shown.items():
        lines += ["", f"{names[two]} (second) compared with {names[one]} (first)"]
        cells = [list(_COLUMNS), *(_cells(row) for row in rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(_COLUMNS))]
        for row in cells:
            middle = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1])]
            lines.append("  ".join([row[0].ljust(widths[0]), *middle, row[-1]]))
    return "\n".join(lines)
