"""What every request needs: database, configuration, clock, declared sites, and who is asking."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

from fastapi import Form, Path, Query, Request
from pydantic import AfterValidator

from monitor.config.service import ServiceConfig, parse_site
from monitor.domain.names import tidy_text
from monitor.domain.site import Site
from monitor.errors import ConfigError, NotFoundError, StoreBusyError
from monitor.store.alerting.sites import load_site_source
from monitor.store.database.engine import Database
from monitor.store.pages import SiteCard
from monitor.store.people.sessions import SEEN_EVERY_S, Session, find_session, mark_seen
from monitor.web.ribbons import Ribbons

COOKIE = "slopeward_session"
DEVICE = "slopeward_device"  # outlives the session: who logged in here before
NO_NUL = r"^[^\x00]*$"  # PostgreSQL stores none
# what a person gives as a reason: it may stand in a message, and begins no line of it
Why = Annotated[str, Form(max_length=500, min_length=3, pattern=NO_NUL), AfterValidator(tidy_text)]
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
    _sites: dict[str, Site | None] = field(default_factory=dict)
    ribbons: Ribbons = field(default_factory=Ribbons)
    trouble: str = ""  # what keeps core from deciding, as the supervisor says it
    said: dict[str, tuple[datetime, dict[str, Any]]] = field(default_factory=dict)  # by site file: the newest dry run

    def declaration(self, c: Any, config_sha256: str) -> Site | None:
        """The site as its file of that hash declares it; None when this program cannot read that file any more."""
        if config_sha256 not in self._sites:
            try:
                self._sites[config_sha256] = parse_site(load_site_source(c, config_sha256), config_sha256[:12])
            except (ConfigError, NotFoundError):
                self._sites[config_sha256] = None
        return self._sites[config_sha256]

    def declared(self, c: Any, card: SiteCard) -> Site | None:
        """The site of a card, as the file that is in force declares it."""
        return self.declaration(c, str(card.status["config_version"]))


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
