from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.train.material import write_prepared

from cxrgen.cli import _kebab
from cxrgen.core.errors import InputError, UsageError
from cxrgen.train import config as config_module
from cxrgen.train.config import TrainConfig, flat_values, make_config, options, parts
from cxrgen.train.flags import add_arguments, recipe_config, resolve
from cxrgen.train.run_report import write_recipe

NEEDED = ["--data_path", "data", "--output_dir", "out"]


def parse(*words: str) -> SimpleNamespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    config: TrainConfig = resolve(parser.parse_args(_kebab([*NEEDED, *words])))
    return SimpleNamespace(**flat_values(config))


def test_both_spellings_and_bare_or_valued_booleans() -> None:
    assert parse("--bf16").bf16
    assert parse("--bf16", "True", "--max-steps", "7") == parse("--bf16", "--max_steps=7")
    assert not parse("--bf16", "False").bf16


def test_a_written_recipe_is_read_back_whole(tmp_path: Path) -> None:
    config = make_config(data_path="data", output_dir=str(tmp_path), optim="adamw_torch", use_dora=True, lora_rank=4)
    write_recipe(tmp_path, config)
    assert recipe_config(tmp_path / "recipe.yaml") == config


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


def test_names_are_those_of_their_owners() -> None:
    from cxrgen.model import conversation, tower
    from cxrgen.text.prompts import PROMPTS
    from cxrgen.train import config, model_config

    assert tuple(PROMPTS) == config.PROMPTS
    assert conversation.TEMPLATES == model_config.TEMPLATES
    assert conversation.LABEL_RULES == model_config.LABEL_RULES
    assert tuple(tower.CHANNELS) == model_config.STEMS


def test_names_are_unique_over_all_parts() -> None:
    names = [option.name for option in options()]
    assert len(names) == len(set(names)) == len(flat_values(TrainConfig()))
    assert make_config(flat_values(TrainConfig(seed=7))) == TrainConfig(seed=7)
    with pytest.raises(UsageError, match=r"unknown setting 'learning_rat'; .* did you mean 'learning_rate'"):
        make_config(learning_rat=1.0)


def test_a_part_is_handed_to_its_owner_alone() -> None:
    """Only a run as a whole, planned, made or exported, its fingerprint and its records see the whole configuration."""
    room = Path(config_module.__file__).parent
    whole = {path.stem for path in room.glob("*.py") if "TrainConfig" in path.read_text()}
    made = {"encoder_run", "export_checkpoint", "pipeline", "preflight", "resume", "run_report", "start_model"}
    planned = {"plan", "plan_report", "planned_run"}
    assert whole == {"__init__", "config", "flags", *made, *planned}


def test_help_is_grouped_and_needs_no_torch() -> None:
    program = (
        "import sys\nfrom cxrgen.cli import main\ntry:\n    main(['train', '--help'])\nexcept SystemExit:\n    pass\n"
    )
    heavy = "print('heavy:', {'torch', 'transformers', 'pyarrow', 'numpy'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", program + heavy], capture_output=True, text=True, check=True).stdout
    assert "heavy: set()" in shown
    assert all(f"\n{title}:\n" in shown for title, _ in parts().values())
    assert "--views {all,frontal,lateral}" in shown
    assert "examples:" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--train_modules loar", "unknown --train_modules 'loar'; choose from .*; did you mean 'lora'"),
        ("--train_tower last", "unknown --train_tower 'last'; choose from frozen"),
        ("--lr_scheduler_type cosin", "choose from cosine, linear, constant; did you mean 'cosine'"),
        ("--image_aspect_ratio keep", "choose from square, pad, black"),
        ("--eval_strategy epoch", "choose from no, steps"),
        ("--views PA", "unknown --views 'PA'; choose from all, frontal, lateral"),
        ("--version v2", "choose from plain, v0, v1, mistral"),
        ("--prompt studie", "did you mean 'study'"),
        ("--warmup_labels rules", "did you mean 'rule'"),
        ("--loss_rule token", "did you mean 'tokens'"),
        ("--label_rule answers", "did you mean 'answer'"),
        ("--report_to tensorbord", "did you mean 'tensorboard'"),
        ("--metric_for_best_model bleu4", "did you mean 'bleu_4'"),
        ("--metric_for_best_model bleu_4 --eval_reports false", "needs reports"),
    ],
)
def test_values_outside_their_choices(words: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(*words.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--data_path nowhere", "nowhere: no such file or folder"),
        ("--eval_strategy steps", "no study in split valid; give --eval_data_path"),
        ("--eval_strategy steps --eval_data_path gone.json", "gone.json: no such file or folder"),
        ("--model_name_or_path nowhere", "no config.json; give a folder"),
        ("--train_modules lora", "--train_modules lora needs a checkpoint as --model_name_or_path"),
        ("--train_modules full --cache_features", "needs a frozen vision encoder"),
        ("--tower_steps 3", "needs --warmup_labels rule or dataset"),
    ],
)
def test_runs_that_cannot_start_are_refused_without_torch(tmp_path: Path, words: str, message: str) -> None:
    write_prepared(tmp_path, train=2, valid=0)
    program = (
        "import sys\nfrom cxrgen.cli import main\ncode = main(sys.argv[1:])\n"
        "assert 'torch' not in sys.modules\nsys.exit(code)"
    )
    command = [
        sys.executable,
        "-c",
        program,
        "train",
        "--data_path",
        str(tmp_path),
        "--output_dir",
        str(tmp_path / "o"),
    ]
    result = subprocess.run([*command, *words.split()], capture_output=True, text=True)
    assert result.returncode in (1, 2), result.stderr
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "o").exists()


def test_missing_flags_and_recipes() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(UsageError, match="--data-path"):
        resolve(parser.parse_args([]))
    with pytest.raises(UsageError, match="unknown recipe"):
        parse("no-such-recipe")


@pytest.mark.parametrize(
    ("words", "message"),
    [
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
