"""A chat endpoint on this machine that answers what a test lets it answer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NOTHING_WRONG = json.dumps({"matched": [], "errors": []})


@dataclass
class Reply:
    """One answer: the model's text, or the status of HTTP with its headers, after some seconds."""

    text: str = NOTHING_WRONG
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after: float = 0.0
    body: bytes | None = None  # in place of a completion


@dataclass
class Judge:
    """`replies` are used up one by one, then `otherwise`; what is by text goes first. `asked` holds what came in."""

    url: str = ""
    replies: list[Reply] = field(default_factory=list)
    by_report: dict[str, Reply] = field(default_factory=dict)
    by_reference: dict[str, Reply] = field(default_factory=dict)
    otherwise: Reply = field(default_factory=Reply)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def texts(self) -> list[dict[str, str]]:
        """The pairs that were asked about."""
        return [json.loads(content["messages"][1]["content"]) for content in self.asked]


@contextmanager
def judging() -> Iterator[Judge]:
    judge, lock = Judge(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            texts = json.loads(content["messages"][1]["content"])
            by_text = judge.by_report.get(texts["candidate"]) or judge.by_reference.get(texts["reference"])
            with lock:
                judge.asked.append(content)
                judge.headers.append(dict(self.headers))
                judge.paths.append(self.path)
                reply = by_text or (judge.replies.pop(0) if judge.replies else judge.otherwise)
            time.sleep(reply.after)
            completion = {"choices": [{"message": {"role": "assistant", "content": reply.text}}]}
            body = json.dumps(completion).encode() if reply.body is None else reply.body
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass  # the asker did not wait

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    judge.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield judge
    finally:
        server.shutdown()
        server.server_close()
