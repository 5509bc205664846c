"""Notify open pages of changes by server-sent events (HTML Living Standard, section 9.2).

`ChangeHub` polls the database once per second in one task, however many pages are open. Changes made by the core
process, by commands and by other web processes are therefore found alike, on SQLite and on PostgreSQL. The task runs
while at least one stream is open.

A stream contains two kinds of events:

* `changed`: something that the page shows has changed. The page requests its parts again.
* `heartbeat`: nothing changed, and the database was read successfully. It is an event rather than a comment, because
  `EventSource` hides comments and the browser could not detect a connection that is dead.

The data of both is a JSON object with the time of the server, `now`. `changed` carries an event id, which is derived
from the database (`monitor.alerts.queries.site_versions`). A browser that reconnects sends the id in `Last-Event-ID`
and receives `changed` at once if it missed changes, also after a restart of the service.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from anyio import CapacityLimiter, to_thread
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from monitor.alerts.queries.site_versions import SiteVersion, load_site_versions
from monitor.canonical import digest_text
from monitor.errors import SlopewardError
from monitor.text.instants import format_iso
from monitor.text.message import Message
from monitor.web.access.callers import SERVICE_ALERTS
from monitor.web.context import Context
from monitor.web.parts.templating import service_banner

_LOG = logging.getLogger(__name__)
POLL_INTERVAL_S: Final = 1.0
# New readings alone refresh a page at most this often: a site with readings every second would otherwise keep the
# server busy rendering. Levels and alerts are never delayed.
READINGS_INTERVAL_S: Final = 2.0
# Shorter than the idle timeouts of proxies (nginx: 60 s).
HEARTBEAT_INTERVAL_S: Final = 10.0
ACCESS_CHECK_INTERVAL_S: Final = 5.0
RECONNECT_DELAY_MS: Final = 2000
# Below the limits of `monitor.web.access.connection_limits`, so that streams leave connections for other requests.
MAX_STREAMS: Final = 100
MAX_STREAMS_PER_CALLER: Final = 20

Sites = frozenset[str] | None  # None = all sites


class EventId(NamedTuple):
    """Id of an event: digests of the versions of all sites that the stream covers."""

    urgent: str
    readings: str

    def __str__(self) -> str:
        return f"{self.urgent}-{self.readings}"

    @classmethod
    def parse(cls, text: str) -> "EventId | None":
        """Return the id that a browser sent; None if it is empty or malformed."""
        urgent, separator, readings = text.partition("-")
        return cls(urgent, readings) if separator else None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Versions of all sites at one poll of the database."""

    versions: Mapping[str, SiteVersion]
    polled_at: datetime
    _event_ids: dict[Sites, EventId] = field(default_factory=dict)

    def find_event_id(self, sites: Sites) -> EventId:
        """Return the event id for a set of sites. It depends on no other site."""
        event_id = self._event_ids.get(sites)
        if event_id is None:
            versions = sorted(
                (site, version) for site, version in self.versions.items() if sites is None or site in sites
            )
            event_id = EventId(
                digest_text(repr([(site, version.urgent) for site, version in versions]))[:16],
                digest_text(repr([(site, version.readings) for site, version in versions]))[:16],
            )
            self._event_ids[sites] = event_id
        return event_id


class StreamLimitError(Exception):
    """No further stream may be opened.

    Attributes:
        is_of_caller: Whether the caller has too many streams, rather than the service.
    """

    def __init__(self, *, is_of_caller: bool) -> None:
        super().__init__("too many event streams")
        self.is_of_caller = is_of_caller


