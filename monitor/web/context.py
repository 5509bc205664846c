"""What every request needs: database, configuration, clock, declared sites, ribbons, threads, and who is asking."""

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

_ODD_INSTANT: Final = Template("range.odd_instant", "range: {problem}; write 2026-03-01T06:00:00Z")
COOKIE = "slopeward_session"
DEVICE_COOKIE = "slopeward_device"  # outlives the session: who logged in here before
WITHOUT_NUL = r"^[^\x00]*$"  # PostgreSQL stores none


LATE: Final = timedelta(minutes=5)  # an evaluation is stored within it
SITES: Final = 200  # of which so much is kept; more begin anew


class LevelChange(NamedTuple):
    """From an instant on: the level and who could see; no level where nobody decided."""

    at: datetime
    level: int | None
    seen: str


@dataclass(slots=True)
class _KnownLevels:
    from_at: datetime
    to_at: datetime
    changes: list[LevelChange]


@dataclass(slots=True)
class LevelTimelineCache:
    """Levels over a range from a cache; only new evaluations are read: a month has one for each of its minutes."""

    _known: dict[str, _KnownLevels] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def load(self, c: Connection, site: str, from_at: datetime, to_at: datetime, now: datetime) -> list[LevelChange]:
        """Changes of a range, the first as it stood at its begin; at most the last 400 days."""
        from_at = max(from_at, to_at - LONGEST_TIMELINE)
        end = min(to_at, now)
        with self._lock:
            known = self._known.get(site)
        if known is None or known.to_at < from_at or end < known.from_at:
            known = _KnownLevels(from_at, from_at, [])
        changes, low, high = known.changes, known.from_at, known.to_at
        if from_at < low:
            changes, low = _join(_read(c, site, from_at, low), changes), from_at
        if end > high:
            begin = max(high - LATE, low)
            changes = _join([k for k in changes if k.at < begin], _read(c, site, begin, end))
            high = end
        with self._lock:
            if len(self._known) >= SITES:
                self._known.clear()
            self._known[site] = _KnownLevels(low, high, changes)
        # an outage is written down when it is over: it is never among what is kept
        changes = [LevelChange(*point) for point in leave_out(changes, load_silences(c, site, low, high, now))]
        before = [k for k in changes if k.at <= from_at][-1:]
        return [*(k._replace(at=from_at) for k in before), *(k for k in changes if from_at < k.at <= end)]


def _read(c: Connection, site: str, from_at: datetime, to_at: datetime) -> list[LevelChange]:
    return [LevelChange(*point) for point in load_levels(c, site, from_at, to_at)]


def _join(first: list[LevelChange], then: list[LevelChange]) -> list[LevelChange]:
    """Both in a row; where the second goes on as the first ended, no change is told."""
    found = list(first)
    for change in then:
        if not found or found[-1][1:] != change[1:]:
            found.append(change)
    return found


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
    """An instant of a request, None where none is named; RefusedError says what is wrong."""
    try:
        return parse_time(text) if text else None
    except (ValueError, OverflowError) as error:
        raise RefusedError(_ODD_INSTANT(problem=str(error))) from error


Instant = Annotated[datetime | None, BeforeValidator(read_instant)]
FIRST_YEAR: Final = 1900
_EARLY_YEAR: Final = Template("map.early_year", "at: nothing is kept of the year {year}")


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
    """A range as a request asks for it; the end is else the newest datum, or now."""

    from_: From = None
    to: To = None
    span: Span = "30d"


@dataclass(frozen=True, slots=True)
class RequestedSeason(RequestedRange):
    """The same, of three months where it says nothing."""

    span: Span = "90d"


MonthRange = Annotated[RequestedRange, Depends()]
SeasonRange = Annotated[RequestedSeason, Depends()]
# what a person gives as a reason: it may stand in a message, and begins no line of it
Why = Annotated[str, Form(max_length=500, min_length=3, pattern=WITHOUT_NUL), AfterValidator(tidy_text)]
Name = Annotated[str, Form(max_length=64, pattern=WITHOUT_NUL)]  # of a site, a station, a quantity, a team
Limit = Annotated[int, Query(ge=1, le=1000)]  # rows of an answer
AlertId = Annotated[int, Path(ge=1, lt=1 << 63)]  # what a key of the database can be
Station = Annotated[str, Path(max_length=64, pattern=WITHOUT_NUL)]
ModelHash = Annotated[str, Path(max_length=64, pattern=WITHOUT_NUL)]


@dataclass(slots=True)
class Context:
    """Shared by all requests of this process."""

    config: ServiceConfig
    db: Database
    clock: Callable[[], datetime]
    version: str
    ribbons: LevelTimelineCache = field(default_factory=LevelTimelineCache)
    trouble: str = ""  # what keeps core from deciding, as the supervisor says it
    dry_runs: dict[str, tuple[datetime, Any]] = field(default_factory=dict)  # by site file: the newest dry run


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
