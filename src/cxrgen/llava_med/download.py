"""Download LLaVA-Med's data files and delta weights, or the PMC figures that its conversations talk about.

NAMES are groups (alignment, instruct, eval, image-urls, delta), `data` (all but the delta), single file names, or
`figures`. Every file is tried at each known address in turn, continued where a run before stopped, and checked against
its published size and hash. When no address gives it, the message says what to bring by hand and where to put it: a
file that exists already is checked and used.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cxrgen.core.errors import InputError, UsageError, unknown
from cxrgen.core.files import sha256_file, write_text
from cxrgen.core.folders import require_space
from cxrgen.core.progress import say
from cxrgen.core.rejects import share
from cxrgen.core.retries import RetryPolicy
from cxrgen.llava_med.http import SourceFailed, fetch
from cxrgen.llava_med.pmc_figures import ALLOWED_HOSTS, Figures, fetch_figures
from cxrgen.llava_med.published_files import FILES, GROUPS, Published

SUMS = "SHA256SUMS"
_EXAMPLES = """examples:
  cxrgen download data --out data
  cxrgen download delta --out data
  cxrgen download llava_med_instruct_60k.json --out data --mirror http://files.example/llava-med
  cxrgen download data delta --out data --dry-run
  cxrgen download figures --input_path data/llava_med_image_urls.jsonl \\
      --pmc_output_path data/pmc_articles --images_output_path data/images
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("names", metavar="NAME", nargs="*", help="what to fetch; none with --input-path means figures")
    add = parser.add_argument_group("files").add_argument
    add("--out", type=Path, default=Path("data"), metavar="DIR", help="folder for the files (default: data)")
    add("--mirror", action="append", default=[], metavar="URL", help="a folder's address to try first; may be repeated")
    add("--dry-run", action="store_true", help="say what would be fetched, from where and to where; no network")
    add("--tries", type=int, default=6, metavar="N", help="tries at an address without progress (default: 6)")
    add = parser.add_argument_group("figures").add_argument
    add("--input-path", type=Path, metavar="FILE", help="list of addresses (default: OUT/llava_med_image_urls.jsonl)")
    add("--pmc-output-path", type=Path, metavar="DIR", help="archives that you have already; nothing is written there")
    add("--images-output-path", type=Path, metavar="DIR", help="folder for the images (default: OUT/images)")
    add("--workers", type=int, default=4, metavar="N", help="archives at a time (default: 4)")
    add("--rate", type=float, default=3.0, metavar="N", help="requests a second, all workers together (default: 3)")
    add("--allow-host", action="append", default=[], metavar="HOST", help="one more host to fetch from")
    add("--max-rejects", type=share, default=0.02, metavar="SHARE", help="may be missing: 0.02 or 2%% (default: 2%%)")


def run(options: argparse.Namespace) -> int:
    names = list(options.names)
    if not names and options.input_path is None:
        raise UsageError(f"name what to fetch: data, {', '.join(GROUPS)}, figures, or a file of the README")
    figures = "figures" in names or not names
    files = chosen_files([name for name in names if name != "figures"])
    retry = RetryPolicy(tries=options.tries)
    if files and options.dry_run:
        for file in files:
            print(_plan(file, options.out, options.mirror))
    elif files:
        for path in download_files(files, options.out, options.mirror, retry):
            print(path)
    if figures:
        wanted = Figures(
            options.input_path or options.out / "llava_med_image_urls.jsonl",
            options.images_output_path or options.out / "images",
            options.pmc_output_path,
            frozenset({*ALLOWED_HOSTS, *options.allow_host}),
            options.workers,
            options.rate,
            options.max_rejects,
        )
        print(fetch_figures(wanted, retry, options.dry_run))
    return 0


def chosen_files(names: Sequence[str]) -> list[Published]:
    """The table's rows for group and file names, each once, in the table's order. Raises UsageError for other names."""
    wanted: set[str] = set()
    for name in names:
        found = [
            file for file in FILES if name in (file.group, file.name) or (name == "data" and file.group != "delta")
        ]
        if not found:
            raise unknown("NAME", name, ("data", *GROUPS, "figures", *(file.name for file in FILES)))
        wanted.update(file.place for file in found)
    return [file for file in FILES if file.place in wanted]


def download_files(files: Sequence[Published], out: Path, mirrors: Sequence[str], retry: RetryPolicy) -> list[Path]:
    """Fetch what is missing, log all hashes in SHA256SUMS, and return the paths.

    Raises InputError after all files were tried, naming those that no address gave and how to bring them by hand.
    """
    sums = _read_sums(out)
    lacking, paths = [], []
    for number, file in enumerate(files, 1):
        target = out / file.place
        head = f"{number}/{len(files)} {file.name}"
        try:
            if target.is_file():
                digest = _checked(target, file)
                say(f"{head}: present already")
            else:
                require_space(out, file.bytes)
                say(f"{head}: {_size(file)}")
                digest = _from_any(file, target, mirrors, retry)
        except SourceFailed as error:
            say(f"{head}: {error}")
            lacking.append(file)
            continue
        sums[file.place] = digest
        write_text(out / SUMS, "".join(f"{digest}  {place}\n" for place, digest in sorted(sums.items())))
        paths.append(target)
    if lacking:
        raise InputError("; ".join(_by_hand(file, out) for file in lacking))
    return paths


def sources_of(file: Published, mirrors: Sequence[str]) -> list[str]:
    """Addresses in the order in which they are tried."""
    return [*(f"{mirror.rstrip('/')}/{file.name}" for mirror in mirrors), *file.sources]


def _from_any(file: Published, target: Path, mirrors: Sequence[str], retry: RetryPolicy) -> str:
    reasons = []
    for url in sources_of(file, mirrors):
        try:
            return fetch(url, target, file.bytes, file.slack, file.sha256, retry)
        except SourceFailed as error:
            reasons.append(f"{urlsplit(url).netloc}: {error}")
            say(f"  {reasons[-1]}")
    raise SourceFailed("no address gives it")


def _checked(path: Path, file: Published) -> str:
    """The hash of a file that exists already. Raises InputError when it is not the published one."""
    size, digest = path.stat().st_size, sha256_file(path)
    if abs(size - file.bytes) > file.slack or (file.sha256 and digest != file.sha256):
        raise InputError(f"{path}: {size:,} bytes, not the published file ({_size(file)}); remove it and run again")
    return digest


def _plan(file: Published, out: Path, mirrors: Sequence[str]) -> str:
    state = "present" if (out / file.place).is_file() else "to fetch"
    return "\n  ".join([f"{out / file.place}: {_size(file)}, {state}", *sources_of(file, mirrors)])


def _size(file: Published) -> str:
    about = "about " if file.slack else ""
    return f"{about}{file.bytes:,} bytes" + (f", SHA-256 {file.sha256}" if file.sha256 else "")


def _by_hand(file: Published, out: Path) -> str:
    hint = f", or {file.otherwise}" if file.otherwise else ""
    return (
        f"{file.name}: no address gives it; bring the file ({_size(file)}) by hand, put it at {out / file.place} "
        f"and run again, or name a place with --mirror{hint}"
    )


def _read_sums(out: Path) -> dict[str, str]:
    if not (out / SUMS).is_file():
        return {}
    rows = (line.split("  ", 1) for line in (out / SUMS).read_text("utf-8", errors="replace").splitlines())
    return {row[1]: row[0] for row in rows if len(row) == 2}
