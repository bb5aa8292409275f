"""One question to a chat endpoint of OpenAI's form, which many programs offer, on this machine or elsewhere.

Report texts are in the question: it goes to the address that was given, through no proxy on the way to this machine,
and never where a server redirects to. Messages hold addresses and numbers of HTTP, nothing that was sent or answered.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from cxrgen.core import __version__
from cxrgen.core.errors import InputError
from cxrgen.core.retries import RETRIED, RetryPolicy, short
from cxrgen.metrics.clinical.judge_address import KEY, Address

_LARGEST = 1 << 20  # bytes of an answer
_FORMS: Sequence[Mapping[str, Any]] = (  # settings beside the question; a server that refuses one gets the next
    {"temperature": 0, "response_format": {"type": "json_object"}},
    {"temperature": 0},
    {},
)


class NoAnswer(Exception):
    """One question got no answer after all tries."""


class BudgetSpent(Exception):
    """No further call is allowed."""


@dataclass
class Endpoint:
    """An endpoint that may be called `calls` times, by several threads at once; None: as often as needed."""

    address: Address
    model: str
    retry: RetryPolicy
    calls: int | None = None
    _form: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The text of the model's answer.

        Raises NoAnswer where none came after all tries, BudgetSpent before a call too many, InputError where the
        server refuses what no other try changes.
        """
        failures = 0
        while True:
            form = self._form
            self._count()
            try:
                return self._post({"model": self.model, "messages": list(messages), **_FORMS[form]})
            except urllib.error.HTTPError as error:
                error.close()
                if error.code in (400, 422) and form + 1 < len(_FORMS):
                    self._form = max(self._form, form + 1)
                    continue
                if error.code not in RETRIED:
                    self.stop()
                    raise self._refused(error.code) from None
                failed: Exception = error
            except (OSError, http.client.HTTPException, ValueError) as error:
                failed = error
            except InputError:
                self.stop()
                raise
            failures += 1
            if failures >= self.retry.tries:
                raise NoAnswer(short(failed)) from None
            busy = failed.headers.get("Retry-After") if isinstance(failed, urllib.error.HTTPError) else None
            self.retry.wait(failures, busy)

    def stop(self) -> None:
        """Allow no further call, in whichever thread."""
        with self._lock:
            self.calls = 0

    def _count(self) -> None:
        with self._lock:
            if self.calls == 0:
                raise BudgetSpent
            if self.calls is not None:
                self.calls -= 1

    def _post(self, content: Mapping[str, Any]) -> str:
        """One call. Raises ValueError for what is no completion."""
        headers = {"Content-Type": "application/json", "User-Agent": f"cxrgen/{__version__}"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        body = json.dumps(content).encode()
        request = urllib.request.Request(self.address.url, body, headers, method="POST")
        with _opener(self.address).open(request, timeout=self.retry.timeout) as response:
            answer = response.read(_LARGEST + 1)
        if len(answer) > _LARGEST:
            raise ValueError("an answer of more than 1 MiB")
        try:
            text = json.loads(answer)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            raise ValueError("an answer that is no chat completion") from None
        return text if isinstance(text, str) else ""

    def _refused(self, code: int) -> InputError:
        hint = {401: f"set {KEY}", 403: f"set {KEY}", 404: "check the path of --judge and --judge-model"}
        return InputError(f"{self.address.shown}: HTTP {code}; {hint.get(code, 'the server refuses the question')}")


def _opener(address: Address) -> urllib.request.OpenerDirector:
    """To this machine without the proxies of the environment, which are other machines."""
    proxies = [urllib.request.ProxyHandler({})] if address.local else []
    return urllib.request.build_opener(_NoRedirect(address), *proxies)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def __init__(self, address: Address) -> None:
        self.address = address

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        raise InputError(f"{self.address.shown}: redirects to another address, which is not followed; give that one")
