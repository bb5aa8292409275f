"""Which view a picture shows, where nothing else says so: a small convolutional network in NumPy.

Sources call a view UNKNOWN or nothing, and a lateral that passes for a frontal teaches a model nonsense. The picture is
reduced to 48 x 48 pixels and equalised, so that exposure, window and device hardly matter, and given to the network
together with its mirror image, for a frontal is nearly symmetric and a lateral is not. The answer is the mean over the
picture and its mirror image. Below a confidence the picture stays unknown: an undecided view costs little, a wrong one
is never noticed. Training needs torch and is another command (`cxrgen train-views`); this file only reads its weights.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrgen.core.errors import InputError
from cxrgen.core.files import is_file
from cxrgen.core.records import FRONTAL, LATERAL, OTHER, UNKNOWN

SIDE = 48  # pixels that the network sees
CLASSES = (FRONTAL, LATERAL, OTHER)
PACKAGED = "packaged"
FORM = "1"  # of the network and of what it is given; in the file's metadata
WEIGHTS = Path(__file__).parent / "views.safetensors"
LAYERS = (2, 16, 32, 48)  # channels: the picture and its mirror image, then after each convolution
HIDDEN = 32
_LARGEST = 4 << 20  # bytes of a file of weights
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ViewClassifier:
    """The weights by name, as `train-views` writes them, and the confidence below which nothing is decided."""

    weights: dict[str, Floats]
    least: float
    sha256: str


@dataclass(frozen=True)
class SeenView:
    """What a picture shows, `unknown` where that is undecided, and the share of belief in the likeliest class."""

    view: str
    confidence: float


def view_of_picture(pixels: NDArray[np.uint8], classifier: ViewClassifier) -> SeenView:
    """The view that grey pixels (H, W) show."""
    shares = class_shares(thumbnail(pixels)[None], classifier.weights)[0]
    best = int(shares.argmax())
    confidence = round(float(shares[best]), 3)
    return SeenView(CLASSES[best] if confidence >= classifier.least else UNKNOWN, confidence)


def thumbnail(pixels: NDArray[np.uint8]) -> Floats:
    """Grey pixels (H, W) as (SIDE, SIDE) ranks between -1 and 1; like pixels have like ranks."""
    small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX)
    return equalised(np.asarray(small))


def equalised(small: NDArray[np.uint8]) -> Floats:
    """Each pixel as its mean rank among all, between -1 and 1."""
    counts = np.bincount(small.ravel(), minlength=256)
    rank = np.cumsum(counts) - counts / 2
    ranks: Floats = (rank * (2 / small.size) - 1).astype(np.float32)[small]
    return ranks


def class_shares(pictures: Floats, weights: dict[str, Floats]) -> Floats:
    """(N, SIDE, SIDE) thumbnails to (N, 3) shares of belief, the mean over each picture and its mirror image."""
    mirrored = pictures[:, :, ::-1]
    both = np.stack([np.stack([pictures, mirrored], 1), np.stack([mirrored, pictures], 1)])
    shares: Floats = np.mean([_softmax(_forward(each, weights)) for each in both], axis=0, dtype=np.float32)
    return shares


def _forward(values: Floats, weights: dict[str, Floats]) -> Floats:
    """(N, 2, SIDE, SIDE) to scores (N, 3)."""
    for number in range(1, len(LAYERS)):
        values = _pooled(_convolved(values, weights[f"conv{number}.weight"], weights[f"conv{number}.bias"]))
    flat = values.reshape(len(values), -1)
    hidden = np.maximum(flat @ weights["hidden.weight"].T + weights["hidden.bias"], 0)
    scores: Floats = hidden @ weights["scores.weight"].T + weights["scores.bias"]
    return scores


def _convolved(values: Floats, kernel: Floats, bias: Floats) -> Floats:
    """3 x 3 convolution with a border of zeros, then what is above zero: (N, C, H, W) to (N, K, H, W)."""
    padded = np.pad(values, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    sums = np.tensordot(windows, kernel, axes=((1, 4, 5), (1, 2, 3)))  # (N, H, W, K)
    result: Floats = np.maximum(sums + bias, 0).transpose(0, 3, 1, 2)
    return result


def _pooled(values: Floats) -> Floats:
    """The greatest of each 2 x 2 pixels."""
    count, channels, height, width = values.shape
    pooled: Floats = values.reshape(count, channels, height // 2, 2, width // 2, 2).max(axis=(3, 5))
    return pooled


def _softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def shapes() -> dict[str, tuple[int, ...]]:
    """The name and shape of every weight."""
    side = SIDE >> (len(LAYERS) - 1)
    found: dict[str, tuple[int, ...]] = {}
    for number, (before, after) in enumerate(pairwise(LAYERS), 1):
        found |= {f"conv{number}.weight": (after, before, 3, 3), f"conv{number}.bias": (after,)}
    found |= {"hidden.weight": (HIDDEN, LAYERS[-1] * side * side), "hidden.bias": (HIDDEN,)}
    return found | {"scores.weight": (len(CLASSES), HIDDEN), "scores.bias": (len(CLASSES),)}


@cache
def read_classifier(name: str) -> ViewClassifier:
    """The classifier in a file, or `packaged`. Raises InputError for a file that `cxrgen train-views` did not write."""
    path = WEIGHTS if name == PACKAGED else Path(name)
    if not is_file(path):
        raise InputError(f"--views-by {name}: no such file; `cxrgen train-views` makes one, `packaged` is ours")
    with open(path, "rb") as file:
        data = file.read(_LARGEST + 1)
    try:
        metadata, weights = _parsed(data)
        least = float(metadata["least_confidence"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        reason = str(error) if isinstance(error, _OtherForm) else "it is damaged or of another program"
        raise InputError(f"--views-by {name}: {reason}; make one with `cxrgen train-views`") from None
    return ViewClassifier(weights, least, hashlib.sha256(data).hexdigest())


class _OtherForm(ValueError):
    """A file of weights of another form than this version reads."""


def _parsed(data: bytes) -> tuple[dict[str, str], dict[str, Floats]]:
    """Metadata and weights of a safetensors file. Raises ValueError, KeyError, TypeError or IndexError for another."""
    length = int.from_bytes(data[:8], "little")
    if len(data) > _LARGEST or length > len(data) - 8:
        raise ValueError("too large, or cut short")
    header = json.loads(data[8 : 8 + length])
    metadata = dict(header.pop("__metadata__"))
    if metadata.get("cxrgen_views") != FORM:
        raise _OtherForm(f"it has form {metadata.get('cxrgen_views')}, this version reads {FORM}")
    body = memoryview(data)[8 + length :]
    weights = {}
    for name, shape in shapes().items():
        start, stop = header[name]["data_offsets"]
        kind = {"F16": "<f2", "F32": "<f4"}[header[name]["dtype"]]
        weights[name] = np.frombuffer(body[start:stop], kind).astype(np.float32).reshape(shape)
        if not np.isfinite(weights[name]).all():
            raise ValueError(f"{name} is not finite")
    return metadata, weights
