"""A converted v1.0 checkpoint against what the original recorded; v1.5 against its rules; every way back again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.model.made import GOLDEN, TEXT, V1_CONFIG, VISION, filled, language_shapes, tower_shapes, write_folder

from cxrgen.cli import main
from cxrgen.core.errors import InputError, UsageError
from cxrgen.llava_med.convert_layout import convert
from cxrgen.llava_med.layouts import ConvertOptions
from cxrgen.llava_med.tensor_names import read_layout, text_settings
from cxrgen.model.checkpoint import Checkpoint, open_checkpoint, write_checkpoint
from cxrgen.model.conversation import Format
from cxrgen.model.pixels import image_pixels

RECORDED = json.loads((GOLDEN / "model.json").read_text())
IMAGES = {name: GOLDEN / f"images/000{int(name[1]) + 1}-0001.png" for name in RECORDED["pixel_values"]["square"]}
TOWER = "model.vision_tower.vision_tower."


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory, v1_folder: Path, clip_folder: Path) -> Path:
    target = tmp_path_factory.mktemp("stock") / "llava-med"
    convert(str(v1_folder), target, "stock", str(clip_folder))
    return target


@pytest.fixture(scope="module")
def checkpoint(stock: Path) -> Checkpoint:
    return open_checkpoint(stock)


@pytest.fixture(scope="module")
def v15_tensors() -> dict[str, torch.Tensor]:
    shapes = language_shapes(800) | {f"{TOWER}{name}": shape for name, shape in tower_shapes().items()}
    shapes |= {"model.mm_projector.0.weight": (64, 1024), "model.mm_projector.0.bias": (64,)}
    shapes |= {"model.mm_projector.2.weight": (64, 64), "model.mm_projector.2.bias": (64,)}
    return filled(shapes)


@pytest.fixture(scope="module")
def v15_folder(tmp_path_factory: pytest.TempPathFactory, v15_tensors: dict[str, torch.Tensor]) -> Path:
    """A v1.5 checkpoint: Mistral's settings, two projector layers, the tuned encoder among the weights."""
    config = {
        **TEXT,
        "model_type": "llava_mistral",
        "num_key_value_heads": 4,
        "rope_theta": 1e6,
        "sliding_window": None,
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_tower": "openai/clip-vit-large-patch14-336",
        "mm_vision_select_layer": -2,
        "mm_use_im_start_end": False,
        "image_aspect_ratio": "pad",
        "transformers_version": "4.36.2",
    }
    return write_folder(tmp_path_factory.mktemp("v15") / "llava-med-v1.5", v15_tensors, config)


def images(checkpoint: Checkpoint, names: list[str], aspect: str) -> torch.Tensor:
    return image_pixels([IMAGES[name] for name in names], checkpoint.processor.image_processor, Format(aspect=aspect))


@pytest.mark.parametrize("aspect", ["square", "pad"])
def test_pixel_values_are_the_recorded_ones(checkpoint: Checkpoint, aspect: str) -> None:
    for name, recorded in RECORDED["pixel_values"][aspect].items():
        if recorded["n_patch_tokens"]:
            pixels = images(checkpoint, [name], aspect)[0]
            torch.testing.assert_close(pixels[0, 0], torch.tensor(recorded["first_row_c0"]), atol=1e-5, rtol=1e-5)
            assert float(pixels.double().sum()) == pytest.approx(recorded["sum"], rel=1e-5)
            if "values" in recorded:
                torch.testing.assert_close(pixels, torch.tensor(recorded["values"]), atol=1e-5, rtol=1e-5)


