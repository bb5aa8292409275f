"""One study of DICOM files is the same pixels and the same prompt by every door.

The doors: training and validation on the prepared set, `generate` on the set and on its JSON file, `generate --images`,
and `cxrgen.load(...).report(...)` on the files themselves. Views stand in different tags, names sort laterals first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image
from tests.imaging.dicoms import image, saved
from tests.train.material import small

import cxrgen
from cxrgen.cli import main
from cxrgen.core.records import read_studies
from cxrgen.generate.decoding import prefill
from cxrgen.imaging.names import RENDERINGS
from cxrgen.imaging.stored import ImageRule, read_as_stored, views_of_study
from cxrgen.imaging.views import VIEW_RULES, order_views
from cxrgen.model import families
from cxrgen.model.conversation import IGNORE
from cxrgen.model.tower import ConvTower
from cxrgen.train.pipeline import train

LONGEST_SIDE = 120


def coded(meaning: str) -> dict[str, Any]:
    item = pydicom.Dataset()
    item.CodeMeaning = meaning
    return {"ViewCodeSequence": [item]}


# (name, view, tags) of the images of a study: names sort laterals first, two frontals of one size have no other order
IMAGES: list[list[tuple[str, str, dict[str, Any]]]] = [
    [("1.dcm", "lateral", {"ViewPosition": "LL"}), ("2.dcm", "frontal", {"ViewPosition": "PA"})],
    [("1.dcm", "lateral", coded("left lateral")), ("2.dcm", "frontal", coded("postero-anterior"))],
    [
        ("1.dcm", "lateral", {"ViewPosition": "", "SeriesDescription": "CHEST LAT"}),
        ("2.dcm", "frontal", {"SeriesDescription": "Thorax p.a."}),
    ],
    [
        ("1.dcm", "lateral", {"ProtocolName": "Chest lateral"}),
        ("2.dcm", "frontal", {"ViewPosition": "AP"}),
        ("3.dcm", "frontal", {"ViewPosition": "AP"}),
        ("4.dcm", "unknown", {"ViewPosition": "W033"}),
    ],
]
STUDIES = 16


def exposure(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Smooth 12-bit values of this shape, with grain that survives no wrong rendering: uint16."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(300, 3500, (7, 6)).astype(np.int32)).resize(shape[::-1], Image.BICUBIC)
    return np.clip(np.asarray(coarse) + random.integers(-60, 60, shape), 0, 4095).astype(np.uint16)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hospital's folder: a study a patient, larger and smaller than the set's longest side, a text for each."""
    folder = tmp_path_factory.mktemp("export")
    for number in range(STUDIES):
        for place, (name, _, tags) in enumerate(IMAGES[number % len(IMAGES)]):
            shape = (200, 150) if number % 8 < 4 else (100, 90)
            study = {
                "PatientID": f"PAT-{number:02}",
                "StudyInstanceUID": f"1.2.{number}",
                "SOPInstanceUID": f"1.2.{number}.{place}",
                "WindowCenter": 1900,
                "WindowWidth": 3300,
            }
            dataset = image(exposure(100 * number + place, shape), **study, **tags)
            (folder / f"{number:02}").mkdir(exist_ok=True)
            saved(dataset, folder / f"{number:02}" / name)
        (folder / f"{number:02}" / "report.txt").write_text(f"FINDINGS: Synthetic heart {number}.")
    return folder


@dataclass
class Seen:
    """What reaches the model: of each study its images, in order, and the prompts' token ids."""

    images: list[tuple[bytes, ...]] = field(default_factory=list)
    prompts: list[tuple[int, ...]] = field(default_factory=list)


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Seen, Seen]]:
    """(what is seen while gradients are computed, what is seen otherwise); one study at a time."""
    learnt, other = Seen(), Seen()
    forward, encode, encode_prompt = ConvTower.forward, families.encode, prefill.encode_prompt

    def tower(self: Any, pixel_values: torch.Tensor, **options: Any) -> Any:
        seen = learnt if torch.is_grad_enabled() else other
        seen.images.append(tuple(each.float().numpy().tobytes() for each in pixel_values.detach()))
        return forward(self, pixel_values, **options)

    def sample(*given: Any) -> tuple[list[int], list[int]]:
        ids, labels = encode(*given)
        learnt.prompts.append(tuple(ids[: next(k for k, label in enumerate(labels) if label != IGNORE)]))
        return ids, labels

    def prompt(*given: Any) -> list[int]:
        ids = encode_prompt(*given)
        other.prompts.append(tuple(ids))
        return ids

    with monkeypatch.context() as patched:
        patched.setattr(ConvTower, "forward", tower)
        patched.setattr(families, "encode", sample)
        patched.setattr(prefill, "encode_prompt", prompt)
        yield learnt, other


