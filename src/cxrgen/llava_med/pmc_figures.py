"""The figures of PubMed Central that LLaVA-Med's conversations talk about, out of the archives of their articles.

The list has a line a figure, and many figures share an archive. Each archive is fetched once, read as it streams by,
and left as soon as its wanted figures are written; nothing else of it touches the disk. `manifest.jsonl` beside the
images remembers finished archives, so that a run continues; `missing.csv` lists what could not be had.
Names inside an archive decide nothing: an image is named by its pair_id, which must be a plain name.
"""

from __future__ import annotations

import errno
import http.client
import json
import re
import shutil
import tarfile
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from cxrgen.core.archives import DAMAGE, HostileArchive, open_archive
from cxrgen.core.errors import InputError, TooManyRejects
from cxrgen.core.files import is_file, make_folder, replacing, write_csv
from cxrgen.core.journal import Journal, read_journal
from cxrgen.core.progress import track
from cxrgen.core.retries import RetryPolicy, short
from cxrgen.core.tables import read_text
from cxrgen.llava_med.http import SourceFailed, open_url, refusal

ALLOWED_HOSTS = ("ftp.ncbi.nlm.nih.gov", "www.ncbi.nlm.nih.gov")
MANIFEST, MISSING = "manifest.jsonl", "missing.csv"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.\-]{0,200}")
_LARGEST_IMAGE = 256 << 20
_LARGEST_ARCHIVE = 32 << 30  # unpacked
_BELIEVED_ARCHIVE = 256 << 20  # unpacked; above this it must not be too many times what was sent
_LONGEST_LINE = 1 << 16  # characters of the list; real ones have a few hundred
_NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_SETTLED = ("done", "gone")


@dataclass(frozen=True)
class Figures:
    """What to fetch: the list, where images go, archives that are held already, and how hard to ask."""

    list_path: Path
    images: Path
    archives: Path | None
    hosts: frozenset[str]
    workers: int = 4
    rate: float = 3.0
    max_rejects: float = 0.02


@dataclass(frozen=True)
class Outcome:
    """One archive: done | gone | failed, why, and the pair_ids that are lacking."""

    url: str
    status: str
    reason: str
    lacking: tuple[str, ...]


def fetch_figures(wanted: Figures, retry: RetryPolicy, dry_run: bool = False) -> str:
    """Write the images that are not there yet; returns a line that sums it up.

    Raises InputError for a list that cannot be read, TooManyRejects when more than the allowed share is lacking.
    """
    archives = read_list(wanted.list_path)
    total = sum(map(len, archives.values()))
    settled = _settled(_read_manifest(wanted.images / MANIFEST), archives, wanted)
    open_ones = {url: members for url, members in archives.items() if url not in settled}
    if dry_run:
        there = sum(1 for members in archives.values() for pair in members if _image(wanted, pair).is_file())
        hosts = ", ".join(_hosts(open_ones, wanted.hosts))
        return (
            f"{total} figures in {len(archives)} archives: {there} there, {len(open_ones)} archives to read ({hosts})"
        )
    make_folder(wanted.images)
    limit = _Rate(wanted.rate)
    outcomes = list(settled.values())
    with ThreadPoolExecutor(max(1, wanted.workers)) as pool, Journal(wanted.images / MANIFEST) as manifest:
        jobs = [pool.submit(_one_archive, url, members, wanted, retry, limit) for url, members in open_ones.items()]
        try:
            for job in track(as_completed(jobs), "archives", len(jobs)):
                outcome = job.result()
                outcomes.append(outcome)
                manifest.add(asdict(outcome))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    lacking = [(each.url, pair, each.status, each.reason) for each in outcomes for pair in each.lacking]
    write_csv(wanted.images / MISSING, ("archive", "pair_id", "status", "reason"), sorted(lacking))
    summary = f"{wanted.images}: {total - len(lacking)} of {total} figures"
    if lacking:
        summary += f", {len(lacking)} missing (see {MISSING})"
    if len(lacking) > wanted.max_rejects * total:
        raise TooManyRejects(f"{summary}, more than the {wanted.max_rejects:.1%} of --max-rejects")
    return summary


