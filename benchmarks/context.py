"""What each part of the context is worth to one small model, and what keeps it from inventing an earlier study.

    python benchmarks/context.py FOLDER [--seeds 1,2,3] [--controls 1] [--quick]

For each seed: follow-up phantoms, a model that is shown the indication and the earlier study's report and images with
context dropout, and `cxrgen ablate` with every subset of the three. For the seed of --controls also a model without
dropout, one with dropout alone, and one on texts without earlier studies (`prepare --priors drop`). All are ordinary
commands; steps that have ended are not run again, so an interrupted run continues. Printed are the tables of
docs/results.md and the processor time of all steps.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from cxrgen.core.files import write_json
from cxrgen.core.tables import read_json
from cxrgen.html import number

PARTS = ("indication", "prior-report", "prior-images")
PRIOR = {"prior-report", "prior-images"}
SUBSETS = [some for count in range(len(PARTS), -1, -1) for some in combinations(PARTS, count)]
ARMS = [*(("all", some) for some in SUBSETS), ("frontal", PARTS), ("lateral", PARTS)]
METRICS = "findings,rule,bleu,rouge,temporal"
CHANGE, PRIOR_RATE = "finding_change_accuracy", "prior_rate"
OTHERS = {
    "finding_cause_accuracy": "cause",
    "finding_depth_accuracy": "depth",
    "finding_f1_macro": "finding F1",
    "rule_f1_macro_14": "rule F1",
    "bleu_4": "BLEU-4",
    "rouge_l": "ROUGE-L",
}
STUDIES = {True: ("60", "30"), False: ("2400", "240")}  # quick or not: for training, for testing
MODEL = (
    *("--encoder_stem", "strided"),  # what the tables of docs/results.md were made with
    *("--image_size", "64", "--image_tokens", "4", "--layers", "2", "--hidden_size", "128", "--vocabulary", "400"),
    *("--threads", os.environ.get("OMP_NUM_THREADS", "2"), "--view_dropout", "0.1", "--context", ",".join(PARTS)),
)
STEPS = {
    True: ("--tower_steps", "20", "--text_steps", "2", "--max_steps", "20"),
    False: ("--tower_steps", "800", "--text_steps", "0", "--max_steps", "1600", "--learning_rate", "2e-3"),
}
DROPOUT = ("--context_dropout", "0.3")
CONTROLS = {  # name -> flags of training beyond those of every model; the first three differ in one thing each
    "none": (),
    "prepare --priors drop": (),
    "train --context_dropout 0.3": DROPOUT,
    "train --context_dropout 0.3 --priors match": (*DROPOUT, "--priors", "match"),
}


@dataclass(frozen=True)
class Run:
    """The folder of one seed, where each step that has ended is noted with its processor time."""

    folder: Path
    seed: int
    quick: bool

    def step(self, name: str, *words: object) -> None:
        """Run a command of cxrgen, unless it has ended before."""
        noted = self.folder / "steps.json"
        steps: dict[str, float] = read_json(noted) if noted.is_file() else {}
        if name in steps:
            return
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "cxrgen", *map(str, words)], check=True, stdout=sys.stderr)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        steps[name] = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        write_json(noted, steps)

    def prepare(self) -> None:
        """Phantoms, and the set with their texts as they are."""
        self.folder.mkdir(parents=True, exist_ok=True)
        studies, tests = STUDIES[self.quick]
        words = ("--style", "followup", "--size", "64", "--workers", "1", "--seed", self.seed)
        self.step("phantom", "phantom", "--out", self.phantom, "--studies", studies, "--test-studies", tests, *words)
        self._prepared(self.prepared, "keep")

    def _prepared(self, out: Path, priors: str) -> None:
        texts = self.phantom / "truth" / "test_reports.csv"
        words = ("--text-file", texts, "--priors", priors, "--workers", "1")
        self.step(f"prepare {priors}", "prepare", self.phantom, "--out", out, *words)

    def model(self, control: str) -> Path:
        """The model that is trained under a control."""
        data, place = self.prepared, self.folder / "models" / str(list(CONTROLS).index(control))
        if control.startswith("prepare"):
            data = self.folder / "without-priors"
            self._prepared(data, "drop")
        where = ("--data_path", data, "--output_dir", place, "--overwrite_output_dir", "--seed", self.seed)
        self.step(f"train {control}", "train", "tiny", *where, *MODEL, *STEPS[self.quick], *CONTROLS[control])
        return place

    def ablate(self, control: str, arms: Sequence[tuple[str, Sequence[str]]]) -> Path:
        """The folder of scores of a control's model in these arms, on the set with texts as they are."""
        model = self.model(control)
        out = model.parent / f"{model.name}-arms-{len(arms)}"
        asked = [word for views, parts in arms for word in ("--arm", f"{views}:{','.join(parts) or 'none'}")]
        words = ("--truth", self.truth, "--metrics", METRICS, "--batch-size", "32", "--max-new-tokens", "128")
        self.step(f"ablate {control} {len(arms)}", "ablate", model, self.prepared, "--out", out, *asked, *words)
        return out

    def rewritten(self, parts: Sequence[str]) -> Path:
        """Scores of the reports of the model without a control, with --no-priors."""
        model = self.model("none")
        out = model.parent / f"{model.name}-no-priors-{len(parts)}"
        pred, gt = out / "pred.csv", out / "gt.csv"
        asked = ("--question-file", self.prepared, "--context", ",".join(parts), "--batch-size", "32")
        files = ("--answers-file-pred", pred, "--answers-file-gt", gt, "--max-new-tokens", "128")
        self.step(f"write {out.name}", "generate", "--model-name", model, *asked, *files, "--no-priors")
        given = ("--pred", pred, "--gt", gt, "--studies", self.prepared, "--truth", self.truth, "--out", out)
        self.step(f"score {out.name}", "evaluate", *given, "--metrics", METRICS)
        return out

    @property
    def phantom(self) -> Path:
        return self.folder / "phantom"

    @property
    def prepared(self) -> Path:
        return self.folder / "prepared"

    @property
    def truth(self) -> Path:
        return self.phantom / "findings.csv"


