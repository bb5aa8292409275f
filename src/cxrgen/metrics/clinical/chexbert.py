"""Agreement of two reports by CheXbert: its labels of the 14 observations, and its [CLS] vectors.

CheXbert (Smit et al. 2020) is BERT with one linear head an observation. Each text is read once: the same pass gives the
labels for F1, the label vectors, and the vector at [CLS] whose cosine is `chexbert_similarity` (the semb_score of
CXR-Report-Metric). Its weights, chexbert.pth, may not be redistributed, so the user brings the file.

Published "CE" numbers differ by many points in three choices that are seldom stated: what an uncertain label counts as,
which average, and that an observation nobody has counts as 0 in the macro average, as f1chexbert counts it.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxrgen.core.errors import InputError
from cxrgen.core.files import sha256_file
from cxrgen.core.progress import track
from cxrgen.metrics import Floats, Metric, MetricResult, Option, always
from cxrgen.metrics.clinical.labels import (
    ABSENT,
    BLANK,
    PRESENT,
    UNCERTAIN,
    UNCERTAIN_RULES,
    USUAL_RULE,
    Labels,
    Uncertain,
    f1_columns,
    f1_counts,
    f1_values,
    label_cosine,
    study_agreement,
    uncertain_rule,
)
from cxrgen.metrics.embedding.encoders import batches, device, packaged_minilm, padded
from cxrgen.metrics.row_cache import CACHE, Item, kept_rows
from cxrgen.metrics.several import best_of, by_findings

if TYPE_CHECKING:
    import torch

PRESETS, DEFAULT = UNCERTAIN_RULES, USUAL_RULE
HEADS = (4,) * 13 + (2,)  # classes of each head; the order of the heads is that of rule_labels.OBSERVATIONS
LABEL_OF_CLASS = np.array([BLANK, PRESENT, ABSENT, UNCERTAIN], dtype=np.int8)
_COSINES = ("similarity", "label_cosine")
_MEANS = (*_COSINES, "f1_samples_14", "f1_samples_5", "exact_match_5")  # scores that are means of studies
_WIDTH = 42 + len(_MEANS) + 1
_PAIRS_AT_ONCE = 4_096
_LONGEST = 512
_HEAD_SIZE = 64  # of BERT; the checkpoint does not say how many attention heads it has
_MISSING = (
    "chexbert needs chexbert.pth, which Stanford gives for research: fetch it where there is a network, "
    "`hf download StanfordAIMI/RRG_scorers chexbert.pth --local-dir .`, and give it with --chexbert"
)


def measure(
    hypotheses: Sequence[str],
    references: Sequence[str],
    checkpoint: Path | None = None,
    preset: str = DEFAULT,
    cache: Path | None = None,
) -> MetricResult:
    """CheXbert scores of N pairs; counts are (N, 48): the 42 of `f1_counts`, those of `_MEANS`, and 1.

    `checkpoint` is chexbert.pth. A preset other than the default counts uncertain labels otherwise and gives the scores
    of labels alone, by its own name. Raises UsageError for an unknown preset, InputError without the checkpoint or when
    it is another file.
    """
    uncertain = uncertain_rule(preset, "chexbert")
    aggregate = partial(_scores, preset=preset)
    columns = f1_columns("chexbert_f1", "" if preset == DEFAULT else f".{preset}")
    if not hypotheses:
        return MetricResult(np.zeros((0, _WIDTH)), aggregate, f"chexbert|{preset}", f1=columns)
    if checkpoint is None:
        raise InputError(_MISSING)
    signature = (
        f"chexbert|{preset}|weights:{_weights(Path(checkpoint))[:12]}|observations nobody has:0 in the macro average|"
        "similarity:cosine at [CLS]|label_cosine:present 1,uncertain 0.5"
    )

    def compute(items: list[Item]) -> Floats:
        model = load_chexbert(Path(checkpoint))
        hyp, ref = (model.read(texts) for texts in zip(*items))
        return _counts(hyp, ref, uncertain)

    counts = kept_rows(list(zip(hypotheses, references)), compute, _WIDTH, signature, cache, _PAIRS_AT_ONCE)
    return MetricResult(counts, aggregate, signature, f1=columns)


def _counts(hyp: Reading, ref: Reading, uncertain: Uncertain) -> Floats:
    f1 = f1_counts(hyp.labels, ref.labels, uncertain)
    cosines = {"similarity": cosine(hyp.vectors, ref.vectors), "label_cosine": label_cosine(hyp.labels, ref.labels)}
    means = cosines | study_agreement(f1)
    return np.column_stack([f1, *(means[name] for name in _MEANS), np.ones(len(f1))])


def lacks(given: Mapping[str, Any]) -> str:
    """What CheXbert cannot run without, by its options; empty where the checkpoint is there."""
    checkpoint = given.get("checkpoint")
    if checkpoint is None:
        return _MISSING
    return "" if Path(checkpoint).is_file() else f"{checkpoint}: no such file; {_MISSING}"


def _scores(sums: Floats, preset: str) -> dict[str, Floats]:
    f1 = f1_values(sums[..., :42], "chexbert_f1", empty="zero")
    means = {f"chexbert_{name}": sums[..., 42 + place] / sums[..., -1] for place, name in enumerate(_MEANS)}
    if preset == DEFAULT:
        return means | f1
    of_labels = {name: value for name, value in means.items() if name.removeprefix("chexbert_") not in _COSINES}
    return {f"{name}.{preset}": value for name, value in (of_labels | f1).items()}


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> Floats:
    """Cosine of each row with the same row of the other, shape (N,)."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.asarray((first * second).sum(axis=1) / lengths)


