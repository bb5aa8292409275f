"""Which earlier study of the same patient a study is compared with.

The nearest strictly earlier one within the same split. Studies without a date, or with the very same time, have no
order between them: neither is the other's prior. Ids carry no order and are never used for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from cxrgen.core.records import Study


def prior_ids(studies: Sequence[Study]) -> dict[str, str]:
    """Study id -> id of its prior, for studies that have one."""
    timelines: defaultdict[tuple[str, str], list[Study]] = defaultdict(list)
    for study in studies:
        if study.order_key:
            timelines[study.subject_id, study.split].append(study)
    prior_of: dict[str, str] = {}
    for timeline in timelines.values():
        timeline.sort(key=lambda study: study.order_key)
        earlier: list[Study] = []  # the studies of the latest moment before the present one
        present: list[Study] = []
        for study in timeline:
            if present and present[0].order_key != study.order_key:
                earlier, present = present, []
            present.append(study)
            if earlier:
                prior_of[study.study_id] = min(study.study_id for study in earlier)
    return prior_of
