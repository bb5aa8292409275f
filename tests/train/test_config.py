from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from cxrgen.cli import _kebab
from cxrgen.core.errors import InputError, UsageError
from cxrgen.train.config import Arguments, add_arguments, resolve

NEEDED = ["--data_path", "data", "--output_dir", "out"]


def parse(*words: str) -> Arguments:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return resolve(parser.parse_args(_kebab([*NEEDED, *words])))


def test_both_spellings_and_bare_or_valued_booleans() -> None:
    assert parse("--bf16").bf16
    assert parse("--bf16", "True", "--max-steps", "7") == parse("--bf16", "--max_steps=7")
    assert not parse("--bf16", "False").bf16


def test_a_flag_given_twice_counts_once() -> None:
    assert parse("--learning_rate", "1", "--learning_rate", "2").learning_rate == 2.0


def test_flags_override_the_packaged_recipe() -> None:
    assert parse("tiny").max_steps == parse("recipes/tiny.yaml").max_steps > 0
    assert parse("tiny", "--max_steps", "3").max_steps == 3
    assert parse("tiny", "--max_steps", "3").learning_rate == 1e-3


def test_unknown_recipe_keys_are_refused_with_the_nearest(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("learning_rat: 1e-3\n")
    with pytest.raises(InputError, match="did you mean 'learning_rate'"):
        parse(str(recipe))


@pytest.mark.parametrize(
    ("line", "message"), [("max_steps: many", "must be int"), ("bf16: 1", "must be bool"), ("- a", "key")]
)
def test_wrong_values_are_refused(tmp_path: Path, line: str, message: str) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(line + "\n")
    with pytest.raises(InputError, match=message):
        parse(str(recipe))


def test_numbers_that_yaml_reads_as_text(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("learning_rate: 2e-5\nnum_train_epochs: 3\n")
    assert parse(str(recipe)).learning_rate == 2e-5
    assert parse(str(recipe)).num_train_epochs == 3.0


def test_resuming_takes_a_boolean_or_a_checkpoint(tmp_path: Path) -> None:
    assert parse().resume is False
    assert parse("--resume").resume is parse("--resume_from_checkpoint", "True").resume is True
    assert parse("--resume_from_checkpoint", "False").resume is False
    assert parse("--resume_from_checkpoint", "out/checkpoint-3").resume == "out/checkpoint-3"
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("resume_from_checkpoint: out/checkpoint-3\n")
    assert parse(str(recipe)).resume == "out/checkpoint-3"
    recipe.write_text("resume: 3\n")
    with pytest.raises(InputError, match="resume must be bool or str, not 3"):
        parse(str(recipe))


def test_missing_flags_and_recipes() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(UsageError, match="--data-path"):
        resolve(parser.parse_args([]))
    with pytest.raises(InputError, match="neither a file nor"):
        parse("no-such-recipe")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--image_aspect_ratio keep", "there are square, pad, black"),
        ("--eval_strategy epoch", "there are no, steps"),
        ("--views PA", "there are all, frontal, lateral"),
        ("--gradient_accumulation_steps 0", "at least 1"),
        ("--per_device_eval_batch_size 0", "at least 1"),
        ("--eval_studies 0", "at least 1"),
        ("--lora_rank 0", "at least 1"),
        ("--global_batch_size -8", "at least 0"),
        ("--learning_rate nan", "at least 0"),
        ("--num_train_epochs -1", "at least 0"),
    ],
)
def test_values_that_cannot_be_meant(words: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"{words.split()[0]} .*: {message}"):
        parse(*words.split())
