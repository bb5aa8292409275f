"""Merging against the written rounding rule, and everything that is refused by the name of its tensor."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.model.made import TEXT, V1_CONFIG, filled, language_shapes, write_folder

from cxrgen.cli import main
from cxrgen.core.errors import InputError, UsageError
from cxrgen.llava_med.lazy_tensors import read_weights, whole
from cxrgen.llava_med.merge_weights import make_delta, merge
from cxrgen.model.checkpoint import open_checkpoint

EMBEDDINGS, HEAD = "model.embed_tokens.weight", "lm_head.weight"
FREQUENCIES = "model.layers.0.self_attn.rotary_emb.inv_freq"
BASE_CONFIG = {**TEXT, "model_type": "llama", "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": -1}
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def base() -> Tensors:
    tensors = {name: tensor.half() for name, tensor in filled(language_shapes(800)).items()}
    return {**tensors, FREQUENCIES: 1.0 / 10000 ** (torch.arange(8) / 8.0)}


@pytest.fixture(scope="module")
def target(base: Tensors) -> Tensors:
    """The base after some fine-tuning, with three rows more and a projector."""
    generator = torch.Generator().manual_seed(0)
    tuned = {}
    for name, tensor in base.items():
        if name != FREQUENCIES:
            tuned[name] = (tensor.float() + 0.004 * torch.randn(tensor.shape, generator=generator)).half()
    for name in (EMBEDDINGS, HEAD):
        tuned[name] = torch.cat([tuned[name], torch.randn(3, 64, generator=generator).half()])
    projector = filled({"model.mm_projector.weight": (64, 1024), "model.mm_projector.bias": (64,)})
    return tuned | {name: tensor.half() for name, tensor in projector.items()}


@pytest.fixture(scope="module")
def delta(base: Tensors, target: Tensors) -> Tensors:
    """As the original makes it, in numpy: every difference rounded to float16; frequencies cancel."""
    result = {FREQUENCIES: torch.zeros(8)}
    for name, tensor in target.items():
        ours, theirs = base.get(name), tensor.numpy().astype(np.float32)
        if ours is not None:
            theirs[: len(ours)] -= ours.numpy().astype(np.float32)
        result[name] = torch.from_numpy(theirs.astype(np.float16))
    return result


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, base: Tensors, delta: Tensors) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("pair")
    config = {**V1_CONFIG, "model_type": "llama"}  # as old deltas call themselves
    return write_folder(place / "llama-7b", base, BASE_CONFIG), add_tokens(write_folder(place / "delta", delta, config))


def add_tokens(folder: Path) -> Path:
    (folder / "added_tokens.json").write_text(json.dumps({"<im_patch>": 800, "<im_start>": 801, "<im_end>": 802}))
    return folder


def expected(base: Tensors, delta: Tensors) -> Tensors:
    """float16(float32(base) + float32(delta)), in numpy."""
    result = {}
    for name, tensor in delta.items():
        if name == FREQUENCIES:
            continue
        total = tensor.numpy().astype(np.float32)
        if name in base:
            total[: len(base[name])] += base[name].numpy().astype(np.float32)
        result[name] = torch.from_numpy(total.astype(np.float16))
    return result


def same(found: Tensors, wanted: Tensors) -> bool:
    return found.keys() == wanted.keys() and all(
        torch.equal(found[name].view(torch.int16), wanted[name].view(torch.int16)) for name in wanted
    )


@pytest.mark.parametrize("base_form", ["safetensors", "bin", "old-bin", "shards", "bin-shards", "zip", "float32"])
def test_the_merge_has_the_originals_bits_from_every_kind_of_file(
    tmp_path: Path, base: Tensors, delta: Tensors, folders: tuple[Path, Path], base_form: str
) -> None:
    source = tmp_path / "llama"
    shutil.copytree(folders[0], source)
    names = sorted(base)
    if base_form in ("bin", "old-bin"):
        (source / "model.safetensors").unlink()
        torch.save(base, source / "pytorch_model.bin", _use_new_zipfile_serialization=base_form == "bin")
    elif base_form == "float32":
        save_file({name: tensor.float() for name, tensor in base.items()}, source / "model.safetensors")
    elif "shards" in base_form:
        (source / "model.safetensors").unlink()
        safe = base_form == "shards"
        kind, ending = ("model", "safetensors") if safe else ("pytorch_model", "bin")
        places = {}
        for number, some in enumerate((names[:9], names[9:]), 1):
            file = f"{kind}-{number:05}-of-00002.{ending}"
            part = {name: base[name] for name in some}
            save_file(part, source / file) if safe else torch.save(part, source / file)
            places.update(dict.fromkeys(some, file))
        (source / f"{kind}.{ending}.index.json").write_text(json.dumps({"weight_map": places}))
    elif base_form == "zip":
        shutil.make_archive(str(tmp_path / "llama"), "zip", tmp_path, "llama")
        source = tmp_path / "llama.zip"
    merge(str(source), str(folders[1]), tmp_path / "out", "original")
    found = load_file(tmp_path / "out/model.safetensors")
    frequencies = found.pop(FREQUENCIES)
    assert same(found, expected(base, delta))
    assert torch.equal(frequencies, base[FREQUENCIES])
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted({"out", "llama", source.name})


def test_tokenizer_and_settings_come_with_it(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    assert (
        main(["merge", "--base", str(folders[0]), "--target", str(tmp_path / "out"), "--delta", str(folders[1])]) == 0
    )
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["model_type"] == "llava"
    assert (config["vocab_size"], config["bos_token_id"], config["mm_vision_select_layer"]) == (803, 1, -2)
    for name in ("tokenizer.model", "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folders[1] / name).read_bytes()


def test_the_stock_layout_opens_at_once(
    tmp_path: Path, folders: tuple[Path, Path], clip_folder: Path, base: Tensors, delta: Tensors
) -> None:
    flags = ["--base-model-path", str(folders[0]), "--target_model_path", str(tmp_path / "out")]
    flags += ["--delta-path", str(folders[1]), "--vision_tower", str(clip_folder), "--template", "v1"]
    assert main(["merge", *flags]) == 0
    checkpoint = open_checkpoint(tmp_path / "out", torch.float16)
    wanted = expected(base, delta)
    language = checkpoint.model.model.language_model
    assert torch.equal(language.embed_tokens.weight, wanted[EMBEDDINGS])
    assert torch.equal(language.layers[1].mlp.up_proj.weight, wanted["model.layers.1.mlp.up_proj.weight"])
    assert torch.equal(
        checkpoint.model.model.multi_modal_projector.linear_1.weight, wanted["model.mm_projector.weight"]
    )
    assert checkpoint.format.template == "v1"


def test_many_shards_have_an_index_that_names_all(tmp_path: Path, folders: tuple[Path, Path], monkeypatch: Any) -> None:
    import cxrgen.llava_med.lazy_tensors as weights

    monkeypatch.setattr(weights.write_weights, "__defaults__", (100_000,))
    merge(str(folders[0]), str(folders[1]), tmp_path / "out", "original")
    index = json.loads((tmp_path / "out/model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 3
    found = {name: whole(tensor) for name, tensor in read_weights(tmp_path / "out").items()}
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in found.values())
    monkeypatch.undo()
    merge(str(folders[0]), str(folders[1]), tmp_path / "one", "original")
    one = load_file(tmp_path / "one/model.safetensors")
    assert found.keys() == one.keys()
    assert all(torch.equal(found[name], one[name]) for name in one)


def test_make_delta_is_the_inverse_by_the_rounding_rule(
    tmp_path: Path, folders: tuple[Path, Path], base: Tensors, target: Tensors, delta: Tensors
) -> None:
    merged = add_tokens(write_folder(tmp_path / "merged", {**target, FREQUENCIES: base[FREQUENCIES]}, V1_CONFIG))
    flags = ["--make-delta", "--base", str(folders[0]), "--target", str(merged), "--delta", str(tmp_path / "made")]
    assert main(["merge", *flags]) == 0
    made = load_file(tmp_path / "made/model.safetensors")
    assert same(made, {name: tensor for name, tensor in delta.items() if name != FREQUENCIES})
    merge(str(folders[0]), str(tmp_path / "made"), tmp_path / "again", "original")
    again = load_file(tmp_path / "again/model.safetensors")
    again.pop(FREQUENCIES)
    assert same(again, expected(base, delta))
    changed = sum(int((again[name] != target[name]).sum()) for name in target)
    assert 0 < changed < 0.02 * sum(tensor.numel() for tensor in target.values())  # rounding shows, and is rare


def test_a_delta_of_a_stock_folder_is_the_same(
    tmp_path: Path, folders: tuple[Path, Path], clip_folder: Path, delta: Tensors, base: Tensors
) -> None:
    merge(str(folders[0]), str(folders[1]), tmp_path / "stock", "stock", str(clip_folder))
    make_delta(str(folders[0]), str(tmp_path / "stock"), tmp_path / "made")
    merge(str(folders[0]), str(tmp_path / "made"), tmp_path / "again", "original")
    found = load_file(tmp_path / "again/model.safetensors")
    found.pop(FREQUENCIES)
    assert same(found, expected(base, delta))


def refused(message: str, place: Path, base: Path | str, delta: Path | str, **more: Any) -> None:
    before = sorted(place.iterdir())
    with pytest.raises(InputError, match=message):
        merge(str(base), str(delta), place / "out", "original", **more)
    assert sorted(place.iterdir()) == before, "something was left behind"


def test_what_does_not_pair_is_refused_by_the_tensors_name(
    tmp_path: Path, folders: tuple[Path, Path], base: Tensors, delta: Tensors
) -> None:
    inner = "model.layers.1.mlp.up_proj.weight"

    def changed(name: str, tensors: Tensors) -> Path:
        return add_tokens(write_folder(tmp_path / name, tensors, V1_CONFIG))

    shape = changed("shape", {**delta, inner: delta[inner][:100].clone()})
    refused(rf"{inner}: shape \[128, 64\] in the base, \[100, 64\] in the delta", tmp_path, folders[0], shape)
    narrow = changed("narrow", {**delta, EMBEDDINGS: delta[EMBEDDINGS][:, :32].contiguous()})
    refused(rf"{EMBEDDINGS}: shape", tmp_path, folders[0], narrow)
    fewer = changed("fewer", {**delta, HEAD: delta[HEAD][:700].clone()})
    refused(rf"{HEAD}: shape", tmp_path, folders[0], fewer)
    lacking = changed("lacking", {name: tensor for name, tensor in delta.items() if name != inner})
    refused(rf"{inner}: missing from the delta", tmp_path, folders[0], lacking)
    extra = changed("extra", {**delta, "model.layers.9.mlp.up_proj.weight": delta[inner].clone()})
    refused(r"model\.layers\.9\.mlp\.up_proj\.weight: in the delta, but not", tmp_path, folders[0], extra)
    bare = changed("bare", {name: tensor for name, tensor in delta.items() if "projector" not in name})
    refused(r"model\.mm_projector\.weight: missing from the delta", tmp_path, folders[0], bare)
    for value in (float("nan"), float("inf")):
        spoilt = delta[inner].clone()
        spoilt[77, 3] = value
        damaged = changed(f"damaged{value}", {**delta, inner: spoilt})
        refused(rf"{inner}: row 77 holds NaN or infinity", tmp_path, folders[0], damaged)


def test_another_base_is_refused(tmp_path: Path, folders: tuple[Path, Path], base: Tensors, delta: Tensors) -> None:
    generator = torch.Generator().manual_seed(5)
    other = {
        name: (tensor.float().std() * torch.randn(tensor.shape, generator=generator)).half()
        for name, tensor in base.items()
        if tensor.dim() > 1
    }
    wrong = write_folder(tmp_path / "other", {**base, **other}, BASE_CONFIG)
    refused(rf"{EMBEDDINGS}: the delta was made from another base", tmp_path, wrong, folders[1])
    frozen = {name: torch.zeros_like(delta[name]) for name in (EMBEDDINGS, HEAD)}  # only layers were trained
    layers = add_tokens(write_folder(tmp_path / "layers", {**delta, **frozen}, V1_CONFIG))
    refused(rf"{EMBEDDINGS}: the delta was made from another base", tmp_path, wrong, layers)
    more = {name: torch.cat([base[name], base[name][:1]]) for name in (EMBEDDINGS, HEAD)}
    vicuna = write_folder(tmp_path / "vicuna", {**base, **more}, BASE_CONFIG)
    refused(r"the base has 801 rows, <im_patch> of the delta has id 800", tmp_path, vicuna, folders[1])


@pytest.mark.parametrize("scale", [1e-5, 1e-3, 1e-2, 1.0])
def test_the_right_base_is_never_refused(tmp_path: Path, base: Tensors, scale: float) -> None:
    """From hardly tuned to unrelated weights."""
    generator = torch.Generator().manual_seed(6)
    differences = {
        name: ((tensor.float() + scale * torch.randn(tensor.shape, generator=generator)).half() - tensor).half()
        for name, tensor in base.items()
        if name != FREQUENCIES
    }
    projector = filled({"model.mm_projector.weight": (64, 1024), "model.mm_projector.bias": (64,)})
    for name in (EMBEDDINGS, HEAD):
        differences[name] = torch.cat([differences[name], torch.ones(3, 64).half()])
    source = write_folder(tmp_path / "llama", base, BASE_CONFIG)
    other = add_tokens(write_folder(tmp_path / "delta", differences | projector, V1_CONFIG))
    merge(str(source), str(other), tmp_path / "out", "original")


@pytest.mark.parametrize("kind", ["random", "constant", "whole numbers"])
def test_values_that_are_no_differences_say_nothing_about_the_base(tmp_path: Path, base: Tensors, kind: str) -> None:
    """Made-up deltas are added like any other."""
    generator = torch.Generator().manual_seed(7)
    made = {
        "random": lambda shape: torch.randn(shape, generator=generator) / 100,
        "constant": lambda shape: torch.full(shape, 0.25),
        "whole numbers": lambda shape: torch.randint(-3, 4, shape, generator=generator).float(),
    }[kind]
    ours = {name: made(tensor.shape).half() if kind == "whole numbers" else tensor for name, tensor in base.items()}
    shapes = language_shapes(803) | {"model.mm_projector.weight": (64, 1024), "model.mm_projector.bias": (64,)}
    theirs = {name: made(shape).half() for name, shape in shapes.items()}
    source = write_folder(tmp_path / "llama", ours, BASE_CONFIG)
    merge(str(source), str(add_tokens(write_folder(tmp_path / "d", theirs, V1_CONFIG))), tmp_path / "out", "original")
    found = load_file(tmp_path / "out/model.safetensors")
    found.pop(FREQUENCIES)
    ours.pop(FREQUENCIES)
    assert same(found, expected(ours, theirs))


def test_a_second_merge_is_refused(tmp_path: Path, folders: tuple[Path, Path], clip_folder: Path) -> None:
    merge(str(folders[0]), str(folders[1]), tmp_path / "merged", "original")
    merge(str(folders[0]), str(folders[1]), tmp_path / "stock", "stock", str(clip_folder))
    refused(r"model\.mm_projector\.\w+: in the base .* merged already", tmp_path, tmp_path / "merged", folders[1])
    refused(r"multi_modal_projector.*: in the base .* merged already", tmp_path, tmp_path / "stock", folders[1])
    refused(r"whole weights, not differences; it is merged already", tmp_path, folders[0], tmp_path / "merged")
    with pytest.raises(InputError, match="is there already; remove it"):
        merge(str(folders[0]), str(folders[1]), tmp_path / "merged", "original")


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("code ran",))


def test_damaged_files_are_refused(
    tmp_path: Path, folders: tuple[Path, Path], base: Tensors, capfd: pytest.CaptureFixture[str]
) -> None:
    def copy(name: str) -> Path:
        shutil.copytree(folders[0], tmp_path / name)
        return tmp_path / name

    cut = copy("cut")
    whole_file = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(whole_file[: len(whole_file) // 2])
    refused(r"model\.safetensors: cut short or damaged", tmp_path, cut, folders[1])
    indexed = copy("indexed")
    (indexed / "model.safetensors").rename(indexed / "a.safetensors")
    places = dict.fromkeys(sorted(base), "a.safetensors")
    (indexed / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    (indexed / "a.safetensors").write_bytes(whole_file[:-1000])
    refused(r"^lm_head\.weight: .*a\.safetensors: cut short or damaged", tmp_path, indexed, folders[1])
    (indexed / "a.safetensors").unlink()
    refused(r"a\.safetensors: no such shard; lm_head\.weight", tmp_path, indexed, folders[1])
    lying = copy("lying")
    (lying / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"model.x": "model.safetensors"}}))
    refused(r"model\.x is not in it", tmp_path, lying, folders[1])
    pickled = copy("pickled")
    (pickled / "model.safetensors").unlink()
    torch.save(base, pickled / "pytorch_model.bin")
    data = (pickled / "pytorch_model.bin").read_bytes()
    (pickled / "pytorch_model.bin").write_bytes(data[: len(data) // 2])
    refused(r"pytorch_model\.bin: cut short or damaged", tmp_path, pickled, folders[1])
    torch.save({**base, "x": _Code()}, pickled / "pytorch_model.bin")
    refused(r"pytorch_model\.bin: a pickle that holds more than tensors", tmp_path, pickled, folders[1])
    (pickled / "pytorch_model.bin").write_bytes(pickle.dumps(_Code()))
    refused(r"pytorch_model\.bin: ", tmp_path, pickled, folders[1])
    pointer = copy("pointer")
    (pointer / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    refused(r"a Git LFS pointer", tmp_path, pointer, folders[1])
    meta = copy("meta")
    (meta / "model.safetensors").rename(meta / "consolidated.00.pth")
    refused(r"Meta's own files; convert them", tmp_path, meta, folders[1])
    assert "code ran" not in capfd.readouterr().out


def test_a_small_disk_is_refused_before_anything_is_written(
    tmp_path: Path, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    refused(r"[MG]B are needed, 0\.0 MB are free", tmp_path, *folders)


def test_an_interruption_leaves_nothing(
    tmp_path: Path, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import cxrgen.llava_med.lazy_tensors as weights

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(weights, "_check_finite", stop)
    with pytest.raises(KeyboardInterrupt):
        merge(str(folders[0]), str(folders[1]), tmp_path / "out", "original")
    assert not [*tmp_path.iterdir()]


def test_hostile_zips_are_refused(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    place = tmp_path / "place"
    place.mkdir()
    for number, name in enumerate(("../outside.json", "/outside.json", "a/../../outside.json")):
        path = place / f"{number}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, "{}")
        refused("points outside; this zip is not opened", place, path, folders[1])
    linked = zipfile.ZipInfo("config.json")
    linked.external_attr = 0o120777 << 16
    with zipfile.ZipFile(place / "link.zip", "w") as archive:
        archive.writestr(linked, "/etc/passwd")
    refused("points outside", place, place / "link.zip", folders[1])
    (place / "half.zip").write_bytes((place / "link.zip").read_bytes()[:50])
    refused("neither a folder nor a zip; is the download complete", place, place / "half.zip", folders[1])
    assert not [*tmp_path.glob("outside*")]


@pytest.mark.parametrize("name", ["liuhaotian/LLaVA-7b-delta-v0", "/huggingface.co/liuhaotian/LLaVA-7b-delta-v0"])
def test_a_hub_name_offline_says_which_files_to_bring(
    tmp_path: Path, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import huggingface_hub

    asked = []

    def offline(name: str, **_: Any) -> str:
        asked.append(name)
        raise huggingface_hub.errors.OfflineModeIsEnabled("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    refused(
        r"neither a folder nor a zip here.*bring a folder with config\.json.*tokenizer\.model",
        tmp_path,
        folders[0],
        name,
    )
    assert asked == ["liuhaotian/LLaVA-7b-delta-v0"]


def test_a_missing_path_is_not_taken_for_a_hub_name(
    tmp_path: Path, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("the network was asked"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for path in ("models/llama", "/no/such/folder/at/all", "./x", "llama"):
        refused("no such folder or zip", tmp_path, path, folders[1])


def test_a_tower_that_a_config_names_is_never_fetched(
    tmp_path: Path, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def only_cached(_: str, local_files_only: bool = False, **__: Any) -> str:
        assert local_files_only
        raise huggingface_hub.errors.LocalEntryNotFoundError("not here")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", only_cached)
    merge(str(folders[0]), str(folders[1]), tmp_path / "out")
    assert json.loads((tmp_path / "out/config.json").read_text())["model_type"] == "llava"
    with pytest.raises(InputError, match="--vision_tower, its config says openai/clip-vit-large-patch14"):
        merge(str(folders[0]), str(folders[1]), tmp_path / "stock", "stock")
    with pytest.raises(UsageError, match="--layout stock"):
        merge(str(folders[0]), str(folders[1]), tmp_path / "x", "original", "clip")


def test_no_model_is_built(tmp_path: Path, folders: tuple[Path, Path], clip_folder: Path, monkeypatch: Any) -> None:
    def built(*_: Any, **__: Any) -> None:
        pytest.fail("a module was made")

    monkeypatch.setattr(torch.nn.Module, "__init__", built)
    merge(str(folders[0]), str(folders[1]), tmp_path / "out", "stock", str(clip_folder))
