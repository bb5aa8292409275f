"""Training on several sets: what an epoch shows, for any number of processes and after a resume; sets made unlike."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from tests.forked import cxrgen
from tests.train.material import (
    Crash,
    assert_close,
    assert_equal,
    at_step,
    crash,
    small,
    weights,
    write_image,
    write_prepared,
)

from cxrgen.cli import main
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.records import Study, View, write_studies
from cxrgen.model.batches import Sample
from cxrgen.train.config import DataConfig, TrainConfig, make_config
from cxrgen.train.data import SamplerConfig, micro_batches
from cxrgen.train.mixing import mixed, parsed_mix, quotas
from cxrgen.train.pipeline import train
from cxrgen.train.preflight import check_run
from cxrgen.train.several_sets import read_data


def write_other(folder: Path, train: int = 9, valid: int = 3) -> Path:
    """A set whose ids are those of `write_prepared`, with other images and reports."""
    studies = []
    for number in range(train + valid):
        name = f"images/{number:04}.png"
        write_image(folder / name, 1000 + number)
        split = "train" if number < train else "valid"
        views = (View(name, "frontal", width=40, height=32),)
        studies.append(
            Study(f"{number:04}", f"p{number}", split, views=views, report="The lungs are clear.", source="x")
        )
    write_studies(folder / "studies.parquet", studies)
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("sets")
    return write_prepared(folder / "large"), write_other(folder / "little")


# --- what an epoch shows ---


def test_an_epoch_has_the_shares_and_as_many_samples_as_there_are() -> None:
    assert quotas([24, 9], [2, 1]) == [22, 11]
    assert quotas([10, 10, 10], [1, 1, 1]) == [10, 10, 10]
    assert quotas([5, 4], [1, 1]) in ([5, 4], [4, 5])
    places = mixed([24, 9], [2, 1], seed=0, epoch=0)
    assert Counter(place < 24 for place in places) == {True: 22, False: 11}


def test_a_set_that_is_shown_in_part_comes_whole_over_epochs() -> None:
    shown = [place for epoch in range(12) for place in mixed([24, 9], [2, 1], 5, epoch)]
    large, little = (Counter(place for place in shown if (place < 24) == first) for first in (True, False))
    assert len(large) == 24
    assert len(little) == 9
    assert max(large.values()) - min(large.values()) <= 1
    assert max(little.values()) - min(little.values()) <= 1


def test_order_depends_on_seed_and_epoch_alone() -> None:
    assert mixed([24, 9], [2, 1], 5, 3) == mixed([24, 9], [2, 1], 5, 3)
    assert mixed([24, 9], [2, 1], 5, 3) != mixed([24, 9], [2, 1], 5, 4)
    assert mixed([24, 9], [2, 1], 5, 3) != mixed([24, 9], [2, 1], 6, 3)


def test_two_processes_see_the_batches_of_one_and_a_later_start_goes_on() -> None:
    samples = [[Sample(str(n), (1,) * (3 + n % 7), (1,) * (3 + n % 7), ())] for n in range(33)]
    sampler = SamplerConfig(8, 2, seed=3, sizes=(24, 9), mix=(1.0, 2.0))

    def steps(rank: int, count: int, first: int, parts: int) -> list[list[str]]:
        each = SamplerConfig(8, parts // count, 3, sizes=sampler.sizes, mix=sampler.mix)
        stream = micro_batches(samples, each, rank, count, first)
        return [[sample.id for sample in next(stream)] for _ in range(12 * parts // count)]

    alone = steps(0, 1, 0, 2)
    first, second = steps(0, 2, 0, 2), steps(1, 2, 0, 2)
    assert [piece for pair in zip(first, second) for piece in pair] == alone
    assert steps(0, 1, 7, 2)[:10] == alone[14:24]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2", "1 numbers for 2 sets"),
        ("2,x", "write a number"),
        ("1,0", "above 0"),
        ("1,nan", "above 0"),
        ("1,1,1", "3 numbers"),
    ],
)
def test_shares_that_mean_nothing_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parsed_mix(text, 2)


# --- sets ---


def test_studies_of_one_id_stay_apart(sets: tuple[Path, Path]) -> None:
    data = read_data(DataConfig(data_path=tuple(map(str, sets)), context="prior-report"))
    ids = [variants[0].id for variants in data.variants]
    assert len(ids) == len(set(ids)) == 33
    assert (ids[0], ids[24]) == ("large/0000", "little/0000")
    assert [study.study_id for study in data.studies] == ids
    images = [data.folder / path for variants in data.variants for path in variants[0].images]
    assert all(path.is_file() for path in images)
    assert images[-1] == sets[1] / "images" / "0008.png"


def with_recipe(folder: Path, **options: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps({"options": {"rendering": "window", "size": 512, **options}}))
    return folder


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rendering": "mimic"}, "made with rendering window, .* with mimic: the same image would look different"),
        ({"size": 256}, "made with size 512, .* with 256: images would be reduced"),
        ({"target": "findings"}, "target"),
    ],
)
def test_sets_made_by_other_rules_are_refused(options: dict[str, object], said: str, tmp_path: Path) -> None:
    one, other = with_recipe(tmp_path / "a"), with_recipe(tmp_path / "b", **options)
    with pytest.raises(UsageError, match=said):
        check_run(small(one, tmp_path / "run", data_path=(str(one), str(other))))


def test_a_file_among_sets_a_set_given_twice_and_a_mix_of_one_are_refused(
    sets: tuple[Path, Path], tmp_path: Path
) -> None:
    file = tmp_path / "train.json"
    file.write_text("[]")
    for paths, said in (((sets[0], file), "prepared folder"), ((sets[0], sets[0]), "given twice")):
        with pytest.raises(UsageError, match=said):
            check_run(small(sets[0], tmp_path / "run", data_path=tuple(map(str, paths))))
    with pytest.raises(UsageError, match="nothing to mix"):
        check_run(small(sets[0], tmp_path / "run", mix="2,1"))
    with pytest.raises(InputError, match="no such file or folder"):
        check_run(small(sets[0], tmp_path / "run", data_path=(str(sets[0]), str(tmp_path / "none"))))


# --- runs ---

VALIDATED = {"eval_strategy": "steps", "eval_steps": 4, "eval_studies": 2, "eval_max_new_tokens": 4}


def config_of(sets: tuple[Path, Path], out: Path, **more: object) -> TrainConfig:
    return small(sets[0], out, data_path=tuple(map(str, sets)), mix="1,2", max_steps=6, **more)


@pytest.fixture(scope="module")
def unbroken(sets: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    train(config_of(sets, out, view_dropout=0.5, **VALIDATED))
    return out


def test_each_set_has_its_own_validation(unbroken: Path) -> None:
    lines = [json.loads(line) for line in (unbroken / "log.jsonl").read_text().splitlines()]
    (found,) = (line for line in lines if "eval_loss" in line)
    assert {"eval_loss/large", "eval_loss/little", "bleu_4/large", "rule_f1_micro_14/little"} <= found.keys()
    assert found["eval_loss"] == pytest.approx((found["eval_loss/large"] + found["eval_loss/little"]) / 2)
    assert found["eval_loss/large"] != found["eval_loss/little"]
    assert "eval_loss/little" in (unbroken / "README.md").read_text()


def test_a_resumed_run_ends_in_the_same_weights(
    unbroken: Path, sets: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        at_step(patched, 5, crash)
        with pytest.raises(Crash):
            train(config_of(sets, tmp_path / "run", view_dropout=0.5, **VALIDATED))
    with pytest.raises(InputError, match="mix was '1,2', is '2,1'"):
        train(small(sets[0], tmp_path / "run", data_path=tuple(map(str, sets)), mix="2,1", max_steps=6, resume=True))
    train(config_of(sets, tmp_path / "run", view_dropout=0.5, resume=True, **VALIDATED))
    assert_equal(weights(tmp_path / "run"), weights(unbroken))


@pytest.mark.slow
def test_two_processes_train_what_one_does(unbroken: Path, sets: tuple[Path, Path], tmp_path: Path) -> None:
    recipe = unbroken / "recipe.yaml"
    words = ["train", recipe, "--data_path", *sets, "--output_dir", tmp_path / "run", "--eval_strategy", "no"]
    words += ["--per_device_train_batch_size", 2, "--overwrite_output_dir"]
    cxrgen(*words, processes=2)
    assert_close(weights(tmp_path / "run"), weights(unbroken), within=1e-3)


def test_the_recipe_of_a_run_names_all_sets(unbroken: Path, sets: tuple[Path, Path]) -> None:
    from cxrgen.train.flags import recipe_config

    assert recipe_config(unbroken / "recipe.yaml").data.data_path == tuple(map(str, sets))
    assert make_config(data_path="a", output_dir="b").data.paths == (Path("a"),)


def test_a_plan_counts_all_sets(sets: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    sizes = (
        "--image_size",
        32,
        "--image_tokens",
        2,
        "--vocabulary",
        320,
        "--layers",
        1,
        "--hidden_size",
        32,
        "--heads",
        2,
    )
    assert main(["plan", *map(str, ("--data_path", *sets, "--mix", "2,1", *sizes, "--json"))]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 33
