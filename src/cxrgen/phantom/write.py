"""Make synthetic studies: films, reports and the true findings, in the course layout.

    images/{study}-{view}.png  reports/{study}.txt  train.csv  test.csv  mimic-cxr-2.0.0-metadata.csv  findings.csv

Test studies have no text in reports/ or test.csv; theirs is in truth/test_reports.csv. The same seed gives the same
bytes, with any number of workers. Phantoms test plumbing and methods; they teach nothing about real radiographs.
"""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from cxrgen.errors import UsageError
from cxrgen.files import replacing, write_csv, write_text
from cxrgen.phantom.findings import COLUMNS, Findings, as_row, draw_findings
from cxrgen.phantom.scene import Film, draw_scene
from cxrgen.phantom.wording import report_file, word_sections
from cxrgen.progress import say, track

_EXAMPLES = """examples:
  cxrgen phantom --out phantom --studies 6000 --test-studies 200
  cxrgen phantom --out phantom --studies 40 --seed 7 --size 64
"""
_VALID_SHARE = 0.05
_FIRST_SUBJECT = 10_000_000
_FRONTALS, _LATERALS = ("PA", "AP"), ("LATERAL", "LL")


@dataclass(frozen=True)
class Drawn:
    """One synthetic study without its names."""

    findings: Findings
    frontal: Film
    lateral: Film
    sections: tuple[str, str]  # findings, impression
    raw_views: tuple[str, str]


@dataclass(frozen=True)
class _Named:
    """What the tables need to know of a study once its films are written."""

    study_id: str
    subject_id: str
    split: str
    raw_views: tuple[str, str]
    sections: tuple[str, str]
    truth: dict[str, str]


def draw_study(seed: int, index: int, size: int = 128) -> Drawn:
    """Study number `index` of the endless series that `seed` stands for."""
    generator = np.random.default_rng([seed, index])
    findings = draw_findings(generator)
    frontal, lateral = draw_scene(findings, size, generator)
    sections = word_sections(findings, generator)
    raw_views = (str(generator.choice(_FRONTALS)), str(generator.choice(_LATERALS)))
    return Drawn(findings, frontal, lateral, sections, raw_views)


def write_phantoms(
    out: Path, studies: int, test_studies: int = 0, seed: int = 0, size: int = 128, workers: int | None = None
) -> None:
    """Write `studies` studies for training (a twentieth of them split valid) and `test_studies` for testing."""
    total = studies + test_studies
    width = max(4, len(str(total)))
    order = np.random.default_rng([seed]).permutation(total)  # ids tell nothing about the order of making
    plans = []
    for index in range(total):
        split = "test" if index >= studies else "valid" if index >= studies * (1 - _VALID_SHARE) else "train"
        plans.append((index, f"{order[index] + 1:0{width}}", str(_FIRST_SUBJECT + int(order[index])), split))
    (out / "images").mkdir(parents=True, exist_ok=True)
    write = partial(_write_study, out, seed, size)
    if workers == 1:
        named = [write(plan) for plan in track(plans, "making studies", total)]
    else:
        with ProcessPoolExecutor(workers) as pool:
            named = list(track(pool.map(write, plans, chunksize=16), "making studies", total))
    _write_tables(out, sorted(named, key=lambda each: each.study_id), size)


def _write_study(out: Path, seed: int, size: int, plan: tuple[int, str, str, str]) -> _Named:
    index, study_id, subject_id, split = plan
    drawn = draw_study(seed, index, size)
    for number, film in enumerate((drawn.frontal, drawn.lateral), 1):
        data = io.BytesIO()
        Image.fromarray(film).save(data, "PNG", compress_level=1)
        with replacing(out / "images" / f"{study_id}-{number:04}.png") as temporary:
            temporary.write_bytes(data.getvalue())
    if split != "test":
        write_text(out / "reports" / f"{study_id}.txt", report_file(*drawn.sections), private=True)
    return _Named(study_id, subject_id, split, drawn.raw_views, drawn.sections, as_row(drawn.findings))


def _write_tables(out: Path, studies: Sequence[_Named], size: int) -> None:
    train, test, metadata = [], [], []
    for study in studies:
        for number, raw_view in enumerate(study.raw_views, 1):
            stem = f"{study.study_id}-{number:04}"
            place = [f"images/{stem}.png", raw_view, study.split, study.subject_id]
            if study.split == "test":
                test.append(place)
            else:
                train.append([*place, *study.sections])
            metadata.append([stem, study.subject_id, study.study_id, raw_view, str(size), str(size)])
    columns = ["Path", "ViewPosition", "split", "subject_id"]
    write_csv(out / "train.csv", [*columns, "findings", "impression"], train, private=True)
    write_csv(out / "test.csv", columns, test)
    write_csv(
        out / "mimic-cxr-2.0.0-metadata.csv",
        ["dicom_id", "subject_id", "study_id", "ViewPosition", "Rows", "Columns"],
        metadata,
    )
    truth = [[study.study_id, *(study.truth[column] for column in COLUMNS)] for study in studies]
    write_csv(out / "findings.csv", ["study_id", *COLUMNS], truth)
    texts = [[study.study_id, *study.sections] for study in studies if study.split == "test"]
    write_csv(out / "truth" / "test_reports.csv", ["study_id", "findings", "impression"], texts, private=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("--out", required=True, type=Path, help="folder to write to")
    parser.add_argument("--studies", required=True, type=int, help="studies for training and validation")
    parser.add_argument("--test-studies", type=int, default=0, help="studies for testing (default: 0)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same studies (default: 0)")
    parser.add_argument("--size", type=int, default=128, help="side of the films in pixels (default: 128)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)")


def run(options: argparse.Namespace) -> int:
    if options.studies < 1 or options.test_studies < 0 or options.size < 32 or options.seed < 0:
        raise UsageError("--studies at least 1, --test-studies and --seed at least 0, --size at least 32")
    write_phantoms(options.out, options.studies, options.test_studies, options.seed, options.size, options.workers)
    say(f"{options.studies + options.test_studies} synthetic studies; they teach nothing about real radiographs")
    print(options.out)
    return 0
