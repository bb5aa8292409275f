"""`cxrgen phantom`: synthetic studies with a known truth, or with `--broken` course folders that go wrong."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from cxrgen.core.errors import UsageError
from cxrgen.core.folders import locked
from cxrgen.core.progress import say
from cxrgen.phantom import STYLES

_EXAMPLES = """examples:
  cxrgen phantom --out phantom --studies 6000 --test-studies 200
  cxrgen phantom --out phantom --studies 40 --seed 7 --size 64 --style plain
  cxrgen phantom --out broken --broken
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("--out", required=True, type=Path, help="folder to write to")
    studies = parser.add_argument_group("what to make")
    studies.add_argument("--studies", type=int, help="studies for training and validation")
    studies.add_argument("--test-studies", type=int, default=0, help="studies for testing (default: 0)")
    studies.add_argument("--seed", type=int, default=0, help="the same seed gives the same studies (default: 0)")
    studies.add_argument("--size", type=int, default=128, help="side of the images in pixels (default: 128)")
    studies.add_argument(
        "--style",
        choices=STYLES,
        default=STYLES[0],
        help="varied: as real reports vary, with earlier studies and indications; plain: a few words a finding, one "
        "study a patient; followup: as plain, three studies a patient with changes and indications (default: varied)",
    )
    studies.add_argument("--broken", action="store_true", help="bad inputs instead, a folder each, and broken.csv")
    parser.add_argument_group("the run").add_argument(
        "--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)"
    )


def run(options: argparse.Namespace) -> int:
    if options.broken:
        from cxrgen.phantom.bad_inputs.cases import write_broken  # numpy and Pillow, which the help does without

        write_broken(options.out, options.seed)
        print(options.out / "broken.csv")
        return 0
    studies = options.studies or 0
    if studies < 1 or options.test_studies < 0 or options.size < 32 or options.seed < 0:
        raise UsageError("--studies at least 1, --test-studies and --seed at least 0, --size at least 32")
    from cxrgen.phantom.write import write_phantoms

    with locked(options.out, "wait for it, or give another --out"):
        write_phantoms(
            options.out, studies, options.test_studies, options.seed, options.size, options.workers, options.style
        )
    say(f"{studies + options.test_studies} synthetic studies; they teach nothing about real radiographs")
    print(options.out)
    return 0
