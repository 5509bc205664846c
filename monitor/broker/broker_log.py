"""Log of a broker that the service starts: limited on the disk, and searched for messages that the broker refuses."""

import contextlib
import fcntl
import logging
import os
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from monitor.broker.logins import DOCTOR

log: Final = logging.getLogger(__name__)
# Size of the file at which it is renamed to `NAME.1`.
LOG_BYTES: Final = 4 << 20
# Publishers choose topics, and without logins also client ids. Further ones are counted together.
MOST_LOGINS: Final = 100
MOST_TOPICS: Final = 32  # of each login
MOST_CLIENTS: Final = 100
OTHERS: Final = "(all others)"
UNKNOWN_TOPIC: Final = "(unknown topic)"
_NAME_CHARACTERS: Final = 200
_PIPE_BYTES: Final = 1 << 20
# Pause between two reads of the pipe. The broker writes several lines for each message.
_PAUSE_S: Final = 0.05
# How long `close` waits for the reader, which ends with the broker. A busy machine may need seconds for the last lines.
_READER_JOIN_S: Final = 10.0
# An instrument that lost its connection takes over its own old one now and then. Two instruments with one client id end
# each other's connection again and again.
TAKEOVERS_LEAST: Final = 4
TAKEOVERS_WITHIN: Final = timedelta(minutes=10)
OVERSIZED_WITHIN: Final = timedelta(hours=1)
MOST_EVENTS: Final = 1000  # whose times are stored for one client

# The following lines are those of Mosquitto 2.0 and 2.1. Lines about ordinary messages, which `log_type debug` adds:
_TRAFFIC: Final = re.compile(rb"^\d+: (?:Received |Sending |No will |Will message |\t)[^\n]*\n", re.MULTILINE)
# Received messages that the broker keeps for absent clients, and changed subscriptions.
_CHANGE: Final = re.compile(rb"Received (?:SUBSCRIBE|UNSUBSCRIBE|PUBLISH from [^\n]* \(d\d, (?:q[12]|q0, r1))")
# A message that the access list forbids, or that is larger than `message_size_limit`.
_REFUSAL: Final = re.compile(
    rb"\d+: (Denied|Dropped too large) PUBLISH from (.+?) \(d\d, q\d, r\d, m\d+, '(.*)", re.DOTALL
)
# The end of that line. A line of 1,000 bytes is cut before it.
_SIZE: Final = re.compile(rb"', \.\.\. \((\d+) bytes\)\)\Z")
# A packet that is larger than `max_packet_size`: the connection ends before the topic is read.
_OVERSIZED_PACKET: Final = re.compile(rb"\d+: Client (.+) disconnected due to oversize packet\.?\s*\Z", re.DOTALL)
# A client that connects with the id of another one, whose connection ends.
_TAKEOVER: Final = re.compile(rb"\d+: Client (.+) already connected, closing old connection\.?\s*\Z", re.DOTALL)


class ContestedClient(NamedTuple):
    """A client id with which several clients seem to connect. They end each other's connections.

    Attributes:
        times: Takeovers within `TAKEOVERS_WITHIN`.
        at: Newest takeover.
    """

    client: str
    times: int
    at: datetime


class OversizedClient(NamedTuple):
    """A client whose messages are larger than the broker accepts.

    Attributes:
        times: Dropped messages within `OVERSIZED_WITHIN`.
        at: Newest of them.
    """

    client: str
    times: int
    at: datetime


@dataclass(slots=True)
class RefusedTopic:
    """Messages of one login on one topic that the broker refused since the service started.

    Attributes:
        login: Client id in the log. It is the name of the login, unless clients can connect without a login.
        times: How many.
        at: When the newest was refused.
        payload_bytes: Size of the newest; 0 if unknown.
        stored: How many of `times` are in the database.
        is_too_large: Whether they were refused because of their size, and not because the login has no right.
    """

    login: str
    topic: str
    times: int
    at: datetime
    payload_bytes: int
    stored: int = 0
    is_too_large: bool = False


class _RecentEvents:
    """Times of events by client. The number of clients and of events is limited."""

    def __init__(self) -> None:
        self._times: dict[str, deque[datetime]] = {}

    def __len__(self) -> int:
        return len(self._times)

    def add(self, client: str, at: datetime) -> None:
        """Add an event. If there are too many clients, remove the one whose newest event is oldest."""
        if client not in self._times and len(self._times) >= MOST_CLIENTS:
            quietest = min(self._times, key=lambda name: self._times[name][-1])
            del self._times[quietest]
        self._times.setdefault(client, deque(maxlen=MOST_EVENTS)).append(at)

    def list_since(self, since: datetime) -> dict[str, list[datetime]]:
        """Return the times of events since an instant, by client in order of their names."""
        recent = {client: [at for at in times if at >= since] for client, times in sorted(self._times.items())}
        return {client: times for client, times in recent.items() if times}


