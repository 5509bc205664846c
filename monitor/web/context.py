"""The context of requests: database, configuration, clock, caches, thread pools, and the session of the caller.

The module also defines the types of parameters that routes share.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Annotated, Any, Final, NamedTuple, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Form, Path, Query, Request
from pydantic import AfterValidator, BeforeValidator
from sqlalchemy import Connection

from monitor.alerts.queries.timeline import LONGEST_TIMELINE, leave_out, load_levels, load_silences
from monitor.errors import RefusedError, StoreBusyError
from monitor.people.queries.sessions import SEEN_EVERY_S, Session, find_session, mark_seen
from monitor.settings.service import ServiceConfig
from monitor.storage.engine import Database
from monitor.text.instants import parse_time
from monitor.text.message import Template
from monitor.text.names import tidy_text

_UNREADABLE_INSTANT: Final = Template("range.odd_instant", "range: {problem}; write 2026-03-01T06:00:00Z")
COOKIE = "slopeward_session"
# This cookie stays after logout. It shows which accounts logged in with this browser before.
DEVICE_COOKIE = "slopeward_device"
WITHOUT_NUL = r"^[^\x00]*$"  # PostgreSQL cannot store NUL characters


# An evaluation is stored at most this long after its time.
STORED_WITHIN: Final = timedelta(minutes=5)
CACHED_SITES: Final = 200


class LevelChange(NamedTuple):
    """Level and observability from an instant on. The level is None if the service did not decide."""

    at: datetime
    level: int | None
    observability: str


@dataclass(slots=True)
class _CachedLevels:
    from_at: datetime
    to_at: datetime
    changes: list[LevelChange]


@dataclass(slots=True)
class LevelTimelineCache:
    """A cache of level changes by site.

    A month contains an evaluation for each of its minutes, so only evaluations that are not cached yet are loaded.
    """

    _cached: dict[str, _CachedLevels] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def load(
        self,
        c: Connection,
        site: str,
        from_at: datetime,
        to_at: datetime,
        now: datetime,
        starting_since: datetime | None = None,
    ) -> list[LevelChange]:
        """Return the level changes in a range, at most in its last 400 days.

        The first change is at the start of the range: the level that was in force then. Since `starting_since`, if the
        site is starting, there is no level.
        """
        from_at = max(from_at, to_at - LONGEST_TIMELINE)
        end = min(to_at, now)
        with self._lock:
            cached = self._cached.get(site)
        if cached is None or cached.to_at < from_at or end < cached.from_at:
            cached = _CachedLevels(from_at, from_at, [])
        changes = cached.changes
        low = cached.from_at
        high = cached.to_at
        if from_at < low:
            changes = _join_changes(_load_changes(c, site, from_at, low), changes)
            low = from_at
        if end > high:
            # Evaluations near the end of the cached range may have been stored after it was loaded.
            start = max(high - STORED_WITHIN, low)
            earlier = [change for change in changes if change.at < start]
            changes = _join_changes(earlier, _load_changes(c, site, start, end))
            high = end
        with self._lock:
            if len(self._cached) >= CACHED_SITES:
                self._cached.clear()
            self._cached[site] = _CachedLevels(low, high, changes)
        # An outage is stored only when it is over, so outages are not cached.
        silences = load_silences(c, site, low, high, now, starting_since)
        changes = [LevelChange(*point) for point in leave_out(changes, silences)]
        before = [change for change in changes if change.at <= from_at][-1:]
        within = [change for change in changes if from_at < change.at <= end]
        return [*(change._replace(at=from_at) for change in before), *within]


def _load_changes(c: Connection, site: str, from_at: datetime, to_at: datetime) -> list[LevelChange]:
    return [LevelChange(*point) for point in load_levels(c, site, from_at, to_at)]


def _join_changes(earlier: list[LevelChange], later: list[LevelChange]) -> list[LevelChange]:
    """Return both lists as one, without entries that repeat level and observability of the entry before."""
    joined = list(earlier)
    for change in later:
        if not joined or joined[-1][1:] != change[1:]:
            joined.append(change)
    return joined


T = TypeVar("T")


async def run_in_pool(request: Request, pool: str, threads: int, function: Callable[[], T]) -> T:
    """Call a function in a thread of a pool of its own, and return its result.

    A call that waits for a thread of the pool takes none of the threads that serve other requests.

    Args:
        request: The request that is being answered.
        pool: Name of the pool, such as the name of the feature.
        threads: Number of threads of the pool. The first call determines it.
        function: The function to call.
    """
    limiters: dict[str, CapacityLimiter] = request.app.state.limiters
    if pool not in limiters:  # a limiter belongs to the event loop in which it is created
        limiters[pool] = CapacityLimiter(threads)
    return await to_thread.run_sync(function, limiter=limiters[pool])


def read_instant(text: str | None) -> datetime | None:
    """Return an instant of a request, or None if it is empty; raises RefusedError if it cannot be read."""
    try:
        return parse_time(text) if text else None
    except (ValueError, OverflowError) as error:
        raise RefusedError(_UNREADABLE_INSTANT(problem=str(error))) from error


Instant = Annotated[datetime | None, BeforeValidator(read_instant)]
FIRST_YEAR: Final = 1900
_EARLY_YEAR: Final = Template("map.early_year", "at: there are no data of the year {year}")


def _refuse_early(at: datetime | None) -> datetime | None:
    if at is not None and at.year < FIRST_YEAR:
        raise RefusedError(_EARLY_YEAR(year=str(at.year)))
    return at


EarlyInstant = Annotated[Instant, AfterValidator(_refuse_early)]
From = Annotated[Instant, Query(alias="from", description="RFC 3339 with offset; excluded")]
To = Annotated[Instant, Query(description="RFC 3339 with offset; included; default: up to the newest")]
Span = Annotated[str, Query(description="back from `to` when `from` is left out: 6h, 30d")]


@dataclass(frozen=True, slots=True)
class RequestedRange:
    """The time range of a request. Without `to` it ends at the newest datum, or now if there is none."""

    from_: From = None
    to: To = None
    span: Span = "30d"


@dataclass(frozen=True, slots=True)
class RequestedSeason(RequestedRange):
    """A time range that covers three months by default."""

    span: Span = "90d"


MonthRange = Annotated[RequestedRange, Depends()]
SeasonRange = Annotated[RequestedSeason, Depends()]
# The reason that a person gives. Messages contain it, so line breaks and control characters are removed.
Why = Annotated[str, Form(max_length=500, min_length=3, pattern=WITHOUT_NUL), AfterValidator(tidy_text)]
Name = Annotated[str, Form(max_length=64, pattern=WITHOUT_NUL)]  # name of a site, station, quantity or team
Limit = Annotated[int, Query(ge=1, le=1000)]  # rows of a response
AlertId = Annotated[int, Path(ge=1, lt=1 << 63)]  # a primary key has 63 bits
Station = Annotated[str, Path(max_length=64, pattern=WITHOUT_NUL)]
ModelHash = Annotated[str, Path(max_length=64, pattern=WITHOUT_NUL)]


@dataclass(slots=True)
class Context:
    """State that all requests of this process share.

    Attributes:
        ribbons: cached levels for the coloured band below charts.
        trouble: why the service cannot decide at present, from the supervisor; empty if it can.
        dry_runs: newest decision without storing, and its time, by SHA-256 of the site file.
    """

    config: ServiceConfig
    db: Database
    clock: Callable[[], datetime]
    version: str
    ribbons: LevelTimelineCache = field(default_factory=LevelTimelineCache)
    trouble: str = ""
    dry_runs: dict[str, tuple[datetime, Any]] = field(default_factory=dict)


def context_of(request: Request) -> Context:
    """Return the context of the application."""
    context: Context = request.app.state.context
    return context


def is_encrypted(request: Request) -> bool:
    """Return whether browsers reach the page by https, directly or through a proxy."""
    return request.url.scheme == "https" or context_of(request).config.web.public_url.startswith("https://")


def cookie_name(request: Request, name: str = COOKIE) -> str:
    """Return the name of a cookie. With https it has the prefix `__Host-`, so that no other host or path can set it.

    See RFC 6265bis, section 4.1.3.
    """
    return f"__Host-{name}" if is_encrypted(request) else name


def token_of(request: Request) -> str:
    """Return the token of the session; empty if there is none."""
    return request.cookies.get(cookie_name(request), "")


def session_of(request: Request) -> Session | None:
    """Return the session of a request, or None. Requests of a person extend it, refreshes of an open page do not."""
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
        # Reading must work while the database cannot be written.
        with suppress(StoreBusyError), context.db.write() as c:
            mark_seen(c, token, now)
    return session
