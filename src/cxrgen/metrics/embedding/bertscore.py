"""BERTScore: each token is matched with the most similar token of the other text, by the vectors of a text encoder.

The numbers are those of the package bert-score 0.3.13 for the same encoder, layer and settings. Different from it, each
text is encoded once, however often it occurs (references are the same for every system and every baseline), batches are
of like length, and the vectors of references can be kept on disk. They are kept in full precision, some 0.2 MB a report
with distilroberta: halves would save half of that and, after rescaling, cost the fourth digit of a score.

What it cannot do: two reports that differ in a negation or a side score above 0.88 and 0.99. It measures wording.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrgen.core.errors import InputError, unknown
from cxrgen.core.progress import track
from cxrgen.metrics import Floats, Metric, MetricResult, Option, always, mean_of_studies
from cxrgen.metrics.embedding.bertscore_recipes import (
    DEFAULT,
    DISTILROBERTA,
    PRESETS,
    Recipe,
    Triple,
    follows,
    read_baseline,
)
from cxrgen.metrics.embedding.encoders import batches, device, packaged_minilm, padded, weights_hash
from cxrgen.metrics.embedding.vector_cache import Vectors
from cxrgen.metrics.row_cache import CACHE, Item, kept_rows
from cxrgen.metrics.several import best_of, by_score

if TYPE_CHECKING:
    import torch

_SPACE_FIRST = ("roberta", "gpt2")  # families whose tokens mark a word's start by the blank before it
_POSITIONS_AFTER_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet")  # families that lose two positions
_LAYERS = ("encoder.layer", "transformer.layer", "layers")  # where encoders keep their list of layers
_PAIRS_AT_ONCE = 4_096
_TOKENS_IN_MEMORY = 600_000  # 1.8 GB of vectors with 768 dimensions


def measure(
    hypotheses: Sequence[str], references: Sequence[str], preset: str = DEFAULT, **settings: Any
) -> MetricResult:
    """`bertscore`: a published encoder, layer 5, rescaled by its published baseline; counts are (N, 2): F1 and 1.

    The encoder is that of CXR-Report-Metric (distilroberta-base), or with the preset "radeval" that of RadEval
    (distilbert-base-uncased). Settings: `encoder`, its folder, and those of `score`. Raises InputError without the
    folder or when it holds another encoder, whose score must not carry this name; UsageError for an unknown preset.
    """
    if preset not in PRESETS:
        raise unknown("preset of bertscore", preset, PRESETS)
    recipe = PRESETS[preset]
    name = "bertscore" if preset == DEFAULT else f"bertscore.{preset}"
    if hypotheses and (missing := lacks(settings, recipe, name)):
        raise InputError(missing)
    return _bertscore(name, hypotheses, references, {"layer": recipe.layer, "baseline": recipe.baseline, **settings})


def lacks(given: Mapping[str, Any], recipe: Recipe = DISTILROBERTA, name: str = "bertscore") -> str:
    """What a score cannot run without, by its options; empty where the recipe's encoder is there."""
    encoder = given.get("encoder")
    if encoder is None:
        return (
            f"{name} needs the encoder {recipe.encoder}: fetch it where there is a network, "
            f"`hf download {recipe.encoder} --local-dir {recipe.encoder}`, and give its folder with --encoder; "
            "bertscore_minilm runs without"
        )
    if not follows(encoder, recipe):
        return f"{encoder}: not {recipe.encoder}; the score of another encoder is bertscore_encoder"
    return ""


def measure_minilm(hypotheses: Sequence[str], references: Sequence[str], **settings: Any) -> MetricResult:
    """`bertscore_minilm`: the packaged MiniLM, its last layer, not rescaled (no baseline was published)."""
    if hypotheses:
        settings = {"encoder": packaged_minilm(), **settings}
    return _bertscore("bertscore_minilm", hypotheses, references, settings)


def measure_encoder(hypotheses: Sequence[str], references: Sequence[str], **settings: Any) -> MetricResult:
    """`bertscore_encoder`: any encoder folder (`encoder`) at its last layer or `layer`; see `score` for the rest.

    `baseline` may also be the file of a table of baselines, from which the layer's row is taken.
    """
    if hypotheses and settings.get("encoder") is None:
        raise InputError("bertscore_encoder needs the folder of a text encoder; give it with --encoder")
    if hypotheses and isinstance(settings.get("baseline"), Path):
        layer = load_encoder(settings["encoder"], settings.get("layer")).layer
        settings["baseline"] = read_baseline(settings["baseline"], layer)
    return _bertscore("bertscore_encoder", hypotheses, references, settings)


def _bertscore(
    name: str, hypotheses: Sequence[str], references: Sequence[str], settings: Mapping[str, Any]
) -> MetricResult:
    """Runs of blanks count as one blank, as CXR-Report-Metric prepares the texts of its BERTScore column."""
    if not hypotheses:
        return mean_of_studies({name: []}, f"{name}|")
    signature = f"{name}|{_signature(**settings)}"
    hyp, ref = ([re.sub(" +", " ", text) for text in texts] for texts in (hypotheses, references))

    def compute(items: list[Item]) -> Floats:
        said, wanted = (list(texts) for texts in zip(*items))
        f1: Floats = score(said, wanted, **settings)[2]
        return f1[:, None]

    if settings.get("idf"):  # a pair's value depends on the other references
        return mean_of_studies({name: score(hyp, ref, **settings)[2]}, signature)
    rows = kept_rows(list(zip(hyp, ref)), compute, 1, signature, settings.get("cache"), _PAIRS_AT_ONCE)
    return mean_of_studies({name: rows[:, 0]}, signature)


