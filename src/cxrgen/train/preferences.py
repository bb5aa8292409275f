"""Pairs of reports of one study, one better than the other, that a second stage learns from.

Pairs come from the model's own candidates (`cxrgen generate --split train --samples N`): the best and the worst of a
study by a score against its report. Or, without any score: the study's own report against that of another patient. The
prompt is that of supervised training in either case, so a pair differs in its answer alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cxrgen.core.candidates import pooled
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.progress import say
from cxrgen.core.records import Conversation
from cxrgen.metrics import load
from cxrgen.metrics.consensus import Utility, read_utility, values_of_pairs
from cxrgen.train.data import SftData
from cxrgen.train.second_stages import PreferenceConfig

Variants = tuple[Conversation, ...]  # the conversations that an item may appear in, as `SftData` has them


@dataclass(frozen=True)
class Pair:
    """The same question twice, answered better and worse; both have the same id, which no other pair has."""

    better: Variants
    worse: Variants

    @property
    def id(self) -> str:
        return self.better[0].id


def read_pairs(config: PreferenceConfig, data: SftData, seed: int) -> list[Pair]:
    """All pairs that are asked for. Raises InputError when there is none, UsageError for what cannot be asked."""
    if not (config.candidates or config.other_patient_pairs):
        raise UsageError("--stage dpo needs --candidates predictions.jsonl, or --other_patient_pairs True")
    items = {variants[0].id: variants for variants in data.variants}
    found: list[Pair] = []
    if config.candidates:
        utility = read_utility(config.pair_utility)
        for metric in utility.metrics:
            if missing := load(metric).lacks({}):
                raise UsageError(f"--pair_utility: {missing}")
        files = [Path(name.strip()) for name in config.candidates.split(",") if name.strip()]
        found += pairs_of_candidates(items, files, utility, config.pair_gap)
    own = len(found)
    if config.other_patient_pairs:
        patients = {study.study_id: study.subject_id for study in data.studies}
        if not patients:
            raise UsageError("--other_patient_pairs needs a prepared folder as --data_path, which knows the patients")
        found += pairs_of_patients(items, patients, seed)
    if not found:
        raise InputError("no pair of reports to learn from; lower --pair_gap, or sample more warmly")
    better, worse = ([pair.better for pair in found], [pair.worse for pair in found])
    say(
        f"{own} pairs of candidates, {len(found) - own} with another patient's report; "
        f"words of the better one {_words(better):.1f}, of the worse one {_words(worse):.1f}"
    )
    return found


def pairs_of_candidates(
    items: Mapping[str, Variants], files: Sequence[Path], utility: Utility, gap: float
) -> list[Pair]:
    """The best and the worst candidate of each study by `utility` against its report, where these differ by `gap`."""
    studies = [study for study in pooled(files) if study.study_id in items]
    if not studies:
        raise InputError(
            f"{files[0]}: no study of the training data; sample these with `cxrgen generate --split train`"
        )
    reports = [report for study in studies for report in study.reports]
    references = [_answer(items[study.study_id]) for study in studies for _ in study.reports]
    ends = np.cumsum([len(study.reports) for study in studies])[:-1]
    found = []
    for study, values in zip(studies, np.split(values_of_pairs(reports, references, utility), ends)):
        best, worst = int(values.argmax()), int(values.argmin())
        texts = study.reports[best], study.reports[worst]
        if values[best] - values[worst] >= max(gap, 1e-9) and all(text.strip() for text in texts):
            found.append(_pair(items[study.study_id], *texts, "candidates"))
    return found


def pairs_of_patients(items: Mapping[str, Variants], patients: Mapping[str, str], seed: int) -> list[Pair]:
    """Each study's own report against that of another patient with other words, drawn by `seed`."""
    names = sorted(items)
    order = np.random.default_rng(seed).permutation(len(names))
    found = []
    for place, number in enumerate(order):
        name, own = names[number], _answer(items[names[number]])
        for step in range(1, len(names)):
            other = names[order[(place + step) % len(names)]]
            text = _answer(items[other])
            if patients[other] != patients[name] and text != own:
                found.append(_pair(items[name], own, text, "another patient"))
                break
    return sorted(found, key=lambda pair: pair.id)


def _pair(variants: Variants, better: str, worse: str, kind: str) -> Pair:
    sides = [tuple(_answered(each, text, kind) for each in variants) for text in (better, worse)]
    return Pair(sides[0], sides[1])


def _answered(conversation: Conversation, text: str, kind: str) -> Conversation:
    *before, last = conversation.turns
    return replace(conversation, id=f"{conversation.id} ({kind})", turns=(*before, replace(last, text=text)))


def _answer(variants: Variants) -> str:
    return variants[0].turns[-1].text


def _words(answers: Sequence[Variants]) -> float:
    return float(np.mean([len(_answer(each).split()) for each in answers]))
