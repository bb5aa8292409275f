"""Token ids and labels of a whole set on disk (`--shared_cache`), written once and read by later runs.

The file is named by a hash of everything that tokens depend on: the conversations, the conversation format, the
tokenizer and this package's version. One process encodes while the others wait; the zip format's checksums are
compared when the file is read, and a damaged one is written anew. Where the processor makes the tokens (every class but
llava), they depend on the images as well, and nothing is kept.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from cxrgen.core import __version__
from cxrgen.core.files import private_file
from cxrgen.core.progress import say
from cxrgen.core.records import Conversation, Reject
from cxrgen.model.batches import Sample
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.families import family_of
from cxrgen.train.data import SftData, encode_data
from cxrgen.train.distributed import Processes

_Encoded = tuple[list[list[Sample]], list[Reject]]
_UNUSABLE = (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, BadZipFile)


def encode_once(checkpoint: Checkpoint, data: SftData, long: str, cache: Path | None, processes: Processes) -> _Encoded:
    """`encode_data` of a set; with a folder `cache` from its file there, which is written first where it is missing.

    All processes must call it.
    """

    def encode() -> _Encoded:
        return encode_data(checkpoint, data.variants, long, data.folder)

    if cache is None or not family_of(checkpoint).packs:
        return encode()
    file = cache / "tokens" / f"{_key(checkpoint, data.variants, long)}.npz"
    kept = _read(file, data.variants)
    if kept is not None:
        say(f"tokens: from {file}")
    made: list[_Encoded] = []

    def make() -> None:
        if processes.is_main and kept is None:
            made.append(encode())
            _write(file, made[0], data.variants)

    processes.agreed(make)
    if kept is None:
        kept = made[0] if made else _read(file, data.variants)
    return kept if kept is not None else encode()  # on a machine that does not see the file


def _key(checkpoint: Checkpoint, variants: Sequence[Sequence[Conversation]], long: str) -> str:
    tokenizer = getattr(checkpoint.tokenizer, "backend_tokenizer", None)
    words = tokenizer.to_str() if tokenizer is not None else json.dumps(checkpoint.tokenizer.get_vocab())
    digest = sha256(json.dumps([__version__, long, asdict(checkpoint.format), words], sort_keys=True).encode())
    for some in variants:
        texts = [[each.id, each.images, [(turn.role, turn.text) for turn in each.turns]] for each in some]
        digest.update(json.dumps(texts).encode())
    return digest.hexdigest()[:32]


def _write(file: Path, encoded: _Encoded, variants: Sequence[Sequence[Conversation]]) -> None:
    """Tokens and labels one behind the other, their lengths, and the numbers of the items that they are of."""
    samples, rejects = encoded
    flat = [sample for some in samples for sample in some]
    with private_file(file) as target:
        np.savez(
            target,
            items=np.array(_numbers(samples, variants), np.int32),
            lengths=np.array([len(sample.input_ids) for sample in flat], np.int32),
            ids=_joined([sample.input_ids for sample in flat]),
            labels=_joined([sample.labels for sample in flat]),
            rejects=np.frombuffer(json.dumps([asdict(each) for each in rejects]).encode(), np.uint8),
        )


def _numbers(samples: Sequence[Sequence[Sample]], variants: Sequence[Sequence[Conversation]]) -> list[int]:
    """Of each item that was not left out, its number; samples stand in the order of the items, whose ids may repeat."""
    numbers = iter(range(len(variants)))
    return [
        next(n for n in numbers if (variants[n][0].id, variants[n][0].images) == (some[0].id, some[0].images))
        for some in samples
    ]


def _joined(rows: Sequence[Sequence[int]]) -> np.ndarray[Any, Any]:
    return np.concatenate([np.asarray(row, np.int32) for row in rows])


def _read(file: Path, variants: Sequence[Sequence[Conversation]]) -> _Encoded | None:
    """The samples of a file; None where it is missing or damaged."""
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        rejects = [Reject(**each) for each in json.loads(arrays["rejects"].tobytes())]
        return _samples(arrays, variants), rejects
    except _UNUSABLE:
        say(f"{file}: damaged or cut short; the tokens are made again")
        return None


def _samples(arrays: Mapping[str, Any], variants: Sequence[Sequence[Conversation]]) -> list[list[Sample]]:
    ends = np.cumsum(arrays["lengths"], dtype=np.int64).tolist()
    starts = [0, *ends[:-1]]
    if len(arrays["ids"]) != ends[-1] or len(arrays["labels"]) != ends[-1]:
        raise ValueError
    spans = iter(zip(starts, ends))
    samples = []
    for number in arrays["items"].tolist():
        some = []
        for each in variants[number]:
            start, end = next(spans)
            ids, labels = (array("i", arrays[name][start:end].tobytes()) for name in ("ids", "labels"))
            some.append(Sample(each.id, ids, labels, each.images))
        samples.append(some)
    return samples
