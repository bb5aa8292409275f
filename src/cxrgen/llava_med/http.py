"""One file from one address: resumed, retried, and whole or not there.

The standard library's urllib is enough: one request at a time, a header for the range, a stream. What matters, and no
client does by itself, is what happens when a connection breaks after ten of eleven gigabytes: the part is kept, asked
for from where it ends, and believed only if the server says that it is still the same file.
"""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from cxrgen.core.files import sha256_file
from cxrgen.core.progress import track
from cxrgen.core.retries import RETRIED, RetryPolicy, short

_CHUNK = 1 << 20


class SourceFailed(Exception):
    """This address does not give the file; the message says why. Another one may."""

    def __init__(self, reason: str, gone: bool = False) -> None:
        super().__init__(reason)
        self.gone = gone  # the server says that there is no such file


def fetch(url: str, target: Path, size: int, slack: int, sha256: str, retry: RetryPolicy) -> str:
    """Download `url` to `target` and return its SHA-256; what was fetched before is continued.

    Raises SourceFailed when the server has no such file, another size than `size` (give or take `slack`), other bytes
    than `sha256` ("" = not known), or does not answer after all tries. The part that came stays for the next run.
    """
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    continued = part.is_file()
    while True:
        _fill(url, part, size, slack, retry)
        digest = sha256_file(part)
        if not sha256 or digest == sha256:
            break
        part.unlink()
        if not continued:
            raise SourceFailed("other bytes than published (SHA-256 differs)")
        continued = False  # the first half may have been of another version: once more from the start
    os.replace(part, target)
    _mark(part).unlink(missing_ok=True)
    return digest


def _fill(url: str, part: Path, size: int, slack: int, retry: RetryPolicy) -> None:
    """Fetch until `part` is whole, however often the connection breaks, as long as tries bring something."""
    failures = 0
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            _continue(url, part, size, slack, retry.timeout)
            return
        except (OSError, http.client.HTTPException) as error:
            asked_for = refusal(error)
            failures = 1 if part.is_file() and part.stat().st_size > before else failures + 1
            if failures >= retry.tries:
                raise SourceFailed(f"{short(error)} after {retry.tries} tries") from None
            retry.wait(failures, asked_for)


def open_url(url: str, timeout: float, hosts: Collection[str] = (), headers: dict[str, str] | None = None) -> Any:
    """An http(s) response; with `hosts` given, neither address nor redirection may leave them."""
    _check_host(url, hosts)
    opener = urllib.request.build_opener(_Redirect(hosts))
    request = urllib.request.Request(url, headers={"User-Agent": "cxrgen", **(headers or {})})
    return opener.open(request, timeout=timeout)


class _Redirect(urllib.request.HTTPRedirectHandler):
    def __init__(self, hosts: Collection[str]) -> None:
        self.hosts = hosts

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_host(newurl, self.hosts)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_host(url: str, hosts: Collection[str]) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise SourceFailed(f"{parts.scheme or 'no'} address; only http and https are fetched")
    if hosts and parts.hostname not in hosts:
        raise SourceFailed(f"the host {parts.hostname} is none of {', '.join(sorted(hosts))}")


def _continue(url: str, part: Path, size: int, slack: int, timeout: float) -> None:
    """Append to `part` what is missing. Raises OSError when the stream breaks."""
    have, mark = part.stat().st_size if part.is_file() else 0, _mark(part)
    headers = {"Accept-Encoding": "identity"}
    known = mark.read_text(encoding="ascii") if mark.is_file() else ""
    if have:  # of another version the server sends the whole; one that names no versions is checked by the hash
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": known} if known else {})
    try:
        response = open_url(url, timeout, headers=headers)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing after what we have: of another version, if the length does not fit
            part.unlink(missing_ok=True)
            mark.unlink(missing_ok=True)
        raise
    with response:
        resumed = response.status == 206 and _range_start(response) == have
        length = response.headers.get("Content-Length") or ""
        total = int(length) + (have if resumed else 0) if length.isdecimal() else None
        if total is not None and abs(total - size) > slack:
            raise SourceFailed(f"{total:,} bytes, published are {size:,}")
        version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        mark.write_text(version if version.isascii() and not version.startswith("W/") else "", encoding="ascii")
        with open(part, "ab" if resumed else "wb") as file:
            left = -(-(size - (have if resumed else 0)) // _CHUNK)
            blocks = iter(lambda: response.read(_CHUNK), b"")
            for block in track(blocks, part.name.removesuffix(".part"), max(1, left), lambda: "MiB"):
                file.write(block)
                if file.tell() > size + slack:
                    part.unlink()
                    raise SourceFailed(f"more than the published {size:,} bytes")
    got = part.stat().st_size
    if total is not None and got < total:
        raise ConnectionError(f"the connection broke at {got:,} of {total:,} bytes")
    if abs(got - size) > slack:
        part.unlink()
        raise SourceFailed(f"{got:,} bytes, published are {size:,}")


def _range_start(response: Any) -> int:
    words = (response.headers.get("Content-Range") or "").replace("bytes", "").strip().split("-")
    return int(words[0]) if words[0].isdigit() else -1


def refusal(error: Exception) -> str | None:
    """What a busy server asks us to wait; raises SourceFailed for an answer that another try does not change."""
    if isinstance(error, urllib.error.HTTPError):
        if error.code not in (*RETRIED, 416):
            raise SourceFailed(f"HTTP {error.code} {error.reason}", gone=error.code in (404, 410)) from None
        return str(error.headers.get("Retry-After") or "") or None
    return None


def _mark(part: Path) -> Path:
    """Which version of the file the part is of, as the server named it."""
    return part.with_name(part.name + ".version")
