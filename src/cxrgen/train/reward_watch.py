"""Whether a policy still writes what its reward means: reports of fixed studies, compared with those of the start.

A reward is a stand-in, and a policy that is pushed far enough finds what the stand-in does not see: longer reports, the
same report for everyone, wording that only its own set rewards. So fixed studies of the own set's split valid, and of a
set from elsewhere (`--outside_data`), are written greedily at the start and again every `watch_steps`. What ends a run
is that on either set the share of distinct reports falls, that on the own set lengths leave those of the references, or
that on the outside set a score falls: each by more than chance, its 95 % interval over patients lying wholly on the
worse side. Lengths elsewhere follow other habits of writing, and say nothing of a model that keeps to its own.
A run of many looks may be ended by chance; what that costs is the steps behind the best state, which is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrgen.core.errors import InputError
from cxrgen.core.progress import say
from cxrgen.core.records import Conversation
from cxrgen.evaluate.intervals import FEWEST, ends_text
from cxrgen.evaluate.paired import Gap, gaps
from cxrgen.evaluate.statistics import Clusters, clusters, total_of
from cxrgen.generate.decoding.reports import write_reports
from cxrgen.metrics import Floats, MetricResult, measure
from cxrgen.metrics.rewards import length_penalty
from cxrgen.train.config import DataConfig
from cxrgen.train.data import read_sft_data
from cxrgen.train.distributed import Processes
from cxrgen.train.label_prompt import with_read_labels
from cxrgen.train.rollouts import Policy, known_rows
from cxrgen.train.second_stages import PolicyConfig
from cxrgen.train.validate import fixed_part, writing

HELD, OUTSIDE = "held", "outside"
DISTINCT, LENGTH_OFF = "distinct", "length_off"
SCORES = (("bleu", "bleu_4"), ("rule", "rule_f1_micro_14"))
_NAMES = {DISTINCT: "the share of distinct reports", LENGTH_OFF: "the distance from the references' length"}
_ENDING = {  # what ends a run; the scores of the own set are what the reward may be made of
    HELD: (DISTINCT, LENGTH_OFF),
    OUTSIDE: (DISTINCT, *(score for _, score in SCORES)),
}
_AT_ONCE = 32  # reports that are written together


@dataclass(frozen=True)
class WatchedSet:
    """Fixed studies that are never learnt from; `known` is what the reward may ask of each, None where it is not."""

    name: str
    conversations: tuple[Conversation, ...]
    groups: Clusters
    folder: Path
    known: tuple[Mapping[str, Any], ...] | None = None

    @property
    def references(self) -> list[str]:
        return [each.turns[-1].text for each in self.conversations]


@dataclass(frozen=True)
class Look:
    """One look at all sets: numbers for the log, and by set what is compared."""

    values: dict[str, float]
    measured: dict[str, list[MetricResult]]


def watched_sets(config: PolicyConfig, data: DataConfig, reader: Path | None = None) -> list[WatchedSet]:
    """The own set's split valid, and the outside set's, with the words of the label `reader` where there is one.

    Raises InputError for too few patients to judge by.
    """
    sets = [_watched(HELD, config, replace(data, split="valid", view_dropout=0.0), reader)]
    if config.outside_data:
        outside = replace(data, data_path=config.outside_data, image_folder="", split="valid", view_dropout=0.0)
        return [*sets, _watched(OUTSIDE, config, outside, reader)]
    say(
        "warning: no --outside_data: what the policy learns may hold for its own set alone, and this run cannot see "
        "it; give a prepared set of another source"
    )
    return sets


def _watched(name: str, config: PolicyConfig, data: DataConfig, reader: Path | None) -> WatchedSet:
    read = with_read_labels(data, read_sft_data(data), reader)
    chosen = fixed_part([each[0] for each in read.variants], config.watch_studies)
    by_id = {study.study_id: study for study in read.studies}
    studies = [by_id[each.id] for each in chosen]
    groups = clusters([study.subject_id for study in studies])
    if groups.count < FEWEST:
        raise InputError(f"{data.data_path}: {groups.count} patients in split valid; {FEWEST} or more can be watched")
    known = tuple(known_rows(studies, config.reward_truth)) if name == HELD else None
    return WatchedSet(name, tuple(chosen), groups, read.folder, known)


class RewardWatch:
    """Looks at the watched sets, each compared with the look at the start."""

    def __init__(self, policy: Policy, sets: Sequence[WatchedSet]) -> None:
        self.policy, self.sets = policy, sets
        self._first: Look | None = None

    def begin(self, processes: Processes) -> dict[str, float]:
        """Look at the starting model, whatever the model is now; returns the numbers."""
        with self.policy.start.in_place():
            self._first = self._look(processes)
        return self._first.values

    def look(self, processes: Processes) -> tuple[dict[str, float], list[str]]:
        """The numbers of the model as it is, and what is worse than at the start, a text each; on all processes."""
        assert self._first is not None
        now = self._look(processes)
        return now.values, [text for each in self.sets for text in self._worse(each, self._first, now)]

    def _look(self, processes: Processes) -> Look:
        values: dict[str, float] = {}
        measured = {}
        for each in self.sets:
            reports = self._reports(each, processes)
            if each.known is not None:
                rewards = self.policy.reward(reports, each.references, each.known)
                values[f"{each.name}_reward"] = float(np.mean(rewards))
            values[f"{each.name}_words"] = float(np.mean([len(report.split()) for report in reports]))
            measured[each.name] = results = measures(reports, each.references)
            for result in results:
                total = total_of(result, each.groups.sums(result.counts))
                values |= {f"{each.name}_{name}": total[name] for name in _watched_names(result)}
        return Look(values, measured)

    def _reports(self, watched: WatchedSet, processes: Processes) -> list[str]:
        """The likeliest report of each study; every process writes a share of them."""
        mine = range(processes.rank, len(watched.conversations), processes.count)
        asked = [watched.conversations[number] for number in mine]
        most, checkpoint = self.policy.config.sample_tokens, self.policy.checkpoint
        with writing(checkpoint.model, processes, self.policy.bf16):
            written = [*write_reports(checkpoint, asked, watched.folder, _AT_ONCE, most)] if asked else []
        own = {mine[place]: report.report for place, report in written}
        reports = {number: text for part in processes.all_gather(own) for number, text in part.items()}
        return [reports[number] for number in range(len(watched.conversations))]

    def _worse(self, watched: WatchedSet, first: Look, now: Look) -> list[str]:
        found = []
        for before, after in zip(first.measured[watched.name], now.measured[watched.name]):
            names = [name for name in _watched_names(before) if name in _ENDING[watched.name]]
            for name, gap in gaps(before, after, watched.groups, names).items():
                if is_worse(gap):
                    found.append(f"{watched.name} set: {_NAMES.get(name, name)} {_change(gap)}")
        return found


def measures(reports: Sequence[str], references: Sequence[str]) -> list[MetricResult]:
    """What is watched of N reports, as counts that can be summed by patient."""
    times = Counter(reports)
    shares = [1 / times[report] for report in reports]  # their mean is the share of distinct reports
    off = [-value for value in length_penalty(reports, references)]
    counts = np.array([*zip(shares, off, np.ones(len(reports)))], dtype=np.float64).reshape(len(reports), 3)
    form = MetricResult(counts, _form, "watched form", frozenset({LENGTH_OFF}))
    return [form, *(measure(metric, reports, references) for metric, _ in SCORES)]


def _form(sums: Floats) -> dict[str, Floats]:
    return {DISTINCT: sums[..., 0] / sums[..., 2], LENGTH_OFF: sums[..., 1] / sums[..., 2]}


def _watched_names(result: MetricResult) -> list[str]:
    names = [*_NAMES, *(score for _, score in SCORES)]
    known = result.aggregate(result.counts.sum(axis=0))
    return [name for name in names if name in known]


def is_worse(gap: Gap) -> bool:
    """Whether a difference's interval lies wholly on the worse side."""
    if gap.interval.ends is None:
        return False
    return gap.interval.ends[0] > 0 if gap.better == "lower" else gap.interval.ends[1] < 0


def _change(gap: Gap) -> str:
    went = "rose" if gap.difference > 0 else "fell"
    return f"{went} from {gap.first:.3f} to {gap.second:.3f} (difference {ends_text(gap.interval.ends)})"
