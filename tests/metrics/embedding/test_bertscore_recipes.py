"""BERTScore by the recipes of other programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cxrgen.core.errors import InputError, UsageError
from cxrgen.metrics import measure, metric_of

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "heart", "lungs", "normal", "clear", "effusion", "no", "."]
BELOW = 0.66620487  # F of row 5 in bert-score's table for distilbert-base-uncased


@pytest.fixture
def distilbert(tmp_path: Path) -> Path:
    """A DistilBERT of six layers with small random weights; its config says what the real one's says."""
    torch.manual_seed(0)
    config = transformers.DistilBertConfig(vocab_size=30522, dim=24, n_layers=6, n_heads=2, hidden_dim=32)
    transformers.DistilBertModel(config).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True}), encoding="utf-8"
    )
    return tmp_path


def test_radeval_s_recipe(distilbert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layer 5 of distilbert-base-uncased, no idf, rescaled: what is checked is the choice and the arithmetic."""
    pair = (["Heart normal."], ["No effusion. Heart normal."])
    with pytest.raises(InputError, match="not distilbert-base-uncased"):
        measure("bertscore.radeval", *pair, encoder=distilbert)
    monkeypatch.setattr("cxrgen.metrics.embedding.bertscore.follows", lambda folder, recipe: True)
    measured = measure(metric_of("bertscore.radeval"), *pair, encoder=distilbert)
    plain = measure("bertscore_encoder", *pair, encoder=distilbert, layer=5)
    raw = float(plain.aggregate(plain.counts[0])["bertscore_encoder"])
    assert measured.aggregate(measured.counts[0])["bertscore.radeval"] == pytest.approx((raw - BELOW) / (1 - BELOW))
    assert "|layer:5|idf:no|rescaled:0.666603,0.666605,0.666205|" in measured.signature


def test_the_encoder_is_named() -> None:
    with pytest.raises(InputError, match=r"bertscore\.radeval needs the encoder distilbert-base-uncased.*--encoder"):
        measure("bertscore.radeval", ["a"], ["a"])
    with pytest.raises(UsageError, match="unknown preset of bertscore 'radevil'"):
        measure("bertscore.radevil", ["a"], ["a"])
    assert list(measure("bertscore.radeval", [], []).aggregate(torch.ones(2).double().numpy())) == ["bertscore.radeval"]
