"""A prepared set in the form that another training tool reads: ms-swift, LLaMA-Factory, TRL, datasets, LLaVA; or as
shards, tar or Parquet, which `cxrgen train --streaming` reads (and WebDataset the tar ones).

Each study becomes its images, what is known of it, and the turns of its conversation, worded as `cxrgen train` words
them. JSON names images by absolute paths into the prepared set (or the export, with --copy-images); Parquet holds them.
Studies without a report are left out where a tool trains on every row.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.progress import say
from cxrgen.core.records import SPLITS
from cxrgen.text.context import LABELS, NOTHING, PARTS
from cxrgen.text.prompts import PROMPTS, PromptRule

TOOLS = ("ms-swift", "llama-factory", "trl", "hf-datasets", "llava", "shards")
_EXAMPLES = """examples:
  cxrgen export-data prepared --to ms-swift --out swift
  cxrgen export-data prepared --to llama-factory --out factory --copy-images
  cxrgen export-data prepared --to hf-datasets --out hub
  cxrgen export-data prepared --to shards --shard-format parquet --out shards
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("prepared", type=Path, metavar="PREPARED", help="folder that `cxrgen prepare` made")
    parser.add_argument("--to", required=True, choices=TOOLS, help="the tool that is to read it")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="new folder for the export")
    parser.add_argument("--prompt", choices=tuple(PROMPTS), default="study", help="wording (default: study)")
    parser.add_argument(
        "--context",
        default="",
        metavar="PARTS",
        help=f"what else is stated, with commas: {', '.join(PARTS)}; or {NOTHING} (default: as --prompt has it)",
    )
    parser.add_argument("--shard-studies", type=int, default=1000, help="studies of a shard (default: 1000)")
    parser.add_argument("--shard-format", choices=("tar", "parquet"), default="tar", help="(default: tar)")
    parser.add_argument("--copy-images", action="store_true", help="put the images into the export (JSON tools)")


def run(options: argparse.Namespace) -> int:
    from cxrgen.core.folders import new_folder
    from cxrgen.core.records import read_studies
    from cxrgen.prepare.export_forms import FORMS, exported_rows, with_copied_images

    if options.shard_studies < 1:
        raise UsageError("--shard-studies is at least 1")
    if options.out.resolve() == options.prepared.resolve():
        raise InputError(f"{options.out}: the prepared set itself; choose another --out")
    if options.context and options.to == "shards":
        raise UsageError("--to shards: shards hold what any prompt may state; give --context to `cxrgen train`")
    if LABELS in (options.context or "").split(","):
        raise UsageError(f"--context {LABELS}: read from images while training, by `cxrgen train --label_prompt true`")
    rule = PromptRule(options.prompt, context=options.context)
    studies = read_studies(options.prepared)
    if options.to == "shards":
        from cxrgen.prepare.shards import write_shards

        with new_folder(options.out) as folder:
            counts = write_shards(folder, studies, options.prepared, options.shard_studies, options.shard_format)
        return _done(options.out, counts, len(studies))
    form = FORMS[options.to]
    rows = exported_rows(studies, options.prepared, rule, with_reports=form.needs_reports)
    if not rows:
        raise InputError(f"{options.prepared}: no study with images and a report, so nothing to export")
    with new_folder(options.out) as folder:
        if options.copy_images and not form.holds_images:
            rows = with_copied_images(rows, folder, options.out)
        form.write(folder, rows)
    counts = {split: sum(row.study.split == split for row in rows) for split in SPLITS}
    return _done(options.out, counts, len(studies))


def _done(out: Path, counts: Mapping[str, int], studies: int) -> int:
    said = ", ".join(f"{split} {count}" for split, count in counts.items())
    written = sum(counts.values())
    left = f"; {studies - written} without image or report are left out" if studies > written else ""
    say(f"{written} studies ({said}){left}")
    print(out)
    return 0