def prepared_with(rendering: str, export: Path, out: Path) -> Path:
    words = ("--rendering", rendering, "--size", LONGEST_SIDE, "--valid-share", 0.3, "--test-share", 0.3)
    command = ["prepare", export, "--out", out, *words, "--workers", 1, "--section-style", "tolerant"]
    assert main([*map(str, command)]) == 0
    return out


@pytest.mark.parametrize("rendering", RENDERINGS)
def test_every_door_shows_the_same_pixels_and_asks_the_same(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rendering: str
) -> None:
    out = prepared_with(rendering, export, tmp_path / "prepared")
    studies = read_studies(out)
    splits = {split: [study for study in studies if study.split == split] for split in ("train", "valid", "test")}
    assert all(splits.values())
    with watched(monkeypatch) as (learnt, validated):
        count = len(splits["train"])
        run = {"per_device_train_batch_size": 1, "max_steps": count, "num_train_epochs": 1, "save_strategy": "no"}
        checks = {"eval_strategy": "steps", "eval_steps": count, "per_device_eval_batch_size": 1}
        train(small(out, tmp_path / "model", **run, **checks, eval_max_new_tokens=4, save_steps=count))
    model = tmp_path / "model"
    recorded = json.loads((model / "cxrgen.json").read_text())
    assert (recorded["rendering"], recorded["longest_side"], recorded["view_rules"]) == (
        rendering,
        LONGEST_SIDE,
        VIEW_RULES,
    )
    by_split = {"train": learnt, "valid": validated}
    for questions in (out, out / "test.json"):
        with watched(monkeypatch) as (_, asked):
            written = ("--answers-file-pred", tmp_path / f"{questions.name}.csv", "--batch-size", 1)
            command = ["generate", "--model-name", model, "--question-file", questions, *written]
            assert main([*map(str, command), "--max-new-tokens", "4"]) == 0
        assert (len(asked.images), len(asked.prompts)) == (len(splits["test"]),) * 2
        by_split["test"] = asked
        compare(export, model, splits, by_split, monkeypatch)


def compare(
    export: Path, model: Path, splits: dict[str, Any], by_split: dict[str, Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every study's files, given in either order to the doors for one study, show what its split has shown."""
    writer = cxrgen.load(model, max_new_tokens=4)
    for split, studies in splits.items():
        for study in studies:
            files = sorted((export / f"{int(study.study_id.split('.')[-1]):02}").glob("*.dcm"))
            with watched(monkeypatch) as (_, direct):
                writer.report(files)
                writer.report(files[::-1])
                if split == "test":
                    command = ["generate", "--model-name", model, "--max-new-tokens", 4, "--images", *files[::-1]]
                    assert main([*map(str, command)]) == 0
            assert len(set(direct.images)) == len(set(direct.prompts)) == 1, study.study_id
            assert direct.images[0] in by_split[split].images, (split, study.study_id)
            assert direct.prompts[0] in by_split[split].prompts, (split, study.study_id)


def test_the_set_lists_each_study_as_its_files_alone_do(export: Path, tmp_path: Path) -> None:
    out = prepared_with("window", export, tmp_path / "prepared")
    rule = ImageRule("window", LONGEST_SIDE)
    for study in read_studies(out):
        number = int(study.study_id.split(".")[-1])
        files = sorted((export / f"{number:02}").glob("*.dcm"))
        alone = order_views(views_of_study(files[::-1], None, rule))
        wanted = [(view.view, view.raw_view, view.width, view.height, view.sha256) for view in study.views]
        assert [(view.view, view.raw_view, view.width, view.height, view.sha256) for view in alone] == wanted
        views = sorted(view for _, view, _ in IMAGES[number % len(IMAGES)])
        assert sorted(view.view for view in study.views) == views
        for view, raw in zip(study.views, alone):
            stored = np.asarray(Image.open(out / view.path))
            np.testing.assert_array_equal(read_as_stored(Path(raw.path), rule), stored)
            np.testing.assert_array_equal(read_as_stored(out / view.path, rule), stored)  # a stored image stays
