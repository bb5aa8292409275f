"""Labels that a vision encoder is warmed up on: those of the report studies, and those of sets of labels alone.

Sets do not share their labels: one knows nodules, the next only pneumonia. So all labels of all sets stand in one
matrix, and what a set cannot say is unknown there: it gives no loss and counts in no score. Labels of studies with a
report are complete, since what a report does not mention is absent. A set without reports may leave a cell blank, which
is unknown; only a set that never says "absent" is a list of what is present, and there the rest is absent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from cxrgen.core.errors import InputError
from cxrgen.core.records import Study, read_studies
from cxrgen.core.tables import read_csv
from cxrgen.train.config import names_in

UNKNOWN_LABEL = -1.0
_COLUMNS = ("set", "label", "name")


@dataclass(frozen=True)
class LabelSet:
    """Studies with labels (1 present, 0 absent, -1 uncertain); `complete`: a label that is not there is absent."""

    folder: Path  # where image paths start
    studies: tuple[Study, ...]
    labels: tuple[dict[str, int], ...]
    complete: bool = True

    def values_of(self, name: str) -> list[float]:
        """The label of each study; unknown for all of them where the set does not have it."""
        if not any(name in each for each in self.labels):
            return [UNKNOWN_LABEL] * len(self.labels)
        missing = 0 if self.complete else -1
        return [float(each.get(name, missing)) for each in self.labels]


def read_label_sets(warmup_data: str, label_map: str, split: str) -> list[LabelSet]:
    """The studies of a split of each set in `warmup_data` that have labels, by the names that the table gives them.

    Raises InputError for a folder that is no prepared set, and for a table that names no set or label of these.
    """
    folders = [Path(name) for name in names_in(warmup_data)]
    names = _read_map(Path(label_map)) if label_map else {}
    unused = sorted({of for of, _ in names} - {folder.resolve().name for folder in folders} - {""})
    if unused:
        raise InputError(f"{label_map}: set {unused[0]!r} is none of --warmup_data; a set goes by its folder's name")
    sets = []
    for folder in folders:
        every = read_studies(folder)
        own = {label for (of, label) in names if of == folder.resolve().name}
        strange = sorted(own - {label for study in every for label in study.labels or {}})
        if strange:
            raise InputError(
                f"{label_map}: {len(strange)} labels of set {folder.resolve().name!r} that none of its studies has; "
                "correct the column label",
                detail=", ".join(strange),
            )
        studies = tuple(study for study in every if study.split == split and study.labels)
        labels = tuple(_renamed(study.labels or {}, names, folder.resolve().name) for study in studies)
        complete = all(study.report is not None for study in every) or _lists_present(every)
        sets.append(LabelSet(folder, studies, labels, complete))
    return sets


def _lists_present(studies: Sequence[Study]) -> bool:
    return not any(value == 0 for study in studies for value in (study.labels or {}).values())


def _renamed(labels: Mapping[str, int], names: Mapping[tuple[str, str], str], of: str) -> dict[str, int]:
    """Labels by their new names; where several become one, the strongest statement counts: 1, then -1, then 0."""
    found: dict[str, int] = {}
    for label, value in labels.items():
        name = names.get((of, label), names.get(("", label), label))
        if name:
            found[name] = max(value, found.get(name, 0), key=(0, -1, 1).index)
    return found


def _read_map(file: Path) -> dict[tuple[str, str], str]:
    """(set, label) -> name; a blank set is every set, a blank name leaves the label out."""
    table = read_csv(file)
    missing = [column for column in _COLUMNS if column not in table.columns]
    if missing:
        raise InputError(f"{file}: no column {missing[0]!r}; a label map has the columns {', '.join(_COLUMNS)}")
    names: dict[tuple[str, str], str] = {}
    for row in table.rows:
        of, label, name = (row.cells[column].strip() for column in _COLUMNS)
        if not label:
            raise InputError(f"{row.row_ref}: the label is blank; remove the row")
        if names.setdefault((of, label), name) != name:
            raise InputError(f"{row.row_ref}: another name for a label that has one; keep one of the rows")
    return names


def label_matrix(sets: Sequence[LabelSet], smallest_share: float = 0.01) -> tuple[list[str], torch.Tensor]:
    """Names and a float32 matrix (N, L) of 1 present, 0 absent, UNKNOWN_LABEL, over the studies of all sets.

    Labels that are present in fewer than `smallest_share` of the studies of the sets that have them, or never absent,
    are left out.
    """
    present = Counter(name for each in sets for labels in each.labels for name, value in labels.items() if value == 1)
    columns = {name: [value for each in sets for value in each.values_of(name)] for name in sorted(present)}
    names = []
    for name, values in columns.items():
        carrying = sum(len(each.labels) for each in sets if any(name in labels for labels in each.labels))
        if present[name] >= smallest_share * carrying and 0.0 in values:
            names.append(name)
    matrix = torch.tensor([columns[name] for name in names], dtype=torch.float32)
    return names, matrix.reshape(len(names), sum(len(each.labels) for each in sets)).T.contiguous()


def matrix_of(names: Sequence[str], sets: Sequence[LabelSet]) -> torch.Tensor:
    """The same matrix for given names, for the studies of another split."""
    columns = [[value for each in sets for value in each.values_of(name)] for name in names]
    return torch.tensor(columns, dtype=torch.float32).reshape(len(names), -1).T.contiguous()
