"""What a page says after an act: one sentence in the address, sealed, so that no link from outside puts words on it."""

import hashlib
import hmac
from typing import Final
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse

from monitor.web.context import token_of

LONGEST: Final = 500  # characters; addresses stay short


def go_back(request: Request, address: str, text: str) -> RedirectResponse:
    """Send a browser on after an act, and tell it there what was done; `address` may end in `#part`."""
    path, mark, part = address.partition("#")
    told = f"{'&' if '?' in path else '?'}told={quote(seal(token_of(request), text[:LONGEST]))}" if text else ""
    return RedirectResponse(f"{path}{told}{mark}{part}", status_code=303)


def read_told(request: Request) -> str:
    """The sentence that this session was sent on with; empty for any other."""
    token, given = token_of(request), request.query_params.get("told", "")
    text = given.rpartition(".")[0]
    return text if token and hmac.compare_digest(seal(token, text).encode(), given.encode()) else ""


def seal(session_token: str, text: str) -> str:
    """The text with a mark behind it that nobody computes without the cookie of the session.

    >>> seal("a", "noted") == seal("a", "noted"), seal("a", "noted") == seal("b", "noted")
    (True, False)
    """
    mark = hmac.new(f"told:{session_token}".encode(), text.encode(errors="replace"), hashlib.sha256).hexdigest()[:32]
    return f"{text}.{mark}"
