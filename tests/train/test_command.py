"""The original's training command, word for word but for the program and the paths, and what such files hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.forked import cxrgen
from tests.train.material import (
    SENTENCES,
    opened,
    small,
    torchrun,
    weights,
    write_conversations,
    write_llava,
    write_prepared,
)

from cxrgen.core.errors import InputError, TooManyRejects, UsageError
from cxrgen.train.pipeline import train
from cxrgen.train.preflight import check_run

README_COMMAND = """
    --model_name_or_path {model}
    --data_path {data}
    --image_folder {images}
    --vision_tower openai/clip-vit-large-patch14
    --tune_mm_mlp_adapter True
    --mm_vision_select_layer -2
    --mm_use_im_start_end
    --bf16 True
    --output_dir {out}
    --num_train_epochs 1
    --per_device_train_batch_size 2
    --per_device_eval_batch_size 4
    --gradient_accumulation_steps 8
    --evaluation_strategy no
    --save_strategy steps
    --save_steps 2400
    --save_total_limit 1
    --learning_rate 2e-3
    --weight_decay 0.
    --warmup_ratio 0.03
    --lr_scheduler_type cosine
    --logging_steps 1
    --tf32 True
    --model_max_length 2048
    --gradient_checkpointing True
    --lazy_preprocess True
    --report_to none
