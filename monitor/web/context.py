"""What every request needs: database, configuration, clock, declared sites, and who is asking."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Request

from monitor.config import ServiceConfig, parse_site
from monitor.domain.site import Site
from monitor.errors import ConfigError, NotFoundError
from monitor.store.engine import Database
from monitor.store.sites import load_site_source
from monitor.store.users import Session, find_session

COOKIE = "slopeward_session"
AlertId = Annotated[int, Path(ge=1, lt=1 << 63)]  # what a key of the database can be


@dataclass(slots=True)
class Context:
    """Shared by all requests of this process."""

    config: ServiceConfig
    db: Database
    clock: Callable[[], datetime]
    version: str
    _sites: dict[str, Site | None] = field(default_factory=dict)
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


def context_of(request: Request) -> Context:
    """The context of the application."""
    found: Context = request.app.state.context
    return found


def session_of(request: Request) -> Session | None:
    """Who is logged in, or None."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    context = context_of(request)
    with context.db.read() as c:
        return find_session(c, token, context.clock())
