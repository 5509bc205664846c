"""Who asks: the account behind a request, the role and the sites it has here."""

from dataclasses import dataclass
from typing import Final

from fastapi import Request

from monitor.errors import NotSignedInError
from monitor.people.queries.api_tokens import find_bearer
from monitor.people.queries.users import may
from monitor.storage.actor import PAGE, TOKEN, Actor
from monitor.text.message import Template
from monitor.web.access.guard import check_csrf, check_origin
from monitor.web.context import context_of, session_of, token_of

LOG_IN: Final = Template("access.log_in", "log in first")
_BAD_TOKEN: Final = Template("access.bad_token", "this token is unknown, expired or revoked, or its account is locked")
SERVICE_ALERTS = "status"  # alerts of the service itself bear this name in place of a site; all who read see them


@dataclass(frozen=True, slots=True)
class Caller:
    """An account as one request may use it."""

    name: str  # of the account
    role: str  # viewer, operator or admin
    sites: frozenset[str] | None  # the only ones it may act on, and read where reading takes a login; None = all
    via: str = PAGE  # by which way it came: `page` for a session, `token` for a program

    @property
    def actor(self) -> Actor:
        """The caller as acts name it."""
        return Actor(self.name, via=self.via)

    def acts_on(self, site: str) -> bool:
        """Whether it may act on a site; alerts of the service take an account of all sites."""
        return may(self.role, "operator") and (self.sites is None or site in self.sites)


def caller_of(request: Request) -> Caller | None:
    """Who asks, or None; looked up once a request.

    Raises NotSignedInError: a token was given, and it is good for nothing.
    """
    if not hasattr(request.state, "caller"):
        request.state.caller = None  # for the answer that says so
        request.state.caller = _find(request)
    found: Caller | None = request.state.caller
    return found


def _find(request: Request) -> Caller | None:
    token = bearer_of(request)
    if token is None:
        session = session_of(request)
        return None if session is None else Caller(session.name, session.role, session.sites)
    context = context_of(request)
    with context.db.read() as c:
        bearer = find_bearer(c, token, context.clock())
    if bearer is None:
        raise NotSignedInError(_BAD_TOKEN())
    return Caller(bearer.name, bearer.role, bearer.sites, TOKEN)


def bearer_of(request: Request) -> str | None:
    """The token of the header `Authorization: Bearer` (RFC 6750); other schemes are those of a proxy in front."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def person_of(request: Request) -> Caller | None:
    """Who is logged in on the page, with forms to act by; None for a program."""
    caller = caller_of(request)
    return caller if caller is not None and caller.via == PAGE else None


def require_caller(request: Request) -> Caller:
    """Who asks; raises NotSignedInError where that is nobody."""
    if (caller := caller_of(request)) is None:
        raise NotSignedInError(LOG_IN())
    return caller


def actor_of(request: Request, csrf: str) -> Actor:
    """Who acts, from this page itself; that the role and the site allow it, the rule of the address has seen to."""
    caller = require_caller(request)
    if caller.via == PAGE:  # a browser sends cookies for anybody, but never a token
        check_origin(request)
        check_csrf(token_of(request), csrf)
    return caller.actor


def sites_shown(request: Request) -> frozenset[str] | None:
    """The sites that lists may hold for this request; None = all."""
    caller = caller_of(request)
    if not context_of(request).config.web.login_to_read or caller is None or caller.sites is None:
        return None
    return caller.sites | {SERVICE_ALERTS}


def is_caller_unchanged(request: Request) -> bool:
    """Return whether session or token of a request still give the same caller, with the same role and sites.

    A response that lasts for hours uses it to end with the session. A request without session and token has no caller
    that could change.
    """
    try:
        return _find(request) == caller_of(request)
    except NotSignedInError:
        return False
