"""CheXbert against a checkpoint of the real layout with small random weights, read by the original's own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrgen.core.errors import InputError, UsageError
from cxrgen.metrics import measure
from cxrgen.metrics.clinical import chexbert
from cxrgen.metrics.clinical.labels import f1_counts, f1_values, study_agreement
from cxrgen.metrics.embedding.encoders import packaged_minilm
from cxrgen.text.chexpert import OBSERVATIONS

torch = pytest.importorskip("torch")

GOLDEN = Path(__file__).parents[2] / "golden" / "metrics"
TINY = GOLDEN / "tiny_chexbert.pth"
COMPONENTS = json.loads((GOLDEN / "components.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return dict(COMPONENTS["chexbert_tiny"])


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> chexbert.CheXbert:
    """The small checkpoint; it has 2 attention heads, so that its width does not tell their number as BERT's does."""
    try:
        packaged_minilm()
    except InputError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(chexbert, "_HEAD_SIZE", 8)
    chexbert.load_chexbert.cache_clear()
    return chexbert.load_chexbert(TINY)


def test_tokens(tiny: chexbert.CheXbert, golden: dict[str, Any], hypotheses: list[str], references: list[str]) -> None:
    assert tiny.token_ids(references) == golden["token_ids_reference"]
    assert tiny.token_ids(hypotheses) == golden["token_ids_prediction"]


def test_long_and_empty_texts(tiny: chexbert.CheXbert) -> None:
    (empty, blank, long, fits) = tiny.token_ids(["", " \n ", "no " * 600, "no " * 510])
    assert empty == blank == [101, 102]
    assert (len(long), long[0], long[-1], len(set(long[1:-1]))) == (512, 101, 102, 1)
    assert long == fits


def test_logits_classes_and_vectors(
    tiny: chexbert.CheXbert, golden: dict[str, Any], hypotheses: list[str], references: list[str]
) -> None:
    for side, texts in (("prediction", hypotheses), ("reference", references)):
        with torch.inference_mode():
            logits = tiny.logits(tiny.token_ids(texts))[0].split(chexbert.HEADS, dim=1)
        for row in range(len(texts)):
            for head, wanted in zip(logits, golden[f"logits_{side}"][row]):
                np.testing.assert_allclose(head[row].numpy(), wanted, atol=1e-4)
        reading = tiny.read(texts)
        np.testing.assert_allclose(reading.vectors, golden[f"embedding_{side}"], atol=1e-4)
        coding = {0: -2, 1: 1, 2: 0, 3: -1}  # blank, positive, negative, uncertain
        assert reading.labels.tolist() == [[coding[c] for c in row] for row in golden[f"classes_{side}"]]


def test_similarity(
    tiny: chexbert.CheXbert, golden: dict[str, Any], hypotheses: list[str], references: list[str]
) -> None:
    measured = measure("chexbert", hypotheses, references, checkpoint=TINY)
    values = measured.aggregate(measured.counts)
    np.testing.assert_allclose(values["chexbert_similarity"], golden["semb_score"], atol=1e-4)
    corpus = measured.aggregate(measured.counts.sum(axis=0))
    assert corpus["chexbert_similarity"] == pytest.approx(np.mean(golden["semb_score"]), abs=1e-4)
    assert f"uncertain-positive|weights:{tiny.weights[:12]}" in measured.signature


def test_labels_of_a_metric_are_those_of_the_golden_classes(
    tiny: chexbert.CheXbert, golden: dict[str, Any], hypotheses: list[str], references: list[str]
) -> None:
    measured = measure("chexbert", hypotheses, references, checkpoint=TINY)
    positive = [np.isin(golden[f"classes_{side}"], (1, 3)) for side in ("prediction", "reference")]
    hits = (positive[0] & positive[1]).sum()
    wrong = (positive[0] != positive[1]).sum()
    values = measured.aggregate(measured.counts.sum(axis=0))
    assert values["chexbert_f1_micro_14"] == pytest.approx(2 * hits / (2 * hits + wrong))