def test_features_loss_logits_and_gradients_are_the_recorded_ones(checkpoint: Checkpoint) -> None:
    recorded, model = RECORDED["forward_two_images"], checkpoint.model
    model.zero_grad()
    ids = torch.tensor(recorded["input_ids"])
    pixels = images(checkpoint, recorded["samples"], "square")
    seen = model.get_image_features(pixel_values=pixels).pooler_output
    projected = torch.tensor(recorded["projected_0_0_first16"])  # sums over many terms: compared on their own scale
    assert float((seen[0][0, :16] - projected).norm() / projected.norm()) < 2e-5
    hidden = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    first = torch.tensor(recorded["vision_features_0_0_first16"])
    assert float((hidden[0, 0, :16] - first).norm() / first.norm()) < 2e-5
    labels = torch.tensor(recorded["labels"])
    outputs = model(input_ids=ids, attention_mask=(ids != 0).long(), pixel_values=pixels, labels=labels)
    assert float(outputs.loss.detach()) == pytest.approx(recorded["loss"], rel=1e-5)
    assert outputs.logits.argmax(-1).tolist() == recorded["argmax"]
    outputs.loss.backward()
    projector = model.model.multi_modal_projector.linear_1
    assert float(projector.weight.grad.norm()) == pytest.approx(recorded["grad_norm_mm_projector_weight"], rel=1e-5)
    torch.testing.assert_close(
        projector.bias.grad, torch.tensor(recorded["grad_mm_projector_bias"]), rtol=1e-4, atol=1e-8
    )
    rows = model.get_input_embeddings().weight.grad[recorded["embed_rows_with_grad"]]
    assert rows.norm(dim=1).min() > 0


def test_greedy_tokens_are_the_recorded_ones(checkpoint: Checkpoint) -> None:
    for recorded in RECORDED["greedy_generation"]:
        ids = torch.tensor([recorded["input_ids"]])
        pixels = images(checkpoint, [recorded["id"]], "square")
        count = len(recorded["new_ids"])
        written = checkpoint.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=pixels,
            max_new_tokens=count,
            do_sample=False,
        )
        assert written[0, ids.shape[1] :].tolist() == recorded["new_ids"]


