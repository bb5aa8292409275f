"""`--label_prompt`: what a label reader sees in a study's images stands in its prompt, in words.

An encoder knows weakly what a language model trained on few reports does not pick up; a linear head reads it, and words
keep it. The head is fitted on the frozen encoder's features of the training studies. The words of a training study
come from a head that was fitted on other patients (`_FOLDS` folds), or they would be surer than those of a new study;
what remains is that the encoder itself may have learnt from it. Steps are chosen on the validation split. The reader
and the words lie in the run's folder, so a resumed run shows the same prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cxrgen.core.errors import InputError
from cxrgen.core.files import write_json
from cxrgen.core.progress import say
from cxrgen.core.records import FRONTAL, Study, read_studies
from cxrgen.core.tables import read_json
from cxrgen.model.assemble import open_encoder, read_layer
from cxrgen.model.checkpoint import READER, Checkpoint
from cxrgen.model.label_reader import (
    SLOTS,
    ImageEncoder,
    Known,
    LabelReader,
    LinearHead,
    mean_features,
    open_label_reader,
    read_slots,
    save_label_reader,
    side_by_side,
)
from cxrgen.model.pip_weights import encoder_folder
from cxrgen.text.context import LABELS
from cxrgen.text.label_words import LIKELY, POSSIBLE, with_words
from cxrgen.text.prompts import PromptRule
from cxrgen.train.config import DataConfig, WarmupConfig
from cxrgen.train.data import SftData, prompt_rule, variants_of
from cxrgen.train.distributed import Processes
from cxrgen.train.label_probe import solved_head
from cxrgen.train.label_sets import LabelSet, label_matrix, matrix_of
from cxrgen.train.warmup_stages import study_labels

WORDS = "label_words.json"  # in the run's folder: views -> study -> words, of the training studies
_FOLDS = 5
_MOST = 10_000  # studies that a head is fitted on; more change little and need much memory
_PENALTY = 0.3  # of `solved_head`; a training set is larger than what it was made for
_FEW = 10  # studies with a label, below which the validation split does not choose its steps
_FOUND = 0.95  # of the studies with a label, those that are to be at least "possible"
_WIDEST = 2  # times as many studies as have a label are at least "possible" at most

Words = Mapping[str, Mapping[str, str]]  # views -> study id -> words


@dataclass(frozen=True)
class LabelPrompt:
    """What a run's words depend on: its data, where its labels come from, its seed; and the run's folder."""

    data: DataConfig
    warmup: WarmupConfig
    seed: int
    out: Path


def with_label_prompt(
    config: LabelPrompt, checkpoint: Checkpoint, data: SftData, processes: Processes, resumed: bool
) -> tuple[Checkpoint, SftData]:
    """The checkpoint with its reader, and the data with the words in their prompts; as they are without the setting.

    All processes must call it; the first one computes. Raises InputError where no label can be learnt.
    """
    if not config.data.label_prompt:
        stated = LABELS in checkpoint.format.asks.parts  # by the questions of a JSON file
        return replace(checkpoint, label_reader=checkpoint.label_reader if stated else None), data
    out = config.out

    def make() -> None:
        there = (out / WORDS).is_file() and (out / READER).is_dir()
        if processes.is_main and not (resumed and there):
            reader, words = _fitted(config, _encoder(config, checkpoint), data)
            save_label_reader(out / READER, reader)
            write_json(out / WORDS, words, private=True)

    processes.agreed(make)
    return replace(checkpoint, label_reader=out / READER), _with_words(config.data, data, read_json(out / WORDS))


def with_read_labels(config: DataConfig, data: SftData, folder: Path | None) -> SftData:
    """Studies that no head learnt from, with the words of the reader in `folder`; as they are without the setting."""
    if folder is None or not config.label_prompt:
        return data
    studies = open_label_reader(folder).with_labels(data.studies, prompt_rule(config), data.folder)
    return _with_studies(config, data, studies)


def _with_words(config: DataConfig, data: SftData, words: Words) -> SftData:
    studies = list(data.studies)
    for views, of in words.items():
        studies = [with_words(each, views, of[each.study_id]) if each.study_id in of else each for each in studies]
    return _with_studies(config, data, studies)


def _with_studies(config: DataConfig, data: SftData, studies: Sequence[Study]) -> SftData:
    """The data with these studies in place of its own, which differ in what is known of them alone."""
    by_id = {study.study_id: study for study in studies}
    rule = prompt_rule(config)
    asked = (by_id[each[0].id] for each in data.variants)
    variants = (variants_of(study, rule, config, data.priors.get(study.study_id)) for study in asked)
    return replace(data, studies=tuple(studies), variants=tuple(variants))


def _encoder(config: LabelPrompt, checkpoint: Checkpoint) -> ImageEncoder:
    """The encoder that is named, or that of the checkpoint's own reader, or the checkpoint's own."""
    named, format = config.data.label_prompt, checkpoint.format
    if isinstance(named, str):
        model, processor = open_encoder(encoder_folder(named))
        model = model.to(checkpoint.model.device)
        layer, class_token = read_layer(model.config.model_type)
    elif checkpoint.label_reader and not config.warmup.on_labels:
        return open_label_reader(checkpoint.label_reader, checkpoint.model.device).encoder
    else:
        model, processor = checkpoint.model.model.vision_tower, checkpoint.processor.image_processor
        layer = checkpoint.model.config.vision_feature_layer
        class_token = checkpoint.model.config.vision_feature_select_strategy == "default"
    return ImageEncoder(model, processor, layer, class_token, format.aspect, format.images)


def _fitted(config: LabelPrompt, encoder: ImageEncoder, data: SftData) -> tuple[LabelReader, Words]:
    """The reader, and the words of the training studies by heads that were fitted on other patients."""
    labels = study_labels(data.studies, config.warmup)
    names, targets = label_matrix([LabelSet(data.folder, data.studies, tuple(labels))])
    if not names:
        raise InputError("--label_prompt: no label is present in 1 % of the training studies; leave it out")
    rules = _rules(config.data)
    if not any(view.view in SLOTS for study in data.studies for view in study.views):
        raise InputError("--label_prompt: the studies have neither a frontal nor a lateral image; leave it out")
    known = {views: read_slots(encoder, data.studies, rule, data.folder) for views, rule in rules.items()}
    learnt = _as_shown(list(known.values()), config)
    held = {views: torch.zeros_like(targets) for views in rules}
    for inside, outside in _folds(data.studies, config.seed):
        head = _head(learnt, targets, outside, config.seed)
        for views, scores in held.items():
            scores[inside] = head(side_by_side([known[views][row] for row in inside], head.mean))
    head = _head(learnt, targets, range(len(learnt)), config.seed)
    least = _steps(config, encoder, head, names, held[config.data.views], targets)
    reader = LabelReader(encoder, head, tuple(names), least)
    words = {views: _words(reader, data.studies, known[views], scores) for views, scores in held.items()}
    say(f"label prompt: {len(names)} labels; words of training studies by heads of other patients")
    return reader, words


def _rules(config: DataConfig) -> dict[str, PromptRule]:
    """Views -> the rule, for each choice of views that a training prompt may show."""
    rule = prompt_rule(config)
    also = [FRONTAL] if config.view_dropout > 0 and config.views == "all" else []
    return {views: replace(rule, views=views) for views in (config.views, *also)}


def _as_shown(known: Sequence[Known], config: LabelPrompt) -> Known:
    """Of each study what a head learns from: all its images, or those of fewer views, by the share of such prompts."""
    fewer = np.random.default_rng([config.seed, 4]).random(len(known[0])) < config.data.view_dropout
    return [of[-1 if drop else 0] for *of, drop in zip(*known, fewer)]


def _words(reader: LabelReader, studies: Sequence[Study], known: Known, scores: torch.Tensor) -> dict[str, str]:
    said = zip(studies, known, reader.words(scores))
    return {study.study_id: words for study, of, words in said if any(each is not None for each in of)}


def _folds(studies: Sequence[Study], seed: int) -> Iterator[tuple[list[int], list[int]]]:
    """Rows of a part of the patients, and of all others, for each part. Raises InputError for a single patient."""
    patients = [study.subject_id or study.study_id for study in studies]
    every = sorted(set(patients))
    if len(every) < 2:
        raise InputError("--label_prompt: the studies are of one patient; it takes others to learn their labels from")
    drawn = np.random.default_rng(seed).permutation(len(every)) % _FOLDS
    fold = dict(zip(every, drawn.tolist()))
    for number in sorted(set(fold.values())):
        inside = [row for row, patient in enumerate(patients) if fold[patient] == number]
        yield inside, [row for row, patient in enumerate(patients) if fold[patient] != number]


def _head(known: Known, targets: torch.Tensor, rows: Sequence[int], seed: int) -> LinearHead:
    if len(rows) > _MOST:
        rows = sorted(np.random.default_rng(seed).permutation(rows)[:_MOST].tolist())
    some = [known[row] for row in rows]
    return solved_head(side_by_side(some, mean_features(known)), targets[list(rows)], _PENALTY)


def _steps(
    config: LabelPrompt,
    encoder: ImageEncoder,
    head: LinearHead,
    names: Sequence[str],
    held: torch.Tensor,
    targets: torch.Tensor,
) -> dict[str, list[float]]:
    """The least score of each step, by the validation split where it has enough of a label, else by `held`."""
    judged: list[tuple[torch.Tensor, torch.Tensor]] = [(held, targets)]
    for path in config.data.paths:
        valid = [study for study in read_studies(path, "valid") if study.report is not None]
        known = read_slots(encoder, valid, prompt_rule(config.data), path)
        if valid:
            truth = matrix_of(names, [LabelSet(path, tuple(valid), tuple(study_labels(valid, config.warmup)))])
            judged.append((head(side_by_side(known, head.mean)), truth))
    least: dict[str, list[float]] = {LIKELY: [], POSSIBLE: []}
    scores, truth = ([torch.cat(of) for of in zip(*judged[1:])]) or judged[0]
    for number in range(len(names)):
        enough = len(judged) > 1 and int((truth[:, number] == 1).sum()) >= _FEW
        of = (scores, truth) if enough else judged[0]
        likely, possible = _cuts(of[0][:, number].double().numpy(), of[1][:, number].numpy() == 1)
        least[LIKELY].append(likely)
        least[POSSIBLE].append(possible)
    return least


def _cuts(scores: NDArray[np.float64], present: NDArray[np.bool_]) -> tuple[float, float]:
    """The least score that is "likely", by the best F1, and the least that is "possible", for studies (N,)."""
    order = np.argsort(-scores, kind="stable")
    hits, taken = np.cumsum(present[order]), np.arange(1, len(scores) + 1)
    likely = int(np.argmax(2 * hits / (taken + max(1, present.sum()))))
    found = int(np.searchsorted(hits, _FOUND * present.sum()))
    possible = max(likely, min(found, _WIDEST * int(present.sum()), len(scores) - 1))
    ends = np.append(scores[order], scores.min())
    first, second = (float(ends[last : last + 2].mean()) for last in (likely, possible))  # half way to the next study
    return first, second
