"""Actions of a person on the page: who acts, and the notice that the next page shows."""

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
    """A request that changes something: who acts, the context of the application, and the time."""

    request: Request
    actor: Actor
    context: Context
    now: datetime

    @property
    def db(self) -> Database:
        """Return the database."""
        return self.context.db

    def back(self, address: str, text: str) -> RedirectResponse:
        """Redirect the browser to a page that shows a notice of what was done."""
        return redirect_back(self.request, address, text)


def begin_act(request: Request, csrf: Annotated[str, Form()] = "") -> PageAct:
    """Check a form of this page and return who acts; raises NotSignedInError, NotAllowedError."""
    context = context_of(request)
    return PageAct(request, actor_of(request, csrf), context, context.clock())


def begin_request(request: Request, x_csrf_token: Annotated[str, Header()] = "") -> PageAct:
    """Check a request of a program or a script of this page and return who acts.

    Raises:
        NotSignedInError: nobody is logged in.
        NotAllowedError: the request comes from another site, or its token is wrong.
    """
    return begin_act(request, x_csrf_token)


FormAct = Annotated[PageAct, Depends(begin_act)]


# Characters of a notice without values. The notice is part of an address, which must not become too long.
MAX_NOTICE_LENGTH: Final = 500
# Characters of a notice with its values as JSON. If it is longer, only its English text is shown.
MAX_ENCODED_LENGTH: Final = 2000


def redirect_back(request: Request, address: str, text: str) -> RedirectResponse:
    """Redirect the browser after an action to a page that shows a notice.

    Args:
        request: the request of the action.
        address: path of the page, with `#part` if the browser scrolls to a part of it.
        text: the notice; empty for none.
    """
    path, hash_mark, fragment = address.partition("#")
    query = ""
    if text:
        notice = quote(seal(token_of(request), _encode_notice(text)))
        query = f"{'&' if '?' in path else '?'}told={notice}"
    return RedirectResponse(f"{path}{query}{hash_mark}{fragment}", status_code=303)


def read_notice(request: Request) -> str:
    """Return the notice in the address of a page; empty if there is none, or if another session wrote it."""
    token, sealed = token_of(request), request.query_params.get("told", "")
    encoded = sealed.rpartition(".")[0]
    if not token or not hmac.compare_digest(seal(token, encoded).encode(), sealed.encode()):
        return ""
    text: str = plain_to_messages(json.loads(encoded))
    return text


def _encode_notice(text: str) -> str:
    encoded = json.dumps(text.to_json() if isinstance(text, Message) else text[:MAX_NOTICE_LENGTH], ensure_ascii=False)
    if len(encoded) > MAX_ENCODED_LENGTH:
        return json.dumps(str(text)[:MAX_NOTICE_LENGTH], ensure_ascii=False)
    return encoded


def seal(session_token: str, text: str) -> str:
    """Return the text with an authentication code that only this session can compute.

    Without the code, a link on another web site could show any text on this page.

    >>> seal("a", "noted") == seal("a", "noted"), seal("a", "noted") == seal("b", "noted")
    (True, False)
    """
    code = hmac.new(f"told:{session_token}".encode(), text.encode(errors="replace"), hashlib.sha256).hexdigest()[:32]
    return f"{text}.{code}"
