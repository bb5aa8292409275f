"""The settings of how a run is watched: its validation, its log and its page."""

from __future__ import annotations

from dataclasses import dataclass

from cxrgen.train.options import option

EVAL_SCORES = ("eval_loss", "bleu_4", "rule_f1_micro_14", "rule_f1_macro_14")
TRACKERS = ("none", "tensorboard", "trackio", "wandb")


@dataclass(frozen=True)
class EvalConfig:
    """When and on what `validate` runs, and what the best checkpoint is chosen by."""

    eval_strategy: str = option("no", "validation while training", choices=("no", "steps"), outcome=False)
    eval_steps: int = option(500, "steps between validations", at_least=1, outcome=False)
    eval_studies: int = option(64, "validation studies, the same each time", at_least=1, outcome=False)
    eval_reports: bool = option(True, "also write and score reports of these studies", outcome=False)
    eval_max_new_tokens: int = option(256, "longest report written in validation", at_least=1, outcome=False)
    eval_data_path: str = option(
        "", "LLaVA JSON to validate on; default: split valid of the prepared folder", metavar="PATH", outcome=False
    )
    per_device_eval_batch_size: int = option(8, "studies at a time in validation", at_least=1, outcome=False)
    metric_for_best_model: str = option(
        "eval_loss", "what the best checkpoint is chosen by", choices=EVAL_SCORES, outcome=False
    )
    early_stopping_patience: int = option(0, "validations without a new best before stopping; 0: never", at_least=0)


@dataclass(frozen=True)
class LogConfig:
    """Where `run_log` writes the numbers of a run, and what `run_page` shows of it."""

    report_to: str = option(
        "none", "besides log.jsonl: tensorboard, trackio, wandb; several with commas", outcome=False
    )
    run_name: str = option("", "name of the run in these", outcome=False)
    logging_steps: int = option(1, "steps between lines of log.jsonl", at_least=1, outcome=False)
    page_studies: int = option(
        4, "validation studies shown in training.html with image, reference and report", at_least=0, outcome=False
    )
    hide_text: bool = option(False, "training.html without report texts, for sharing", outcome=False)
