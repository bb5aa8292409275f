"""What a card says of the films: views, what the files held, how bright they are stored.

Films of another make differ in size, depth and brightness long before they differ in what they show, and a model may
learn just that; so brightness stands by source.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from cxrgen.data.films import StoredFilm
from cxrgen.data.quantiles import quantiles
from cxrgen.records import Study

_BINS = 16  # of 256 grey levels
_COMMONEST = 12
_NOT_RECORDED = "not recorded"


def film_numbers(studies: Sequence[Study], films: Sequence[StoredFilm]) -> dict[str, Any]:
    """Counts over the films that are in the set; notes are those of all that were read."""
    kept = kept_films(studies, films)
    read = [film for each in kept.values() for film in each]
    views = [view for study in studies for view in study.views]
    return {
        "views": dict(Counter(view.view for view in views).most_common()),
        "as_the_source_says": dict(Counter(view.raw_view or "(none)" for view in views).most_common()),
        "modes": dict(Counter(_mode(film) for film in read).most_common()),
        "source_sizes": dict(Counter(_size(film) for film in read).most_common(_COMMONEST)),
        "stored_sizes": dict(Counter(f"{film.width}x{film.height}" for film in read).most_common(_COMMONEST)),
        "width_by_height": quantiles([round(film.width / film.height, 3) for film in read]),
        "brightness": {
            source: {
                "quantiles": quantiles([film.brightness for film in each]),
                "histogram": [count_in(each, bin) for bin in range(_BINS)],
            }
            for source, each in sorted(kept.items())
        },
        "notes": dict(Counter(note.split(":")[0] for film in films for note in film.notes).most_common()),
    }


def kept_films(studies: Sequence[Study], films: Sequence[StoredFilm]) -> dict[str, list[StoredFilm]]:
    """Source -> its films that are in the set."""
    source_of = {view.path: study.source for study in studies for view in study.views}
    kept: defaultdict[str, list[StoredFilm]] = defaultdict(list)
    for film in {film.key: film for film in films}.values():
        if film.path in source_of:
            kept[source_of[film.path]].append(film)
    return kept


def count_in(films: Sequence[StoredFilm], bin: int) -> int:
    """Films whose mean grey is in the `bin`-th of the equal parts of 0 to 256."""
    return sum(int(film.brightness * _BINS / 256) == bin for film in films)


def _mode(film: StoredFilm) -> str:
    return f"{film.mode}, {film.bits} bits" if film.mode else _NOT_RECORDED


def _size(film: StoredFilm) -> str:
    return f"{film.source_width}x{film.source_height}" if film.mode else _NOT_RECORDED