def test_each_way_with_uncertain_labels_has_its_own_names(
    tiny: chexbert.CheXbert, golden: dict[str, Any], hypotheses: list[str], references: list[str]
) -> None:
    said, wanted = (np.array(golden[f"classes_{side}"]) for side in ("prediction", "reference"))
    hits = ((said == 1) & (wanted == 1)).sum()
    wrong = ((said == 1) != (wanted == 1)).sum()
    unsure = (said == 3) | (wanted == 3)
    assert unsure.any()
    measured = measure("chexbert.uncertain-negative", hypotheses, references, checkpoint=TINY)
    values = measured.aggregate(measured.counts.sum(axis=0))
    assert values["chexbert_f1_micro_14.uncertain-negative"] == pytest.approx(2 * hits / (2 * hits + wrong))
    assert "chexbert_similarity" not in "".join(values)
    wrong = (((said == 1) != (wanted == 1)) & ~unsure).sum()
    ignored = measure("chexbert.uncertain-ignore", hypotheses, references, checkpoint=TINY)
    value = ignored.aggregate(ignored.counts.sum(axis=0))["chexbert_f1_micro_14.uncertain-ignore"]
    assert value == pytest.approx(2 * hits / (2 * hits + wrong))
    with pytest.raises(UsageError, match="unknown preset of chexbert 'other'"):
        measure("chexbert.other", hypotheses, references, checkpoint=TINY)


@pytest.mark.parametrize("uncertain", ["positive", "negative"])
@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
@pytest.mark.parametrize("size", [14, 5])
def test_f1_as_f1chexbert_and_scikit_learn_give_it(uncertain: Any, average: str, size: int) -> None:
    golden = COMPONENTS["f1chexbert"]
    said, wanted = (chexbert.LABEL_OF_CLASS[golden[f"classes_{side}"]] for side in ("prediction", "reference"))
    values = f1_values(f1_counts(said, wanted, uncertain).sum(axis=0), "chexbert_f1", empty="zero")
    expected = golden["sklearn_breakdown_precision_recall_f1"][f"uncertain_{uncertain}/{average}/{size}"][2]
    assert values[f"chexbert_f1_{average}_{size}"] == pytest.approx(expected, abs=1e-6)
    if uncertain == "positive":
        report = golden["f1chexbert_0.0.2"][f"report_{size}"]
        assert values[f"chexbert_f1_{average}_{size}"] == pytest.approx(report[f"{average} avg"]["f1-score"], abs=1e-6)
        for name in set(OBSERVATIONS) & set(report):
            key = f"chexbert_f1_{name.lower().replace(' ', '_')}"
            assert np.nan_to_num(values[key]) == pytest.approx(report[name]["f1-score"], abs=1e-6)


@pytest.mark.parametrize("uncertain", ["positive", "negative"])
def test_means_of_studies_as_f1chexbert_and_scikit_learn_give_them(uncertain: Any) -> None:
    golden = COMPONENTS["f1chexbert"]
    said, wanted = (chexbert.LABEL_OF_CLASS[golden[f"classes_{side}"]] for side in ("prediction", "reference"))
    each = study_agreement(f1_counts(said, wanted, uncertain))
    for size in (14, 5):
        expected = golden["sklearn_breakdown_precision_recall_f1"][f"uncertain_{uncertain}/samples/{size}"][2]
        assert each[f"f1_samples_{size}"].mean() == pytest.approx(expected, abs=1e-6)
    if uncertain == "positive":
        assert each["exact_match_5"].mean() == pytest.approx(golden["f1chexbert_0.0.2"]["accuracy_5"], abs=1e-6)


