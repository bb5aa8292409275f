"""BERTScore as programs of the field compute it: which encoder, which layer, rescaled by which baseline.

The baselines are those that bert-score publishes: the scores of unrelated sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.core.tables import find_column, read_csv, read_json

Triple = tuple[float, float, float]  # precision, recall, F1


@dataclass(frozen=True)
class Recipe:
    """A published encoder with the layer and the baseline (of unrelated sentences) that bert-score has for it."""

    encoder: str
    shape: Mapping[str, object]  # what tells it from others: entries of its config.json
    layer: int
    baseline: Triple


DISTILROBERTA = Recipe(
    "distilroberta-base",
    {"model_type": "roberta", "hidden_size": 768, "num_hidden_layers": 6, "vocab_size": 50265},
    5,
    (0.84732, 0.84759504, 0.8473319),
)
DISTILBERT = Recipe(
    "distilbert-base-uncased",
    {"model_type": "distilbert", "dim": 768, "n_layers": 6, "vocab_size": 30522},
    5,
    (0.6666034, 0.66660464, 0.66620487),
)
DEFAULT = "cxr-report-metric"
PRESETS = {DEFAULT: DISTILROBERTA, "radeval": DISTILBERT}


def read_baseline(path: Path, layer: int) -> Triple:
    """The row of a layer in a table of baselines as bert-score ships them: columns LAYER, P, R, F.

    Raises InputError for a file of another shape, without the layer, or with a baseline that cannot rescale.
    """
    table = read_csv(path)
    columns = [str(find_column(table, name)) for name in ("LAYER", "P", "R", "F")]
    try:
        rows = {int(row.cells[columns[0]]): [float(row.cells[name]) for name in columns[1:]] for row in table.rows}
    except ValueError:
        raise InputError(f"{path}: not a table of baselines; each row is a layer and three numbers") from None
    if layer not in rows:
        raise InputError(f"{path}: no baseline of layer {layer}; it has {', '.join(map(str, rows))}")
    if not all(value < 1 for value in rows[layer]):  # also NaN
        raise InputError(f"{path}: a baseline of layer {layer} is not below 1; scores cannot be rescaled by it")
    precision, recall, f1 = rows[layer]
    return precision, recall, f1


def follows(folder: Path, recipe: Recipe) -> bool:
    """Whether an encoder folder has the shape of the recipe's encoder."""
    config = read_json(Path(folder) / "config.json")
    return isinstance(config, dict) and all(config.get(key) == value for key, value in recipe.shape.items())
