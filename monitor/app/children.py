"""What the supervisor keeps alive: processes of this distribution and the broker, restarted with growing pauses."""

import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from monitor.app.checks import health
from monitor.broker.access import HOW_TO_INSTALL
from monitor.broker.broker_log import ContestedClient, OversizedClient, RefusedTopic
from monitor.broker.logins import Login, LoginBook
from monitor.canonical import digest_text
from monitor.errors import SlopewardError
from monitor.ingest.broker_process import ManagedBroker, find_mosquitto, open_broker
from monitor.ingest.payload_limits import PAYLOAD_LIMIT
from monitor.ingest.queries.messages import DENIED_BY_BROKER, LOGIN, TOO_LARGE, RejectedMessage
from monitor.ingest.service import list_sessions
from monitor.readings.records import PayloadSize
from monitor.settings.service import ServiceConfig
from monitor.sites.files import scan_sites
from monitor.sites.records import Site
from monitor.storage.service_state import DeniedMessages
from monitor.text.instants import format_iso
from monitor.text.message import Figure, Message, Template, error_text
from monitor.worker.linux import end_with_parent

log = logging.getLogger(__name__)
BACKOFF_S: Final = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0)
STEADY_S: Final = 60.0  # a child that lived this long starts again from the shortest pause
DEATHS_BEFORE_ALARM: Final = 3
SILENT_CORE_S: Final = (
    35.0  # without a heartbeat: stuck where it cannot end itself; a fresh one needs the rest of a minute
)
FIRST_BEAT_S, LONGEST_FIRST_BEAT_S = 180.0, 1440.0  # a machine without time to spare takes minutes to load a program
TRY_BROKER_EVERY_S: Final = 15.0
DENIED_MOST: Final = 50  # in a stamp; all are in `rejected_messages`
_RUNS_AGAIN: Final = Template("process.runs_again", "{name} runs again")
_NOT_STARTED: Final = Template("process.not_started", "{name} cannot be started: {problem}")
_ENDED: Final = Template("process.ended", "{name} ended")
_KILLED: Final = Template("process.killed", "{name} ended by signal {n}")
_EXITED: Final = Template("process.exited", "{name} ended with status {n}")
_AGAIN: Final = Template("process.dying", "{text}, {n} times running")
_DENIED: Final = Template("quarantine.denied", "the broker refused it: {login} has no right to publish on this topic")
_OVERSIZED: Final = Template(
    "quarantine.oversized",
    "the broker dropped it: a message may have {most} bytes. Let {login} send its readings in several messages",
)
MARKS: Final = (health.STARTING, health.UNPROVEN, health.STANDS_BY, health.STANDS_APART)


class Child(Protocol):
    """What the supervisor needs of anything it keeps alive."""

    name: str

    def start(self) -> None:
        """Start it; raises SlopewardError or OSError where that is impossible."""

    def alive(self) -> bool:
        """True while it runs as it should."""

    def stop(self) -> None:
        """End it and wait; does nothing where it does not run."""


class HeartbeatWatch:
    """Whether a process is stuck. Until its first heartbeat it has longer, after each start in vain twice as long.

    Without that a machine that is too slow would have each process killed before it says anything, time and again.
    """

    def __init__(self, silent_s: float) -> None:
        self._silent_s = silent_s
        self._vain = -1  # starts in a row that came to no heartbeat
        self.at, self.has_begun = 0.0, False  # monotonic; of the last heartbeat, else of the start

    def start(self) -> None:
        """A process has been started."""
        self._vain = 0 if self.has_begun else self._vain + 1
        self.at, self.has_begun = time.monotonic(), False

    def receive(self) -> None:
        """It has said something."""
        self.at, self.has_begun = time.monotonic(), True

    @property
    def limit_s(self) -> float:
        """How long it may say nothing now."""
        return self._silent_s if self.has_begun else min(FIRST_BEAT_S * 2**self._vain, LONGEST_FIRST_BEAT_S)

    @property
    def is_overdue(self) -> bool:
        """Whether it has said nothing for longer."""
        return time.monotonic() - self.at > self.limit_s


