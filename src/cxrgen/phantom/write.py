"""Make synthetic studies: images, reports and the true findings, in the course layout.

    images/{study}-{view}.png  reports/{study}.txt  train.csv  test.csv  mimic-cxr-2.0.0-metadata.csv  findings.csv
    optimum.json  truth/test_reports.csv

Test studies have no text in reports/ or test.csv; theirs is in truth/test_reports.csv. The same seed gives the same
bytes on every platform, with any number of workers. Phantoms test plumbing and methods; they teach nothing about real
radiographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cxrgen.core.files import replacing, write_csv, write_json
from cxrgen.core.progress import track
from cxrgen.core.workers import start_worker
from cxrgen.phantom.findings import COLUMNS, as_row
from cxrgen.phantom.oracle import optimum
from cxrgen.phantom.patients import Drawn, draw_patient, visits
from cxrgen.phantom.png import png_bytes
from cxrgen.phantom.rng import make_rng, shuffled

_VALID_SHARE = 0.05
_FIRST_SUBJECT = 10_000_000


@dataclass(frozen=True)
class _Plan:
    """A patient of the series, and the names that its studies get, the earliest first."""

    patient: int
    subject_id: str
    study_ids: tuple[str, ...]
    split: str


@dataclass(frozen=True)
class _Named:
    """What the tables need to know of a study once its images are written."""

    study_id: str
    subject_id: str
    prior_study_id: str
    split: str
    raw_views: tuple[str, str]
    date: str
    time: str
    indication: str
    sections: tuple[str, str]  # findings, impression
    truth: dict[str, str]


def write_phantoms(
    out: Path,
    studies: int,
    test_studies: int = 0,
    seed: int = 0,
    size: int = 128,
    workers: int | None = None,
    style: str = "varied",
) -> None:
    """Write `studies` studies for training (a twentieth of them split valid) and `test_studies` for testing.

    All studies of a patient are in one split.
    """
    plans = _plans(studies, test_studies, seed, style)
    (out / "images").mkdir(parents=True, exist_ok=True)
    write = partial(_write_patient, out, seed, size, style)
    if workers == 1:
        named = [write(plan) for plan in track(plans, "making studies", len(plans))]
    else:
        with ProcessPoolExecutor(workers, initializer=start_worker) as pool:
            named = list(track(pool.map(write, plans, chunksize=16), "making studies", len(plans)))
    _write_tables(out, sorted((study for each in named for study in each), key=lambda each: each.study_id), size)


def _plans(studies: int, test_studies: int, seed: int, style: str) -> list[_Plan]:
    """Patients in the order of their making; ids are shuffled, so they tell nothing about it."""
    total, patients = studies + test_studies, 0
    counts: list[int] = []
    ends = (int(studies * (1 - _VALID_SHARE)), studies, total)
    splits = []
    for end, split in zip(ends, ("train", "valid", "test")):
        while sum(counts) < end:  # the last patient of a split may lose later studies
            counts.append(min(visits(seed, patients, style), end - sum(counts)))
            splits.append(split)
            patients += 1
    names = make_rng(seed)
    study_numbers = iter(shuffled(names, range(1, total + 1)))
    subject_numbers = shuffled(names, range(patients))
    width = max(4, len(str(total)))
    return [
        _Plan(
            patient,
            str(_FIRST_SUBJECT + subject_numbers[patient]),
            tuple(f"{next(study_numbers):0{width}}" for _ in range(counts[patient])),
            splits[patient],
        )
        for patient in range(patients)
    ]


def _write_patient(out: Path, seed: int, size: int, style: str, plan: _Plan) -> list[_Named]:
    named = []
    drawn = draw_patient(seed, plan.patient, size, style)
    for study_id, prior, study in zip(plan.study_ids, ("", *plan.study_ids), drawn):
        _write_files(out, study_id, study, with_text=plan.split != "test")
        named.append(
            _Named(
                study_id=study_id,
                subject_id=plan.subject_id,
                prior_study_id=prior,
                split=plan.split,
                raw_views=study.raw_views,
                date=f"{study.taken:%Y%m%d}",
                time=str(float(f"{study.taken:%H%M%S}")),  # a number, as in MIMIC-CXR: leading zeros are lost
                indication=study.report.indication,
                sections=(study.report.findings, study.report.impression),
                truth=as_row(study.findings),
            )
        )
    return named


def _write_files(out: Path, study_id: str, study: Drawn, with_text: bool) -> None:
    for number, image in enumerate((study.frontal, study.lateral), 1):
        with replacing(out / "images" / f"{study_id}-{number:04}.png") as temporary:
            temporary.write_bytes(png_bytes(image))
    if with_text:
        with replacing(out / "reports" / f"{study_id}.txt") as temporary:
            temporary.touch(mode=0o600)
            temporary.write_bytes(study.report.file.encode())


def _write_tables(out: Path, studies: Sequence[_Named], size: int) -> None:
    train, test, metadata = [], [], []
    for study in studies:
        for number, raw_view in enumerate(study.raw_views, 1):
            stem = f"{study.study_id}-{number:04}"
            place = [f"images/{stem}.png", raw_view, study.split, study.subject_id, study.indication]
            if study.split == "test":
                test.append(place)
            else:
                train.append([*place, *study.sections])
            metadata.append(
                [stem, study.subject_id, study.study_id, raw_view, str(size), str(size), study.date, study.time]
            )
    columns = ["Path", "ViewPosition", "split", "subject_id", "indication"]
    write_csv(out / "train.csv", [*columns, "findings", "impression"], train, private=True)
    write_csv(out / "test.csv", columns, test, private=True)
    write_csv(
        out / "mimic-cxr-2.0.0-metadata.csv",
        ["dicom_id", "subject_id", "study_id", "ViewPosition", "Rows", "Columns", "StudyDate", "StudyTime"],
        metadata,
    )
    truth = [[each.study_id, *(each.truth[column] for column in COLUMNS), each.prior_study_id] for each in studies]
    write_csv(out / "findings.csv", ["study_id", *COLUMNS, "prior_study_id"], truth)
    split = "test" if any(each.split == "test" for each in studies) else "train"
    asked = [each.truth for each in studies if each.split == split]
    best = optimum(asked, [each.truth for each in studies])
    write_json(out / "optimum.json", {"split": split, "studies": len(asked), "optimum": best})
    texts = [[study.study_id, *study.sections] for study in studies if study.split == "test"]
    write_csv(out / "truth" / "test_reports.csv", ["study_id", "findings", "impression"], texts, private=True)