class ChangeHub:
    """Poll the database for all open streams. All methods must be called in the event loop of the server."""

    def __init__(self, context: Context) -> None:
        self.snapshot: Snapshot | None = None
        self.is_closed = False
        self._context = context
        self._streams: set[ChangeStream] = set()
        self._polling: asyncio.Task[None] | None = None
        self._is_failing = False
        self._poll_finished = asyncio.Event()

    @property
    def stream_count(self) -> int:
        """Number of open streams."""
        return len(self._streams)

    def open(self, caller: str, sites: Sites, last_event_id: str, has_access: Callable[[], bool]) -> "ChangeStream":
        """Register a stream. The caller must `release` it.

        Args:
            caller: Name of the account, or the network of an anonymous client; streams are limited per caller.
            sites: Sites whose changes the stream contains.
            last_event_id: Header `Last-Event-ID` of the request, or an empty string.
            has_access: Returns whether the caller may still read the sites. It is called in a thread, every few
                seconds; the stream ends when it returns False.

        Raises:
            StreamLimitError: Too many streams are open.
        """
        if Counter(stream.caller for stream in self._streams)[caller] >= MAX_STREAMS_PER_CALLER:
            raise StreamLimitError(is_of_caller=True)
        if len(self._streams) >= MAX_STREAMS or self.is_closed:
            raise StreamLimitError(is_of_caller=False)
        stream = ChangeStream(self, caller, sites, EventId.parse(last_event_id), has_access)
        self._streams.add(stream)
        if self._polling is None or self._polling.done():
            # The snapshot of an earlier task may be hours old.
            self.snapshot = None
            self._polling = asyncio.get_running_loop().create_task(self._poll_until_unused())
        return stream

    def release(self, stream: "ChangeStream") -> None:
        """Remove a stream whose connection ended."""
        self._streams.discard(stream)

    def close(self) -> None:
        """End all streams. The server calls it before it waits for open connections."""
        self.is_closed = True
        self._notify_streams()

    async def wait_for_poll(self) -> None:
        """Return after the next poll, or at once if the hub is closed."""
        if not self.is_closed:
            await self._poll_finished.wait()

    def _notify_streams(self) -> None:
        # Replacing the event wakes all waiting streams exactly once.
        finished = self._poll_finished
        self._poll_finished = asyncio.Event()
        finished.set()

    async def _poll_until_unused(self) -> None:
        # A limiter of its own: requests that occupy all threads of the server must not delay the poll.
        limiter = CapacityLimiter(1)
        access_checked_s = time.monotonic()
        while self._streams and not self.is_closed:
            try:
                self.snapshot = await to_thread.run_sync(self._load_snapshot, abandon_on_cancel=True, limiter=limiter)
                if time.monotonic() - access_checked_s >= ACCESS_CHECK_INTERVAL_S:
                    streams = tuple(self._streams)
                    await to_thread.run_sync(_check_access, streams, abandon_on_cancel=True, limiter=limiter)
                    access_checked_s = time.monotonic()
                self._is_failing = False
            except Exception as error:
                # Without a snapshot the streams send no heartbeat, so that pages start to poll and report old data.
                self.snapshot = None
                if not self._is_failing:
                    is_expected = isinstance(error, SlopewardError)
                    _LOG.warning("changes cannot be read for open pages: %s", error, exc_info=not is_expected)
                self._is_failing = True
            self._notify_streams()
            await asyncio.sleep(POLL_INTERVAL_S)

    def _load_snapshot(self) -> Snapshot:
        now = self._context.clock()
        with self._context.db.read() as connection:
            versions = load_site_versions(connection)
        # Every page shows the banner, as it shows alerts of the service itself. Only the kind of the banner counts: its
        # text may contain durations, which would refresh all pages every second.
        banner = service_banner(self._context, now, self._context.trouble)
        banner_kind = banner.text.id if banner is not None and isinstance(banner.text, Message) else ""
        version = versions.get(SERVICE_ALERTS, SiteVersion("", ""))
        versions[SERVICE_ALERTS] = SiteVersion(f"{version.urgent} {banner_kind}", version.readings)
        return Snapshot(versions, now)


@dataclass(eq=False, slots=True)
class ChangeStream:
    """One open stream.

    It has no queue: after each poll it compares the newest event id with the id that it sent last. A slow client
    therefore occupies no memory beyond the send buffer of its connection, and receives one event for many changes.
    """

    hub: ChangeHub
    caller: str
    sites: Sites
    last_event_id: EventId | None
    has_access: Callable[[], bool]
    is_revoked: bool = False

    async def iterate_events(self) -> AsyncIterator[str]:
        """Yield events as text until the hub is closed or access is revoked."""
        yield f"retry: {RECONNECT_DELAY_MS}\n\n"
        sent_id = self.last_event_id
        sent_s = changed_s = float("-inf")
        if self.hub.snapshot is None:
            await self.hub.wait_for_poll()
        while not (self.hub.is_closed or self.is_revoked):
            snapshot = self.hub.snapshot
            if snapshot is not None:
                event_id = snapshot.find_event_id(self.sites)
                now_s = time.monotonic()
                is_urgent = sent_id is None or event_id.urgent != sent_id.urgent
                if is_urgent or (event_id != sent_id and now_s - changed_s >= READINGS_INTERVAL_S):
                    yield format_event("changed", snapshot.polled_at, event_id)
                    sent_id = event_id
                    sent_s = changed_s = now_s
                elif now_s - sent_s >= HEARTBEAT_INTERVAL_S:
                    yield format_event("heartbeat", snapshot.polled_at)
                    sent_s = now_s
            await self.hub.wait_for_poll()


class ChangeStreamResponse(StreamingResponse):
    """HTTP response with the events of a stream. It releases the stream when the connection ends."""

    def __init__(self, stream: ChangeStream) -> None:
        headers = {
            "Cache-Control": "no-store",
            # nginx would otherwise collect events until a buffer is full.
            "X-Accel-Buffering": "no",
        }
        super().__init__(stream.iterate_events(), media_type="text/event-stream", headers=headers)
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the client disconnects or the stream ends."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.hub.release(self._stream)


def format_event(name: str, now: datetime, event_id: EventId | None = None) -> str:
    """Return an event in the format of a text/event-stream, without an id if it announces no change."""
    id_line = "" if event_id is None else f"id: {event_id}\n"
    data = json.dumps({"now": format_iso(now)})
    return f"{id_line}event: {name}\ndata: {data}\n\n"


def _check_access(streams: tuple[ChangeStream, ...]) -> None:
    for stream in streams:
        stream.is_revoked = not stream.has_access()