def _settled(
    before: Mapping[str, Outcome], archives: Mapping[str, Mapping[str, str]], wanted: Figures
) -> dict[str, Outcome]:
    """Archives of the list that need not be read again: each figure is there or was found to be lacking."""
    settled = {}
    for url, members in archives.items():
        if url in before:
            known = before[url]
            lacking = {pair: "" for pair in members if pair in known.lacking}
            if all(pair in lacking or _image(wanted, pair).is_file() for pair in members):
                settled[url] = _lacking(url, lacking, known.status, known.reason)
    return settled


def _hosts(urls: Iterable[str], allowed: Collection[str]) -> list[str]:
    """Those that may be asked by name; of others, which only the list knows, how many there are."""
    named = {_host(url) for url in urls}
    others = len(named.difference(allowed))
    return sorted(named.intersection(allowed)) + [f"{others} other hosts, see --allow-host"] * (others > 0)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "?"
    except ValueError:
        return "?"


def read_list(path: Path) -> dict[str, dict[str, str]]:
    """Archive address -> pair_id -> member, in the order of the list. Raises InputError naming the line."""
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; fetch it with `cxrgen download image-urls`, or name it by --input-path"
        )
    archives: dict[str, dict[str, str]] = {}
    places: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        place = f"{path.name}:{number}"
        url, member, pair = _listed(line, place)
        if not _PLAIN_NAME.fullmatch(pair):
            raise InputError(
                f"{place}: the pair_id is no plain file name of at most 200 letters, digits, dots and dashes"
            )
        if places.setdefault(pair, (url, member)) != (url, member):
            raise InputError(f"{place}: the pair_id is that of another figure before; give each its own")
        archives.setdefault(url, {})[pair] = member
    if not archives:
        raise InputError(f"{path}: no figure is listed; fetch it again with `cxrgen download image-urls`")
    return archives


def _listed(line: str, place: str) -> tuple[str, str, str]:
    """Address, member and pair_id of one line."""
    try:
        if len(line) > _LONGEST_LINE:
            raise ValueError
        row = json.loads(line)
        url, member, pair = (row[key] for key in ("pmc_tar_url", "image_file_path", "pair_id"))
        if not all(isinstance(each, str) for each in (url, member, pair)):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{place}: not a line with pmc_tar_url, image_file_path and pair_id") from None
    return url, member, pair


def _one_archive(url: str, members: Mapping[str, str], wanted: Figures, retry: RetryPolicy, limit: _Rate) -> Outcome:
    """Take the wanted members out of one archive, trying again when the stream breaks."""
    open_members = {pair: member for pair, member in members.items() if not _image(wanted, pair).is_file()}
    failures = 0
    while open_members:
        before = len(open_members)
        try:
            with _stream(url, wanted, retry.timeout, limit) as stream:
                _take(stream, open_members, wanted)
            break
        except SourceFailed as error:
            return _lacking(url, open_members, "gone" if error.gone else "failed", str(error))
        except (OSError, http.client.HTTPException, *DAMAGE) as error:
            if isinstance(error, OSError) and error.errno in _NOT_WRITABLE:
                raise InputError(f"{wanted.images}: {error.strerror}; make room, then run again to continue") from None
            if _held(url, wanted):
                reason = f"the file in --pmc-output-path is no whole archive ({type(error).__name__})"
                return _lacking(url, open_members, "failed", reason)
            try:
                asked_for = refusal(error)
            except SourceFailed as final:
                return _lacking(url, open_members, "gone" if final.gone else "failed", str(final))
            failures = 1 if len(open_members) < before else failures + 1
            if failures >= retry.tries:
                return _lacking(url, open_members, "failed", f"{short(error)} after {retry.tries} tries")
            retry.wait(failures, asked_for)
    return _lacking(url, open_members, "done", "not in the archive" if open_members else "")


def _lacking(url: str, members: Mapping[str, str], status: str, reason: str) -> Outcome:
    return Outcome(url, status, reason, tuple(members))


