"""Where a judge's questions go: an address, and whether it is this machine.

Report texts are in the questions, so this is decided before anything is sent.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, urlsplit, urlunsplit

from cxrgen.core.errors import UsageError

KEY = "CXRGEN_JUDGE_KEY"  # environment variable: a key on the command line would end up in histories and on the page
_PATH = "/chat/completions"


@dataclass(frozen=True)
class Address:
    """Where questions are posted to; `shown` is what messages say of it."""

    url: str
    shown: str
    local: bool


def address_of(url: str) -> Address:
    """The address of an endpoint from its base ("http://localhost:8000/v1") or in full; UsageError for another form."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError("--judge takes the address of an endpoint, such as http://localhost:8000/v1")
    if parts.username is not None or parts.password is not None:
        raise UsageError(f"--judge takes an address without a name or password; give a key as {KEY} in the environment")
    if any("key" in name or "token" in name for name in parse_qs(parts.query.lower(), keep_blank_values=True)):
        raise UsageError(f"--judge: the address stands on the page; give a key as {KEY} in the environment")
    path = parts.path.rstrip("/")
    path = path if path.endswith(_PATH) else path + _PATH
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
    return Address(urlunsplit((parts.scheme, parts.netloc, path, parts.query, "")), shown, _is_local(parts.hostname))


def _is_local(host: str) -> bool:
    """Whether a name can be no other machine's; one that a name server answers for can be any."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