class BrokerLog:
    """Reads the output of a broker from a pipe. Thread-safe.

    The broker never waits for the service: lines that do not fit into the pipe are lost.

    Args:
        path: Log file. With the one before, `path.1`, it takes twice `LOG_BYTES` at most.
        on_change: Called when the broker has received a subscription or message that it persists. Must return quickly.
    """

    def __init__(self, path: Path, on_change: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self.last_line = ""
        self._on_change = on_change
        self._refused: dict[tuple[str, str, bool], RefusedTopic] = {}  # by login, topic and whether it is too large
        self._topics: Counter[str] = Counter()  # number of entries by login
        self._takeovers = _RecentEvents()
        self._oversized = _RecentEvents()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def open_pipe(self) -> Iterator[int]:
        """Yield the end of a pipe into which a broker writes. A thread reads the pipe until the broker has ended."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(writer, False)
        with contextlib.suppress(OSError, AttributeError):  # not allowed, or not on this system
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._thread = threading.Thread(target=self._read, args=(reader,), name="broker-log", daemon=True)
        self._write(b"")
        self._thread.start()
        try:
            yield writer
        finally:
            os.close(writer)

    def close(self) -> None:
        """Wait for the last lines of a broker that has ended."""
        if self._thread is not None:
            self._thread.join(_READER_JOIN_S)

    def list_refused(self) -> list[RefusedTopic]:
        """Return copies of what was refused, newest first."""
        with self._lock:
            copies = [replace(refused) for refused in self._refused.values()]
        return sorted(copies, key=lambda refused: refused.at, reverse=True)

    def note_stored(self, stored: Iterable[RefusedTopic]) -> None:
        """Record that entries of `list_refused` were stored in the database."""
        with self._lock:
            for entry in stored:
                self._refused[entry.login, entry.topic, entry.is_too_large].stored = entry.times

    def list_contested(self, now: datetime) -> list[ContestedClient]:
        """Return client ids whose connections were taken over again and again within the last minutes."""
        with self._lock:
            recent = self._takeovers.list_since(now - TAKEOVERS_WITHIN)
        return [
            ContestedClient(client, len(times), times[-1])
            for client, times in recent.items()
            if len(times) >= TAKEOVERS_LEAST
        ]

    def list_oversized(self, now: datetime) -> list[OversizedClient]:
        """Return clients that sent messages within the last hour that were dropped because of their size."""
        with self._lock:
            recent = self._oversized.list_since(now - OVERSIZED_WITHIN)
        return [OversizedClient(client, len(times), times[-1]) for client, times in recent.items()]

    def _read(self, reader: int) -> None:
        incomplete_line = b""
        with os.fdopen(reader, "rb", buffering=0) as pipe:
            while chunk := pipe.read(_PIPE_BYTES):
                data = incomplete_line[:_PIPE_BYTES] + chunk
                lines, line_end, incomplete_line = data.rpartition(b"\n")
                try:
                    if _CHANGE.search(lines):
                        self._on_change()
                    self._handle_lines(_TRAFFIC.sub(b"", lines + line_end))
                except Exception:  # the loop must go on: lines that do not fit into the pipe are lost
                    log.exception("the log of the broker cannot be read")
                time.sleep(_PAUSE_S)

    def _handle_lines(self, lines: bytes) -> None:
        """Count what lines report, and write those that an operator may need."""
        now = datetime.now(UTC)
        log_lines: list[bytes] = []
        for line in lines.splitlines(keepends=True):
            refusal = _REFUSAL.match(line.rstrip(b"\n"))
            if refusal is not None:
                self._count_refusal(refusal[2], refusal[3], now, is_too_large=refusal[1] != b"Denied")
                continue
            takeover = _TAKEOVER.match(line)
            if takeover is not None:
                with self._lock:
                    self._takeovers.add(_decode_name(takeover[1]), now)
            oversized = _OVERSIZED_PACKET.match(line)
            if oversized is not None:
                self._count(_decode_name(oversized[1]), UNKNOWN_TOPIC, 0, now, is_too_large=True)
            log_lines.append(line)
        if log_lines:
            self.last_line = log_lines[-1].decode("utf-8", "replace").strip()
            self._write(b"".join(log_lines))

    def _write(self, lines: bytes) -> None:
        with contextlib.suppress(OSError):  # the disk is full
            size = self.path.stat().st_size if self.path.exists() else 0
            if size > LOG_BYTES:  # written by a version without a limit
                self.path.unlink()
            elif size + len(lines) > LOG_BYTES:
                self.path.replace(f"{self.path}.1")
            with open(self.path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
                out.write(lines)

    def _count_refusal(self, login: bytes, topic_and_size: bytes, now: datetime, *, is_too_large: bool) -> None:
        size = _SIZE.search(topic_and_size)
        topic = topic_and_size if size is None else topic_and_size[: size.start()]
        payload_bytes = 0 if size is None else int(size[1])
        self._count(_decode_name(login), _decode_name(topic), payload_bytes, now, is_too_large=is_too_large)

    def _count(self, login: str, topic: str, payload_bytes: int, now: datetime, *, is_too_large: bool) -> None:
        if login.startswith(DOCTOR):  # `slopeward doctor` tries what it has no right to
            return
        with self._lock:
            if is_too_large:
                self._oversized.add(login, now)
            if (login, topic, is_too_large) not in self._refused:
                if login not in self._topics and len(self._topics) >= MOST_LOGINS:
                    login = OTHERS
                if login == OTHERS or self._topics[login] >= MOST_TOPICS:
                    topic = OTHERS
            key = (login, topic, is_too_large)
            refused = self._refused.get(key)
            if refused is None:
                refused = RefusedTopic(login, topic, 0, now, 0, is_too_large=is_too_large)
                self._refused[key] = refused
                self._topics[login] += 1
                why = "is too large" if is_too_large else "is not allowed"
                log.warning("the broker refuses a message of %s on %r: it %s", login, topic, why)
            refused.times += 1
            refused.at = now
            refused.payload_bytes = payload_bytes


def _decode_name(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")[:_NAME_CHARACTERS]
