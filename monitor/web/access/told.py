"""What a page says after an act: one text in the address, sealed, so that no link from outside puts words on it."""

import hashlib
import hmac
import json
from typing import Final
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse

from forecasting.message import Message, gather
from monitor.web.context import token_of

LONGEST: Final = 500  # characters of a plain text; addresses stay short
LONGEST_MESSAGE: Final = 2000  # of a message with its values; of a longer one its English text alone is told


def go_back(request: Request, address: str, text: str) -> RedirectResponse:
    """Send a browser on after an act, and tell it there what was done; `address` may end in `#part`."""
    path, mark, part = address.partition("#")
    told = f"{'&' if '?' in path else '?'}told={quote(seal(token_of(request), _write(text)))}" if text else ""
    return RedirectResponse(f"{path}{told}{mark}{part}", status_code=303)


def read_told(request: Request) -> str:
    """The text that this session was sent on with, a message as one; empty for any other."""
    token, given = token_of(request), request.query_params.get("told", "")
    written = given.rpartition(".")[0]
    if not token or not hmac.compare_digest(seal(token, written).encode(), given.encode()):
        return ""
    told: str = gather(json.loads(written))
    return told


def _write(text: str) -> str:
    """A text as an address holds it."""
    written = json.dumps(text.to_json() if isinstance(text, Message) else text[:LONGEST], ensure_ascii=False)
    return written if len(written) <= LONGEST_MESSAGE else json.dumps(str(text)[:LONGEST], ensure_ascii=False)


def seal(session_token: str, text: str) -> str:
    """The text with a mark behind it that nobody computes without the cookie of the session.

    >>> seal("a", "noted") == seal("a", "noted"), seal("a", "noted") == seal("b", "noted")
    (True, False)
    """
    mark = hmac.new(f"told:{session_token}".encode(), text.encode(errors="replace"), hashlib.sha256).hexdigest()[:32]
    return f"{text}.{mark}"
