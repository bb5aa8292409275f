"""The stages before the main one and what they leave in the run's folder: warmup.json, the encoder, its label scores.

A run on sets of labels alone (`--warmup_data` without `--data_path`) ends here, with `OUT/vision_tower` as its result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import write_json
from cxrgen.core.progress import say
from cxrgen.core.records import Study, read_studies
from cxrgen.evaluate.label_scores import COLUMNS, LabelScore
from cxrgen.model.parts import find_parts
from cxrgen.text.localized_labels import localized_labels
from cxrgen.train.config import TrainConfig, WarmupConfig, flat_values, names_in
from cxrgen.train.data import SftData, data_recipe
from cxrgen.train.distributed import Processes
from cxrgen.train.export import with_data_format
from cxrgen.train.init_model import init_model
from cxrgen.train.label_sets import LabelSet, read_label_sets
from cxrgen.train.run_page import WARMUP, RunPage
from cxrgen.train.run_report import RECORD, versions, write_recipe
from cxrgen.train.stages import Stage, sampler_config, train_on_texts
from cxrgen.train.trainable import mode_of
from cxrgen.train.warmup import VISION_TOWER, save_encoder, score_labels, warm_up_tower

_PLACE = " | "  # in names of labels that also say where; there are a hundred of them


@dataclass
class WarmUpRecord:
    """What warmup.json holds: (loss, learning rate) of each step by stage, and a row a label."""

    stages: list[dict[str, Any]] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)

    def add(self, stage: str, steps: Sequence[tuple[float, float]]) -> None:
        self.stages.append({"stage": stage, "steps": steps})

    def write(self, out: Path) -> None:
        write_json(out / WARMUP, {"stages": self.stages, "labels": self.labels})


def warm_up(config: TrainConfig, stage: Stage, data: SftData | None, out: Path) -> None:
    """The vision encoder on labels, then a new language model on texts, as far as the settings ask for them."""
    record, main = WarmUpRecord(), stage.processes.is_main
    if main:
        (out / WARMUP).unlink(missing_ok=True)  # of an earlier run
    if config.warmup.tower_steps:
        sets, valid = (_sets(config, data, split) for split in (config.data.split, "valid"))
        warm = warm_up_tower(stage.checkpoint, sets, config.warmup, stage.sampler.seed)
        scores = score_labels(stage.checkpoint, warm, valid)
        _say_scores(scores)
        record.add("vision encoder on labels", warm.curve)
        record.labels = [score.record() for score in scores]
        if main:
            save_encoder(stage.checkpoint, out)
    if config.warmup.text_steps and data:
        parts = find_parts(stage.checkpoint.model)
        prefixes = [parts.prefixes(part) for part in mode_of(config.trainable.train_modules).parts]
        steps = config.warmup.text_steps
        curve = train_on_texts(stage, config.optim, steps, data, sum(prefixes, ()))
        record.add("language model on texts", curve)
    if main:
        record.write(out)


def train_encoder(config: TrainConfig, out: Path, processes: Processes) -> list[float]:
    """A run on sets of labels alone: returns the loss of each step. Raises InputError where a run has ended before."""
    if (out / RECORD).is_file() and not config.checkpoint.overwrite_output_dir:
        raise InputError(
            f"{out}: holds a finished run; give another --output_dir, or --overwrite_output_dir starts anew"
        )
    checkpoint = init_model(config.model, config.tiny, [], config.seed)
    checkpoint = replace(checkpoint, model=checkpoint.model.to(processes.device))
    recipe = data_recipe(Path(names_in(config.warmup.warmup_data)[0]))
    checkpoint = with_data_format(checkpoint, recipe, config.data)
    stage = Stage(checkpoint, config.data, sampler_config(config.optim, config.seed, 0.0, processes.count), processes)
    warm_up(config, stage, None, out)
    if processes.is_main:
        write_recipe(out, config)
        write_json(out / RECORD, {"arguments": flat_values(config), "versions": versions()})
        RunPage(out, flat_values(config), config.log).update()
        say(f"the vision encoder is in {out / VISION_TOWER}; --vision_tower takes it")
    processes.barrier()
    return []


def _sets(config: TrainConfig, data: SftData | None, split: str) -> list[LabelSet]:
    """The report studies, if there are any, and the sets of labels, of one split."""
    warmup = config.warmup
    sets = read_label_sets(warmup.warmup_data, warmup.warmup_label_map, split)
    if data and data.studies:
        studies: Sequence[Study] = data.studies
        if split != config.data.split:
            every = read_studies(Path(config.data.data_path))
            studies = [study for study in every if study.split == split and study.report is not None]
        sets.insert(0, LabelSet(data.folder, tuple(studies), tuple(_labels(studies, warmup))))
    if not sets:
        raise UsageError("--tower_steps needs a prepared folder as --data_path, or --warmup_data")
    if split == config.data.split and not any(each.studies for each in sets):
        raise InputError(f"{warmup.warmup_data}: no study with labels in split {split}; nothing to train on")
    return sets


def _labels(studies: Sequence[Study], config: WarmupConfig) -> list[dict[str, int]]:
    if config.warmup_labels == "rule":
        return [localized_labels(study.report or "") for study in studies]
    return [study.labels or {} for study in studies]


def _say_scores(scores: Sequence[LabelScore]) -> None:
    """A table of the labels that name no place, in plain columns."""
    if not scores:
        say("no validation study has labels: the vision encoder's label scores are not known")
        return
    rows = [COLUMNS, *(score.cells() for score in scores if _PLACE not in score.name)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    say("label scores of the vision encoder on validation studies")
    for name, *cells in rows:
        say("  ".join([name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:]))]))
