"""Steps that wait for their batch: images read by the training process itself, by workers ahead, and kept features.

A step is a batch from `with_images`, as training takes it, and then a pause of `--step` seconds in which a GPU would
compute and the processor is free. A step is starved if its batch came later than a twentieth of that pause after it was
asked for. Images are JPEGs of 512 pixels, as `cxrgen prepare` stores them, reduced to the 224 of a CLIP encoder.
`ratio` is the time of all steps without workers over that with two; `parts` has starved steps and seconds of each way.
On a machine whose cores are busy with other work the counts are those of that work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from cxrgen.core.progress import say
from cxrgen.model.conversation import Format
from cxrgen.model.pixels import image_pixels
from cxrgen.train.data import with_images
from cxrgen.train.feature_files import FeatureFiles

BATCH, SIDE, TOKENS, WIDTH = 8, 512, 257, 1024
_LATE = 0.05  # share of a step


def write_images(folder: Path, count: int) -> list[str]:
    generator = np.random.default_rng(0)
    names = [f"{number}.jpg" for number in range(count)]
    for name in names:
        noise = generator.normal(0, 12, (SIDE, SIDE)) + np.linspace(60, 200, SIDE)
        Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(folder / name, quality=95)
    return names


def write_features(folder: Path, names: list[str]) -> FeatureFiles:
    files = FeatureFiles(folder, {name: f"{number:064x}" for number, name in enumerate(names)})
    for name in names:
        files.write(name, torch.zeros(TOKENS, WIDTH, dtype=torch.float16))
    return files


def run(batches: list[list[str]], collator: Callable[[Any], Any], workers: int, step: float) -> dict[str, float]:
    """Steps that had to wait, and seconds of all; the first batch, for which workers start, is left out."""
    starved, stream = 0, with_images(iter(batches), collator, workers)
    next(stream)
    start = time.perf_counter()
    for _ in batches[1:]:
        time.sleep(step)
        asked = time.perf_counter()
        next(stream)
        starved += time.perf_counter() - asked > _LATE * step
    return {"starved": starved, "seconds": round(time.perf_counter() - start, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    parser.add_argument("--step", type=float, default=0.15, metavar="S", help="seconds that a GPU computes a step")
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps = 10 if options.quick else 60
    processor, format = CLIPImageProcessorPil(), Format()
    parts: dict[str, float] = {"steps": steps - 1}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = write_images(folder, BATCH * steps)
        files = write_features(folder / "features", names)
        batches = [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
        ways: dict[str, tuple[Callable[[Any], Any], int]] = {
            f"workers_{count}": (lambda some: image_pixels([folder / each for each in some], processor, format), count)
            for count in (0, 1, 2)
        }
        ways["features"] = (lambda some: torch.stack([files.read(each) for each in some]), 0)
        for way, (collator, workers) in ways.items():
            found = run(batches, collator, workers, options.step)
            say(f"{way}: {found}")
            parts |= {f"{way}_{key}": value for key, value in found.items()}
    record = {
        "name": "loading",
        "ratio": round(parts["workers_0_seconds"] / parts["workers_2_seconds"], 3),
        "parts": parts,
        "limit_fraction": None,
        "machine": {"cpus": os.cpu_count(), "threads": 1, "processor": platform.processor()},
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
