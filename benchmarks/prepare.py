"""Preparation of images by cxrgen against a practitioner's ten lines of OpenCV, and against MGCA's way.

All sides read the same made-up JPEGs of 2,544 x 3,056 with the detail of an image (1.6 MB each at quality 95, as
MIMIC-CXR-JPG's) and write 8-bit grey JPEGs of the same size and quality and a table. Ours is the whole command
`cxrgen prepare` with its checks, hashes, splits, card and atomic writes. The practitioner decodes at a quarter of the
size, which the format gives for free, resizes by area, and does so in two processes: `ratio` is that time over ours
with two workers. MGCA's way decodes fully, in one process. The sides take turns; ratios are of total times, the
reference's over ours. `processor_time` is MGCA's processor seconds over ours with one worker, which other programs on
the machine disturb less. `limit_fraction` is the time that reading and decoding alone (at the same quarter) would take
two processes, over the time that ours took with two; `most_possible` is the ratio that a program would reach which does
nothing else.

    python benchmarks/prepare.py [--quick] [--images N]
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from cxrgen.cli import main as cxrgen
from cxrgen.core.progress import say

WIDTH, HEIGHT, SIZE, QUALITY = 2544, 3056, 512, 95
COLUMNS = ("Path", "ViewPosition", "split", "findings", "impression")


def make_images(folder: Path, count: int) -> None:
    """A source in the course layout: phantoms enlarged to an image's size, with structure and grain at every scale."""
    (folder / "images").mkdir(parents=True)
    run_command("phantom", "--out", str(folder.parent / "phantom"), "--studies", "24")
    scenes = sorted((folder.parent / "phantom" / "images").glob("*-0001.png"))
    random = np.random.default_rng(0)
    grain = random.normal(0, 1.6, (HEIGHT + 512, WIDTH + 512)).astype(np.float32)
    for octave in range(1, 7):
        shape = ((WIDTH + 512) >> octave, (HEIGHT + 512) >> octave)
        field = random.normal(0, 1.2 * 1.35**octave, shape[::-1]).astype(np.float32)
        grain += cv2.resize(field, (WIDTH + 512, HEIGHT + 512), interpolation=cv2.INTER_CUBIC)
    with open(folder / "train.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(count):
            if number % 8 == 0:
                scene = np.asarray(Image.open(scenes[number // 8 % len(scenes)]).convert("L"))
                body = cv2.resize(scene, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.float32)
            top, left = random.integers(0, 512, 2)
            image = body * 0.85 + 12 + grain[top : top + HEIGHT, left : left + WIDTH] * (0.4 + body / 255)
            name = f"images/{number:05}-0001.jpg"
            pixels = np.clip(image, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name, quality=QUALITY)
            split = ("train", "valid", "test")[(number % 10 == 8) + 2 * (number % 10 == 9)]
            writer.writerow([name, "PA", split, f"Synthetic finding number {number}.", "Synthetic impression."])


def convert(source: Path, out: Path, name: str, how: int) -> None:
    """Decode an image, bring its longer side to the size by area, write it."""
    image = cv2.imread(str(source / name), how)
    if image is None:
        raise RuntimeError("OpenCV cannot read an image")
    scale = SIZE / max(image.shape)
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(out / "images" / Path(name).name), small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def by_opencv(source: Path, out: Path, how: int, processes: int) -> None:
    """Each image converted, in so many processes of one thread; then the table."""
    cv2.setNumThreads(1)
    (out / "images").mkdir(parents=True)
    with open(source / "train.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    work, names = partial(convert, source, out, how=how), [row["Path"] for row in rows]
    if processes == 1:
        for name in names:
            work(name)
    else:
        with ProcessPoolExecutor(processes) as pool:
            list(pool.map(work, names, chunksize=4))
    with open(out / "master.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def ours(source: Path, out: Path, workers: int) -> None:
    """The command as a user calls it."""
    run_command("prepare", str(source), "--out", str(out), "--size", str(SIZE), "--workers", str(workers))


def run_command(*arguments: str) -> None:
    """A cxrgen command in this process, quietly. Raises RuntimeError with what it said when it does not end well."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = cxrgen(arguments)
    if code:
        raise RuntimeError(said.getvalue())


def decode_only(source: Path, out: Path) -> None:
    """Read and decode each image at a quarter of its size, the reduced scale that is still above the target."""
    for path in sorted((source / "images").iterdir()):
        with Image.open(path) as image:
            image.draft("L", (round(WIDTH * SIZE / HEIGHT), SIZE))
            image.load()


def compare(source: Path, rounds: int, scratch: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of each side over all rounds, by the clock and of processors; every second round goes backwards."""
    sides: dict[str, Callable[[Path, Path], None]] = {
        "practitioner": lambda source, out: by_opencv(source, out, cv2.IMREAD_REDUCED_GRAYSCALE_4, processes=2),
        "mgca": lambda source, out: by_opencv(source, out, cv2.IMREAD_GRAYSCALE, processes=1),
        "one worker": lambda source, out: ours(source, out, 1),
        "two workers": lambda source, out: ours(source, out, 2),
        "decode only": decode_only,
    }
    times, processor = dict.fromkeys(sides, 0.0), dict.fromkeys(sides, 0.0)
    for number in range(rounds):
        for name, side in list(sides.items())[:: 1 if number % 2 == 0 else -1]:
            with tempfile.TemporaryDirectory(dir=scratch) as out:
                start, busy = time.perf_counter(), sum(os.times()[:4])
                side(source, Path(out) / "out")
                times[name] += time.perf_counter() - start
                processor[name] += sum(os.times()[:4]) - busy
        say(f"round {number + 1} of {rounds}: " + ", ".join(f"{name} {spent:.1f} s" for name, spent in times.items()))
    return times, processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of fewer images")
    parser.add_argument("--images", type=int, help="images in the source (default: 160, quick: 48)")
    options = parser.parse_args()
    images = options.images or (48 if options.quick else 160)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        make_images(source, images)
        megabytes = sum(path.stat().st_size for path in (source / "images").iterdir()) / images / 1e6
        say(f"{images} images of {megabytes:.1f} MB")
        times, processor = compare(source, 1 if options.quick else 2, Path(folder))
    parts = {
        "over_mgca_one_worker": times["mgca"] / times["one worker"],
        "over_mgca_two_workers": times["mgca"] / times["two workers"],
        "most_possible": 2 * times["practitioner"] / times["decode only"],
        "two_over_one": times["one worker"] / times["two workers"],
        "processor_time": processor["mgca"] / processor["one worker"],
    }
    result = {
        "name": "prepare",
        "ratio": round(times["practitioner"] / times["two workers"], 2),
        "parts": {name: round(value, 2) for name, value in parts.items()},
        "limit_fraction": round(times["decode only"] / 2 / times["two workers"], 2),
        "machine": {"cpus": len(os.sched_getaffinity(0)), "system": platform.platform(), "opencv": cv2.__version__},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
