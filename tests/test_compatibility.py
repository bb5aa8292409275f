"""Every command in docs/compatibility.md, as it stands there, on made-up files of the same layout."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shlex
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.llava_med.server import Served, serving
from tests.model.made import (
    TEXT,
    V1_CONFIG,
    VISION,
    filled,
    language_shapes,
    tower_shapes,
    write_folder,
)

from cxrgen.cli import main
from cxrgen.llava_med import download
from cxrgen.llava_med.published_files import FILES
from cxrgen.model.checkpoint import open_checkpoint

PAGE = (Path(__file__).parents[1] / "docs/compatibility.md").read_text(encoding="utf-8")
COMMANDS = [
    command for line in PAGE.splitlines() if line.startswith("|") for command in re.findall(r"`(cxrgen [^`]+)`", line)
]
PROJECTOR = "model.mm_projector."


def halves(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.half() for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that holds everything the page speaks of, under the names that the page uses."""
    folder = tmp_path_factory.mktemp("place")
    projector = filled({f"{PROJECTOR}weight": (64, 1024), f"{PROJECTOR}bias": (64,)})
    base = halves(filled(language_shapes(800)))
    merged = halves({**filled(language_shapes(803)), **projector})
    for name, tensor in base.items():
        merged[name] = (tensor.float() * 1.01).half() if tensor.shape == merged[name].shape else merged[name]
    added = json.dumps({"<im_patch>": 800, "<im_start>": 801, "<im_end>": 802})
    write_folder(folder / "llama-7b", base, {**TEXT, "model_type": "llama"})
    write_folder(folder / "LLaVA-Med-7B", merged, V1_CONFIG)
    delta = {name: tensor.clone() for name, tensor in merged.items()}
    for name, tensor in base.items():
        delta[name][: len(tensor)] -= tensor
    for name in ("pvqa-9epoch_delta", "liuhaotian/LLaVA-7b-delta-v0", "zipped/llava_med_in_text_60k_ckpt2_delta"):
        write_folder(folder / name, delta, {**V1_CONFIG, "model_type": "llama"})
        (folder / name / "added_tokens.json").write_text(added)
    (folder / "LLaVA-Med-7B/added_tokens.json").write_text(added)
    shutil.make_archive(str(folder / "llava_med_in_text_60k_ckpt2_delta"), "zip", folder / "zipped")
    tower = filled(tower_shapes())
    write_folder(folder / "openai/clip-vit-large-patch14", tower, VISION, tokenizer=False)
    torch.save({name: merged[name] for name in (*projector, "model.embed_tokens.weight")}, folder / "mm_projector.bin")
    v15 = filled(language_shapes(800)) | {
        f"model.vision_tower.vision_tower.{name}": each for name, each in tower.items()
    }
    v15 |= filled({f"{PROJECTOR}0.weight": (64, 1024), f"{PROJECTOR}0.bias": (64,)})
    v15 |= filled({f"{PROJECTOR}2.weight": (64, 64), f"{PROJECTOR}2.bias": (64,)})
    write_folder(
        folder / "llava-med-v1.5-mistral-7b", v15, {**TEXT, "model_type": "llava_mistral", "num_key_value_heads": 4}
    )
    write_reports(folder / "reports")
    yield folder
    shutil.rmtree(folder)


def write_reports(folder: Path) -> None:
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(4):
        Image.new("L", (40, 40), 60 * number).save(folder / f"images/{number}-0001.png")
        turns = [
            {"from": "human", "value": "Describe.\n<image>"},
            {"from": "report", "value": "The lungs are clear."},
        ]
        rows.append({"id": f"{number}-0001", "image": f"{number}-0001.png", "conversations": turns})
    for name in ("train", "test"):
        (folder / f"{name}.json").write_text(json.dumps(rows))


@pytest.fixture(scope="module")
def published() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A server that has every published file under its name, made up and small, and one article."""
    with serving() as server:
        article = io.BytesIO()
        with tarfile.open(fileobj=article, mode="w:gz") as tar:
            info = tarfile.TarInfo("PMC1/g1.jpg")
            info.size = 3
            tar.addfile(info, io.BytesIO(b"jpg"))
        server.files["/PMC1.tar.gz"] = Served(article.getvalue())
        row = {"pmc_tar_url": server.url("/PMC1.tar.gz"), "image_file_path": "PMC1/g1.jpg", "pair_id": "1_F1"}
        contents = {file.name: f"made-up {file.name}".encode() for file in FILES}
        contents["llava_med_image_urls.jsonl"] = (json.dumps(row) + "\n").encode()
        for name, data in contents.items():
            server.files[f"/{name}"] = Served(data)
        yield server.address, contents


@pytest.fixture
def here(place: Path, published: tuple[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder as the current one; downloads go to the server on this machine, the hub to the folder."""
    import huggingface_hub

    address, contents = published
    rows = tuple(
        replace(
            file,
            bytes=len(contents[file.name]),
            sha256=hashlib.sha256(contents[file.name]).hexdigest(),
            slack=0,
            sources=(f"{address}/{file.name}",),
        )
        for file in FILES
    )
    monkeypatch.setattr(download, "FILES", rows)
    monkeypatch.setattr(download, "ALLOWED_HOSTS", ("127.0.0.1",))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(place / name))
    monkeypatch.chdir(place)
    return place


def test_the_page_names_every_file_of_the_readme() -> None:
    for file in FILES:
        assert f"`{file.name}`" in PAGE
    assert len(COMMANDS) == len(set(COMMANDS)) > 25


@pytest.mark.slow
def test_every_command_of_the_page_runs_as_it_stands(here: Path) -> None:
    for command in COMMANDS:
        assert main(shlex.split(command)[1:]) == 0, command
    wanted = load_file("LLaVA-Med-7B/model.safetensors")
    for folder in ("LLaVA-7b-v0", "LLaVA-Med-back", "LLaVA-Med-fork"):
        found = load_file(f"{folder}/model.safetensors")
        assert found.keys() == wanted.keys()
        assert all(torch.allclose(found[name], tensor, atol=2e-3) for name, tensor in wanted.items()), folder
    stock = load_file("llava-med/model.safetensors")
    for folder in ("LLaVA-7b-v0-again", "LLaVA-7b-v0-long"):  # the tower being at hand, the layout is stock
        found = load_file(f"{folder}/model.safetensors")
        assert all(torch.equal(found[name], tensor) for name, tensor in stock.items()), folder
    assert json.loads(Path("LLaVA-Med-fork/config.json").read_text())["model_type"] == "custom_llava"
    for folder in ("llava-med", "llava-med-pvqa", "llava-med-stock", "llava-med-trained", "llava-med-1.5"):
        assert open_checkpoint(Path(folder)).format.image_tokens == 4
    trained = open_checkpoint(Path("trained"))
    second = trained.model.model.multi_modal_projector.linear_2  # frozen: the projector is one matrix still
    assert torch.equal(second.weight, torch.eye(64))
    assert set(trained.slow_files) == {"tokenizer.model", "added_tokens.json", "special_tokens_map.json"}
    assert torch.load("extracted.bin", weights_only=True)[f"{PROJECTOR}weight"].shape == (64, 1024)
    assert Path("data/images/1_F1.jpg").read_bytes() == b"jpg"
    assert len(Path("data/SHA256SUMS").read_text().splitlines()) == len(FILES)
    assert Path("pred.csv").read_text().splitlines()[0] == "study_id,report"
    assert len(Path("gt.csv").read_text().splitlines()) == 5
    assert Path("scores/scores.json").is_file()
