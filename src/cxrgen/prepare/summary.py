"""What `cxrgen prepare` prints: the plan of a dry run, and what came out.

Nothing of the data is shown, but counts; a user may ask for more (`--show-values`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxrgen.core.progress import say
from cxrgen.core.records import SPLITS
from cxrgen.core.rejects import REJECTS, check_share, counted_codes
from cxrgen.imaging.views import unknown_views
from cxrgen.prepare.image_store import ImageJob, ImageOptions
from cxrgen.prepare.pipeline import Selection
from cxrgen.prepare.store_images import bytes_needed, time_per_image

_MINUTE = 60


def shown_columns(columns: Mapping[str, str], mapped: Sequence[str], show_values: bool) -> str:
    """Which column became which field; names that the user gave by --map stand in the command line already."""
    given = {word.partition("=")[0] for word in mapped}
    names = {name: "by --map" if name in given and not show_values else column for name, column in columns.items()}
    return ", ".join(f"{name} = {column}" for name, column in sorted(names.items())) or "none"


def plan(
    columns: str,
    selection: Selection,
    jobs: list[ImageJob],
    out: Path,
    image_options: ImageOptions,
    workers: int,
    show_values: bool,
) -> str:
    """What would be done, for people."""
    lines = [f"columns: {columns}", *_flow_lines(selection)]
    lines.append("splits: " + ", ".join(f"{name} {n}" for name, n in _splits(selection).items()))
    words = unknown_views(selection.studies)
    if words:
        shown = ", ".join(f"{word or 'none'} {n}" for word, n in words.most_common(10))
        said = shown if show_values else f"{words.total()} images, {len(words)} different words (--show-values)"
        lines.append(f"views not understood: {said}")
    lines.append(f"left out: {studies_left_out(selection)} studies{codes(selection)}")
    disk = bytes_needed(jobs, image_options.size)
    seconds = time_per_image(jobs, image_options) * len(jobs) / workers
    lines.append(f"disk: about {disk / 1e6:.0f} MB in {out}; time: about {_duration(seconds)} with {workers} workers")
    return "\n".join(lines)


def print_result(selection: Selection, out: Path, max_rejects: float, as_json: bool) -> None:
    """Say what came out; raises TooManyRejects when more was left out than allowed."""
    studies, images = len(selection.studies), sum(len(study.views) for study in selection.studies)
    if as_json:
        counts = {"studies": studies, "images": images, "rejects": len(selection.rejects), **_splits(selection)}
        print(json.dumps({**counts, "out": str(out)}))
    else:
        for line in _flow_lines(selection):
            say(f"  {line}")
        splits = ", ".join(f"{name} {n}" for name, n in _splits(selection).items())
        say(f"{studies} studies with {images} images ({splits})")
        say(f"left out: {studies_left_out(selection)} studies{codes(selection)}")
        say(f"look at {out / 'card.html'}")
        print(out)
    left_out = studies_left_out(selection)
    check_share(left_out, studies + left_out, max_rejects, "studies", out / REJECTS)


def studies_left_out(selection: Selection) -> int:
    """Studies with a reject that are not in the set; what belongs to no study counts as one of its own."""
    kept = {study.study_id for study in selection.studies}
    named = {reject.id for reject in selection.rejects if reject.id}
    return len(named - kept) + sum(not reject.id for reject in selection.rejects)


def codes(selection: Selection) -> str:
    """How often each code was given, and the way out of the most frequent one; a hint given once may name a file."""
    if not selection.rejects:
        return ""
    (hint, count), *_ = Counter(reject.hint for reject in selection.rejects).most_common(1)
    return f" ({counted_codes(selection.rejects)}){f'; {hint}' if count > 1 else ''}"


def _flow_lines(selection: Selection) -> list[str]:
    return [
        f"{row.step}: {row.studies} studies, {row.images} images, {row.subjects} patients"
        for row in selection.flow_chart
    ]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 2 * _MINUTE else f"{seconds / _MINUTE:.0f} minutes"


def _splits(selection: Selection) -> dict[str, int]:
    counts = Counter(study.split for study in selection.studies)
    return {name: counts[name] for name in SPLITS}