@pytest.mark.slow
def test_transformers_opens_the_folder_without_our_code(stock: Path) -> None:
    import subprocess
    import sys

    code = f"""import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
model = AutoModelForImageTextToText.from_pretrained({str(stock)!r})
processor = AutoProcessor.from_pretrained({str(stock)!r})
image = Image.open({str(GOLDEN / "images" / "0001-0001.png")!r}).convert("RGB")
text = "### Human: What?\\n<im_start><im_patch><im_end>\\n### Assistant:"
inputs = processor(text=text, images=image, return_tensors="pt")
assert (inputs.input_ids == 800).sum() == 4, inputs.input_ids
print(model(**inputs).logits.shape[-1], "cxrgen" in __import__("sys").modules)"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"HF_HUB_OFFLINE": "1"})
    assert result.stdout.split() == ["803", "False"], result.stderr


@pytest.mark.parametrize("model_type", ["llava", "custom_llava", "llava_llama"])
def test_v1_model_types_are_the_same_thing(
    tmp_path: Path, model_type: str, v1_tensors: dict[str, torch.Tensor], clip_folder: Path, stock: Path
) -> None:
    folder = write_folder(tmp_path / "in", v1_tensors, {**V1_CONFIG, "model_type": model_type})
    convert(str(folder), tmp_path / "out", "stock", str(clip_folder))
    assert (tmp_path / "out/model.safetensors").read_bytes() == (stock / "model.safetensors").read_bytes()
    assert (tmp_path / "out/cxrgen.json").read_bytes() == (stock / "cxrgen.json").read_bytes()


@pytest.mark.parametrize(("rows", "start_end"), [(803, True), (801, False)])
def test_a_config_that_says_nothing_leaves_it_to_the_rows(
    tmp_path: Path, v1_tensors: dict[str, torch.Tensor], clip_folder: Path, rows: int, start_end: bool
) -> None:
    tensors = {name: each[:rows].clone() if each.shape[0] == 803 else each for name, each in v1_tensors.items()}
    folder = write_folder(tmp_path / "in", tensors, {**TEXT, "model_type": "llama"})
    convert(str(folder), tmp_path / "out", "stock", str(clip_folder))
    assert open_checkpoint(tmp_path / "out").format.start_end is start_end


def test_stock_and_back_gives_the_same_weights(
    tmp_path: Path, stock: Path, v1_tensors: dict[str, torch.Tensor]
) -> None:
    convert(str(stock), tmp_path / "back", "original", options=ConvertOptions(model_type="custom_llava"))
    back = load_file(tmp_path / "back/model.safetensors")
    assert back.keys() == v1_tensors.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in v1_tensors.items())
    config = json.loads((tmp_path / "back/config.json").read_text())
    assert config["model_type"] == "custom_llava"
    for name in ("mm_use_im_start_end", "mm_vision_select_layer", "mm_vision_tower", "hidden_size", "use_mm_proj"):
        assert config[name] == V1_CONFIG[name], name
    convert(str(tmp_path / "back"), tmp_path / "again", "stock", str(tmp_path / "back/vision_tower"))
    assert (tmp_path / "again/model.safetensors").read_bytes() == (stock / "model.safetensors").read_bytes()


def test_what_transformers_saved_converts_back_too(tmp_path: Path, checkpoint: Checkpoint, v1_tensors: Any) -> None:
    write_checkpoint(tmp_path / "saved", checkpoint)
    reopened = open_checkpoint(tmp_path / "saved")
    assert reopened.format == checkpoint.format
    assert reopened.slow_files == checkpoint.slow_files
    assert set(checkpoint.slow_files) == {"tokenizer.model", "added_tokens.json", "special_tokens_map.json"}
    convert(str(tmp_path / "saved"), tmp_path / "back", "original")
    back = load_file(tmp_path / "back/model.safetensors")
    assert all(torch.equal(back[name], tensor) for name, tensor in v1_tensors.items())


def test_a_trained_second_layer_is_folded_into_the_one(tmp_path: Path, stock: Path) -> None:
    checkpoint = open_checkpoint(stock)
    projector = checkpoint.model.model.multi_modal_projector
    with torch.no_grad():
        projector.linear_2.weight.add_(torch.randn(64, 64, generator=torch.Generator().manual_seed(0)) / 10)
        projector.linear_2.bias.add_(0.5)
    write_checkpoint(tmp_path / "saved", checkpoint)
    convert(str(tmp_path / "saved"), tmp_path / "back", "original")
    back = load_file(tmp_path / "back/model.safetensors")
    features = torch.randn(3, 1024, generator=torch.Generator().manual_seed(1))
    folded = features @ back["model.mm_projector.weight"].T + back["model.mm_projector.bias"]
    torch.testing.assert_close(folded, projector(features), rtol=1e-4, atol=1e-4)


def test_v15_keeps_its_tower_and_gains_an_image_token(
    tmp_path: Path, v15_folder: Path, v15_tensors: dict[str, torch.Tensor]
) -> None:
    convert(str(v15_folder), tmp_path / "stock", "stock")
    checkpoint = open_checkpoint(tmp_path / "stock")
    model = checkpoint.model
    assert (checkpoint.format.template, checkpoint.format.image_token, checkpoint.format.aspect) == (
        "mistral",
        "<image>",
        "pad",
    )
    assert model.config.image_token_index == 800
    assert model.config.text_config.model_type == "mistral"
    assert model.config.text_config.rope_parameters["rope_theta"] == 1e6
    assert model.get_input_embeddings().weight.shape == (801, 64)
    torch.testing.assert_close(model.lm_head.weight[800], v15_tensors["lm_head.weight"].mean(dim=0))
    tower = model.model.vision_tower.state_dict()
    start = f"{TOWER}vision_model."
    assert all(torch.equal(tower[name.removeprefix(start)], v15_tensors[name]) for name in v15_tensors if TOWER in name)
    features = torch.randn(2, 1024, generator=torch.Generator().manual_seed(2))
    inside = torch.nn.functional.gelu(
        features @ v15_tensors["model.mm_projector.0.weight"].T + v15_tensors["model.mm_projector.0.bias"]
    )
    expected = inside @ v15_tensors["model.mm_projector.2.weight"].T + v15_tensors["model.mm_projector.2.bias"]
    torch.testing.assert_close(model.model.multi_modal_projector(features), expected)
    convert(str(tmp_path / "stock"), tmp_path / "back", "original")
    back = load_file(tmp_path / "back/model.safetensors")
    assert back.keys() == v15_tensors.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in v15_tensors.items())
    assert json.loads((tmp_path / "back/config.json").read_text())["model_type"] == "llava_mistral"


def test_v15_logits_are_those_of_spliced_features(tmp_path: Path, v15_folder: Path) -> None:
    """The original's rule, by hand: text pieces around the image, its features in between, no token of its own."""
    from transformers import MistralForCausalLM

    convert(str(v15_folder), tmp_path / "stock", "stock")
    model = open_checkpoint(tmp_path / "stock").model.eval()
    pixels = torch.randn(1, 3, 28, 28, generator=torch.Generator().manual_seed(3))
    before, after = torch.tensor([[1, 300, 301]]), torch.tensor([[302, 303, 304, 305]])
    with torch.no_grad():
        got = model(input_ids=torch.cat([before, torch.full((1, 4), 800), after], 1), pixel_values=pixels).logits
        hidden = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        features = model.model.multi_modal_projector(hidden)
        table = model.get_input_embeddings()
        spliced = torch.cat([table(before), features, table(after)], dim=1)
        language = MistralForCausalLM(model.config.text_config)
        language.model.load_state_dict(model.model.language_model.state_dict())
        language.lm_head.load_state_dict(model.lm_head.state_dict())
        expected = language.eval()(inputs_embeds=spliced).logits
    torch.testing.assert_close(got, expected)
    assert (got.argmax(-1) != 800).all()  # the added token is never written


