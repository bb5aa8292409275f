"""The stages before the main one, and what they leave in the run's folder: the encoder, and warmup.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import write_json
from cxrgen.core.progress import say
from cxrgen.core.records import Study, read_studies
from cxrgen.evaluate.label_scores import COLUMNS, LabelScore
from cxrgen.model.parts import LANGUAGE, find_parts
from cxrgen.text.label_words import PLACE
from cxrgen.text.localized_labels import localized_labels
from cxrgen.train.config import OptimConfig, WarmupConfig
from cxrgen.train.data import SftData
from cxrgen.train.label_sets import LabelSet, read_label_sets
from cxrgen.train.run_page import WARMUP
from cxrgen.train.stages import Stage, computes_in_bf16, train_on_texts
from cxrgen.train.warmup import probe_tower, save_encoder, score_labels, warm_up_tower


@dataclass
class WarmUpRecord:
    """What warmup.json holds: (loss, learning rate) of each step by stage, and a row a label."""

    stages: list[dict[str, Any]] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)

    def add(self, stage: str, steps: Sequence[tuple[float, float]]) -> None:
        self.stages.append({"stage": stage, "steps": steps})

    def write(self, out: Path) -> None:
        write_json(out / WARMUP, {"stages": self.stages, "labels": self.labels})


def warm_up(stage: Stage, config: WarmupConfig, optim: OptimConfig, data: SftData | None, out: Path) -> None:
    """The vision encoder on labels, then a new language model on texts, as far as the settings ask for them."""
    record, main = WarmUpRecord(), stage.processes.is_main
    if main:
        (out / WARMUP).unlink(missing_ok=True)  # of an earlier run
    if config.on_labels:
        sets, valid = (_sets(stage, config, data, split) for split in (stage.data.split, "valid"))
        if config.tower_probe:
            warm = probe_tower(stage.checkpoint, sets, stage.sampler.seed)
        else:
            warm = warm_up_tower(stage.checkpoint, sets, config, stage.sampler.seed, computes_in_bf16(optim))
            record.add("vision encoder on labels", warm.curve)
        scores = score_labels(stage.checkpoint, warm, valid)
        _say_scores(scores)
        record.labels = [score.record() for score in scores]
        if main:
            save_encoder(stage.checkpoint, out)
    if config.text_steps and data:
        language = find_parts(stage.checkpoint.model).prefixes(LANGUAGE)
        curve = train_on_texts(stage, optim, config.text_steps, data, language)
        record.add("language model on texts", curve)
    if main:
        record.write(out)


def _sets(stage: Stage, config: WarmupConfig, data: SftData | None, split: str) -> list[LabelSet]:
    """The report studies, if there are any, and the sets of labels, of one split."""
    sets = read_label_sets(config.warmup_data, config.warmup_label_map, split)
    if data and data.studies and split == stage.data.split:
        sets.insert(0, LabelSet(data.folder, data.studies, tuple(study_labels(data.studies, config))))
    elif data and data.studies:
        for path in stage.data.paths:
            studies = [each for each in read_studies(path) if each.split == split and each.report is not None]
            sets.append(LabelSet(path, tuple(studies), tuple(study_labels(studies, config))))
    if not sets:
        raise UsageError("--tower_steps and --tower_probe need a prepared folder as --data_path, or --warmup_data")
    if split == stage.data.split and not any(each.studies for each in sets):
        raise InputError(f"{config.warmup_data}: no study with labels in split {split}; nothing to train on")
    return sets


def study_labels(studies: Sequence[Study], config: WarmupConfig) -> list[dict[str, int]]:
    """The labels of studies: the data set's own under `dataset`, else those that rules read from their reports."""
    if config.warmup_labels != "dataset":
        return [localized_labels(study.report or "") for study in studies]
    return [study.labels or {} for study in studies]


def _say_scores(scores: Sequence[LabelScore]) -> None:
    """A table of the labels that name no place, in plain columns."""
    if not scores:
        say("no validation study has labels: the vision encoder's label scores are not known")
        return
    rows = [COLUMNS, *(score.cells() for score in scores if PLACE not in score.name)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    say("label scores of the vision encoder on validation studies")
    for name, *cells in rows:
        say("  ".join([name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:]))]))
