"""Images to stored pictures, by all cores, and a journal by which an interrupted run continues.

A stored image is 8-bit grey, its longest side at most `--size`, never padded or cropped (see `imaging.stored`). Names
are made from study and number, never taken from input, in 256 folders. Each line of images.jsonl says what became of
one image; an image whose line, source and stored file agree is not made again.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from cxrgen.core import __version__
from cxrgen.core.errors import InputError
from cxrgen.core.files import is_file, make_folder, sha256_file
from cxrgen.core.journal import Journal, Record, read_journal, write_journal
from cxrgen.core.progress import track
from cxrgen.core.workers import start_worker
from cxrgen.imaging.read import read_image
from cxrgen.imaging.rejects import ImageReject
from cxrgen.prepare.image_store import ImageJob, ImageOptions, StoredImage, store_image, stored_paths

JOURNAL = "images.jsonl"
_VERSION = f"{__version__}/2"  # of the program, and of the journal's form
_BYTES_PER_IMAGE = 60_000  # at 512 pixels
_PROBED = 200  # images, for an estimate of time


def store_images(
    jobs: Sequence[ImageJob],
    out: Path,
    options: ImageOptions,
    workers: int,
    header: Mapping[str, Any],
    engine: str = "local",
) -> dict[str, StoredImage]:
    """Store every image under out/images; returns what became of each by key.

    `engine` is "local" (processes) or "ray". `header` holds the run's options and opens the journal. Raises InputError
    when a worker dies or the disk is full.
    """
    journal = out / JOURNAL
    before = read_stored(journal)[1]
    done = {job.key: before[job.key] for job in jobs if _still_true(before.get(job.key), job, out)}
    waiting = [job for job in jobs if job.key not in done]
    make_folder(out)
    write_stored(journal, header, before.values())
    left_out: Counter[str] = Counter()
    with Journal(journal) as file:
        made = (_by_ray if engine == "ray" else _make)(waiting, out, options, workers)
        for image in track(made, "storing images", len(waiting), lambda: f"{left_out.total()} left out"):
            done[image.key] = image
            left_out.update([image.code] if image.code else [])
            file.add(asdict(image))
    return done


def read_stored(path: Path) -> tuple[Record | None, dict[str, StoredImage]]:
    """(options of the run that began the journal, images by key); both empty where there is none.

    Images that another version stored are not known, so they are made again. Raises InputError naming a line that no
    run wrote.
    """
    options: Record | None = None
    version = ""
    images = {}
    for number, record in enumerate(read_journal(path), 1):
        try:
            if number == 1:
                options, version = dict(record["options"]), str(record.get("cxrgen"))
            elif version == _VERSION:
                image = StoredImage(**{**record, "notes": tuple(record["notes"])})
                images[_own_key(image)] = image
        except (TypeError, KeyError, ValueError):
            raise InputError(f"{path}:{number}: damaged; --force makes the set anew") from None
    return options, images


def _own_key(image: StoredImage) -> str:
    """The key. Raises ValueError where the image's path is not the one that its key gives."""
    if image.path and image.path not in stored_paths(image.key):
        raise ValueError(image.key)
    return image.key


def write_stored(path: Path, options: Mapping[str, Any], images: Iterable[StoredImage]) -> None:
    """The journal as a whole: the same images give the same bytes whatever the order they were made in."""
    header = {"cxrgen": _VERSION, "options": dict(sorted(options.items()))}
    write_journal(path, [header, *(asdict(image) for image in images)])


def _still_true(image: StoredImage | None, job: ImageJob, out: Path) -> bool:
    """Is the image's line true of its source and its stored file? Images left out are tried again."""
    if (
        image is None
        or image.code
        or bool(image.view) != job.ask_view
        or not is_file(Path(job.source))
        or not is_file(out / image.path)
    ):
        return False
    return sha256_file(out / image.path) == image.sha256 and sha256_file(Path(job.source)) == image.source_sha256


def _make(jobs: Sequence[ImageJob], out: Path, options: ImageOptions, workers: int) -> Iterator[StoredImage]:
    make = partial(store_image, out=out, options=options)
    if workers == 1 or len(jobs) < 2:
        yield from map(make, jobs)
        return
    with ProcessPoolExecutor(workers, initializer=start_worker) as pool:
        try:
            yield from pool.map(make, jobs, chunksize=min(32, max(1, len(jobs) // (4 * workers))))
        except BrokenProcessPool:
            raise InputError(
                "a worker was ended from outside (out of memory?); run again to continue, with fewer --workers"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _by_ray(jobs: Sequence[ImageJob], out: Path, options: ImageOptions, workers: int) -> Iterator[StoredImage]:
    from cxrgen.prepare.ray_backend import store_with_ray

    yield from store_with_ray(jobs, out, options, workers)


def bytes_needed(jobs: Sequence[ImageJob], size: int) -> float:
    """What the stored images will take on disk, about: never more than their sources by much."""
    most = _BYTES_PER_IMAGE * (size / 512) ** 2
    total = 0.0
    for job in jobs:
        with suppress(OSError):
            total += min(most, 1.5 * os.stat(job.source).st_size)
    return total


def time_per_image(jobs: Sequence[ImageJob], options: ImageOptions, at_most: float = 3.0) -> float:
    """Seconds that reading and shrinking one image takes here: the mean over images spread over the jobs."""
    start = time.monotonic()
    done = 0
    for job in jobs[:: max(1, len(jobs) // _PROBED)]:
        with suppress(ImageReject):
            read_image(Path(job.source), options.rendering, options.max_pixels, options.size)
        done += 1
        if time.monotonic() - start > at_most:
            break
    return (time.monotonic() - start) / max(1, done)
