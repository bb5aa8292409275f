"""What a card says of the images: views, what the files held, how bright they are stored.

Images of another make differ in size, depth and brightness long before they differ in what they show, and a model may
learn just that; so brightness stands by source.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from cxrgen.core.records import UNKNOWN, Study, View
from cxrgen.imaging.views import view_class
from cxrgen.prepare.card.quantiles import quantiles
from cxrgen.prepare.image_store import StoredImage

_BINS = 16  # of 256 grey levels
_COMMONEST = 12
_NOT_RECORDED = "not recorded"


def image_numbers(studies: Sequence[Study], images: Sequence[StoredImage]) -> dict[str, Any]:
    """Counts over the images that are in the set; notes are those of all that were read."""
    by_source = images_by_source(studies, images)
    read = [image for members in by_source.values() for image in members]
    views = [view for study in studies for view in study.views]
    return {
        "views": dict(Counter(view.view for view in views).most_common()),
        "by_picture": dict(Counter(view.view for view in views if view.by_picture).most_common()),
        "as_the_source_says": dict(Counter(map(_as_the_source_says, views)).most_common()),
        "modes": dict(Counter(_mode(image) for image in read).most_common()),
        "source_sizes": dict(Counter(_size(image) for image in read).most_common(_COMMONEST)),
        "stored_sizes": dict(Counter(f"{image.width}x{image.height}" for image in read).most_common(_COMMONEST)),
        "width_by_height": quantiles([round(image.width / image.height, 3) for image in read]),
        "brightness": {
            source: {
                "quantiles": quantiles([image.brightness for image in members]),
                "histogram": [count_in(members, bin) for bin in range(_BINS)],
            }
            for source, members in sorted(by_source.items())
        },
        "notes": dict(Counter(note.split(":")[0] for image in images for note in image.notes).most_common()),
    }


def images_by_source(studies: Sequence[Study], images: Sequence[StoredImage]) -> dict[str, list[StoredImage]]:
    """Source -> its images that are in the set."""
    source_of = {view.path: study.source for study in studies for view in study.views}
    by_source: defaultdict[str, list[StoredImage]] = defaultdict(list)
    for image in {image.key: image for image in images}.values():
        if image.path in source_of:
            by_source[source_of[image.path]].append(image)
    return by_source


def count_in(images: Sequence[StoredImage], bin: int) -> int:
    """Images whose mean grey is in the `bin`-th of the equal parts of 0 to 256."""
    return sum(int(image.brightness * _BINS / 256) == bin for image in images)


def _as_the_source_says(view: View) -> str:
    """The source's word for a view; one that is not understood may be anything, a name too, and is not shown."""
    if not view.raw_view:
        return "(none)"
    return view.raw_view if view_class(view.raw_view) != UNKNOWN else "(not understood)"


def _mode(image: StoredImage) -> str:
    return f"{image.mode}, {image.bits} bits" if image.mode else _NOT_RECORDED


def _size(image: StoredImage) -> str:
    return f"{image.source_width}x{image.source_height}" if image.mode else _NOT_RECORDED