@pytest.mark.parametrize("prefix", ["model.", ""])
@pytest.mark.parametrize("rows", [0, 2, 803])
def test_a_projector_file_takes_the_place_of_the_checkpoints_own(
    tmp_path: Path, v1_folder: Path, clip_folder: Path, v1_tensors: dict[str, torch.Tensor], prefix: str, rows: int
) -> None:
    weight = torch.full((64, 1024), 0.25)
    saved = {f"{prefix}mm_projector.weight": weight, f"{prefix}mm_projector.bias": torch.ones(64)}
    if rows:
        saved["model.embed_tokens.weight"] = torch.full((rows, 64), 0.5)
    torch.save(saved, tmp_path / "mm_projector.bin")
    convert(str(v1_folder), tmp_path / "out", "stock", str(clip_folder), tmp_path / "mm_projector.bin")
    out = load_file(tmp_path / "out/model.safetensors")
    assert torch.equal(out["multi_modal_projector.linear_1.weight"], weight)
    embeddings = out["language_model.model.embed_tokens.weight"]
    kept = 803 - rows
    assert torch.equal(embeddings[:kept], v1_tensors["model.embed_tokens.weight"][:kept])
    assert (embeddings[kept:] == 0.5).all()


def test_a_plain_llama_and_a_projector_file_make_a_checkpoint(tmp_path: Path, clip_folder: Path) -> None:
    base = write_folder(tmp_path / "llama", filled(language_shapes(800)), {**TEXT, "model_type": "llama"})
    saved = filled({"model.mm_projector.weight": (64, 1024), "model.mm_projector.bias": (64,)})
    saved["model.embed_tokens.weight"] = filled({"model.embed_tokens.weight": (803, 64)})["model.embed_tokens.weight"]
    torch.save(saved, tmp_path / "mm_projector.bin")
    convert(str(base), tmp_path / "out", "stock", str(clip_folder), tmp_path / "mm_projector.bin")
    checkpoint = open_checkpoint(tmp_path / "out")
    assert checkpoint.model.lm_head.weight.shape == (803, 64)
    assert checkpoint.format.start_end


def test_the_projector_goes_out_as_the_originals_training_wrote_it(
    tmp_path: Path, stock: Path, v15_folder: Path, v1_tensors: dict[str, torch.Tensor], v15_tensors: Any
) -> None:
    assert main(["convert", str(stock), str(tmp_path / "v1.bin"), "--to", "original"]) == 0
    one = torch.load(tmp_path / "v1.bin", weights_only=True)
    assert one.keys() == {"model.mm_projector.weight", "model.mm_projector.bias", "model.embed_tokens.weight"}
    assert all(torch.equal(tensor, v1_tensors[name]) for name, tensor in one.items())
    convert(str(v15_folder), tmp_path / "v15.bin", "original")
    two = torch.load(tmp_path / "v15.bin", weights_only=True)
    assert two.keys() == {f"model.mm_projector.{n}.{part}" for n in (0, 2) for part in ("weight", "bias")}
    assert all(torch.equal(tensor, v15_tensors[name]) for name, tensor in two.items())


