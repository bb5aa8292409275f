"""Pseudonymised ids: for a hospital's own studies before a set is shown to others.

A pseudonym is the keyed hash (HMAC-SHA-256, 16 hex digits) of an id; the key lies in a file outside the prepared set
and is made on first use. The same key gives the same pseudonyms, so sets can be made again and joined in the house.
Dates become places in a patient's order, ages above 89 become 90. Texts and pixels stay as they are: look at the counts
in the card.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.core.files import write_text
from cxrgen.core.records import Reject, Study
from cxrgen.imaging.patients import SEVERAL_PATIENTS
from cxrgen.sources.demographics import shown_age

_FEWEST_BYTES = 16


def read_key(path: Path, out: Path) -> bytes:
    """The secret in a file, made if there is none (mode 600). Raises InputError when it is short or inside `out`."""
    if out.resolve() in path.resolve().parents:
        raise InputError(
            f"{path}: the secret of the pseudonyms must not lie in the prepared set; name a file elsewhere"
        )
    if not path.exists():
        write_text(path, secrets.token_hex(32) + "\n", private=True)
    try:
        key = path.read_text(encoding="utf-8").strip().encode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__})") from None
    if len(key) < _FEWEST_BYTES:
        raise InputError(f"{path}: the secret is shorter than {_FEWEST_BYTES} characters; delete it to have one made")
    return key


def pseudonymise(studies: Sequence[Study], key: bytes) -> list[Study]:
    """Studies with hashed ids, places in time instead of dates, and no age above 90."""
    named = _namer(key)
    moments: defaultdict[str, set[str]] = defaultdict(set)
    for study in studies:
        if study.order_key:
            moments[study.subject_id].add(study.order_key)
    order = {subject: {key: f"{i:04}" for i, key in enumerate(sorted(keys))} for subject, keys in moments.items()}
    return [
        replace(
            study,
            study_id=named(study.study_id),
            subject_id=named(study.subject_id),
            prior_study_id=study.prior_study_id and named(study.prior_study_id),
            order_key=order[study.subject_id][study.order_key] if study.order_key else "",
            age=shown_age(study.age),
        )
        for study in studies
    ]


def without_names(rejects: Sequence[Reject], key: bytes, ids: bool = True) -> list[Reject]:
    """Rejects whose places and (with `ids`) ids are hashed, hints without files.

    Lines of tables stay, for they name nobody.
    """
    named = _namer(key)
    return [
        replace(
            reject,
            id=named(reject.id) if ids and reject.id else reject.id,
            row=reject.row if _is_row(reject.row) else named(reject.row),
            hint=SEVERAL_PATIENTS if reject.hint.startswith(SEVERAL_PATIENTS) else reject.hint,
        )
        for reject in rejects
    ]


def _namer(key: bytes) -> Callable[[str], str]:
    return lambda text: hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:16]


def _is_row(row_ref: str) -> bool:
    """Is it like export.csv:17, and not the id of a study or the name of an image?"""
    name, _, line = row_ref.rpartition(":")
    return bool(name) and line.strip().removeprefix("item ").isdigit()