@dataclass(frozen=True)
class Reading:
    """CheXbert's output for N texts: classes as `labels.label_table` codes them (N, 14), [CLS] vectors (N, D)."""

    labels: Labels
    vectors: NDArray[np.float32]


@dataclass
class CheXbert:
    """The model, and its output for the texts read so far."""

    bert: Any
    heads: torch.Tensor  # (54, D): the rows of all heads, one after the other
    bias: torch.Tensor  # (54,)
    tokenizer: Any
    weights: str  # hash of the checkpoint file
    known: dict[str, tuple[Labels, NDArray[np.float32]]] = field(default_factory=dict)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """[CLS], the word pieces of the text with its white space squeezed, [SEP]; at most 512 in all."""
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch([" ".join(text.split()) for text in texts])]
        return [row if len(row) <= _LONGEST else [*row[: _LONGEST - 1], row[-1]] for row in rows]

    def logits(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (B, 54) of all heads and [CLS] vectors (B, D) of B token rows, float32."""
        ids, mask = padded(rows, 0, str(self.heads.device.type))
        vectors = self.bert(input_ids=ids, attention_mask=mask)[0][:, 0]
        return vectors @ self.heads.T + self.bias, vectors

    def read(self, texts: Sequence[str]) -> Reading:
        """Labels and vectors of N texts; a text that was read before is not read again."""
        import torch

        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        rows = self.token_ids(new)
        groups = list(batches([len(row) for row in rows], str(self.heads.device.type)))
        with torch.inference_mode():
            for group in track(groups, "chexbert: reading", len(groups)) if groups else ():
                logits, vectors = self.logits([rows[index] for index in group])
                classes = [head.argmax(dim=1) for head in torch.split(logits, list(HEADS), dim=1)]
                labels = LABEL_OF_CLASS[torch.stack(classes, dim=1).cpu().numpy()]
                for index, label, vector in zip(group, labels, vectors.cpu().numpy()):
                    self.known[new[index]] = (label, vector)
        labels_of, vectors_of = zip(*(self.known[text] for text in texts))
        return Reading(np.stack(labels_of), np.stack(vectors_of))


@lru_cache(maxsize=1)
def _weights(checkpoint: Path) -> str:
    """Hash of the checkpoint file."""
    if missing := lacks({"checkpoint": checkpoint}):
        raise InputError(missing)
    return sha256_file(checkpoint)


@lru_cache(maxsize=1)
def load_chexbert(checkpoint: Path) -> CheXbert:
    """CheXbert from chexbert.pth as it is published: `model_state_dict` with the prefix `module.`.

    Optimizer state, the unused pooler and the position ids of old versions are ignored; all other tensors must be
    present, and no more. The vocabulary is vocab.txt beside the checkpoint or, the same words, that of the packaged
    MiniLM. Raises InputError for a missing file and for one of another layout.
    """
    import torch
    import transformers

    state = _state(checkpoint)
    where = device()
    try:
        heads = [
            (state.pop(f"linear_heads.{number}.weight"), state.pop(f"linear_heads.{number}.bias"))
            for number in range(len(HEADS))
        ]
        words, width = state["bert.embeddings.word_embeddings.weight"].shape
        layers = {name.split(".")[3] for name in state if name.startswith("bert.encoder.layer.")}
        config = transformers.BertConfig(
            vocab_size=words,
            hidden_size=width,
            num_hidden_layers=len(layers),
            num_attention_heads=width // _HEAD_SIZE,
            intermediate_size=len(state["bert.encoder.layer.0.intermediate.dense.bias"]),
            max_position_embeddings=len(state["bert.embeddings.position_embeddings.weight"]),
        )
        bert = transformers.BertModel(config, add_pooling_layer=False)
        bert.load_state_dict({name.removeprefix("bert."): tensor.float() for name, tensor in state.items()})
    except (KeyError, RuntimeError, ValueError, ZeroDivisionError) as error:
        what = f"no {error.args[0]}" if isinstance(error, KeyError) else "its tensors do not make a BERT"
        raise InputError(f"{checkpoint}: not the layout of chexbert.pth: {what}; fetch the file again") from None
    if [len(bias) for _, bias in heads] != list(HEADS):
        raise InputError(f"{checkpoint}: not the layout of chexbert.pth: 13 heads of 4 classes and one of 2 are needed")
    return CheXbert(
        bert.to(where).eval(),
        torch.cat([weight for weight, _ in heads]).float().to(where),
        torch.cat([bias for _, bias in heads]).float().to(where),
        _tokenizer(checkpoint.with_name("vocab.txt"), words),
        _weights(checkpoint),
    )


def _state(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The tensors of the checkpoint that are used, by name; nothing in the file is executed."""
    import torch

    if missing := lacks({"checkpoint": checkpoint}):
        raise InputError(missing)
    try:
        content = torch.load(
            checkpoint, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(checkpoint) or None
        )
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{checkpoint}: cannot be read as a checkpoint ({type(error).__name__})") from None
    state = content.get("model_state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise InputError(f"{checkpoint}: not the layout of chexbert.pth: no model_state_dict; fetch the file again")
    unused = ("bert.embeddings.position_ids", "bert.pooler.")
    plain = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return {name: tensor for name, tensor in plain.items() if not name.startswith(unused)}


def _tokenizer(beside: Path, words: int) -> Any:
    """BERT's uncased word pieces; raises InputError for a vocabulary of another size than the checkpoint's."""
    from tokenizers import BertWordPieceTokenizer

    vocabulary = beside if beside.is_file() else packaged_minilm() / "vocab.txt"
    tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    if tokenizer.get_vocab_size() != words:
        size = tokenizer.get_vocab_size()
        raise InputError(f"{vocabulary}: {size} words, the checkpoint has {words}; use the vocab.txt of BERT uncased")
    return tokenizer


METRIC = Metric(
    measure,
    "clinical",
    several=best_of(measure, by_findings, "the fewest false alarms and misses"),
    presets=PRESETS,
    default_preset=DEFAULT,
    options=(
        Option("--chexbert", "checkpoint", "chexbert.pth: CheXbert's labels and similarity; asks for chexbert", "FILE"),
        CACHE,
    ),
    weights=True,
    by_pair=always,
    lacks=lacks,
    asked_for=lambda given: "checkpoint" in given,
    headline={"chexbert_f1_macro_14": 30, "chexbert_similarity": 40},
    study_order={"chexbert_similarity": 3},
)
