"""Images stored by a Ray cluster (`--engine ray`), for sets beyond one machine.

Ray Data hands out the same jobs that local processes get, and the same function does them, so the set has the same
bytes. Every node needs cxrgen and must see source and output under the same paths (a network disk). Without a cluster
(RAY_ADDRESS) Ray starts one on this machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError, UsageError
from cxrgen.prepare.image_store import ImageJob, ImageOptions, StoredImage, store_image

_JOBS_A_BLOCK = 64  # images that one task stores; a lost node costs no more


def store_with_ray(jobs: Sequence[ImageJob], out: Path, options: ImageOptions, workers: int) -> Iterator[StoredImage]:
    """Store the images by Ray tasks, at most `workers` at a time; images come back in any order.

    Raises UsageError when Ray is not installed, InputError when a task fails for good.
    """
    try:
        import ray
        from ray.data import TaskPoolStrategy
    except ImportError:
        raise UsageError('--engine ray needs Ray: pip install "cxrgen[ray]"') from None
    if not jobs:
        return
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    blocks = max(1, len(jobs) // _JOBS_A_BLOCK)
    rows = ray.data.from_items([asdict(job) for job in jobs], override_num_blocks=blocks)
    store = partial(_store, out=str(out.absolute()), options=options)
    try:
        for row in rows.map(store, compute=TaskPoolStrategy(size=workers)).iter_rows():
            value = json.loads(row["image"])
            yield StoredImage(**{**value, "notes": tuple(value["notes"])})
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", error)
        reason = str(cause) if isinstance(cause, InputError) else type(cause).__name__
        raise InputError(f"a Ray task failed for good ({reason}); run again to continue") from None


def _store(row: dict[str, Any], out: str, options: ImageOptions) -> dict[str, str]:
    source, beside = (str(Path(row[name]).absolute()) if row[name] else "" for name in ("source", "beside"))
    image = store_image(ImageJob(row["key"], source, beside, row["ask_view"]), Path(out), options)
    return {"image": json.dumps(asdict(image))}