class PythonChild:
    """A process of the service that runs a module of this distribution and ends when the supervisor does."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: tuple[str, ...],
        *,
        stop_s: float,
        beats: bool = False,
        hears: bool = False,
        environment: Mapping[str, str],
    ) -> None:
        self.name, self._module, self._stop_s = name, module, stop_s
        self._process: subprocess.Popen[bytes] | None = None
        self._arguments, self._beats, self._hears = arguments, beats, hears
        self._environment = dict(environment)
        self._pipe: int | None = None
        self._heartbeats = HeartbeatWatch(SILENT_CORE_S)
        self.has_beaten = False
        self.decides = False  # it has stored an evaluation since it began
        self.stands_by = False  # it waits to take over from another service
        self.can_read = True  # the database is of the version of this program
        self.trouble = ""  # what the last heartbeat said
        self._rest = b""
        self._teller: int | None = None

    def start(self) -> None:
        """Start the process."""
        environment = dict(self._environment)
        keep: tuple[int, ...] = ()
        if self._beats:
            self._pipe, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            environment[health.HEARTBEAT_FD] = str(writer)
            keep = (writer,)
        if self._hears:
            reader, self._teller = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            os.set_blocking(reader, True)
            environment[health.TROUBLE_FD] = str(reader)
            keep = (*keep, reader)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "monitor.worker.run_module", self._module, *self._arguments],
            stdin=subprocess.DEVNULL,
            env=environment,
            pass_fds=keep,
            preexec_fn=end_with_parent,  # noqa: PLW1509
        )
        for fd in keep:
            os.close(fd)
        self._heartbeats.start()
        self.has_beaten, self.decides = False, False

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def status(self) -> int | None:
        """Exit status, None while it runs or before it ran."""
        return None if self._process is None else self._process.poll()

    def kill(self) -> None:
        """Kill the process without waiting for its end, which a hanging disk can delay."""
        if self._process is not None:
            self._process.kill()

    @property
    def beat_at(self) -> float:
        """Monotonic time of the last heartbeat, else of the start; 0 before it."""
        return self._heartbeats.at

    def alive(self) -> bool:
        """False when it has ended, or when its heartbeat is long overdue (then it is killed)."""
        if self.pid is None:
            return False
        if self._pipe is not None:
            with contextlib.suppress(BlockingIOError):
                if content := os.read(self._pipe, 65536):
                    self._read_beats(content)
            if self._heartbeats.is_overdue:
                log.critical("%s has not gone round for %g s; killed", self.name, self._heartbeats.limit_s)
                self.kill()
                return False
        return True

    def _read_beats(self, content: bytes) -> None:
        *lines, self._rest = (self._rest + content).split(b"\n")
        if lines:
            last = lines[-1].decode("utf-8", "replace")
            mark = last[:1] if last.startswith(MARKS) else ""
            self._heartbeats.receive()
            self.trouble = health.read_line(last.removeprefix(mark))
            self.has_beaten = self.has_beaten or mark != health.STARTING
            self.decides = not mark
            self.stands_by = mark in {health.STANDS_BY, health.STANDS_APART}
            if mark != health.STARTING:  # an upgrade may still run
                self.can_read = mark != health.STANDS_APART

    def send_line(self, text: str) -> None:
        """Let it hear a text; one that does not read loses it and hears the next."""
        if self._teller is not None:
            with contextlib.suppress(OSError):
                os.write(self._teller, health.encode_line(text))

    def stop(self) -> None:
        """Terminate the process, kill it if it does not end in time, and close its pipes."""
        if self._process is not None:
            if self.pid is not None:
                self._process.terminate()
            try:
                self._process.wait(self._stop_s)
            except subprocess.TimeoutExpired:
                log.error("%s did not end in %g s; killed", self.name, self._stop_s)  # noqa: TRY400
                self.kill()
                self._process.wait()
        for fd in (self._pipe, self._teller):
            if fd is not None:
                os.close(fd)
        self._pipe = self._teller = None
        self._rest, self.trouble, self.decides, self.stands_by = b"", "", False, False


class BrokerChild:
    """The broker of our own: Mosquitto with durable settings, or the one for demos that forgets."""

    name = "broker"

    def __init__(self, config: ServiceConfig) -> None:
        self.mode = config.broker.mode
        if self.mode == "managed" and find_mosquitto() is None:
            log.error(
                "degraded: Mosquitto is not installed; a broker that forgets at restart takes its place; %s",
                HOW_TO_INSTALL,
            )
            self.mode = "demo"
        broker = open_broker(
            self.mode,
            Path(config.broker.data),
            config.broker.host,
            config.broker.port,
            anonymous=config.broker.anonymous,
            find_sites=lambda: read_sites(config),
            find_sessions=lambda: list_sessions(config.broker.client_id, read_sites(config)),
        )
        assert broker is not None, "an external broker is nobody's child"
        self._broker, self.durable, self._probed_at = broker, broker.durable, 0.0
        if isinstance(broker, ManagedBroker):
            try:
                broker.prepare()  # before anybody asks how the service reaches it
            except (SlopewardError, OSError) as error:
                log.error("the broker's folder cannot be prepared: %s", error)  # noqa: TRY400

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self._broker.start()
        self._probed_at = time.monotonic()

    def alive(self) -> bool:
        """True while it runs; whether it takes connections is tried now and then, for each try is a line in its log."""
        if time.monotonic() - self._probed_at < TRY_BROKER_EVERY_S:
            return self._broker.pid is not None
        self._probed_at = time.monotonic()
        return self._broker.alive()

    def reload(self) -> None:
        """Let it know of sites that changed; a broker that cannot be told now reads them at its next start."""
        if isinstance(self._broker, ManagedBroker):
            try:
                self._broker.reload()
            except (SlopewardError, OSError) as error:
                log.warning("the broker does not know of changed sites: %s", error)

    @property
    def risk_s(self) -> float | None:
        """How many seconds of acknowledged messages a crash of the broker can lose; None if it saves nothing."""
        return self._broker.saver.risk_s if isinstance(self._broker, ManagedBroker) else None

    def list_refused(self) -> list[RefusedTopic]:
        """What the broker refused to its clients, newest first."""
        return self._broker.log.list_refused()

    def list_contested(self, now: datetime) -> list[ContestedClient]:
        """List client ids under which several clients seem to connect."""
        return self._broker.log.list_contested(now)

    def list_oversized(self, now: datetime) -> list[OversizedClient]:
        """Return clients whose messages the broker dropped within the last hour because of their size."""
        return self._broker.log.list_oversized(now)

    def note_stored(self, denied: Iterable[RefusedTopic]) -> None:
        """These are in the database."""
        self._broker.log.note_stored(denied)

    def describe_denied(self, denied: Iterable[RefusedTopic]) -> list[DeniedMessages]:
        """Return the first of those that a login has no right to, with the site and station of the login.

        The check of the broker and the page of instruments report them. Messages that are too large have an alarm.
        """
        forbidden = [one for one in denied if not one.is_too_large]
        try:
            logins = {one.name: one for one in LoginBook(self._broker.folder).load()}
        except (SlopewardError, OSError) as error:
            log.warning("%s", error)
            logins = {}
        nobody = Login("", "")
        return [
            {
                "login": one.login,
                "topic": one.topic,
                "n": one.times,
                "at": format_iso(one.at),
                "site": (login := logins.get(one.login, nobody)).site,
                "station": login.station,
            }
            for one in forbidden[:DENIED_MOST]
        ]

    def stop(self) -> None:
        """End it; Mosquitto writes its queue first."""
        self._broker.stop()


def reject_denied(denied: Iterable[RefusedTopic]) -> list[RejectedMessage]:
    """Return the rows of the quarantine for refused messages that are not stored yet."""
    return [_reject_denied(one) for one in denied if one.times > one.stored]


def _reject_denied(denied: RefusedTopic) -> RejectedMessage:
    if denied.is_too_large:
        code = TOO_LARGE
        reason = _OVERSIZED(login=denied.login, most=Figure(PAYLOAD_LIMIT, "d"))
    else:
        code = DENIED_BY_BROKER
        reason = _DENIED(login=denied.login)
    return RejectedMessage(
        denied.at,
        denied.topic,
        b"",
        code,
        reason,
        f"{LOGIN}{denied.login}",
        times=denied.times - denied.stored,
        full_size=PayloadSize(denied.payload_bytes, digest_text(f"{code}\0{denied.login}\0{denied.topic}")),
    )


class ProcessRestarter:
    """Keeps one child alive: pauses between restarts grow, and repeated deaths are told once."""

    def __init__(
        self,
        child: Child,
        on_dying: Callable[[str, Message, bool], None],
        on_renewed: Callable[[], None] = lambda: None,
    ) -> None:
        self.child, self._on_dying, self._on_renewed = child, on_dying, on_renewed
        self.deaths = 0
        self._started_at = 0.0
        self._next_start: float | None = 0.0
        self._reported = False

    def check(self) -> None:
        """Start the child when it is due, and note when it has died."""
        now = time.monotonic()
        if self._next_start is not None:
            if now >= self._next_start:
                self._start(now)
            return
        if self.child.alive():
            if self._reported and now - self._started_at > STEADY_S:
                self._reported, self.deaths = False, 0
                self._on_dying(self.child.name, _RUNS_AGAIN(name=self.child.name), False)
            return
        if getattr(self.child, "status", None) == health.EXIT_RENEW:
            log.info("%s ended to start anew", self.child.name)
            self._on_renewed()
            self.renew()
            return
        self._note_death(now, _describe_end(self.child))

    def renew(self) -> None:
        """Start it again at once after an end that was asked for."""
        self._next_start = 0.0

    def _start(self, now: float) -> None:
        try:
            self.child.stop()  # frees what a dead one left behind
            self.child.start()
        except (SlopewardError, OSError) as error:
            self._note_death(now, _NOT_STARTED(name=self.child.name, problem=error_text(error)))
            return
        self._started_at, self._next_start = time.monotonic(), None
        log.info("%s started", self.child.name)

    def _note_death(self, now: float, line: Message) -> None:
        if self._next_start is None and now - self._started_at > STEADY_S:
            self.deaths = 0
        pause_s = BACKOFF_S[min(self.deaths, len(BACKOFF_S) - 1)]
        self.deaths += 1
        self._next_start = now + pause_s
        log.error("%s; again in %g s", line, pause_s)
        if self.deaths >= DEATHS_BEFORE_ALARM and not self._reported:
            self._reported = True
            self._on_dying(self.child.name, _AGAIN(text=line, n=self.deaths), True)


def _describe_end(child: Child) -> Message:
    status = getattr(child, "status", None)
    if status is None:
        return _ENDED(name=child.name)
    return _KILLED(name=child.name, n=-status) if status < 0 else _EXITED(name=child.name, n=status)


def read_sites(config: ServiceConfig) -> list[Site]:
    """The sites whose files can be read."""
    try:
        return scan_sites(config.paths.sites)[0]
    except SlopewardError:
        return []
