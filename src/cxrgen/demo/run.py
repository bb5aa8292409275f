"""The whole way on synthetic studies: make them, prepare, train, write reports, score them.

Every stage is one of the ordinary commands, and is printed before it runs, so it can be repeated by hand or with your
own data. Nothing is downloaded. The scores say whether a model learns from images; they say nothing about real ones.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from cxrgen.core.commands import run_command
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import write_json
from cxrgen.core.tables import read_json
from cxrgen.html import number

_EXAMPLES = """examples:
  cxrgen demo --out runs/demo
  cxrgen demo --out runs/seed7 --seed 7
"""
_REMARK = (
    "Synthetic studies: the scores say nothing about real images. "
    "The vision encoder was warmed up on labels read from the training reports."
)
_SHOWN = (
    ("finding F1", "finding_f1_macro"),
    ("lobe", "finding_lobe_accuracy"),
    ("depth", "finding_depth_accuracy"),
)
_COMPARED = "with the lateral against without, one checkpoint, paired"
_PARTS = ("phantom", "prepared", "model", "generate", "evaluate", "other")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("--out", required=True, type=Path, help="folder for everything that is made")
    studies = parser.add_argument_group("studies")
    studies.add_argument("--studies", type=int, default=6000, help="training studies (default: 6000)")
    studies.add_argument("--test-studies", type=int, default=200, help="test studies (default: 200)")
    studies.add_argument("--seed", type=int, default=1, help="of studies and model (default: 1)")
    model = parser.add_argument_group("model")
    model.add_argument("--recipe", default="tiny", help="training recipe (default: tiny)")
    model.add_argument("--threads", type=int, metavar="N", help="processor threads of training (default: the recipe's)")


def run(options: argparse.Namespace) -> int:
    out: Path = options.out
    if options.threads is not None and options.threads < 0:
        raise UsageError(f"--threads {options.threads}: at least 0, which leaves the number to torch")
    strangers = {path.name for path in out.glob("*")} - set(_PARTS) if out.exists() else set()
    if strangers:
        raise InputError(f"{out}: holds {sorted(strangers)[0]!r}, which no demo makes; give an empty folder as --out")
    for part in _PARTS:
        shutil.rmtree(out / part, ignore_errors=True)
    phantom, prepared, model, other = (out / part for part in ("phantom", "prepared", "model", "other"))
    pred, gt, frontal = out / "generate" / "pred.csv", out / "generate" / "gt.csv", other / "frontal.csv"
    seed = ("--seed", str(options.seed))
    sizes = ("--studies", str(options.studies), "--test-studies", str(options.test_studies))
    run_command("phantom", "cxrgen.phantom.run", "--out", phantom, *sizes, *seed, "--style", "plain")
    texts = phantom / "truth" / "test_reports.csv"
    run_command("prepare", "cxrgen.prepare.run", phantom, "--out", prepared, "--text-file", texts)
    threads = ("--threads", str(options.threads)) if options.threads is not None else ()
    where = ("--data-path", prepared, "--output-dir", model)
    run_command("train", "cxrgen.train.run", options.recipe, *where, *seed, *threads)
    questions = ("--question-file", prepared, "--batch-size", "64")
    writer: tuple[str | Path, ...] = ("--model-name", model, *questions)
    run_command("generate", "cxrgen.generate.run", *writer, "--answers-file-pred", pred, "--answers-file-gt", gt)
    run_command("generate", "cxrgen.generate.run", *writer, "--views", "frontal", "--answers-file-pred", frontal)
    given: list[str | Path] = []
    for name in ("frequent", "medoid", "nearest"):
        csv = other / f"{name}.csv"
        run_command("generate", "cxrgen.generate.run", "--baseline", name, *questions, "--answers-file-pred", csv)
        given += ["--baseline", f"{name}={csv}"]
    limits, nearest = _limits(model, prepared, phantom, other)
    given += ["--baseline", f"nearest_features={nearest}"]
    known = ("--gt", gt, "--studies", prepared, "--truth", phantom / "findings.csv", *given, "--note", _REMARK)
    fewer, both, compared = other / "frontal", out / "evaluate", other / "compare"
    for name, reports, limit, scores in (
        ("frontal alone", frontal, limits["frontal"], fewer),
        ("both images", pred, limits["both"], both),
    ):
        words = ("--pred", reports, "--limits", limit, "--out", scores, "--name", name)
        link = ("--link", f"{_COMPARED}={compared / 'compare.html'}")
        run_command("evaluate", "cxrgen.evaluate.run", *known, *words, *link)
    systems = (f"frontal alone={fewer}", f"both images={both}")
    run_command("compare", "cxrgen.evaluate.compare", *systems, "--studies", prepared, "--out", compared)
    print(f"both images    {_summary(both)}\nfrontal alone  {_summary(fewer)}")
    print(f"report page    {both / 'report.html'}\n{_COMPARED}: {compared / 'compare.html'}")
    return 0


def _limits(model: Path, prepared: Path, phantom: Path, other: Path) -> tuple[dict[str, Path], Path]:
    """What a perfect reader and a linear probe score, with both images and with the frontal alone: a file for each.

    And, as all images have been read for it, the baseline `nearest` by the vision encoder's features.
    """
    from cxrgen.demo.tower_probe import limits_table, linear_probe_scores, nearest_reports, read_set
    from cxrgen.generate.questions import write_reports_csv

    optimum = read_json(phantom / "optimum.json")["optimum"]
    read = read_set(model, prepared)
    probe = linear_probe_scores(read, phantom / "findings.csv")
    paths = {}
    for views in ("both", "frontal"):
        paths[views] = other / f"limits_{views}.json"
        write_json(paths[views], {"optimum": optimum[views], **probe[views]})
    print(limits_table(probe["both"]))
    nearest = other / "nearest_features.csv"
    write_reports_csv(nearest, nearest_reports(read))
    return paths, nearest


def _summary(scores: Path) -> str:
    """A line of a score folder: what is found, and in which lobe and depth, beside what could be."""
    content = read_json(scores / "scores.json")
    optimum, probe = content["limits"]["optimum"], content["limits"]["linear_probe"]
    values = {key: content["metrics"][key]["value"] for _, key in _SHOWN}
    parts = [f"{name} {number(values[key])} (optimum {number(optimum[key])}" for name, key in _SHOWN]
    parts[0] += f", linear probe {number(probe['finding_f1_macro'])}"
    return ", ".join(f"{part})" for part in parts)
