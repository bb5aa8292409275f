"""How reports are written: a checkpoint's own format, and what the command line sets instead.

Importing this module brings no torch; opening a checkpoint's format does.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cxrgen.core.errors import InputError, UsageError, unknown
from cxrgen.core.progress import say
from cxrgen.core.records import read_studies
from cxrgen.generate.decoding.ngram_drafts import MOST_REPORTS, MOST_ROWS
from cxrgen.generate.run_checkpoint import ready_folder
from cxrgen.text.context import NOTHING, parts_of

if TYPE_CHECKING:
    from cxrgen.model.conversation import Format
    from cxrgen.text.prompts import PromptRule

ENGINES = ("auto", "transformers", "vllm")  # auto: transformers, by the way that is exact for the class
DTYPES = ("auto", "float32", "bfloat16", "float16")
SPECULATIVE = ("auto", "ngram", "none")  # or a prepared folder


@dataclass(frozen=True)
class Settings:
    """How reports are written."""

    model: Path
    format: Format
    batch_size: int = 16
    max_new_tokens: int = 1024
    temperature: float = 0.0  # 0: the likeliest token
    top_p: float = 1.0
    seed: int = 0
    samples: int = 0  # reports a study, with their log-probabilities; 0: one, without
    dtype: str = "auto"  # float32 on a CPU, bfloat16 on a GPU that has it
    bits: int = 0  # 4 or 8: the language model's weights are quantised while they are loaded
    engine: str = "auto"  # auto and transformers are one; or vllm
    question: str = ""  # in place of the task that a prompt of this package ends with
    ngram_reports: tuple[str, ...] = ()  # training reports that speculative decoding proposes tokens from

    # What is written depends on these, and on checkpoint and questions; on the others only how fast.
    decides: ClassVar = ("format", "max_new_tokens", "temperature", "top_p", "seed", "dtype", "bits", "engine")

    @property
    def asks(self) -> PromptRule:
        """How a study is asked about."""
        return replace(self.format.asks, task=self.question)

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.max_new_tokens < 1:
            raise UsageError("--batch-size and --max-new-tokens are at least 1")
        if not (0 <= self.temperature < math.inf and 0 < self.top_p <= 1):  # NaN fails both
            raise UsageError("--temperature is a number from 0 (the likeliest token) on, --top-p above 0 and at most 1")
        if self.samples and (self.samples < 2 or self.temperature == 0):
            raise UsageError("--samples is 2 or more, and needs --temperature above 0: at 0 all reports are the same")
        if self.dtype not in DTYPES:
            raise unknown("--dtype", self.dtype, DTYPES)
        if self.engine not in ENGINES:
            raise unknown("--engine", self.engine, ENGINES)
        if self.bits not in (0, 4, 8) or (self.bits and self.engine == "vllm"):
            raise UsageError(f"engine {self.engine!r} with {self.bits} bits; 4 or 8 bits are for engine auto")


def read_format(model: Path) -> Format:
    """The format of a checkpoint folder, without opening the checkpoint; another model's is its own chat template.

    Raises InputError for a folder that is neither.
    """
    from cxrgen.model.checkpoint import chat_format, has_chat_template
    from cxrgen.model.conversation import recorded_format
    from cxrgen.model.locate import base_of

    if not model.is_dir():
        raise InputError(f"{model}: no such folder; give a checkpoint written by `cxrgen train`")
    whole = base_of(model) is None  # an adapter folder has its base's config.json
    if whole and not (model / "cxrgen.json").is_file() and has_chat_template(model):
        return chat_format(model)
    for name in ("config.json", "cxrgen.json") if whole else ("cxrgen.json",):
        if not (model / name).is_file():
            raise InputError(f"{model}: no {name} and no chat template, so how to ask this model is not known")
    return recorded_format(model / "cxrgen.json")


def with_options(
    format: Format, conv_mode: str | None, compat: str | None, views: str | None, context: str | None = None
) -> Format:
    """The checkpoint's format with these options in place of its own; None keeps its own.

    Raises UsageError for a context that the checkpoint was not trained with.
    """
    from cxrgen.llava_med.conv_modes import ORIGINAL, conversation_mode
    from cxrgen.model.templates import CHAT

    if format.template == CHAT and (conv_mode or compat):
        raise UsageError("--conv-mode and --compat: this model is asked by its own chat template; leave them out")
    if conv_mode is not None:
        template, start = conversation_mode(conv_mode)
        format = replace(format, template=template, compat=start)
    if compat is not None:
        if format.template == "plain":
            raise UsageError("--compat original: this checkpoint was not trained on LLaVA-Med's prompts; leave it out")
        format = replace(format, compat=format.compat or ORIGINAL.get(format.template, ""))
    if context is not None:
        _check_context(format, context)
        format = replace(format, context=context)
    return format if views is None else replace(format, views=views)


def _check_context(format: Format, context: str) -> None:
    trained, asked = format.asks.parts, parts_of(context)
    for part in asked:
        if part not in trained:
            raise UsageError(
                f"--context {part}: the checkpoint was not trained with it; it knows {', '.join(trained) or NOTHING}"
            )
    if len(asked) < len(trained) and not format.context_dropout:
        say("--context: the checkpoint was trained without --context_dropout, so it never saw a prompt with less")


def settings_of(options: argparse.Namespace) -> Settings:
    """From the command line. Raises UsageError for impossible values, InputError for a folder that is no model."""
    model = ready_folder(named_folder(options.model_name))
    format = with_options(read_format(model), options.conv_mode, options.compat, options.views, options.context)
    return Settings(
        model=model,
        format=format,
        batch_size=options.batch_size,
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        top_p=options.top_p,
        seed=options.seed,
        samples=options.samples,
        dtype=options.dtype,
        bits=4 if options.load_in_4bit else 8 if options.load_in_8bit else 0,
        engine=options.engine,
        question=options.question or "",
        ngram_reports=_ngram_reports(options, format),
    )


def named_folder(model: Path) -> Path:
    """The folder that `--model-name` means; a name on the hub is fetched, once. Raises InputError for neither."""
    if model.is_dir():
        return model
    from cxrgen.model.locate import folder_of

    return folder_of(str(model))


def _ngram_reports(options: argparse.Namespace, format: Format) -> tuple[str, ...]:
    """The training reports that speculative decoding uses, where it saves time; () switches it off."""
    choice = "none" if options.speculative == "off" else options.speculative
    folder: Path | None = options.question_file if choice in SPECULATIVE else Path(choice)
    prepared = folder is not None and folder.is_dir()
    refills = options.engine != "vllm" and format.template != "chat"
    helpful = options.batch_size < MOST_ROWS and refills and not options.images
    if choice == "none" or (choice == "auto" and not (prepared and helpful)):
        return ()
    if folder is None or not prepared:
        if choice not in SPECULATIVE and folder is not None and not folder.exists():
            raise unknown("--speculative", choice, (*SPECULATIVE, "a prepared folder"))
        raise UsageError(f"--speculative {choice}: {folder} is no prepared folder, so it has no training reports")
    if not helpful:
        raise UsageError(
            f"--speculative {choice}: it is for question files, class llava by engine auto, and --batch-size below "
            f"{MOST_ROWS}"
        )
    reports = [study.report for study in read_studies(folder, "train") if study.report is not None]
    return tuple(reports[:MOST_REPORTS])