def test_means_of_studies_are_scores(tiny: chexbert.CheXbert, hypotheses: list[str], references: list[str]) -> None:
    measured = measure("chexbert", hypotheses, references, checkpoint=TINY)
    each = study_agreement(measured.counts[:, :42])
    values = measured.aggregate(measured.counts.sum(axis=0))
    for name in ("f1_samples_14", "f1_samples_5", "exact_match_5"):
        assert values[f"chexbert_{name}"] == pytest.approx(each[name].mean())
    other = measure("chexbert.uncertain-negative", hypotheses, references, checkpoint=TINY)
    assert "chexbert_exact_match_5.uncertain-negative" in other.aggregate(other.counts[0])


def test_a_text_is_read_once_and_batches_do_not_matter(tiny: chexbert.CheXbert, references: list[str]) -> None:
    read = []
    tiny.bert.register_forward_hook(lambda model, args, out: read.append(len(out[0])))
    together = tiny.read(references + references)
    assert sum(read) == len(set(references))
    alone = np.stack([tiny.logits(tiny.token_ids([text]))[1][0].detach().numpy() for text in references])
    np.testing.assert_allclose(together.vectors[: len(references)], alone, atol=1e-5)


def state_of(path: Path) -> Any:
    return torch.load(path, weights_only=True)["model_state_dict"]


def test_old_buffers_and_optimizer_state_are_passed_over(
    tiny: chexbert.CheXbert, tmp_path: Path, references: list[str]
) -> None:
    """As torch of 2020 saved it: no zip archive, position ids among the weights, the optimizer beside them."""
    state = state_of(TINY)
    state["module.bert.embeddings.position_ids"] = torch.arange(512)[None]
    content = {"epoch": 7, "optimizer_state_dict": {"state": {0: {"step": 1}}}, "model_state_dict": state}
    torch.save(content, tmp_path / "chexbert.pth", _use_new_zipfile_serialization=False)
    old = chexbert.load_chexbert(tmp_path / "chexbert.pth")
    np.testing.assert_array_equal(old.read(references).vectors, tiny.read(references).vectors)


def test_files_that_are_no_chexbert(tiny: chexbert.CheXbert, tmp_path: Path) -> None:
    file = tmp_path / "chexbert.pth"
    with pytest.raises(InputError, match="--chexbert"):
        measure("chexbert", ["a"], ["a"])
    with pytest.raises(InputError, match=r"no such file; chexbert needs chexbert\.pth"):
        measure("chexbert", ["a"], ["a"], checkpoint=file)
    state = state_of(TINY)
    wrong: list[tuple[Any, str]] = [
        ({"state_dict": state}, "no model_state_dict"),
        ({"model_state_dict": {k: v for k, v in state.items() if "heads.13.bias" not in k}}, "no linear_heads.13.bias"),
        ({"model_state_dict": {**state, "module.extra": torch.ones(1)}}, "do not make a BERT"),
        ({"model_state_dict": {**state, "module.linear_heads.13.bias": torch.ones(4)}}, "13 heads of 4"),
    ]
    for content, message in wrong:
        torch.save(content, file)
        chexbert.load_chexbert.cache_clear()
        with pytest.raises(InputError, match=message):
            chexbert.load_chexbert(file)
    file.write_bytes(TINY.read_bytes()[:5000])
    with pytest.raises(InputError, match="cannot be read"):
        chexbert.load_chexbert(file)
    torch.save({"model_state_dict": state}, file)
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n", encoding="utf-8")
    with pytest.raises(InputError, match="4 words, the checkpoint has 30522"):
        chexbert.load_chexbert(file)


class Harmful:
    """What a pickle can do when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("harm"),))


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state_dict": {}, "optimizer": Harmful()}, "chexbert.pth")
    with pytest.raises(InputError, match="cannot be read"):
        chexbert.load_chexbert(tmp_path / "chexbert.pth")
    assert not Path("harm").exists()


def test_no_texts_need_no_checkpoint() -> None:
    measured = measure("chexbert", [], [])
    assert measured.counts.shape == (0, 48)
    assert "chexbert_f1_macro_5" in measured.aggregate(np.ones(48))
