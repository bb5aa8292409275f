"""Films to stored pictures, by all cores, and a journal by which an interrupted run continues.

A stored film is 8-bit grey, its longest side at most `--size`, never padded or cropped. Names are made from study and
place, never taken from input, in 256 folders. A film that reached the full size is stored as JPEG of quality 95 (a
third smaller, four times faster to read); a smaller one keeps its pixels exactly, as PNG. Each line of films.jsonl
says what became of one film; a film whose line, source and stored file agree is not made again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxrgen.data.images import FilmReject, read_film
from cxrgen.errors import InputError
from cxrgen.files import replacing, sha256_file, write_text
from cxrgen.progress import track
from cxrgen.workers import start_worker

JOURNAL = "films.jsonl"
_JPEG_QUALITY = 95
_FEW_BITS = 3  # of 64
_BYTES_PER_FILM = 60_000  # at 512 pixels
_PROBED = 200  # films, for an estimate of time


@dataclass(frozen=True)
class FilmOptions:
    """What the stored pixels depend on."""

    size: int = 512
    rendering: str = "window"
    max_pixels: int = 200_000_000
    strict: bool = False  # leave out a film that is only read with a remark


@dataclass(frozen=True)
class FilmJob:
    """One film to store: `key` names it in the prepared set, `source` is where it is now."""

    key: str
    source: str


@dataclass(frozen=True)
class StoredFilm:
    """What became of a film: stored with these facts, or left out with a code and a hint."""

    key: str
    stamp: str  # size and time of the source file
    path: str = ""  # in the prepared folder
    width: int = 0
    height: int = 0
    sha256: str = ""  # of the stored file
    brightness: float = 0.0  # mean grey, 0 to 255
    look: str = ""  # 16 hex digits that stay when contrast changes; see `film_look`
    mode: str = ""  # of the source file, as its bits and size; see `Film`
    bits: int = 0
    source_width: int = 0
    source_height: int = 0
    notes: tuple[str, ...] = ()
    code: str = ""
    hint: str = ""


def film_look(picture: Image.Image) -> str:
    """64 bits, 1 where a cell of an 8 x 9 grid is brighter than its right neighbour.

    Two versions of one exposure that differ in contrast or size have nearly the same bits.
    """
    cells = np.asarray(picture.resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    return np.packbits(cells[:, :-1] > cells[:, 1:]).tobytes().hex()


def look_alike(one: str, other: str) -> bool:
    """Do two films differ in so few of the bits of `film_look` that they may be one exposure?"""
    return bool(one and other) and (int(one, 16) ^ int(other, 16)).bit_count() <= _FEW_BITS


def film_key(study_id: str, number: int) -> str:
    """The name of a study's film `number`: 20 hex digits."""
    return hashlib.sha256(f"{study_id}/{number}".encode()).hexdigest()[:20]


def store_films(
    jobs: Sequence[FilmJob],
    out: Path,
    options: FilmOptions,
    workers: int,
    header: Mapping[str, Any],
    engine: str = "local",
) -> dict[str, StoredFilm]:
    """Store every film under out/images; returns what became of each by key.

    `engine` is "local" (processes) or "ray". `header` holds the run's options and opens the journal. Raises InputError
    when a worker dies or the disk is full.
    """
    journal = out / JOURNAL
    known = read_journal(journal)[1]
    done = {job.key: known[job.key] for job in jobs if _still_true(known.get(job.key), job, out)}
    waiting = [job for job in jobs if job.key not in done]
    out.mkdir(parents=True, exist_ok=True)
    write_journal(journal, header, list(known.values()))  # anew, so that no line follows one that was cut off
    left_out: Counter[str] = Counter()
    with open(journal, "a", encoding="utf-8") as file:
        made = (_by_ray if engine == "ray" else _make)(waiting, out, options, workers)
        for film in track(made, "storing films", len(waiting), lambda: f"{left_out.total()} left out"):
            done[film.key] = film
            left_out.update([film.code] if film.code else [])
            file.write(json.dumps(asdict(film)) + "\n")
            file.flush()
    return done


