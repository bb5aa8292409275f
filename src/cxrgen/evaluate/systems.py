"""The systems that are compared: score folders, or tables of reports that are scored on the spot.

All are brought to the studies that every one of them has, so that no system is judged on other cases. A folder holds no
report texts; a table brings them, and they can be shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import sha256_file
from cxrgen.evaluate.pairs import listed, read_pairs
from cxrgen.evaluate.report_files import ENDINGS
from cxrgen.evaluate.results import Results, read_results
from cxrgen.evaluate.scores import evaluate


@dataclass(frozen=True)
class System:
    """One system: its name, its counts, and report texts by study id where they are known."""

    name: str
    results: Results
    reports: Mapping[str, str] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)


def read_systems(
    given: Sequence[str], gt: Path | None = None, metrics: Sequence[str] | None = None
) -> tuple[list[System], list[str]]:
    """Systems from the words of the command line, each DIR, FILE.csv, or NAME= before either; and remarks.

    Tables are scored against `gt`. Raises UsageError for names given twice, InputError for what cannot be read.
    """
    parts = [_name_and_path(word) for word in given]
    short = _short_names([path for _, path in parts])
    names = [name or short[place] for place, (name, _) in enumerate(parts)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"two systems are called {twice!r}; name them as NAME={parts[names.index(twice)][1]}")
    systems, remarks = [], []
    for name, (_, path) in zip(names, parts):
        if path.is_dir() or path.suffix.lower() not in ENDINGS:
            systems.append(System(name, read_results(path)))
        elif gt is None:
            raise UsageError(f"{path} is a table of reports; give the references as --gt gt.csv")
        else:
            system, notes = _scored(name, path, gt, metrics)
            systems.append(system)
            remarks += [f"{name}: {note}" for note in notes]
    return systems, remarks


def _scored(name: str, path: Path, gt: Path, metrics: Sequence[str] | None) -> tuple[System, list[str]]:
    """A table of reports, scored on the studies that it has."""
    pairs = read_pairs(path, gt, allow_missing=True)
    subjects = pairs.subjects or pairs.study_ids
    scores = evaluate(pairs.hypotheses, pairs.all_references(), pairs.study_ids, subjects, metrics)
    signatures = {key: {"signature": score.signature} for key, score in scores.metrics.items()}
    inputs = {"gt": {"file": gt.name, "sha256": sha256_file(gt)}}
    results = Results(
        path, {"metrics": signatures, "inputs": inputs}, pairs.study_ids, tuple(subjects), scores.measured
    )
    texts = (dict(zip(pairs.study_ids, texts)) for texts in (pairs.hypotheses, pairs.references))
    notes = [f"left out: {listed(pairs.rows_left_out)}"] if any(pairs.left_out.values()) else []
    return System(name, results, *texts), notes


def _name_and_path(word: str) -> tuple[str, Path]:
    name, equals, path = word.partition("=")
    return (name.strip(), Path(path)) if equals and name and path and not Path(word).exists() else ("", Path(word))


def _short_names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart; a table goes without its ending."""
    whole = [(path.with_suffix("") if path.suffix.lower() in ENDINGS else path).resolve().parts for path in paths]
    for length in range(1, max(map(len, whole)) + 1):
        names = ["/".join(parts[-length:]) for parts in whole]
        if len(set(names)) == len(names):
            return names
    raise UsageError("the same system is named twice; compare different ones")


def on_common_studies(systems: Sequence[System]) -> tuple[list[System], list[str]]:
    """All systems on the studies that every one has, in the first one's order, and what had to be left out.

    Raises InputError when no study is common.
    """
    first, *others = (system.results for system in systems)
    known = set(first.study_ids).intersection(*(other.study_ids for other in others))
    common = [name for name in first.study_ids if name in known]
    if not common:
        folders = ", ".join(str(system.results.folder) for system in systems)
        raise InputError(f"{folders} have no study in common; score the same test set")
    remarks = []
    union = set(first.study_ids).union(*(other.study_ids for other in others))
    if len(common) < len(union):
        remarks.append(f"compared on the {len(common)} common studies of {len(union)}")
    kept = [replace(system, results=system.results.among(common)) for system in systems]
    subjects = kept[0].results.subjects
    for system in kept[1:]:
        if system.results.subjects != subjects:
            remarks.append(f"{system.name}: knows other patients than {kept[0].name}, whose are used")
        if _references_of(system) != _references_of(kept[0]):
            remarks.append(f"{system.name}: scored against another reference file; differences may come from that")
    return [replace(system, results=replace(system.results, subjects=subjects)) for system in kept], remarks


def _references_of(system: System) -> object:
    return system.results.content.get("inputs", {}).get("gt", {}).get("sha256")
