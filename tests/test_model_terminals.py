"""Commands that load a model, whole: full disks, closed streams and plain terminals end in one line."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.forked import exit_code, start, unchanged
from tests.llava_med.test_merge import BASE_CONFIG, add_tokens
from tests.model.made import V1_CONFIG, filled, language_shapes, write_folder
from tests.train.material import write_llava, write_prepared

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]
TRAIN = "train --model_name_or_path llava --data_path set --train_modules lora --max_steps 2 --save_steps 1 --threads 1"
COMMANDS = {
    "train": f"{TRAIN} --per_device_train_batch_size 2 --version plain --output_dir out",
    "export": "export run --step 1 --out out",
    "generate": "generate --model-name model --question-file set --split valid --max-new-tokens 4 "
    "--answers-file-pred out/pred.csv --answers-file-gt out/gt.csv",
    "ablate": "ablate model set --split valid --max-new-tokens 4 --metrics rouge --arm all:none --arm frontal:none "
    "--out out",
    "convert": "convert v1 out --to original",
    "merge": "merge --make-delta --base llama --target v1 --delta out",
    "doctor": "doctor model",
}
WRITING = [name for name in COMMANDS if name != "doctor"]


def fork(words: str, change: Callable[[], None] = unchanged, out: int | None = None) -> tuple[int, str]:
    """Exit code and stderr of a command in a process of its own, after `change`; stdout goes to `out`."""
    reading, writing = os.pipe()
    with open(os.devnull, "wb") as nothing:
        child = start(words.split(), nothing.fileno() if out is None else out, writing, change, encoding="ascii")
    os.close(writing)
    with open(reading, "rb") as file:
        said = file.read().decode()
    return exit_code([child]), said


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a set, a run with checkpoints, and a merged v1.0 folder."""
    place = tmp_path_factory.mktemp("models")
    write_llava(place / "llava")
    write_prepared(place / "set")
    shapes = language_shapes(803) | {"model.mm_projector.weight": (64, 1024), "model.mm_projector.bias": (64,)}
    add_tokens(write_folder(place / "v1", filled(shapes), V1_CONFIG))
    write_folder(place / "llama", filled(language_shapes(800)), BASE_CONFIG)
    here = Path.cwd()
    os.chdir(place)
    for words in (COMMANDS["train"].replace("--output_dir out", "--output_dir run"), "export run --step 1 --out model"):
        code, said = fork(words)
        assert code == 0, said
    os.chdir(here)
    return place


@pytest.fixture
def place(material: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(material)
    yield material
    shutil.rmtree(material / "out", ignore_errors=True)


def limited(size: int) -> Callable[[], None]:
    """A file can grow to `size` bytes only, as on a disk that is full."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size", [100, 30_000])
@pytest.mark.parametrize("name", WRITING)
def test_a_full_disk_is_one_line_that_names_the_place(place: Path, name: str, size: int) -> None:
    code, said = fork(COMMANDS[name], limited(size))
    if code == 0:  # what `generate` writes may be small enough
        assert (name, size) == ("generate", 30_000)
        return
    assert (code, "Traceback" in said) == (1, False), said
    last = said.splitlines()[-1]
    assert last.startswith(f"cxrgen {name}: out"), last
    assert "cannot be written" in last
    assert "make room" in last
    assert not list(place.rglob("*.tmp")), said


@pytest.mark.parametrize("name", COMMANDS)
def test_streams_that_take_nothing(place: Path, name: str) -> None:
    with open("/dev/full", "wb") as full:
        code, said = fork(COMMANDS[name], out=full.fileno())
    assert (code, "Traceback" in said) == (1, False), said
    assert said.endswith(f"cxrgen {name}: standard output: no space left on the device\n")
    shutil.rmtree(place / "out", ignore_errors=True)
    reading, writing = os.pipe()
    os.close(reading)
    code, said = fork(COMMANDS[name], out=writing)
    os.close(writing)
    assert (code, "Traceback" in said) == (141, False), said
    shutil.rmtree(place / "out", ignore_errors=True)

    def close() -> None:
        os.close(1)
        sys.stdout = None  # type: ignore[assignment]  # as Python starts when the shell has closed it

    code, said = fork(COMMANDS[name], close)
    assert (code, "Traceback" in said) == (0, False), said
