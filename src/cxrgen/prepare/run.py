"""Raw studies to a prepared set: one folder that training, generation and scoring read.

SOURCE is a folder or a table; what kind it is is found by looking (`--kind auto`) and said. The set holds
studies.parquet, images/, train.json, valid.json, test.json, rejects.csv, images.jsonl, card.html, card.json and
recipe.json. A run that was interrupted continues; a folder that was made with other options is refused.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from cxrgen.core.rejects import share
from cxrgen.imaging.names import RENDERINGS
from cxrgen.prepare.private_texts import PRIVATE_SECTIONS
from cxrgen.prepare.targets import LONG, PRIORS, TARGETS
from cxrgen.sources import SOURCES, ArgumentGroup, source
from cxrgen.text.cleaning import RECIPES
from cxrgen.text.prompts import PROMPTS

_EXAMPLES = """examples:
  cxrgen prepare course-data --out prepared
  cxrgen prepare course-data --out prepared --text-file reports.csv
  cxrgen prepare train.json --image-folder images --out prepared
  cxrgen prepare export.csv --map findings=Befund --map image=Datei --out prepared
  cxrgen prepare course-data --out prepared --by image --text original --prompt original
  cxrgen prepare export.csv --out prepared --views-by packaged
  cxrgen prepare export.csv --out prepared --dry-run
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("source", type=Path, help="folder or table to read")
    parser.add_argument("--out", required=True, type=Path, help="folder to write the prepared set to")
    _add_source(parser.add_argument_group("what to read"))
    _add_texts(parser.add_argument_group("texts"))
    _add_studies(parser.add_argument_group("studies and splits"))
    _add_images(parser.add_argument_group("images"))
    _add_run(parser.add_argument_group("the run"))
    for kind in SOURCES:
        source(kind).add_arguments(parser.add_argument_group(f"options of {kind} sources"))


def _add_source(group: ArgumentGroup) -> None:
    group.add_argument("--kind", choices=("auto", *SOURCES), default="auto", help="of source (default: auto)")
    group.add_argument("--image-folder", type=Path, help="where image names start; default: beside the source")
    group.add_argument("--text-file", type=Path, help="CSV with study_id and report, findings, impression, ...")
    group.add_argument("--map", action="append", default=[], metavar="FIELD=COLUMN", help="what a column holds")
    group.add_argument("--encoding", default="", metavar="NAME", help="code page of tables and texts, if not UTF-8")
    group.add_argument("--on-duplicate", choices=("reject", "last"), default="reject", help="contradicting rows")
    group.add_argument("--show-values", action="store_true", help="messages may show cells, paths and ids of the data")


def _add_texts(group: ArgumentGroup) -> None:
    group.add_argument("--section-style", choices=("tolerant", "mimic"), default="tolerant", help="of raw reports")
    group.add_argument("--target", choices=TARGETS, default="both", help="sections to write (default: both)")
    group.add_argument("--text", choices=tuple(RECIPES), default="plain", help="cleaning recipe (default: plain)")
    group.add_argument(
        "--priors", choices=PRIORS, default="keep", help="what texts say of earlier studies (default: keep)"
    )
    group.add_argument("--max-words", type=int, default=0, help="longest report; 0: no limit (default)")
    group.add_argument(
        "--too-long", choices=LONG, default="reject", help="above --max-words: leave out, or cut where a sentence ends"
    )
    group.add_argument("--prompt", choices=tuple(PROMPTS), default="study", help="of the JSON files (default: study)")
    group.add_argument("--tokenizer", type=Path, help="model folder: the card shows lengths in its tokens")


def _add_studies(group: ArgumentGroup) -> None:
    group.add_argument("--by", choices=("study", "image"), default="study", help="a row a study, or a frontal image")
    group.add_argument("--select", choices=("all", "mgca"), default="all", help="mgca: the images MGCA's script takes")
    group.add_argument("--no-frontal", choices=("reject", "keep"), default="reject", help="studies of laterals only")
    group.add_argument("--on-leak", choices=("stop", "drop"), default="stop", help="an image in two splits")
    group.add_argument("--resplit", action="store_true", help="draw splits by patient, whatever the source says")
    group.add_argument("--valid-share", type=float, default=0.1, help="where splits are drawn (default: 0.1)")
    group.add_argument("--test-share", type=float, default=0.1, help="where splits are drawn (default: 0.1)")
    group.add_argument("--seed", type=int, default=0, help="of drawn splits (default: 0)")
    group.add_argument("--pseudonyms", type=Path, metavar="FILE", help="hash ids with the secret in FILE (made if new)")
    group.add_argument(
        "--burnt-in",
        choices=("refuse", "take"),
        default="refuse",
        help="with --pseudonyms: images whose tag says that text is burnt in (default: refuse)",
    )
    group.add_argument(
        "--keep-sections",
        nargs="+",
        choices=PRIVATE_SECTIONS,
        default=[],
        help="with --pseudonyms: store these, cleaned, all the same (default: none)",
    )


def _add_images(group: ArgumentGroup) -> None:
    group.add_argument("--size", type=int, default=512, help="longest side of stored images (default: 512)")
    group.add_argument("--rendering", choices=RENDERINGS, default="window", help="of DICOM (default: window)")
    group.add_argument(
        "--views-by", default="", metavar="FILE", help="ask the picture where no view is known: packaged, or a file"
    )
    group.add_argument("--max-pixels", type=int, default=200_000_000, help="images above are refused")
    group.add_argument("--strict", action="store_true", help="leave out images read with a remark (cmyk, scaled, ...)")


def _add_run(group: ArgumentGroup) -> None:
    group.add_argument("--max-rejects", type=share, default=0.02, help="share or percent, above: exit 3 (2%%)")
    group.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)")
    group.add_argument("--engine", choices=("local", "ray"), default="local", help="ray: a Ray cluster stores images")
    group.add_argument("--dry-run", action="store_true", help="say what would be done, write nothing")
    group.add_argument("--force", action="store_true", help="replace a set that was made with other options")
    group.add_argument("--json", action="store_true", help="print the counts as JSON")


def run(options: argparse.Namespace) -> int:
    from cxrgen.prepare.prepare_set import prepare_set  # images and tables need libraries that the help need not load

    return prepare_set(options, _defaults())


def _defaults() -> dict[str, Any]:
    """What options are where nobody gives them."""
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    return {action.dest: action.default for action in parser._actions}
