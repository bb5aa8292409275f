"""What each view and each part of the context is worth to one checkpoint, on the same studies.

Every arm is an ordinary `cxrgen generate` and `cxrgen evaluate` with less than all that the checkpoint knows; then
`cxrgen compare` sets each of them against the arm with everything, paired by patient. A checkpoint that was trained
with --context_dropout (and --view_dropout) has seen such prompts; for another, an arm also measures the surprise.
Reports that are written stay, so an interrupted run continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from cxrgen.core.commands import run_command
from cxrgen.core.errors import InputError, UsageError, unknown
from cxrgen.core.files import make_folder, write_csv, write_json
from cxrgen.core.tables import read_csv, read_json
from cxrgen.html import number
from cxrgen.phantom.findings import COLUMNS
from cxrgen.phantom.oracle import context_optimum
from cxrgen.text.context import NOTHING
from cxrgen.text.prompts import PromptRule

_EXAMPLES = """examples:
  cxrgen ablate runs/model prepared --out ablation
  cxrgen ablate runs/model prepared --out ablation --arms all --truth phantom/findings.csv
  cxrgen ablate runs/model prepared --out ablation --arm all:none --arm frontal:indication
"""
CHOICES = ("without-one", "one", "all")
_SHOWN = (  # columns of the table, where an arm has the score
    *("finding_f1_macro", "finding_change_accuracy", "finding_cause_accuracy", "finding_depth_accuracy"),
    *("rule_f1_macro_14", "bleu_4", "rouge_l", "prior_rate"),
)


@dataclass(frozen=True)
class Arm:
    """What the checkpoint is given: images of `views`, and these parts of the context."""

    views: str
    parts: tuple[str, ...]

    @property
    def context(self) -> str:
        return ",".join(self.parts) or NOTHING

    @property
    def name(self) -> str:
        return f"{self.views}.{'+'.join(self.parts) or NOTHING}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("model", type=Path, metavar="MODEL", help="checkpoint folder")
    parser.add_argument("prepared", type=Path, metavar="PREPARED", help="prepared set with reports to score against")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for reports, scores and page")
    arms = parser.add_argument_group("arms")
    arms.add_argument(
        "--arms",
        choices=CHOICES,
        default=CHOICES[0],
        help="everything, nothing, and: all but one part or view; each part alone; all subsets (default: without-one)",
    )
    arms.add_argument(
        "--arm",
        action="append",
        default=[],
        metavar="VIEWS:PARTS",
        help="these arms instead, as all:indication,gap or frontal:none; repeatable",
    )
    inputs = parser.add_argument_group("what is scored")
    inputs.add_argument("--split", default="test", metavar="NAME", help="split of the prepared set (default: test)")
    inputs.add_argument("--truth", type=Path, metavar="CSV", help="table of true findings, of synthetic studies")
    inputs.add_argument("--metrics", metavar="NAMES", help="as `cxrgen evaluate` takes them (default: as there)")
    speed = parser.add_argument_group("speed")
    speed.add_argument("--batch-size", type=int, default=16, metavar="N", help="studies at a time (default: 16)")
    speed.add_argument("--max-new-tokens", type=int, default=1024, metavar="N", help="longest report (default: 1024)")


def run(options: argparse.Namespace) -> int:
    rule = _trained_rule(options.model)
    full = Arm(rule.views, rule.parts)
    arms = [_named(text, full) for text in options.arm] or list(arms_of(full, options.arms))
    arms = list(dict.fromkeys([full, *arms]))
    if len(arms) < 2:
        raise UsageError("nothing can be left out: the checkpoint takes one view and no context")
    make_folder(options.out)
    folders = [_scored(arm, options) for arm in arms]
    rows = [_row(arm, folder) for arm, folder in zip(arms, folders)]
    columns = ["arm", *(name for name in _SHOWN if any(row[name] for row in rows))]
    cells = [[row[name] for name in columns] for row in rows]
    write_csv(options.out / "ablation.csv", columns, cells)
    run_command("compare", "cxrgen.evaluate.compare", *folders, "--out", options.out)
    print("\n".join("  ".join(_padded(line, [columns, *cells])) for line in [columns, *cells]))
    print(options.out / "compare.html")
    return 0


def _trained_rule(model: Path) -> PromptRule:
    """How the checkpoint's studies were asked about."""
    recorded = read_json(model / "cxrgen.json") if (model / "cxrgen.json").is_file() else None
    if not isinstance(recorded, dict):
        raise InputError(f"{model}: no cxrgen.json, so this is no checkpoint of cxrgen")
    names = ("prompt", "views", "context", "prior_words", "max_images")
    return PromptRule(**{name: recorded[name] for name in names if name in recorded})