def read_journal(path: Path) -> tuple[dict[str, Any] | None, dict[str, StoredFilm]]:
    """(options of the run that began it, films by key); a last line that was cut off by a crash is ignored."""
    if not path.is_file():
        return None, {}
    lines = path.read_text(encoding="utf-8").splitlines()
    options: dict[str, Any] | None = None
    films = {}
    for number, line in enumerate(lines):
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            if number == len(lines) - 1:
                break
            raise InputError(f"{path}:{number + 1}: damaged; --force begins anew") from None
        if number == 0:
            options = value.get("options")
        else:
            films[value["key"]] = StoredFilm(**{**value, "notes": tuple(value["notes"])})
    return options, films


def write_journal(path: Path, header: Mapping[str, Any], films: Sequence[StoredFilm]) -> None:
    """The journal of a finished run: the same films give the same bytes whatever the order they were made in."""
    lines = [json.dumps({"options": header}, sort_keys=True), *(json.dumps(asdict(film)) for film in films)]
    write_text(path, "\n".join(lines) + "\n", private=True)


def _still_true(film: StoredFilm | None, job: FilmJob, out: Path) -> bool:
    """Is the film's line true of its source and its stored file? Films left out are tried again."""
    if film is None or film.code or film.stamp != _stamp(job.source):
        return False
    stored = out / film.path
    return stored.is_file() and sha256_file(stored) == film.sha256


def _stamp(source: str) -> str:
    try:
        state = os.stat(source)
    except OSError:
        return ""
    return f"{state.st_size}-{state.st_mtime_ns}"


def _make(jobs: Sequence[FilmJob], out: Path, options: FilmOptions, workers: int) -> Iterator[StoredFilm]:
    make = partial(store_film, out=out, options=options)
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


def _by_ray(jobs: Sequence[FilmJob], out: Path, options: FilmOptions, workers: int) -> Iterator[StoredFilm]:
    from cxrgen.data.ray_engine import store_with_ray  # only here: it needs store_film of this module

    yield from store_with_ray(jobs, out, options, workers)


def store_film(job: FilmJob, out: Path, options: FilmOptions) -> StoredFilm:
    """Read, shrink and store one film."""
    stamp = _stamp(job.source)
    try:
        film = read_film(Path(job.source), options.rendering, options.max_pixels, options.size)
    except FilmReject as error:
        return StoredFilm(job.key, stamp, code=error.code, hint=error.hint)
    if options.strict and film.notes:
        code, _, words = film.notes[0].partition(": ")
        return StoredFilm(job.key, stamp, code=code, hint=f"{words}; without --strict it is taken")
    height, width = film.pixels.shape
    full = max(height, width) >= options.size
    path = Path("images") / job.key[:2] / f"{job.key}.{'jpg' if full else 'png'}"
    data = io.BytesIO()
    picture = Image.fromarray(film.pixels)
    if full:
        picture.save(data, "JPEG", quality=_JPEG_QUALITY)
    else:
        picture.save(data, "PNG", compress_level=1)
    try:
        with replacing(out / path) as temporary:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(data.getbuffer())
    except OSError as error:
        raise InputError(f"{out}: {error.strerror}; make room or choose another --out, then run again") from None
    return StoredFilm(
        job.key, stamp, str(path), width, height, hashlib.sha256(data.getbuffer()).hexdigest(),
        round(float(film.pixels.mean()), 2), film_look(picture), film.mode, film.bits, film.width, film.height,
        film.notes,
    )  # fmt: skip


def bytes_needed(jobs: Sequence[FilmJob], size: int) -> float:
    """What the stored films will take on disk, about: never more than their sources by much."""
    most = _BYTES_PER_FILM * (size / 512) ** 2
    total = 0.0
    for job in jobs:
        with suppress(OSError):
            total += min(most, 1.5 * os.stat(job.source).st_size)
    return total


def time_per_film(jobs: Sequence[FilmJob], options: FilmOptions, at_most: float = 3.0) -> float:
    """Seconds that reading and shrinking one film takes here: the mean over films spread over the jobs."""
    start = time.monotonic()
    done = 0
    for job in jobs[:: max(1, len(jobs) // _PROBED)]:
        with suppress(FilmReject):
            read_film(Path(job.source), options.rendering, options.max_pixels, options.size)
        done += 1
        if time.monotonic() - start > at_most:
            break
    return (time.monotonic() - start) / max(1, done)
