"""A server on this machine alone that misbehaves on demand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """What is at a path, and how it is served: `broken` counts answers that stop half way, `busy` answers of 503."""

    data: bytes
    broken: int = 0
    busy: int = 0
    ranges: bool = True
    etag: str = '"one"'
    announced: int | None = None  # a Content-Length other than the truth
    status: int = 200
    location: str = ""


@dataclass
class Server:
    address: str
    files: dict[str, Served] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)  # path, Range

    def url(self, path: str) -> str:
        return self.address + path

    def count(self, path: str) -> int:
        return sum(1 for asked, _ in self.asked if asked == path)


@contextmanager
def serving() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append((self.path, self.headers.get("Range", "")))
            served = server.files.get(self.path)
            if served is None:
                self.send_error(404)
            elif served.busy:
                served.busy -= 1
                self.send_response(503)
                self.send_header("Retry-After", "3")
                self.end_headers()
            elif served.location:
                self.send_response(302)
                self.send_header("Location", served.location)
                self.end_headers()
            elif served.status != 200:
                self.send_error(served.status)
            else:
                self._send(served)

        def _send(self, served: Served) -> None:
            start = 0
            wanted, same = self.headers.get("Range", ""), self.headers.get("If-Range", served.etag) == served.etag
            if served.ranges and wanted and same:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(served.data):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(served.data) - 1}/{len(served.data)}")
            else:
                self.send_response(200)
            rest = served.data[start:]
            self.send_header("Content-Length", str(len(rest) if served.announced is None else served.announced))
            if served.etag:
                self.send_header("ETag", served.etag)
            self.end_headers()
            if served.broken:
                served.broken -= 1
                rest = rest[: len(rest) // 2]
            self.wfile.write(rest)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{httpd.server_port}")
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()