def _signature(
    encoder: Path, layer: int | None = None, idf: bool = False, baseline: Triple | None = None, **_: object
) -> str:
    loaded = load_encoder(encoder, layer)
    rescaled = "no" if baseline is None else ",".join(f"{value:g}" for value in baseline)
    return (
        f"encoder:{Path(encoder).name}|weights:{loaded.weights[:12]}|layer:{loaded.layer}|"
        f"idf:{'of the references' if idf else 'no'}|rescaled:{rescaled}|blanks:squeezed|level:mean of studies"
    )


def score(
    hypotheses: Sequence[str],
    references: Sequence[str],
    encoder: Path,
    layer: int | None = None,
    idf: bool = False,
    baseline: Triple | None = None,
    cache: Path | None = None,
) -> Floats:
    """Precision, recall and F1 of N pairs of texts, shape (3, N), as bert-score gives them (Zhang et al. 2020).

    `encoder` is a Hugging Face folder of a BERT-shaped encoder; `layer` counts from 1, None is the last. `idf` weighs
    each token by its rarity among these references. `baseline` rescales x to (x - b) / (1 - b). `cache` is a folder
    that keeps the vectors of references for the next time; it is made as needed, its files are readable by their owner
    only. A text without tokens scores 0 before rescaling. Raises InputError for a folder that holds no such encoder.
    """
    loaded = load_encoder(encoder, layer)
    ids = loaded.token_ids(sorted({text.strip() for text in (*hypotheses, *references)}))
    weights = loaded.idf([ids[text.strip()] for text in references]) if idf else loaded.no_special()
    pairs = [(ids[hyp.strip()], ids[ref.strip()]) for hyp, ref in zip(hypotheses, references)]
    rows: list[Triple] = []
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        part = pairs[start : start + _PAIRS_AT_ONCE]
        loaded.encode([row for pair in part for row in pair], {ref for _, ref in part}, cache)
        rows += [loaded.match(hyp, ref, weights) for hyp, ref in part]
    values = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    if baseline is not None:
        below = np.array(baseline)[:, None]
        values = (values - below) / (1 - below)
    return values


