"""A converted LLaVA-Med v1.0 checkpoint writes from its own prompts, in batches as alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.model.made import GOLDEN, V1_CONFIG, VISION, filled, language_shapes, tower_shapes, write_folder

from cxrgen.cli import main
from cxrgen.core.records import Turn
from cxrgen.core.tables import read_csv
from cxrgen.generate.settings import with_options
from cxrgen.llava_med.convert_layout import convert
from cxrgen.model.checkpoint import open_checkpoint
from cxrgen.model.conversation import encode_prompt
from cxrgen.model.pixels import image_pixels

QUESTIONS = (
    "Illustrate the image through a detailed medical report\n<image>",
    "<image>\nIs there a pneumothorax?",
    "What is a chest image?",
)
MOST = 24


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava-med")
    shapes = language_shapes(803) | {"model.mm_projector.weight": (64, 1024), "model.mm_projector.bias": (64,)}
    v1 = write_folder(folder / "v1", filled(shapes), V1_CONFIG)
    (v1 / "added_tokens.json").write_text(json.dumps({"<im_patch>": 800, "<im_start>": 801, "<im_end>": 802}))
    clip = {"model_type": "clip", "vision_config": VISION}
    tower = write_folder(folder / "clip", filled(tower_shapes()), clip, tokenizer=False)
    convert(str(v1), folder / "stock", "stock", str(tower))
    return folder / "stock"


@pytest.mark.parametrize("conv_mode", [None, "simple", "vicuna_v1_1", "mode.json"])
def test_batches_write_what_generate_writes_from_the_same_prompt(
    stock: Path, tmp_path: Path, conv_mode: str | None
) -> None:
    items = []
    for number, question in enumerate(QUESTIONS * 2):
        image = {"image": f"000{number % 3 + 1}-0001.png"} if "<image>" in question else {}
        turns = [{"from": "human", "value": question}, {"from": "report", "value": "Clear."}]
        items.append({"id": f"{number}", **image, "conversations": turns})
    (tmp_path / "test.json").write_text(json.dumps(items))
    given = ("--model-name", stock, "--question-file", tmp_path / "test.json", "--image-folder", GOLDEN / "images")
    files = ("--answers-file-pred", tmp_path / "pred.csv", "--max-new-tokens", MOST, "--batch-size", 4)
    if conv_mode == "mode.json":
        conv_mode = str(tmp_path / conv_mode)
        roles = {"roles": ["Human", "Assistant"], "messages": [["Human", "Hi!"], ["Assistant", "Yes?\n"]]}
        own = {"system": "Be brief.", **roles, "sep": "###", "question_end": "\n\n### Response:"}
        Path(conv_mode).write_text(json.dumps(own))
    mode = ("--conv-mode", conv_mode) if conv_mode else ()
    assert main(["generate", *map(str, given), *map(str, files), *mode]) == 0
    reports = [row.cells["report"] for row in read_csv(tmp_path / "pred.csv").rows]

    checkpoint = open_checkpoint(stock)
    checkpoint = replace(checkpoint, format=with_options(checkpoint.format, conv_mode, None, None))
    for item, report in zip(items, reports):
        ids = torch.tensor(
            [encode_prompt([Turn("human", item["conversations"][0]["value"])], checkpoint.tokenizer, checkpoint.format)]
        )
        images = [GOLDEN / "images" / item["image"]] if "image" in item else []
        processor = checkpoint.processor.image_processor
        inputs = {"pixel_values": image_pixels(images, processor, checkpoint.format)} if images else {}
        written = checkpoint.model.eval().generate(input_ids=ids, max_new_tokens=MOST, do_sample=False, **inputs)
        text = checkpoint.tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
        assert report == text.replace("\0", "").split("###")[0].strip()
    assert len(set(reports)) > 1