def arms_of(full: Arm, which: str) -> Iterable[Arm]:
    """The arms with less than `full`: subsets of its context, and each single view."""
    parts = full.parts
    if which == "all":
        chosen: Iterable[tuple[str, ...]] = (
            some for count in range(len(parts) + 1) for some in combinations(parts, count)
        )
    elif which == "one":
        chosen = [(), *((part,) for part in parts)]
    else:
        chosen = [(), *(tuple(other for other in parts if other != part) for part in parts)]
    subsets = list(chosen)
    yield from (Arm(full.views, some) for some in subsets)
    if full.views == "all":
        for views in ("frontal", "lateral"):
            yield from (Arm(views, some) for some in (subsets if which == "all" else [parts]))


def _named(text: str, full: Arm) -> Arm:
    views, colon, context = text.partition(":")
    if not colon:
        raise UsageError(f"--arm {text}: write VIEWS:PARTS, as all:indication or frontal:none")
    rule = PromptRule(views=views, context=context or NOTHING)
    for part in rule.parts:
        if part not in full.parts:
            raise unknown("--arm", part, (*full.parts, NOTHING))
    return Arm(views, rule.parts)


def _scored(arm: Arm, options: argparse.Namespace) -> Path:
    """The score folder of an arm; reports that are there already are not written again."""
    folder: Path = options.out / arm.name
    pred, gt = folder / "pred.csv", folder / "gt.csv"
    run_command(
        *("generate", "cxrgen.generate.run", "--model-name", options.model, "--question-file", options.prepared),
        *("--split", options.split, "--views", arm.views, "--context", arm.context),
        *("--max-rejects", "1"),  # studies without the arm's view have no report, and are not compared
        *("--batch-size", str(options.batch_size), "--max-new-tokens", str(options.max_new_tokens)),
        *("--answers-file-pred", pred, "--answers-file-gt", gt),
    )
    more: list[str | Path] = ["--truth", options.truth] if options.truth else []
    if options.truth and (limits := limits_of(options.truth, gt, arm)):
        write_json(folder / "limits.json", limits)
        more += ["--limits", folder / "limits.json"]
    more += ["--metrics", options.metrics] if options.metrics else []
    given = ("--pred", pred, "--gt", gt, "--studies", options.prepared, "--allow-missing", "--out", folder)
    run_command("evaluate", "cxrgen.evaluate.run", *given, *more)
    return folder


def limits_of(truth: Path, gt: Path, arm: Arm) -> dict[str, Any]:
    """What a perfect reader of the arm could score, where the table is that of synthetic studies."""
    table = read_csv(truth)
    if not {*COLUMNS, "study_id", "prior_study_id"} <= set(table.columns):
        return {}
    rows = {row.cells["study_id"]: row.cells for row in table.rows}
    scored = [row.cells["study_id"] for row in read_csv(gt).rows if row.cells["study_id"] in rows]
    views = "both" if arm.views == "all" else arm.views
    return {"optimum": context_optimum(rows, scored, views, arm.parts)}


def _row(arm: Arm, folder: Path) -> dict[str, str]:
    """The arm's line of the table: the shown scores, "" where it has none."""
    metrics: Mapping[str, Any] = read_json(folder / "scores.json")["metrics"]
    values = {name: metrics.get(name, {}).get("value") for name in _SHOWN}
    return {"arm": arm.name, **{name: "" if value is None else number(value) for name, value in values.items()}}


def _padded(line: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines)]
    return [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]
