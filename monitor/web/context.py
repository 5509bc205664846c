"""What every request needs: database, configuration, clock, declared sites, and who is asking."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Form, Path, Query, Request
from pydantic import AfterValidator, BeforeValidator

from forecasting.message import Template
from monitor.config.service import ServiceConfig
from monitor.domain.instants import parse
from monitor.domain.names import tidy_text
from monitor.errors import RefusedError, StoreBusyError
from monitor.store.database.engine import Database
from monitor.store.people.sessions import SEEN_EVERY_S, Session, find_session, mark_seen
from monitor.web.ribbons import Ribbons

_ODD_INSTANT: Final = Template("range.odd_instant", "range: {problem}; write 2026-03-01T06:00:00Z")
_SAY_WHY: Final = Template("act.say_why", "say why in a few words")
COOKIE = "slopeward_session"
DEVICE = "slopeward_device"  # outlives the session: who logged in here before
NO_NUL = r"^[^\x00]*$"  # PostgreSQL stores none


def read_instant(text: str | None) -> datetime | None:
    """An instant of a request, None where none is named; RefusedError says what is wrong."""
    try:
        return parse(text) if text else None
    except (ValueError, OverflowError) as error:
        raise RefusedError(_ODD_INSTANT(problem=str(error))) from error


def require_words(text: str) -> str:
    """What a person wrote, tidied; raises RefusedError where it says nothing."""
    cleaned = tidy_text(text)
    if len(cleaned) < 3:
        raise RefusedError(_SAY_WHY())
    return cleaned


Instant = Annotated[datetime | None, BeforeValidator(read_instant)]
From = Annotated[Instant, Query(alias="from", description="RFC 3339 with offset; excluded")]
To = Annotated[Instant, Query(description="RFC 3339 with offset; included; default: up to the newest")]
Span = Annotated[str, Query(description="back from `to` when `from` is left out: 6h, 30d")]


@dataclass(frozen=True, slots=True)
class AskedRange:
    """A range as a request asks for it; the end is else the newest datum, or now."""

    from_: From = None
    to: To = None
    span: Span = "30d"


@dataclass(frozen=True, slots=True)
class AskedSeason(AskedRange):
    """The same, of three months where it says nothing."""

    span: Span = "90d"


Range = Annotated[AskedRange, Depends()]
Season = Annotated[AskedSeason, Depends()]
# what a person gives as a reason: it may stand in a message, and begins no line of it
Why = Annotated[str, Form(max_length=500, min_length=3, pattern=NO_NUL), AfterValidator(tidy_text)]
Reason = Annotated[str, Form(max_length=500, pattern=NO_NUL), AfterValidator(require_words)]
Name = Annotated[str, Form(max_length=64, pattern=NO_NUL)]  # of a site, a station, a quantity, a team
AlertId = Annotated[int, Path(ge=1, lt=1 << 63)]  # what a key of the database can be
Find = Annotated[str, Query(max_length=64)]  # a part of the name of an instrument or of its parent
InState = Annotated[str, Query(max_length=16)]


@dataclass(slots=True)
class Context:
    """Shared by all requests of this process."""

    config: ServiceConfig
    db: Database
    clock: Callable[[], datetime]
    version: str
    ribbons: Ribbons = field(default_factory=Ribbons)
    trouble: str = ""  # what keeps core from deciding, as the supervisor says it
    said: dict[str, tuple[datetime, dict[str, Any]]] = field(default_factory=dict)  # by site file: the newest dry run


def context_of(request: Request) -> Context:
    """The context of the application."""
    found: Context = request.app.state.context
    return found


def is_encrypted(request: Request) -> bool:
    """Whether people reach the page by https, here or at a proxy in front."""
    return request.url.scheme == "https" or context_of(request).config.web.public_url.startswith("https://")


def cookie_name(request: Request, name: str = COOKIE) -> str:
    """The name of a cookie; with https one that no other host or path can set (RFC 6265bis, 4.1.3)."""
    return f"__Host-{name}" if is_encrypted(request) else name


def token_of(request: Request) -> str:
    """The token of the session, empty without one."""
    return request.cookies.get(cookie_name(request), "")


def session_of(request: Request) -> Session | None:
    """Who is logged in, or None; a page asked for keeps the session alive, one that refreshes itself does not."""
    token = token_of(request)
    if not token:
        return None
    context = context_of(request)
    now = context.clock()
    with context.db.read() as c:
        session = find_session(c, token, now, context.config.web.idle_after_s)
    if session is None or request.url.path.startswith("/live/"):
        return session
    if (now - session.seen_at).total_seconds() >= SEEN_EVERY_S:
        with suppress(StoreBusyError), context.db.write() as c:  # reading must go on while nothing can be written
            mark_seen(c, token, now)
    return session