def test_what_does_not_fit_is_refused_by_name_and_leaves_nothing(
    tmp_path: Path, v1_folder: Path, clip_folder: Path, v1_tensors: dict[str, torch.Tensor]
) -> None:
    def refused(message: str, *arguments: Any, **more: Any) -> None:
        with pytest.raises(InputError, match=message):
            convert(*arguments, **more)
        assert not [*tmp_path.glob("*out*"), *tmp_path.glob(".*out*")]

    out = tmp_path / "out"
    refused(r"no vision encoder; .* --vision_tower, its config says openai/clip", str(v1_folder), out, "stock")
    refused(r"no CLIP vision encoder in it", str(v1_folder), out, "stock", str(v1_folder))
    lacking = {name: tensor for name, tensor in v1_tensors.items() if "layers.1.mlp.up" not in name}
    folder = write_folder(tmp_path / "a", lacking, V1_CONFIG)
    refused(r"model\.layers\.1\.mlp\.up_proj\.weight: missing", str(folder), out, "stock", str(clip_folder))
    folder = write_folder(tmp_path / "b", v1_tensors, {**V1_CONFIG, "intermediate_size": 96})
    refused(r"mlp\.gate_proj\.weight: shape \[128, 64\]", str(folder), out, "stock", str(clip_folder))
    folder = write_folder(tmp_path / "c", {**v1_tensors, "model.extra": torch.ones(2)}, V1_CONFIG)
    refused(r"model\.extra: not a tensor of this model", str(folder), out, "stock", str(clip_folder))
    small = {name: tensor[:801] if tensor.shape[0] == 803 else tensor for name, tensor in v1_tensors.items()}
    folder = write_folder(tmp_path / "d", small, V1_CONFIG)
    refused(r"801 rows, but tokenizer\.model and its additions need 803", str(folder), out, "stock", str(clip_folder))
    folder = write_folder(tmp_path / "e", v1_tensors, {**V1_CONFIG, "model_type": "bert"})
    refused(
        r"model type 'bert' is none of llava, custom_llava, llava_llama", str(folder), out, "stock", str(clip_folder)
    )
    folder = write_folder(tmp_path / "f", v1_tensors, V1_CONFIG, tokenizer=False)
    refused(r"tokenizer\.model: no such file", str(folder), out, "stock", str(clip_folder))
    with pytest.raises(UsageError, match="--to original"):
        convert(str(v1_folder), tmp_path / "x.bin", "stock")
    with pytest.raises(InputError, match=r"make it stock with `cxrgen convert .* --to stock`"):
        open_checkpoint(v1_folder)


def test_vision_features_are_checked_against_the_recorded_sizes() -> None:
    assert RECORDED["forward_two_images"]["vision_features_shape"] == [2, (28 // 14) ** 2, VISION["hidden_size"]]


@pytest.mark.parametrize("name", ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"])
@pytest.mark.parametrize("value", [None, "many", 0, 10**9])
def test_sizes_that_cannot_be_are_named_before_weights_are_read(
    tmp_path: Path, v1_folder: Path, capsys: pytest.CaptureFixture[str], name: str, value: Any
) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    config = {**V1_CONFIG, name: value}
    (folder / "config.json").write_text(json.dumps({key: each for key, each in config.items() if each is not None}))
    for words in (["doctor", folder], ["convert", folder, tmp_path / "out", "--to", "stock"]):
        assert main([str(word) for word in words]) == 1
        said = capsys.readouterr().err
        assert f"config.json: {name} is " in said
        assert said.count("\n") == 1


def test_a_stock_config_that_leaves_out_what_its_class_says_anyway(tmp_path: Path) -> None:
    config = {"model_type": "llava", "text_config": {"model_type": "llama", "vocab_size": 32064, "rope_theta": 5e5}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    settings = text_settings(read_layout(tmp_path))
    sizes = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
    assert settings == {**sizes, "num_key_value_heads": 32, "rope_theta": 5e5}