"""


@pytest.mark.slow
def test_the_original_command(tmp_path: Path) -> None:
    model = write_llava(tmp_path / "llava", tokens=False)  # <im_start> and <im_end> are added by the run
    data = write_conversations(tmp_path / "data", 60)
    places = {"model": model, "data": data, "images": data.parent / "images", "out": tmp_path / "out"}
    words = README_COMMAND.format(**places).split()
    options = ("--nnodes=1", "--nproc_per_node=2", "--master_port=25001")
    result = torchrun("-m", "cxrgen", "train", *words, options=options)
    assert "--lazy_preprocess changes nothing here" in result.stderr
    assert "1 of 60 items left out (1 image-missing)" in result.stderr
    assert not any(sentence in result.stderr for sentence in SENTENCES)
    before, after = load_file(model / "model.safetensors"), weights(tmp_path / "out")
    changed = {name for name in before if not torch.equal(before[name], after[name][: len(before[name])])}
    assert changed == {
        f"multi_modal_projector.linear_{k}.{kind}" for k in (1, 2) for kind in ("weight", "bias")
    } or changed == {f"model.multi_modal_projector.linear_{k}.{kind}" for k in (1, 2) for kind in ("weight", "bias")}
    format = json.loads((tmp_path / "out" / "cxrgen.json").read_text())
    assert (format["template"], format["start_end"], format["max_length"]) == ("v0", True, 2048)
    steps = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert len(steps) == 2  # 59 samples, 32 a step
    assert steps[0]["learning_rate"] == 0.0
    assert steps[1]["learning_rate"] == 2e-3


def test_projector_weights_are_really_loaded(tmp_path: Path, llava: Path, prepared: Path) -> None:
    base: dict[str, object] = {"model_name_or_path": str(llava), "train_modules": "projector", "version": "v0"}
    base["mm_use_im_start_end"] = True
    first = tmp_path / "first"
    train(small(prepared, first, **base, max_steps=3, learning_rate=0.05))
    checkpoint = opened(small(prepared, first, **base, pretrain_mm_mlp_adapter=str(first / "projector.safetensors")))
    trained = {k.split("projector.")[1]: v for k, v in weights(first).items() if "projector" in k}
    for name, value in checkpoint.model.model.multi_modal_projector.state_dict().items():
        assert torch.equal(value, trained[name])
    # LLaVA's own file: the projector and the whole embedding matrix, of which two rows count.
    matrix = torch.randn_like(checkpoint.model.get_input_embeddings().weight)
    old = {f"model.multi_modal_projector.{k}": v + 1 for k, v in trained.items()}
    torch.save({**old, "model.embed_tokens.weight": matrix}, tmp_path / "mm_projector.bin")
    checkpoint = opened(small(prepared, first, **base, pretrain_mm_mlp_adapter=str(tmp_path / "mm_projector.bin")))
    assert torch.equal(checkpoint.model.model.multi_modal_projector.linear_1.weight, trained["linear_1.weight"] + 1)
    ids = checkpoint.tokenizer.convert_tokens_to_ids(["<im_start>", "<im_end>"])
    embeddings = checkpoint.model.get_input_embeddings().weight
    assert torch.equal(embeddings[ids], matrix[ids])
    assert not torch.equal(embeddings[5], matrix[5])
    with pytest.raises(InputError, match="no such file"):
        opened(small(prepared, first, **base, pretrain_mm_mlp_adapter="nowhere.bin"))
    torch.save({"mm_projector.weight": torch.zeros(3, 3)}, tmp_path / "wrong.bin")
    with pytest.raises(InputError, match="another shape"):
        opened(small(prepared, first, **base, pretrain_mm_mlp_adapter=str(tmp_path / "wrong.bin")))


@pytest.mark.slow
def test_the_resolved_recipe_repeats_the_run(prepared: Path, tmp_path: Path) -> None:
    first = train(small(prepared, tmp_path / "first", max_steps=2))
    recipe = tmp_path / "first" / "recipe.yaml"
    cxrgen("train", recipe, "--output_dir", tmp_path / "second")
    record = json.loads((tmp_path / "second" / "training.json").read_text())
    assert record["loss"] == pytest.approx(first, abs=1e-6)
    assert set(record["versions"]) == {"cxrgen", "python", "torch", "transformers"}
    assert len(record["fingerprint"]["data sha256"]) == 64


def test_the_global_batch_derives_the_accumulation(prepared: Path, tmp_path: Path) -> None:
    whole = train(small(prepared, tmp_path / "a", max_steps=2, per_device_train_batch_size=8))
    cut = train(small(prepared, tmp_path / "b", max_steps=2, per_device_train_batch_size=2, global_batch_size=8))
    assert cut == pytest.approx(whole, rel=1e-5)
    with pytest.raises(UsageError, match="not a multiple of 4"):
        train(small(prepared, tmp_path / "c", global_batch_size=10))


def test_a_model_card_says_where_the_data_come_from(prepared: Path, tmp_path: Path) -> None:
    train(small(prepared, tmp_path / "a", max_steps=1))
    assert "credentialed" not in (tmp_path / "a" / "README.md").read_text()
    train(small(write_prepared(tmp_path / "data", source="mimic"), tmp_path / "b", max_steps=1))
    assert "Derived from credentialed data (mimic)" in (tmp_path / "b" / "README.md").read_text()
    train(small(write_prepared(tmp_path / "layout", source="course"), tmp_path / "c", max_steps=1))
    assert "are derived from credentialed data" in (tmp_path / "c" / "README.md").read_text()
    (tmp_path / "data" / "train.json").write_text(write_conversations(tmp_path / "json").read_text())
    settings = {"image_folder": str(tmp_path / "json" / "images"), "max_rejects": 0.2}
    train(small(tmp_path / "data" / "train.json", tmp_path / "d", **settings, max_steps=1))
    assert "Derived from credentialed data (mimic)" in (tmp_path / "d" / "README.md").read_text()


def test_long_answers_are_cut_at_a_sentence_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_prepared(tmp_path / "data")
    settings = {"max_steps": 1, "model_max_length": 24, "max_rejects": 1.0, "vocabulary": 300}
    train(small(data, tmp_path / "cut", **settings))
    assert "were cut at the end of a sentence" in capsys.readouterr().err
    with pytest.raises(InputError, match="longer than 24 tokens"):
        train(small(data, tmp_path / "refused", **settings, long="refuse"))
    with pytest.raises(TooManyRejects, match="too-long"):
        train(small(data, tmp_path / "dropped", **{**settings, "max_rejects": 0.0}, long="drop"))


def test_bad_input_is_named(tmp_path: Path, prepared: Path, llava: Path) -> None:
    data = write_conversations(tmp_path / "data", 8)
    images = str(data.parent / "images")
    base = {"model_name_or_path": str(llava), "version": "v0", "image_folder": images, "max_steps": 1}
    with pytest.raises(TooManyRejects, match="1 of 8 items left out"):
        train(small(data, tmp_path / "a", **base))
    (data.parent / "empty.json").write_text("[]")
    with pytest.raises(InputError, match="no usable conversation"):
        train(small(data.parent / "empty.json", tmp_path / "b", **base))
    items = json.loads(data.read_text())
    items[0]["conversations"][0]["value"] += "\n<image>"
    (data.parent / "two.json").write_text(json.dumps(items))
    train(small(data.parent / "two.json", tmp_path / "c", **base, max_rejects=0.3))
    assert "image-count" in (tmp_path / "c" / "rejects.csv").read_text()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made a folder"):
        train(small(prepared, tmp_path / "file" / "run"))
    with pytest.raises(InputError, match=r"no config\.json"):
        train(small(prepared, tmp_path / "d", model_name_or_path=str(tmp_path)))
    with pytest.raises(UsageError, match="--text_steps teaches the language model, which --train_modules lora keeps"):
        check_run(small(prepared, tmp_path / "e", model_name_or_path=str(llava), train_modules="lora", text_steps=2))


@pytest.mark.parametrize("empty", ["", "  ", "\n\t"])
def test_empty_answers_are_left_out_and_listed(tmp_path: Path, llava: Path, empty: str) -> None:
    data = write_conversations(tmp_path / "data", 8)
    items = json.loads(data.read_text())
    for number in (1, 2):
        items[number]["conversations"][1]["value"] = empty
    items[4]["conversations"] += [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": empty}]
    data.write_text(json.dumps(items))
    settings = {"model_name_or_path": str(llava), "version": "v0", "max_steps": 1, "max_rejects": 0.5}
    train(small(data, tmp_path / "run", **settings, image_folder=str(data.parent / "images")))
    rejects = (tmp_path / "run" / "rejects.csv").read_text()
    assert rejects.count("answer-empty,the item has no answer to train on") == 3
    assert json.loads((tmp_path / "run" / "training.json").read_text())["samples"] == 4


def test_a_tokenizer_that_is_larger_than_the_model(tmp_path: Path, prepared: Path) -> None:
    from transformers import AutoTokenizer

    folder = write_llava(tmp_path / "llava")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<one>", "<more>"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(InputError, match="tokens, the model"):
        train(small(prepared, tmp_path / "out", model_name_or_path=str(folder), version="v0"))


@pytest.mark.slow
def test_a_busy_port_is_said_in_one_line(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", port)):
            monkeypatch.setenv(name, str(value))
        result = cxrgen("train", "tiny", "--data_path", prepared, "--output_dir", tmp_path / "out", code=1)
    assert f"port {port}: the processes cannot meet there" in result.stderr.splitlines()[-1]