def arm_name(views: str, parts: Sequence[str]) -> str:
    """As `cxrgen ablate` names the folder."""
    return f"{views}.{'+'.join(parts) or 'none'}"


def with_ends(scores: Mapping[str, Any], name: str) -> str:
    """A score with its interval."""
    found = scores["metrics"].get(name, {})
    value, ends = found.get("value"), found.get("ci95")
    if value is None:
        return "none"
    return number(value) + (f" ({number(ends[0])} to {number(ends[1])})" if ends else "")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def arm_tables(folders: Mapping[int, Path]) -> str:
    """Change accuracy, prior rate and the other scores of each arm over the seeds."""
    scores = {
        (seed, arm_name(*arm)): read_json(folder / arm_name(*arm) / "scores.json")
        for seed, folder in folders.items()
        for arm in ARMS
    }
    compared = {seed: read_json(folder / "compare.json") for seed, folder in folders.items()}
    seeds = [f"seed {seed}" for seed in folders]

    def rows(cell: Callable[[int, str], str], arms: Sequence[tuple[str, Sequence[str]]] = ARMS) -> list[list[str]]:
        return [[arm_name(*arm), *(cell(seed, arm_name(*arm)) for seed in folders)] for arm in arms]

    unseen = [arm for arm in ARMS if not PRIOR & set(arm[1])]
    parts = ["Change accuracy, and the best that can be expected:"]
    changes = rows(lambda seed, arm: with_ends(scores[seed, arm], CHANGE))
    first = next(iter(folders))
    for line, arm in zip(changes, ARMS):
        limit = read_json(folders[first] / arm_name(*arm) / "limits.json")["optimum"][CHANGE]
        line.append(number(limit))
    parts.append(table(["arm", *seeds, f"optimum, seed {first}"], changes))
    parts.append("Reports that speak of an earlier study although none was given:")
    parts.append(table(["arm", *seeds], rows(lambda seed, arm: with_ends(scores[seed, arm], PRIOR_RATE), unseen)))
    parts.append("Other scores, mean over seeds; in brackets the seeds in which it is worse than with everything:")
    means = [
        [arm_name(*arm), *(_mean_and_worse(name, arm_name(*arm), scores, compared) for name in OTHERS)] for arm in ARMS
    ]
    parts.append(table(["arm", *OTHERS.values()], means))
    return "\n\n".join(parts)


def _mean_and_worse(
    name: str, arm: str, scores: Mapping[tuple[int, str], Any], compared: Mapping[int, Mapping[str, Any]]
) -> str:
    """The mean of a score over seeds, and in how many the paired interval against the full arm lies below zero."""
    values = [scores[seed, arm]["metrics"].get(name, {}).get("value") for seed in compared]
    known = [value for value in values if value is not None]
    worse = 0
    for content in compared.values():
        rows = {row["name"]: row for row in content["differences"].get(arm, [])}
        ends = rows[name]["ci95"] if name in rows else None
        worse += bool(ends and ends[1] < 0)
    mean = number(sum(known) / len(known)) if known else "none"
    return mean + (f" ({worse})" if worse else "")


def control_table(run: Run, all_arms: Path) -> str:
    """What each control does to the prior rate and the scores, asked with everything and without the earlier study."""
    less = PARTS[:1]
    folders: list[tuple[str, Path, Path]] = []
    for control in CONTROLS:
        out = all_arms if control == list(CONTROLS)[-1] else run.ablate(control, [("all", less)])
        folders.append((control, out / arm_name("all", PARTS), out / arm_name("all", less)))
        if control == "none":
            folders.append(("generate --no-priors", run.rewritten(PARTS), run.rewritten(less)))
    rows = []
    for title, *both in folders:
        for asked, folder in zip(("everything", "the indication alone"), both):
            scores = read_json(folder / "scores.json")
            rows.append([title, asked, *(with_ends(scores, name) for name in (PRIOR_RATE, CHANGE, *OTHERS))])
    return table(["control", "asked with", "prior rate", "change", *OTHERS.values()], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything is made")
    parser.add_argument("--seeds", default="1,2,3", help="of phantoms and models, with commas (default: 1,2,3)")
    parser.add_argument("--controls", type=int, metavar="SEED", help="compare the controls too, on this seed")
    parser.add_argument("--quick", action="store_true", help="few studies and steps: whether the script runs")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    runs = {seed: Run(options.folder / f"seed{seed}", seed, options.quick) for seed in seeds}
    folders: dict[int, Path] = {}
    for seed, run in runs.items():
        run.prepare()
        folders[seed] = run.ablate(list(CONTROLS)[-1], ARMS)
    print(arm_tables(folders))
    if options.controls in runs:
        seed = options.controls
        print(f"\nControls, seed {seed}:\n\n{control_table(runs[seed], folders[seed])}")
    seconds = sum(sum(read_json(run.folder / "steps.json").values()) for run in runs.values())
    print(json.dumps({"name": "context", "seeds": seeds, "cpu_minutes": round(seconds / 60, 1)}))


if __name__ == "__main__":
    main()
