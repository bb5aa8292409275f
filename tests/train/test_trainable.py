"""Each mode trains exactly what its row says."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.material import assert_close, assert_equal, small, weights
from transformers import AutoModelForImageTextToText, LlavaForConditionalGeneration

from cxrgen.core.errors import UsageError
from cxrgen.model.checkpoint import open_checkpoint
from cxrgen.train.config import TRAIN_MODULES, TrainableConfig
from cxrgen.train.pipeline import train
from cxrgen.train.trainable import MODES, fold_rows, mode_of, set_trainable

HIDDEN, MLP, LAYERS, TOWER = 32, 48, 2, 16
PROJECTOR = TOWER * HIDDEN + HIDDEN + HIDDEN * HIDDEN + HIDDEN
LAYER = 4 * HIDDEN * HIDDEN + 3 * HIDDEN * MLP + 2 * HIDDEN


@pytest.fixture
def model(llava: Path) -> Any:
    return LlavaForConditionalGeneration.from_pretrained(llava)


def counted(model: Any, mode: str, rows: Sequence[int] = (), **more: Any) -> int:
    return set_trainable(model, TrainableConfig(mode, **more), rows)[0]


def test_numbers_of_parameters(llava: Path, model: Any) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    language = 2 * rows * HIDDEN + LAYERS * LAYER + HIDDEN
    tower = sum(p.numel() for p in model.model.vision_tower.parameters())
    tower_layer = sum(p.numel() for p in model.model.vision_tower.encoder.layers[0].parameters())
    unused = tower_layer + 2 * TOWER  # the last layer and the norm behind it give nothing to layer -2

    def fresh() -> Any:
        return LlavaForConditionalGeneration.from_pretrained(llava)

    assert counted(fresh(), "projector") == PROJECTOR
    assert counted(fresh(), "projector", rows=[rows - 2, rows - 1]) == PROJECTOR + 2 * HIDDEN
    assert counted(fresh(), "llm") == language
    assert counted(fresh(), "projector+llm") == PROJECTOR + language
    assert counted(fresh(), "full") == PROJECTOR + language + tower - unused
    assert counted(fresh(), "projector", train_tower="last-1") == PROJECTOR + tower_layer
    assert counted(fresh(), "projector", train_tower="last-2") == PROJECTOR + 2 * tower_layer
    adapters = LAYERS * 4 * (4 * 2 * HIDDEN + 3 * (HIDDEN + MLP))  # rank 4: four square and three other matrices
    assert counted(fresh(), "lora", lora_rank=4) == PROJECTOR + adapters
    assert counted(fresh(), "lora", [rows - 1], lora_rank=4) == PROJECTOR + adapters + HIDDEN
    with pytest.raises(UsageError, match="choose from frozen, last-1, last-2, full"):
        counted(fresh(), "projector", train_tower="last-3")
    with pytest.raises(UsageError, match="choose from projector, llm"):
        mode_of("everything")
    documented = Path(__file__).parents[2] / "src" / "cxrgen" / "train" / "trainable.py"
    assert all(f"| {name} |" in documented.read_text() for name in MODES)
    assert tuple(MODES) == TRAIN_MODULES


def test_an_identity_that_only_fits_the_stock_class_stays(model: Any) -> None:
    model.config.projector_hidden_act = "linear"
    projector = model.model.multi_modal_projector
    with torch.no_grad():
        projector.linear_2.weight.copy_(torch.eye(HIDDEN))
    assert counted(model, "projector") == TOWER * HIDDEN + HIDDEN


def test_trained_rows_are_the_rows_of_the_matrix(model: Any) -> None:
    ids = torch.tensor([[1, 5, 6, 5, 9]])
    before = copy.deepcopy(model.get_input_embeddings().weight)
    set_trainable(model, TrainableConfig("projector"), [5, 9])
    embedding = model.get_input_embeddings()
    assert torch.equal(embedding(ids), before[ids])
    with torch.no_grad():
        embedding.trained_rows += 1
    seen = embedding(ids)
    fold_rows(model)
    assert torch.equal(seen, model.get_input_embeddings()(ids))
    changed = (model.get_input_embeddings().weight != before).any(dim=1).nonzero().flatten()
    assert changed.tolist() == [5, 9]


def test_projector_mode_with_rows_changes_nothing_else(llava: Path, prepared: Path, tmp_path: Path) -> None:
    settings = {"model_name_or_path": str(llava), "train_modules": "projector", "version": "v0"}
    train(small(prepared, tmp_path / "run", **settings, mm_use_im_start_end=True, max_steps=3))
    before, after = LlavaForConditionalGeneration.from_pretrained(llava).state_dict(), None
    after = LlavaForConditionalGeneration.from_pretrained(tmp_path / "run").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    embeddings = "model.language_model.embed_tokens.weight"
    assert changed == {name for name in before if "multi_modal_projector" in name} | {embeddings}
    rows = (before[embeddings] != after[embeddings]).any(dim=1).nonzero().flatten().tolist()
    assert rows == [len(before[embeddings]) - 2, len(before[embeddings]) - 1]


def test_adapters_stay_adapters_or_are_merged(llava: Path, prepared: Path, tmp_path: Path) -> None:
    settings = {"model_name_or_path": str(llava), "train_modules": "lora", "version": "v1", "lora_rank": 4}
    train(small(prepared, tmp_path / "adapter", **settings, max_steps=3))
    train(small(prepared, tmp_path / "merged", **settings, max_steps=3, merge_adapter=True))
    assert open_checkpoint(tmp_path / "adapter").format == open_checkpoint(tmp_path / "merged").format
    files = {path.name for path in (tmp_path / "adapter").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "cxrgen.json", "tokenizer.json"} <= files
    assert "model.safetensors" not in files
    assert not any("lora" in name for name in weights(tmp_path / "merged"))
    ids = torch.tensor([[1, 5, 6, 7]])
    with torch.no_grad():
        adapted = AutoModelForImageTextToText.from_pretrained(tmp_path / "adapter").eval()(input_ids=ids).logits
        merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged").eval()(input_ids=ids).logits
        base = AutoModelForImageTextToText.from_pretrained(llava).eval()(input_ids=ids).logits
    assert_close({"": adapted}, {"": merged})
    assert not torch.allclose(adapted, base, atol=1e-3)


def test_a_broken_adapter_run_goes_on_bit_by_bit(
    llava: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout in front of the adapters: the random state goes on too."""
    from cxrgen.train.callbacks import RunCallback

    settings = {"model_name_or_path": str(llava), "train_modules": "lora", "version": "v1", "max_steps": 5}
    train(small(prepared, tmp_path / "whole", **settings))
    after = RunCallback.on_step_end

    def crash(self: RunCallback, state: Any, record: Any) -> bool:
        if record.step == 3:
            raise KeyboardInterrupt
        return after(self, state, record)

    with monkeypatch.context() as patch:
        patch.setattr(RunCallback, "on_step_end", crash)
        with pytest.raises(KeyboardInterrupt):
            train(small(prepared, tmp_path / "broken", **settings))
    train(small(prepared, tmp_path / "broken", **settings, resume=True))
    from safetensors.torch import load_file

    name = "adapter_model.safetensors"
    assert_equal(load_file(tmp_path / "broken" / name), load_file(tmp_path / "whole" / name))


def test_gradient_checkpointing_changes_no_number(llava: Path, prepared: Path, tmp_path: Path) -> None:
    settings = {"model_name_or_path": str(llava), "train_modules": "projector", "version": "v1", "max_steps": 3}
    plain = train(small(prepared, tmp_path / "plain", **settings))
    assert train(small(prepared, tmp_path / "again", **settings, gradient_checkpointing=True)) == pytest.approx(plain)


def test_qlora_says_what_it_needs(llava: Path, prepared: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    from cxrgen.core.errors import InputError

    with pytest.raises(InputError, match="needs a CUDA device and bitsandbytes"):
        train(small(prepared, tmp_path / "run", model_name_or_path=str(llava), train_modules="qlora"))
