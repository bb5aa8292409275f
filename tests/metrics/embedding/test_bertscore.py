"""BERTScore against bert-score 0.3.13: the packaged MiniLM, and a tiny RoBERTa with every setting and odd texts."""

from __future__ import annotations

import dataclasses
import json
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrgen.core.errors import InputError
from cxrgen.metrics import measure
from cxrgen.metrics.embedding import bertscore
from cxrgen.metrics.embedding.encoders import packaged_minilm

torch = pytest.importorskip("torch")

GOLDEN = Path(__file__).parents[2] / "golden" / "metrics"
TINY = GOLDEN / "tiny_roberta"


def golden_json(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return dict(golden_json("bertscore_encoders.json"))


@pytest.fixture(scope="module")
def minilm() -> Path:
    try:
        return packaged_minilm()
    except InputError as error:
        pytest.skip(str(error))


def close(values: np.ndarray, run: dict[str, list[float | None]]) -> None:
    wanted = np.array([run["p"], run["r"], run["f"]], dtype=float)  # None becomes NaN
    np.testing.assert_allclose(values, wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("run", "layer"), [("L6/noidf/verbatim", 6), ("L6/noidf/verbatim", None), ("L5/noidf/verbatim", 5)]
)
def test_minilm_on_every_golden_pair(
    hypotheses: list[str], references: list[str], minilm: Path, run: str, layer: int | None
) -> None:
    runs = golden_json("bertscore_minilm_per_pair.json")["runs"]
    close(bertscore.score(hypotheses, references, minilm, layer), runs[run])


def test_minilm_as_a_metric(hypotheses: list[str], references: list[str], minilm: Path) -> None:
    measured = measure("bertscore_minilm", hypotheses, references)
    wanted = golden_json("bertscore_minilm_per_pair.json")["runs"]["L6/noidf/crm_squeezed"]["f"]
    np.testing.assert_allclose(measured.aggregate(measured.counts)["bertscore_minilm"], wanted, atol=1e-4)
    corpus = measured.aggregate(measured.counts.sum(axis=0))
    assert corpus["bertscore_minilm"] == pytest.approx(np.mean(wanted), abs=1e-4)
    assert "layer:6" in measured.signature
    assert "rescaled:no" in measured.signature


@pytest.mark.parametrize("run", ["L3", "L2", "L3/idf", "L2/idf/rescaled", "L2/rescaled"])
def test_settings_and_odd_texts_of_a_tiny_roberta(golden: dict[str, Any], run: str) -> None:
    """Empty texts, blanks, line breaks, accents, unknown scripts, and a text longer than the encoder can take."""
    said, wanted = zip(*golden["pairs"])
    layer, *settings = run.split("/")
    baseline = tuple(golden["baseline"]["2"]) if "rescaled" in settings else None
    values = bertscore.score(said, wanted, TINY, int(layer[1:]), idf="idf" in settings, baseline=baseline)
    close(values, golden["runs"][f"roberta/{run}"])


def test_a_table_of_baselines_as_bert_score_ships_them(golden: dict[str, Any], tmp_path: Path) -> None:
    table = tmp_path / "tiny.tsv"
    table.write_text("LAYER,P,R,F\n0,0.3,0.3,0.3\n2,{},{},{}\n".format(*golden["baseline"]["2"]), encoding="utf-8")
    places = [place for place, pair in enumerate(golden["pairs"]) if "  " not in "|".join(pair)]
    said, wanted = zip(*(golden["pairs"][place] for place in places))
    measured = measure("bertscore_encoder", said, wanted, encoder=TINY, layer=2, baseline=table)
    expected = [golden["runs"]["roberta/L2/rescaled"]["f"][place] for place in places]
    np.testing.assert_allclose(measured.aggregate(measured.counts)["bertscore_encoder"], expected, atol=1e-4)
    with pytest.raises(InputError, match=r"no baseline of layer 3; it has 0, 2"):
        measure("bertscore_encoder", said, wanted, encoder=TINY, baseline=table)  # its last layer is the third
    for content, message in (
        ("LAYER,P,R,F\n2,0.3,high,0.3\n", "not a table of baselines"),
        ("LAYER,P,R,F\n2,0.3,1.0,0.3\n", "not below 1"),
        ("layer,P,R\n2,0.3,0.3\n", "no column 'F'"),
    ):
        table.write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            bertscore.read_baseline(table, 2)


def test_the_published_row_is_that_of_the_package() -> None:
    package = pytest.importorskip("bert_score")
    table = Path(package.__file__).parent / "rescale_baseline" / "en" / "distilroberta-base.tsv"
    row = bertscore.read_baseline(table, bertscore.DISTILROBERTA.layer)
    assert row == pytest.approx(bertscore.DISTILROBERTA.baseline, abs=1e-8)


def test_idf_and_odd_texts_of_minilm(golden: dict[str, Any], minilm: Path) -> None:
    said, wanted = zip(*golden["pairs"])
    close(bertscore.score(said, wanted, minilm), golden["runs"]["minilm/L6"])
    close(bertscore.score(said, wanted, minilm, idf=True), golden["runs"]["minilm/L6/idf"])


def test_cached_references_give_the_same_numbers(golden: dict[str, Any], tmp_path: Path) -> None:
    said, wanted = zip(*golden["pairs"])
    without = bertscore.score(said, wanted, TINY)
    bertscore.load_encoder.cache_clear()
    first = bertscore.score(said, wanted, TINY, cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    bertscore.load_encoder.cache_clear()
    encoder = bertscore.load_encoder(TINY, None)
    encoded = []
    encoder.model.register_forward_hook(lambda model, args, out: encoded.append(len(out[0])))
    second = bertscore.score(said, wanted, TINY, cache=tmp_path / "cache")
    np.testing.assert_array_equal(first, without)
    np.testing.assert_allclose(second, first, atol=1e-5)  # other texts share a batch, so the last bits differ
    assert sum(encoded) == len({text.strip() for text in said} - {text.strip() for text in wanted})
    assert [file] == list((tmp_path / "cache").iterdir()), "nothing new, so nothing written"


def test_another_layer_or_encoder_never_takes_cached_vectors(tmp_path: Path) -> None:
    texts = ["Heart normal.", "Lungs clear."]
    turned = texts[::-1]
    third = bertscore.score(turned, texts, TINY, 3, cache=tmp_path)
    bertscore.load_encoder.cache_clear()
    second = bertscore.score(turned, texts, TINY, 2, cache=tmp_path)
    np.testing.assert_allclose(second, bertscore.score(turned, texts, TINY, 2), atol=1e-5)
    assert np.abs(second - third).max() > 1e-2


def test_a_damaged_cache_file_is_named_and_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = (["Heart normal."], ["Lungs clear."])
    whole = bertscore.score(*pair, TINY, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    bertscore.load_encoder.cache_clear()
    np.testing.assert_array_equal(bertscore.score(*pair, TINY, cache=tmp_path), whole)
    assert f"{file}: damaged" in capsys.readouterr().err
    assert file.stat().st_size > 100


def test_each_text_is_encoded_once() -> None:
    bertscore.load_encoder.cache_clear()
    encoder = bertscore.load_encoder(TINY, None)
    encoded = []
    encoder.model.register_forward_hook(lambda model, args, out: encoded.append(len(out[0])))
    texts = ["Heart normal.", "Lungs clear.", " Heart normal. "]
    bertscore.score(texts, texts[::-1], TINY)
    bertscore.score(["Effusion."] * 3, texts, TINY)
    assert sum(encoded) == 3


def test_distilroberta_by_its_name_only(tmp_path: Path) -> None:
    pair = (["Heart normal."], ["Lungs clear."])
    with pytest.raises(InputError, match="--encoder"):
        measure("bertscore", *pair)
    with pytest.raises(InputError, match="not distilroberta-base"):
        measure("bertscore", *pair, encoder=TINY)
    other = measure("bertscore_encoder", *pair, encoder=TINY, layer=2)
    assert list(other.aggregate(other.counts)) == ["bertscore_encoder"]
    with pytest.raises(InputError, match=r"config\.json: no such file"):
        measure("bertscore", *pair, encoder=tmp_path)


def test_distilroberta_is_rescaled_by_the_published_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny encoder stands in for the real one: what is checked is the layer and the arithmetic."""
    monkeypatch.setattr(bertscore, "follows", lambda folder, recipe: True)
    monkeypatch.setitem(bertscore.PRESETS, bertscore.DEFAULT, dataclasses.replace(bertscore.DISTILROBERTA, layer=2))
    pair = (["Heart  normal."], ["Heart normal. Lungs clear."])
    measured = measure("bertscore", *pair, encoder=TINY)
    raw = bertscore.score(["Heart normal."], pair[1], TINY, 2)[2, 0]
    assert measured.aggregate(measured.counts)["bertscore"][0] == pytest.approx((raw - 0.8473319) / (1 - 0.8473319))
    assert "rescaled:0.84732,0.847595,0.847332" in measured.signature


def test_no_texts_need_no_encoder() -> None:
    """How counts become values is asked for by measuring nothing."""
    for name in ("bertscore", "bertscore_minilm", "bertscore_encoder"):
        measured = measure(name, [], [])
        assert measured.counts.shape == (0, 2)
        assert measured.aggregate(np.array([1.5, 2.0]))[name] == 0.75


@pytest.mark.parametrize("family", ["distilbert", "electra", "mpnet", "deberta-v2", "xlm-roberta", "modernbert"])
def test_a_layer_of_other_families_is_what_the_whole_model_has_there(family: str, tmp_path: Path) -> None:
    """The cut model's output at layer 1 of 3 against the whole model's hidden states, on a text that is too long."""
    transformers = pytest.importorskip("transformers")
    names = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    if family == "distilbert":
        names = {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32}
    special = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}
    config = transformers.AutoConfig.for_model(family, vocab_size=400, max_position_embeddings=64, **names, **special)
    torch.manual_seed(0)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    bertscore.load_encoder(TINY).tokenizer.save_pretrained(tmp_path)
    texts = ["Heart normal.", "Small effusion. " * 40]
    encoder = bertscore.load_encoder(tmp_path, 1)
    rows = list(encoder.token_ids(texts).values())
    encoder.encode(rows, set(), None)
    whole = transformers.AutoModel.from_pretrained(tmp_path, output_hidden_states=True).eval()
    for row in rows:
        with torch.inference_mode():
            hidden = whole(input_ids=torch.tensor([row]), attention_mask=torch.ones(1, len(row))).hidden_states[1][0]
            if family == "modernbert":  # its last norm follows whichever layer is the last, as in bert-score
                hidden = whole.final_norm(hidden)
        wanted = hidden / hidden.norm(dim=-1, keepdim=True)
        torch.testing.assert_close(encoder.known[row], wanted, atol=1e-5, rtol=0)


def test_folders_that_are_no_encoder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \*\.safetensors"):
        bertscore.score(["a b"], ["a b"], tmp_path)
    with pytest.raises(InputError, match="layer 4 was asked for; the encoder has 3"):
        bertscore.score(["a b"], ["a b"], TINY, 4)
    broken = tmp_path / "broken"
    shutil.copytree(TINY, broken)
    (broken / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be loaded"):
        bertscore.score(["a b"], ["a b"], broken)