def _held(url: str, wanted: Figures) -> Path | None:
    """The archive that is there already, if it is."""
    held = wanted.archives / PurePosixPath(urlsplit(url).path).name if wanted.archives else None
    return held if held is not None and is_file(held) else None


@contextmanager
def _stream(url: str, wanted: Figures, timeout: float, limit: _Rate) -> Iterator[Any]:
    """The archive's bytes: a file that is held already, or the network."""
    _check_address(url)
    held = _held(url, wanted)
    if held is not None:
        with open(held, "rb") as file:
            yield file
        return
    limit.wait()
    with open_url(url, timeout, wanted.hosts) as response:
        yield _Counted(response, response.headers.get("Content-Length"))


def _check_address(url: str) -> None:
    """Raises SourceFailed for what is no address; another try would not change that."""
    try:
        parts = urlsplit(url)
        whole = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        whole = False
    if not whole or not url.isascii() or not url.isprintable() or " " in url:
        raise SourceFailed("not an address that can be asked for")


class _Counted:
    """A response that says so when it ends before its announced length; tarfile would take it for the end."""

    def __init__(self, response: Any, length: str | None) -> None:
        self.response = response
        self.left = int(length) if length else None

    def read(self, size: int = -1) -> bytes:
        data: bytes = self.response.read(size)
        if self.left is not None:
            self.left -= len(data)
            if not data and self.left > 0:
                raise ConnectionError(f"the connection broke {self.left:,} bytes before the end")
        return data


def _take(stream: IO[bytes], members: dict[str, str], wanted: Figures) -> None:
    """Write the wanted members and strike their pairs off `members`; stops when none is left.

    Raises SourceFailed for an archive that is built to do harm.
    """
    try:
        with open_archive(stream, _BELIEVED_ARCHIVE, _LARGEST_ARCHIVE) as archive:
            for member in archive:
                if member.name.startswith("/") or ".." in PurePosixPath(member.name).parts:
                    raise SourceFailed("a member points outside; the archive is refused")
                name = member.name.removeprefix("./")
                pairs = [pair for pair, of in members.items() if of == name]
                if pairs:
                    _write(archive, member, [_image(wanted, pair) for pair in pairs])
                for pair in pairs:
                    del members[pair]
                if not members:
                    return
    except HostileArchive as error:
        raise SourceFailed(str(error)) from None


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, targets: Sequence[Path]) -> None:
    """Copy a member's bytes to each target, whole or not at all."""
    if not member.isreg():
        raise SourceFailed("a wanted member is no plain file; the archive is refused")
    if member.size > _LARGEST_IMAGE:
        raise SourceFailed(f"a wanted member is larger than {_LARGEST_IMAGE >> 20} MiB; the archive is refused")
    source = archive.extractfile(member)
    assert source is not None
    first, *others = targets
    with replacing(first) as temporary:
        with open(temporary, "wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        if temporary.stat().st_size != member.size:
            raise ConnectionError("the archive ends within a member")
    for other in others:
        with replacing(other) as temporary:
            shutil.copyfile(first, temporary)


def _image(wanted: Figures, pair: str) -> Path:
    return wanted.images / f"{pair}.jpg"


def _read_manifest(path: Path) -> dict[str, Outcome]:
    """Archives that need not be read again. Raises InputError naming a line that is no record of one."""
    settled = {}
    for number, row in enumerate(read_journal(path), 1):
        try:
            outcome = Outcome(str(row["url"]), str(row["status"]), str(row["reason"]), tuple(map(str, row["lacking"])))
        except (KeyError, TypeError):
            raise InputError(f"{path}:{number}: damaged; remove the file to begin again") from None
        if outcome.status in _SETTLED:
            settled[outcome.url] = outcome
    return settled


class _Rate:
    """At most `per_second` requests a second, however many workers ask."""

    def __init__(self, per_second: float) -> None:
        self.gap = 1.0 / per_second if per_second > 0 else 0.0
        self.next = 0.0
        self.lock = threading.Lock()

    def wait(self) -> None:
        with self.lock:
            now = time.monotonic()
            at = max(now, self.next)
            self.next = at + self.gap
        if at > now:
            time.sleep(at - now)
