"""The caller of a request: the account behind it, with its role and sites."""

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
_BAD_TOKEN: Final = Template(
    "access.bad_token", "this token is unknown, expired or revoked, or its account is locked; make a new token"
)
# Alerts of the service itself have this name in place of a site. Everybody who may read sees them.
SERVICE_ALERTS = "status"


@dataclass(frozen=True, slots=True)
class Caller:
    """The account of a request, with the permissions that the request has.

    Attributes:
        name: name of the account.
        role: viewer, operator or admin. The role of a token can be lower than that of its account.
        sites: the only sites on which it may act, and which it may read if reading requires a login; None for all.
        via: `page` for a session of a browser, `token` for a program.
    """

    name: str
    role: str
    sites: frozenset[str] | None
    via: str = PAGE

    @property
    def actor(self) -> Actor:
        """Return the caller as the actor of an action."""
        return Actor(self.name, via=self.via)

    def acts_on(self, site: str) -> bool:
        """Return whether the caller may act on a site. Alerts of the service require an account for all sites."""
        return may(self.role, "operator") and (self.sites is None or site in self.sites)


def caller_of(request: Request) -> Caller | None:
    """Return the caller of a request, or None if nobody is logged in. The result is kept for the request.

    Raises:
        NotSignedInError: the request contains a token that is not valid.
    """
    if not hasattr(request.state, "caller"):
        # Set before the search, because the page of an error calls this function again.
        request.state.caller = None
        request.state.caller = _find_caller(request)
    caller: Caller | None = request.state.caller
    return caller


def _find_caller(request: Request) -> Caller | None:
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
    """Return the token of the header `Authorization: Bearer` (RFC 6750), or None.

    Other schemes are ignored: they belong to a proxy in front of this service.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def person_of(request: Request) -> Caller | None:
    """Return the caller who is logged in with a browser; None for a program."""
    caller = caller_of(request)
    return caller if caller is not None and caller.via == PAGE else None


def require_caller(request: Request) -> Caller:
    """Return the caller; raises NotSignedInError if nobody is logged in."""
    caller = caller_of(request)
    if caller is None:
        raise NotSignedInError(LOG_IN())
    return caller


def actor_of(request: Request, csrf: str) -> Actor:
    """Return the actor of a request that changes something.

    The rule of the address has checked role and site already. For a browser this function checks in addition that the
    request comes from a page of this service, because browsers send cookies with requests of other sites too. They
    never send tokens.

    Raises:
        NotSignedInError: nobody is logged in.
        NotAllowedError: the request comes from another site, or its form token is wrong.
    """
    caller = require_caller(request)
    if caller.via == PAGE:
        check_origin(request)
        check_csrf(token_of(request), csrf)
    return caller.actor


def find_visible_sites(request: Request) -> frozenset[str] | None:
    """Return the sites that lists may contain for this request; None for all.

    If reading requires a login, the access rule refuses requests without a caller before.
    """
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
        return _find_caller(request) == caller_of(request)
    except NotSignedInError:
        return False
