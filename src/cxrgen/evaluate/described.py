"""What was scored, for the head of the page: names of system and data set, split, date, and the command to repeat."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

from cxrgen.core.errors import UsageError
from cxrgen.core.records import Study
from cxrgen.evaluate.page.top import About


def described(options: argparse.Namespace, parser: argparse.ArgumentParser, studies: Iterable[Study]) -> About:
    """From the options, the parser with their defaults, and the scored studies; what is not known is empty."""
    known = list(studies)
    sources = sorted({study.source for study in known if study.source})
    folder = options.studies.resolve() if options.studies else None
    of = f" ({', '.join(sources)})" if sources else ""
    data = f"{folder.name}{of}" if folder else options.gt.name
    split = ", ".join(sorted({study.split for study in known if study.split}))
    date = datetime.fromtimestamp(options.pred.stat().st_mtime, timezone.utc).strftime("%d %B %Y").lstrip("0")
    name = options.name or system_name(options.pred)
    return About(name, data, split, date, command_line(options, parser), links(options.link, options.out))


def links(given: Iterable[str], out: Path) -> dict[str, str]:
    """Name -> address of a page as seen from `out`. Raises UsageError for what is not NAME=PAGE."""
    found = {}
    for each in given:
        name, equals, page = each.partition("=")
        if not (name.strip() and equals and page.strip()):
            raise UsageError(f"--link {each!r}: write it as NAME=PAGE.html")
        found[name.strip()] = quote(Path(os.path.relpath(page.strip(), out)).as_posix())
    return found


def system_name(pred: Path) -> str:
    """ "runs/new/pred.csv" -> "new", "reports/maira.csv" -> "maira"."""
    return pred.resolve().parent.name if pred.stem in ("pred", "predictions") else pred.stem


def command_line(options: argparse.Namespace, parser: argparse.ArgumentParser) -> str:
    """The flags that were given a value other than their default, as they would be typed."""
    words = ["cxrgen", "evaluate"]
    for name, value in vars(options).items():
        if value == parser.get_default(name):
            continue
        for one in value if isinstance(value, list) else [value]:
            words += [f"--{name.replace('_', '-')}", *([] if one is True else [str(one)])]
    return shlex.join(words)
