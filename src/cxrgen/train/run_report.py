"""The files of a run for people: recipe.yaml, training.json and the model card; `run_page` writes the page."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
import yaml

from cxrgen.core import __version__
from cxrgen.core.files import write_json, write_text
from cxrgen.core.tables import read_json
from cxrgen.model.pooled_encoder import is_own_encoder
from cxrgen.train.config import TrainConfig, flat_values
from cxrgen.train.run_log import Line

RECORD = "training.json"
_CREDENTIALED = ("mimic", "physionet", "chexpert", "padchest")


def _opening(out: Path) -> list[str]:
    """For a model with a vision encoder of the package's own class: how transformers alone opens it."""
    config = read_json(out / "config.json") if (out / "config.json").is_file() else {}
    own = is_own_encoder(config.get("vision_config"))
    return ["", "`import cxrgen.model` before opening it with transformers: that registers the vision encoder."] * own


def write_model_card(
    out: Path,
    settings: Mapping[str, Any],
    sources: Sequence[str],
    scores: Mapping[str, float],
    counts: Mapping[str, int],
) -> None:
    """README.md in the run folder, as model hubs show it: data, recipe, numbers, limits."""
    credentialed = [name for name in sources if any(word in name.lower() for word in _CREDENTIALED)]
    rows = [f"| {name} | {value} |" for name, value in sorted(settings.items()) if value not in ("", False)]
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: image-text-to-text",
        "tags: [radiology, chest-x-ray, report-generation]",
        "---",
        f"# {out.name}",
        "",
        "Writes chest X-ray reports. For research; not a medical device.",
        *_opening(out),
        "",
        "## Data",
        "",
        f"{counts.get('samples', 0)} training items from {', '.join(sources) or 'LLaVA conversations'}; "
        f"{counts.get('left_out', 0)} left out.",
    ]
    if credentialed:
        lines += ["", f"**Derived from credentialed data ({', '.join(credentialed)}).** Share the weights only as the "
                  "data's licence allows."]  # fmt: skip
    elif "course" in sources:
        lines += ["", "The files came in the course's layout. Where they are MIMIC-CXR's and not synthetic, the "
                  "weights are derived from credentialed data: share them only as its licence allows."]  # fmt: skip
    lines += ["", "## Training", "", "| setting | value |", "|---|---|", *rows, ""]
    lines += [f"{counts.get('trained', 0):,} of {counts.get('parameters', 0):,} parameters were trained."]
    if scores:
        lines += ["", "## Validation", "", "| score | value |", "|---|---|"]
        lines += [f"| {name} | {value:.4f} |" for name, value in scores.items()]
        lines += ["", "On the few studies of the validation while training; `cxrgen evaluate` scores a test set."]
    write_text(out / "README.md", "\n".join(lines) + "\n")


def write_recipe(out: Path, config: TrainConfig) -> None:
    """recipe.yaml: the whole run, resolved, as `cxrgen train out/recipe.yaml --output_dir OTHER` takes it."""
    values = {
        name: value for name, value in flat_values(config).items() if name not in ("resume", "overwrite_output_dir")
    }
    write_text(out / "recipe.yaml", yaml.safe_dump(values, sort_keys=False))


def versions() -> dict[str, str]:
    """What a run was made with."""
    packages = {"cxrgen": __version__, "torch": torch.__version__, "transformers": transformers.__version__}
    return {**packages, "python": platform.python_version()}


def write_records(
    out: Path,
    config: TrainConfig,
    fingerprint: dict[str, Any],
    sources: list[str],
    counts: dict[str, int],
    lines: list[Line],
) -> None:
    """training.json and the model card."""
    record = {
        "arguments": flat_values(config),
        "fingerprint": fingerprint,
        "counts": counts,
        "sources": sources,
        "samples": counts["samples"],
        "loss": [round(line["loss"], 6) for line in lines if "loss" in line],
        "versions": versions(),
    }
    write_json(out / RECORD, record)
    evaluated = [line for line in lines if "eval_loss" in line]
    scores = {name: value for name, value in evaluated[-1].items() if name != "step"} if evaluated else {}
    write_model_card(out, fingerprint, sources, scores, counts)
