"""An act of a person on the page: who does it, by a form of this page, and where it is told what was done."""

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import Depends, Form, Header, Request
from fastapi.responses import RedirectResponse

from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.text.message import Message, plain_to_messages
from monitor.web.access.callers import actor_of
from monitor.web.context import Context, context_of, token_of


@dataclass(frozen=True, slots=True)
class PageAct:
    """What a route that does something begins with."""

    request: Request
    actor: Actor
    context: Context
    now: datetime

    @property
    def db(self) -> Database:
        """The database."""
        return self.context.db

    def back(self, address: str, text: str) -> RedirectResponse:
        """Send the browser on, and tell it there what was done."""
        return redirect_back(self.request, address, text)


def begin_act(request: Request, csrf: Annotated[str, Form()] = "") -> PageAct:
    """Who acts, by a form of this page; raises NotSignedInError, NotAllowedError."""
    context = context_of(request)
    return PageAct(request, actor_of(request, csrf), context, context.clock())


def begin_request(request: Request, x_csrf_token: Annotated[str, Header()] = "") -> PageAct:
    """Who acts, by a request of a program or of a script of this page; raises NotSignedInError, NotAllowedError."""
    return begin_act(request, x_csrf_token)


FormAct = Annotated[PageAct, Depends(begin_act)]


LONGEST: Final = 500  # characters of a plain text; addresses stay short
LONGEST_MESSAGE: Final = 2000  # of a message with its values; of a longer one its English text alone is told


def redirect_back(request: Request, address: str, text: str) -> RedirectResponse:
    """Send a browser on after an act, and tell it there what was done; `address` may end in `#part`."""
    path, mark, part = address.partition("#")
    query = f"{'&' if '?' in path else '?'}told={quote(seal(token_of(request), _write(text)))}" if text else ""
    return RedirectResponse(f"{path}{query}{mark}{part}", status_code=303)


def read_notice(request: Request) -> str:
    """The text that this session was sent on with, a message as one; empty for any other."""
    token, given = token_of(request), request.query_params.get("told", "")
    written = given.rpartition(".")[0]
    if not token or not hmac.compare_digest(seal(token, written).encode(), given.encode()):
        return ""
    text: str = plain_to_messages(json.loads(written))
    return text


def _write(text: str) -> str:
    written = json.dumps(text.to_json() if isinstance(text, Message) else text[:LONGEST], ensure_ascii=False)
    return written if len(written) <= LONGEST_MESSAGE else json.dumps(str(text)[:LONGEST], ensure_ascii=False)


def seal(session_token: str, text: str) -> str:
    """The text with a mark behind it that nobody computes without the cookie of the session.

    >>> seal("a", "noted") == seal("a", "noted"), seal("a", "noted") == seal("b", "noted")
    (True, False)
    """
    mark = hmac.new(f"told:{session_token}".encode(), text.encode(errors="replace"), hashlib.sha256).hexdigest()[:32]
    return f"{text}.{mark}"