@lru_cache(maxsize=2)
def load_encoder(folder: Path, layer: int | None = None) -> Encoder:
    """An encoder cut after `layer`, kept for the next call; the vectors it has made are kept with it."""
    import transformers
    from safetensors import SafetensorError

    where, weights = device(), weights_hash(Path(folder))
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        model, info = transformers.AutoModel.from_pretrained(
            str(folder), local_files_only=True, dtype="float32", output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        message = " ".join(str(error).split())[:200]
        raise InputError(f"{folder}: cannot be loaded as a text encoder ({type(error).__name__}: {message})") from None
    finally:
        transformers.logging.set_verbosity(level)
        transformers.logging.enable_progress_bar()
    missing = sorted(name for name in info["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise InputError(f"{folder}: weights are missing, such as {missing[0]}; fetch the encoder again")
    kept = _cut(model, layer, folder)
    return Encoder(tokenizer, model.to(where).eval(), kept, weights)


def _cut(model: Any, layer: int | None, folder: Path) -> int:
    """Drop the layers after `layer`; returns how many are left."""
    for path in _LAYERS:
        holder, _, name = path.rpartition(".")
        owner = getattr(model, holder, None) if holder else model
        layers = getattr(owner, name, None)
        if layers is not None:
            kept = len(layers) if layer is None else layer
            if not 0 <= kept <= len(layers):
                raise InputError(f"{folder}: layer {layer} was asked for; the encoder has {len(layers)}")
            setattr(owner, name, layers[:kept])
            return kept
    raise InputError(f"{folder}: {type(model).__name__} is not an encoder with a list of layers; give a BERT-like one")


@dataclass
class Encoder:
    """A text encoder and the vectors it has made so far, by token ids."""

    tokenizer: Any
    model: Any
    layer: int
    weights: str  # hash
    known: dict[tuple[int, ...], torch.Tensor] = field(default_factory=dict)  # (T, D) float32, each row of length 1

    def token_ids(self, texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Token ids of each text with the special tokens, cut to what the encoder can take."""
        config = self.model.config
        positions = getattr(config, "max_position_embeddings", 512)
        lost = 2 if config.model_type in _POSITIONS_AFTER_PADDING else 0
        longest = min(self.tokenizer.model_max_length, positions - lost)
        blank = " " if config.model_type in _SPACE_FIRST else ""
        prepared = [blank + text if text else "" for text in texts]
        rows = self.tokenizer(prepared, truncation=True, max_length=longest)["input_ids"] if prepared else []
        return {text: tuple(row) for text, row in zip(texts, rows)}

    def idf(self, references: Sequence[tuple[int, ...]]) -> Floats:
        """log((N + 1) / (n + 1)) of each token id that is in n of N references: shape (vocabulary,)."""
        seen = np.zeros(self.model.config.vocab_size)
        for row in references:
            seen[list(set(row))] += 1
        return np.asarray(np.log((len(references) + 1) / (seen + 1)))

    def no_special(self) -> Floats:
        """1 for each token id, 0 for those that begin and end a text: shape (vocabulary,)."""
        weights = np.ones(self.model.config.vocab_size)
        special = (self.tokenizer.sep_token_id, self.tokenizer.cls_token_id)
        weights[[token for token in special if token is not None]] = 0
        return weights

    def encode(self, rows: Sequence[tuple[int, ...]], kept: set[tuple[int, ...]], cache: Path | None) -> None:
        """Make the vectors of all `rows` known; those of `kept` are looked up in `cache`, and left there if new."""
        import torch

        if sum(map(len, self.known)) > _TOKENS_IN_MEMORY:
            self.known.clear()
        new = [row for row in dict.fromkeys(rows) if row not in self.known]
        store = Vectors(cache, f"{self.weights[:16]}-layer{self.layer}") if cache is not None else None
        if store is not None:
            self.known.update(store.read([row for row in new if row in kept]))
            new = [row for row in new if row not in self.known]
        if not new:
            return
        where = str(self.model.device.type)
        groups = list(batches([len(row) for row in new], where))
        with torch.inference_mode():
            for group in track(groups, "bertscore: encoding", len(groups)):
                ids, mask = padded([new[index] for index in group], self.tokenizer.pad_token_id or 0, where)
                hidden = self.model(input_ids=ids, attention_mask=mask)[0]
                unit = (hidden / hidden.norm(dim=-1, keepdim=True)).float().cpu()
                for index, vectors in zip(group, unit):
                    self.known[new[index]] = vectors[: len(new[index])].clone()
        if store is not None:
            store.write({row: self.known[row] for row in new if row in kept})

    def match(self, hyp: tuple[int, ...], ref: tuple[int, ...], weights: Floats) -> Triple:
        """Greedy matching of two token rows whose vectors are known; `weights` has shape (vocabulary,)."""
        if len(hyp) <= 2 or len(ref) <= 2:
            return 0.0, 0.0, 0.0
        similar = self.known[hyp] @ self.known[ref].T
        precision = _weighted(similar.amax(dim=1), weights[list(hyp)])
        recall = _weighted(similar.amax(dim=0), weights[list(ref)])
        total = precision + recall
        return precision, recall, 2 * precision * recall / total if total > 0 else 0.0


def _weighted(best: torch.Tensor, weights: Floats) -> float:
    """Weighted mean; NaN where no token has weight. The package masks by multiplying, so none counts below 0."""
    total = float(weights.sum())
    return float(best.numpy().clip(min=0) @ weights) / total if total else math.nan


_ENCODER = Option(
    "--encoder", "encoder", "distilroberta-base: asks for bertscore; another encoder: for bertscore_encoder", "DIR"
)
_OF_ENCODER = (
    Option(
        "--encoder-layer",
        "layer",
        "layer of --encoder, counted from 1 (default: the last); with this and the next two the score is "
        "bertscore_encoder, whatever the encoder",
        "N",
        int,
        requires="--encoder",
    ),
    Option(
        "--encoder-idf",
        "idf",
        "weigh each token by its rarity among the references being scored",
        requires="--encoder",
    ),
    Option(
        "--encoder-baseline",
        "baseline",
        "rescale by this table of baselines as bert-score ships it: LAYER,P,R,F",
        "TSV",
        requires="--encoder",
    ),
)


def _asks_for_encoder(given: Mapping[str, Any]) -> bool:
    own_settings = any(option.keyword in given for option in _OF_ENCODER)
    return "encoder" in given and (own_settings or not follows(given["encoder"], DISTILROBERTA))


METRIC = Metric(
    measure,
    "overlap",
    several=best_of(measure, by_score("bertscore"), "the best bertscore"),
    presets=tuple(PRESETS),
    default_preset=DEFAULT,
    options=(_ENCODER, CACHE),
    weights=True,
    by_pair=always,
    lacks=lacks,
    asked_for=lambda given: "encoder" in given and follows(given["encoder"], DISTILROBERTA),
    headline={"bertscore": 80},
    study_order={"bertscore": 2},
)
MINILM = Metric(
    measure_minilm,
    "overlap",
    several=best_of(measure_minilm, by_score("bertscore_minilm"), "the best bertscore_minilm"),
    options=(CACHE,),
    weights=True,
    by_pair=always,
)
ENCODER = Metric(
    measure_encoder,
    "overlap",
    several=best_of(measure_encoder, by_score("bertscore_encoder"), "the best bertscore_encoder"),
    options=(_ENCODER, *_OF_ENCODER, CACHE),
    weights=True,
    by_pair=lambda given: not given.get("idf"),
    asked_for=_asks_for_encoder,
)
