"""The log of a broker that we start: bounded on the disk, and read for what the broker refuses to its clients."""

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
LOG_BYTES: Final = 4 << 20  # of the file; it is renamed then, and takes the place of the one before
MOST_LOGINS, MOST_TOPICS = 100, 32  # topics of each login that are counted apart: senders choose both
OTHERS: Final = "(all others)"
_NAME_CHARACTERS: Final = 200
_PIPE_BYTES: Final = 1 << 20
_PAUSE_S: Final = 0.05  # between two looks at the pipe: the broker writes several lines for each message
# How long `close` waits for the reader, which ends with the broker. A busy machine may need seconds for the last lines.
_LEAVES_S: Final = 10.0
# what `log_type debug` writes of every message; of it only refusals are of use
_TALK: Final = re.compile(rb"^\d+: (?:Received |Sending |No will |Will message |\t)[^\n]*\n", re.MULTILINE)
# Received messages that the broker keeps for clients that are away, and changed subscriptions.
_CHANGE: Final = re.compile(rb"Received (?:SUBSCRIBE|UNSUBSCRIBE|PUBLISH from [^\n]* \(d\d, (?:q[12]|q0, r1))")
_REFUSAL: Final = re.compile(rb"\d+: Denied PUBLISH from (.+?) \(d\d, q\d, r\d, m\d+, '(.*)", re.DOTALL)
_SIZE: Final = re.compile(rb"', \.\.\. \((\d+) bytes\)\)\Z")  # a line of 1,000 bytes is cut before it


# Mosquitto writes this when a client connects with the id of one that is connected: the older connection ends.
_TAKEOVER: Final = re.compile(rb"\d+: Client (.+) already connected, closing old connection\.?\s*\Z", re.DOTALL)
# An instrument that lost its connection takes over its own old one, now and then. Two instruments with one client id
# end each other's connection again and again.
TAKEOVERS_LEAST: Final = 4
TAKEOVERS_WITHIN: Final = timedelta(minutes=10)
MOST_TAKEOVERS: Final = 1000  # of one client id that are kept
MOST_CLIENTS: Final = 100  # client ids whose takeovers are counted: senders choose them


class ContestedClient(NamedTuple):
    """A client id under which several clients seem to connect: they end each other's connections."""

    client: str
    times: int  # takeovers within `TAKEOVERS_WITHIN`
    at: datetime  # of the newest


@dataclass(slots=True)
class DeniedTopic:
    """What the broker refused of one login on one topic, since the service began."""

    login: str
    topic: str
    times: int
    at: datetime  # of the newest
    payload_bytes: int  # of it
    stored: int = 0  # of the times


class BrokerLog:
    """Takes the output of a broker from a pipe; thread-safe.

    The broker never waits for us: where the pipe is full its lines are lost.

    Args:
        path: of the file; with the one before, `path.1`, it takes twice `LOG_BYTES` at most.
        on_change: Called when the broker has received something that it keeps. Must return quickly.
    """

    def __init__(self, path: Path, on_change: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self._on_change = on_change
        self.last_line = ""
        self._denied: dict[tuple[str, str], DeniedTopic] = {}
        self._topics: Counter[str] = Counter()  # by login
        self._takeovers: dict[str, deque[datetime]] = {}  # newest takeovers by client id
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def open_pipe(self) -> Iterator[int]:
        """The end into which a broker writes, until the block ends; what comes is read until the broker has ended."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(writer, False)
        with contextlib.suppress(OSError, AttributeError):  # the system allows less, or knows no such call
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._thread = threading.Thread(target=self._read, args=(reader,), name="broker-log", daemon=True)
        self._write(b"")
        self._thread.start()
        try:
            yield writer
        finally:
            os.close(writer)

    def close(self) -> None:
        """Wait a moment for what a broker that has ended wrote last."""
        if self._thread is not None:
            self._thread.join(_LEAVES_S)

    def list_denied(self) -> list[DeniedTopic]:
        """What was refused, newest first, as it is now."""
        with self._lock:
            return sorted((replace(one) for one in self._denied.values()), key=lambda one: one.at, reverse=True)

    def list_contested(self, now: datetime) -> list[ContestedClient]:
        """List client ids whose connections were taken over again and again within the last minutes."""
        with self._lock:
            recent = {
                client: [at for at in times if now - at <= TAKEOVERS_WITHIN]
                for client, times in self._takeovers.items()
            }
        return [
            ContestedClient(client, len(times), times[-1])
            for client, times in sorted(recent.items())
            if len(times) >= TAKEOVERS_LEAST
        ]

    def note_stored(self, seen: Iterable[DeniedTopic]) -> None:
        """What `list_denied` gave is in the database."""
        with self._lock:
            for one in seen:
                self._denied[one.login, one.topic].stored = one.times

    def _read(self, reader: int) -> None:
        rest = b""
        with os.fdopen(reader, "rb", buffering=0) as pipe:
            while chunk := pipe.read(_PIPE_BYTES):
                whole, end, rest = (rest[:_PIPE_BYTES] + chunk).rpartition(b"\n")
                try:
                    if _CHANGE.search(whole):
                        self._on_change()
                    self._take(_TALK.sub(b"", whole + end))
                except Exception:  # loop edge: a pipe that nobody reads loses what comes
                    log.exception("the log of the broker")
                time.sleep(_PAUSE_S)

    def _take(self, lines: bytes) -> None:
        now = datetime.now(UTC)
        kept = []
        for line in lines.splitlines(keepends=True):
            if found := _REFUSAL.match(line.rstrip(b"\n")):
                self._count(found[1], found[2], now)
            else:
                if taken_over := _TAKEOVER.match(line):
                    self._count_takeover(taken_over[1], now)
                kept.append(line)
        if kept:
            self.last_line = kept[-1].decode("utf-8", "replace").strip()
            self._write(b"".join(kept))

    def _write(self, lines: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk
            size = self.path.stat().st_size if self.path.exists() else 0
            if size > LOG_BYTES:  # of a version that did not bound it
                self.path.unlink()
            elif size + len(lines) > LOG_BYTES:
                self.path.replace(f"{self.path}.1")
            with open(self.path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
                out.write(lines)

    def _count_takeover(self, client: bytes, now: datetime) -> None:
        name = client.decode("utf-8", "backslashreplace")[:_NAME_CHARACTERS]
        with self._lock:
            if name not in self._takeovers and len(self._takeovers) >= MOST_CLIENTS:
                quietest = min(self._takeovers, key=lambda one: self._takeovers[one][-1])
                del self._takeovers[quietest]
            self._takeovers.setdefault(name, deque(maxlen=MOST_TAKEOVERS)).append(now)

    def _count(self, client: bytes, rest: bytes, now: datetime) -> None:
        size = _SIZE.search(rest)
        login, topic = (
            part.decode("utf-8", "backslashreplace")[:_NAME_CHARACTERS]
            for part in (client, rest[: size.start()] if size else rest)
        )
        if login.startswith(DOCTOR):  # it tries what it may not
            return
        with self._lock:
            if (login, topic) not in self._denied:
                if login not in self._topics and len(self._topics) >= MOST_LOGINS:
                    login = OTHERS
                if login == OTHERS or self._topics[login] >= MOST_TOPICS:
                    topic = OTHERS
            if (one := self._denied.get((login, topic))) is None:
                one = self._denied[login, topic] = DeniedTopic(login, topic, 0, now, 0)
                self._topics[login] += 1
                log.warning("the broker refuses what %s publishes on %r", login, topic)
            one.times, one.at, one.payload_bytes = one.times + 1, now, int(size[1]) if size else 0
