"""How reports are written: a checkpoint's own format and whatever the command line says otherwise.

Free of torch, so that wrong flags and paths are told at once.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.records import read_studies
from cxrgen.generate.decoding.ngram_drafts import MOST_REPORTS, MOST_ROWS
from cxrgen.llava_med.conv_modes import ORIGINAL, conversation_mode
from cxrgen.model.conversation import Format, recorded_format
from cxrgen.model.locate import base_of
from cxrgen.text.prompts import shown_views

ENGINES = ("transformers", "vllm")
DTYPES = ("auto", "float32", "bfloat16", "float16")


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
    dtype: str = "auto"  # float32 on a CPU, bfloat16 on a GPU that has it
    bits: int = 0  # 4 or 8: the language model's weights are quantised while they are loaded
    engine: str = "transformers"  # or vllm
    drafts: tuple[tuple[str, str], ...] = ()  # training reports whose wording is used as drafts, each with its image
    nearest: bool = False  # drafts come from the reports of the images that are most alike

    # What is written depends on these, and on checkpoint and questions; on the others only how fast.
    decides: ClassVar = ("format", "max_new_tokens", "temperature", "top_p", "seed", "dtype", "bits", "engine")

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.max_new_tokens < 1:
            raise UsageError("--batch-size and --max-new-tokens are at least 1")
        if self.temperature < 0 or not 0 < self.top_p <= 1:
            raise UsageError("--temperature is 0 (the likeliest token) or more, --top-p above 0 and at most 1")
        if self.dtype not in DTYPES:
            raise UsageError(f"dtype {self.dtype!r}: there are {', '.join(DTYPES)}")
        if self.bits not in (0, 4, 8) or self.engine not in ENGINES or (self.bits and self.engine != "transformers"):
            raise UsageError(f"engine {self.engine!r} with bits {self.bits}: 4 or 8 bits are for engine transformers")


def read_format(model: Path) -> Format:
    """The format of a checkpoint folder, without opening the checkpoint. Raises InputError when it is none."""
    if not model.is_dir():
        raise InputError(f"{model}: no such folder; give a checkpoint written by `cxrgen train`")
    whole = base_of(model) is None  # an adapter folder has its base's config.json
    for name in ("config.json", "cxrgen.json") if whole else ("cxrgen.json",):
        if not (model / name).is_file():
            raise InputError(f"{model}: no {name}, so this is no checkpoint of cxrgen")
    return recorded_format(model / "cxrgen.json")


def with_options(format: Format, conv_mode: str | None, compat: str | None, views: str | None) -> Format:
    """The checkpoint's format with what is said otherwise; None says nothing."""
    if conv_mode is not None:
        template, start = conversation_mode(conv_mode)
        format = replace(format, template=template, compat=start)
    if compat is not None:
        if format.template == "plain":
            raise UsageError("--compat original: this checkpoint was not trained on LLaVA-Med's prompts; leave it out")
        format = replace(format, compat=format.compat or ORIGINAL.get(format.template, ""))
    return format if views is None else replace(format, views=views)


def settings_of(options: argparse.Namespace) -> Settings:
    """From the command line. Raises UsageError for what cannot be meant, InputError for a folder that is no model."""
    format = with_options(read_format(options.model_name), options.conv_mode, options.compat, options.views)
    return Settings(
        model=options.model_name,
        format=format,
        batch_size=options.batch_size,
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        top_p=options.top_p,
        seed=options.seed,
        dtype=options.dtype,
        bits=4 if options.load_in_4bit else 8 if options.load_in_8bit else 0,
        engine=options.engine,
        drafts=_drafts(options, format),
        nearest=options.drafts == "nearest",
    )


def _drafts(options: argparse.Namespace, format: Format) -> tuple[tuple[str, str], ...]:
    """The training reports of a prepared folder, where they help (see `drafts`), each with its first shown image."""
    how = options.drafts
    folder: Path | None = options.question_file if how in ("auto", "nearest") else Path(how)
    prepared = folder is not None and folder.is_dir()
    helpful = options.batch_size < MOST_ROWS and options.engine == "transformers" and not options.images
    if how == "off" or (how == "auto" and not (prepared and helpful)):
        return ()
    if not helpful:
        raise UsageError(
            f"--drafts {how}: drafts are for question files, engine transformers and a --batch-size below {MOST_ROWS}"
        )
    if folder is None or not prepared:
        raise UsageError(f"--drafts {how}: {folder} is no prepared folder; give one, nearest, auto or off")
    root: Path = options.image_folder or folder
    found = []
    for study in read_studies(folder, "train"):
        views = shown_views(study, format.views)
        if study.report is not None and (views or how != "nearest"):
            found.append((study.report, str(root / views[0].path) if views else ""))
    return tuple(found[:MOST_REPORTS])
