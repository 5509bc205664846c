"""Child processes of the supervisor, and the rules by which they are restarted.

`PythonChild` is a process of this distribution, such as the core or the web process. `BrokerChild` is the broker.
`ProcessRestarter` restarts one child, with pauses that grow while it keeps failing.
"""

import contextlib
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from monitor.app import heartbeats
from monitor.app.checks.live import PROCESS_ENDS_IN_A_ROW
from monitor.app.outcomes import Outcome
from monitor.app.service_file import LastValidServiceFile
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

# Pauses before the first, second and each further restart of a child that fails repeatedly. The last pause is repeated.
RESTART_PAUSES_S: Final = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0)
# A child that ran for this long counts as working. After its next failure, the pauses start with the shortest again.
# A core whose thread hangs runs for `heartbeats.OVERDUE_S` after its start, and must not count as working.
STEADY_S: Final = 300.0

# The supervisor kills a core without a heartbeat for this long, because it hangs and cannot end itself. The new core
# starts and decides within a minute of the last heartbeat.
SILENT_CORE_S: Final = 35.0
# The first heartbeat of a process may take longer, because a busy machine needs minutes to load a program. This limit
# doubles after each start without a heartbeat, up to `LONGEST_FIRST_BEAT_S`.
FIRST_BEAT_S: Final = 180.0
LONGEST_FIRST_BEAT_S: Final = 1440.0

# The kernel ends a killed process at once, unless the process waits for a device, such as a disk that does not answer.
AWAIT_KILLED_S: Final = 5.0

# How long the supervisor waits for the end of a start of the broker that it has cancelled.
CANCEL_START_S: Final = 10.0

# Probe the port rarely: each probe adds a line to the broker's log.
PROBE_BROKER_EVERY_S: Final = 15.0
# Denied topics in a heartbeat of the broker. The view `rejected_messages` contains all of them.
MOST_DENIED_IN_HEARTBEAT: Final = 50

_NOT_STARTED: Final = Template("process.not_started", "{name} cannot be started: {problem}")
_ENDED: Final = Template("process.ended", "{name} ended")
_SILENT: Final = Template("process.silent", "{name} sent no heartbeat for {n} s and was killed")
_UNREACHABLE: Final = Template("process.unreachable", "{name} runs but accepts no connections")
_KILLED: Final = Template("process.killed", "{name} was ended by {signal}")
_KILLED_BECAUSE: Final = Template("process.killed_because", "{name} was ended by {signal} ({reason})")
_EXITED: Final = Template("process.exited", "{name} ended with exit status {n}")
_EXITED_BECAUSE: Final = Template("process.exited_because", "{name} ended with exit status {n} ({reason})")
_NO_MEMORY: Final = Template(
    "process.no_memory", "the kernel does this if memory runs out; `journalctl -k` then names the process"
)()
_NATIVE_ERROR: Final = Template("process.native_error", "an error in a compiled library")()
# Meaning of signals.
SIGNAL_REASONS: Final[Mapping[int, Message]] = {
    signal.SIGKILL: _NO_MEMORY,
    signal.SIGABRT: _NATIVE_ERROR,
    signal.SIGBUS: _NATIVE_ERROR,
    signal.SIGFPE: _NATIVE_ERROR,
    signal.SIGILL: _NATIVE_ERROR,
    signal.SIGSEGV: _NATIVE_ERROR,
}
# Meaning of exit statuses of the core and the web process.
STATUS_REASONS: Final[Mapping[int, Message]] = {
    1: Template("process.error", "an error, which its last lines in the log name")(),
    heartbeats.EXIT_OVERDUE: Template("process.overdue", "one of its threads had ended or made no progress")(),
    heartbeats.EXIT_TRY_AGAIN: Template("process.no_database", "the database was busy or unreachable")(),
}
_DENIED: Final = Template(
    "quarantine.denied", "the broker refused the message: {login} has no right to publish on this topic"
)
_OVERSIZED: Final = Template(
    "quarantine.oversized",
    "the broker dropped the message: a message may have {most} bytes. Let {login} send its readings in several "
    "messages",
)
HEARTBEAT_MARKS: Final = (
    heartbeats.STARTING,
    heartbeats.NOT_EVALUATED,
    heartbeats.STANDBY,
    heartbeats.STANDBY_OTHER_SCHEMA,
)


class Child(Protocol):
    """A process that `ProcessRestarter` can start, check and stop."""

    name: str

    def start(self) -> None:
        """Start the process, after the end of an earlier one. Must not wait for long.

        Raises:
            SlopewardError, OSError: It cannot be started.
        """

    def has_started(self) -> bool:
        """Return whether the start is complete.

        Raises:
            SlopewardError, OSError: The start failed.
        """

    def poll(self) -> bool:
        """Update the state of the process, and return whether it runs and works."""

    def describe_end(self) -> Message:
        """Return how the process ended, after `poll` has returned False."""

    def stop(self) -> None:
        """End the process and wait for its end. Does nothing if it does not run."""


class HeartbeatWatch:
    """Measure how long a process has sent no heartbeat. All times are seconds of the monotonic clock.

    The first heartbeat may take `FIRST_BEAT_S`. This limit doubles after each start without a heartbeat, because
    otherwise every new process on a slow machine would be killed before its first heartbeat.
    """

    def __init__(self, silent_s: float) -> None:
        self._silent_s = silent_s
        # The first start increases this to 0.
        self._starts_without_beat = -1
        self.last_beat_s = 0.0  # the last heartbeat; before the first one, the start of the process
        self.has_beaten = False

    def start(self) -> None:
        """Record that a process was started."""
        self._starts_without_beat = 0 if self.has_beaten else self._starts_without_beat + 1
        self.last_beat_s = time.monotonic()
        self.has_beaten = False

    def receive(self) -> None:
        """Record a heartbeat."""
        self.last_beat_s = time.monotonic()
        self.has_beaten = True

    @property
    def limit_s(self) -> float:
        """Longest time without a heartbeat that is allowed now."""
        if self.has_beaten:
            return self._silent_s
        return min(FIRST_BEAT_S * 2.0**self._starts_without_beat, LONGEST_FIRST_BEAT_S)

    @property
    def is_overdue(self) -> bool:
        """Whether the process has sent no heartbeat for longer than `limit_s`."""
        return time.monotonic() - self.last_beat_s > self.limit_s


class PythonChild:
    """A process that runs a module of this distribution.

    The kernel sends it SIGTERM when the supervisor ends, also if the supervisor is killed.

    Args:
        stop_s: Seconds between SIGTERM and SIGKILL in `stop`.
        sends_heartbeats: The process writes heartbeats to a pipe (`monitor.app.heartbeats.send_heartbeat`).
        receives_lines: The process reads lines from a pipe (`send_line`).
        service_file: While the service file has an error, the process gets the last valid version as its only argument.

    Attributes:
        is_ready: Whether the process has finished its start, or is a standby.
        is_deciding: Whether it has stored an evaluation since its start, or has no site to evaluate.
        is_standby: Whether it waits until it may take over from another service.
        has_current_schema: Whether the database has the schema of this program, as far as known. False only if a
            standby has reported another schema.
        trouble: Why nothing can be decided, from the last heartbeat; empty if decisions are made.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: tuple[str, ...],
        *,
        stop_s: float,
        sends_heartbeats: bool = False,
        receives_lines: bool = False,
        service_file: LastValidServiceFile | None = None,
        environment: Mapping[str, str],
    ) -> None:
        self.name = name
        self._module = module
        self._arguments = arguments
        self._stop_s = stop_s
        self._sends_heartbeats = sends_heartbeats
        self._receives_lines = receives_lines
        self._service_file = service_file
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._heartbeat_pipe: int | None = None
        self._line_pipe: int | None = None
        self._heartbeats = HeartbeatWatch(SILENT_CORE_S)
        self._was_killed_as_silent = False
        self._incomplete_line = b""
        self.is_ready = False
        self.is_deciding = False
        self.is_standby = False
        self.has_current_schema = True
        self.trouble = ""

    def start(self) -> None:
        """Start the process, after the end of an earlier one."""
        self.stop()
        environment = dict(self._environment)
        arguments = self._arguments
        inherited: list[int] = []
        if self._service_file is not None:
            last_valid = self._service_file.open_if_current_is_faulty(self.name)
            if last_valid is not None:
                inherited.append(last_valid)
                arguments = (f"/dev/fd/{last_valid}",)
        if self._sends_heartbeats:
            self._heartbeat_pipe, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            environment[heartbeats.HEARTBEAT_FD] = str(writer)
            inherited.append(writer)
        if self._receives_lines:
            reader, self._line_pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            os.set_blocking(reader, True)
            environment[heartbeats.TROUBLE_FD] = str(reader)
            inherited.append(reader)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "monitor.worker.run_module", self._module, *arguments],
                stdin=subprocess.DEVNULL,
                env=environment,
                pass_fds=inherited,
                preexec_fn=end_with_parent,  # noqa: PLW1509
            )
        finally:
            for descriptor in inherited:
                os.close(descriptor)
        self._heartbeats.start()
        self._was_killed_as_silent = False
        self.is_ready = False
        self.is_deciding = False

    def has_started(self) -> bool:
        """Return True: `start` is complete when it returns."""
        return True

    @property
    def pid(self) -> int | None:
        """The process id; None if the process does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def status(self) -> int | None:
        """The exit status; None while the process runs and before its first start."""
        return None if self._process is None else self._process.poll()

    @property
    def heartbeat_pipe(self) -> int | None:
        """The file descriptor from which heartbeats are read; None if there is none."""
        return self._heartbeat_pipe

    @property
    def last_beat_s(self) -> float:
        """Monotonic time of the last heartbeat; before the first one, of the start; 0 before the start."""
        return self._heartbeats.last_beat_s

    def kill(self) -> None:
        """Send SIGKILL without waiting for the end, which a hanging disk can delay."""
        if self._process is not None:
            self._process.kill()

    def poll(self) -> bool:
        """Read the heartbeats that have arrived, and return whether the process runs.

        A process whose heartbeat is overdue is killed and counts as ended.
        """
        if self.pid is None:
            return False
        if self._heartbeat_pipe is not None:
            with contextlib.suppress(BlockingIOError):
                if content := os.read(self._heartbeat_pipe, 65536):
                    self._read_heartbeats(content)
            if self._heartbeats.is_overdue:
                self._was_killed_as_silent = True
                self.kill()
                return False
        return True

    def describe_end(self) -> Message:
        """Return how the process ended: killed because of missing heartbeats, its signal, or its exit status."""
        if self._was_killed_as_silent:
            return _SILENT(name=self.name, n=self._heartbeats.limit_s)
        return describe_status(self.name, self.status)

    def _read_heartbeats(self, content: bytes) -> None:
        *lines, self._incomplete_line = (self._incomplete_line + content).split(b"\n")
        if not lines:
            return
        last = lines[-1].decode("utf-8", "replace")
        mark = last[:1] if last.startswith(HEARTBEAT_MARKS) else ""
        self._heartbeats.receive()
        self.trouble = heartbeats.decode_line(last.removeprefix(mark))
        self.is_deciding = not mark
        self.is_standby = mark in {heartbeats.STANDBY, heartbeats.STANDBY_OTHER_SCHEMA}
        # During the start an upgrade of the database may still run.
        if mark != heartbeats.STARTING:
            self.is_ready = True
            self.has_current_schema = mark != heartbeats.STANDBY_OTHER_SCHEMA

    def send_line(self, text: str) -> None:
        """Send a text to the process. A text that does not fit in the pipe is dropped.

        The next call sends the current state again.
        """
        if self._line_pipe is not None:
            with contextlib.suppress(OSError):
                os.write(self._line_pipe, heartbeats.encode_line(text))

    def stop(self) -> None:
        """Terminate the process, kill it if it does not end in time, and close its pipes."""
        if self._process is not None and self._was_killed_as_silent:
            self._await_killed(self._process)
        elif self._process is not None:
            if self.pid is not None:
                self._process.terminate()
            try:
                self._process.wait(self._stop_s)
            except subprocess.TimeoutExpired:
                log.error("%s did not end within %g s and is killed", self.name, self._stop_s)  # noqa: TRY400
                self.kill()
                self._await_killed(self._process)
        for descriptor in (self._heartbeat_pipe, self._line_pipe):
            if descriptor is not None:
                os.close(descriptor)
        self._heartbeat_pipe = None
        self._line_pipe = None
        self._incomplete_line = b""
        self.trouble = ""
        self.is_deciding = False
        self.is_standby = False

    def _await_killed(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until a killed process has ended, but not for long, because the loop of the supervisor waits too."""
        try:
            process.wait(AWAIT_KILLED_S)
        except subprocess.TimeoutExpired:
            log.critical(
                "%s (process %d) was killed and has not ended after %g s. It probably waits for a disk that does not "
                "answer; check the disk",
                self.name,
                process.pid,
                AWAIT_KILLED_S,
            )


class BrokerStart:
    """A start of the broker, which `BrokerChild` requests and its thread executes.

    Attributes:
        cancelled: Set to end the start early.
        finished: Set when the thread has finished the start or has given up.
        error: Why the start failed; None if it succeeded.
    """

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.finished = threading.Event()
        self.error: Exception | None = None


class BrokerChild:
    """The broker that the service runs: Mosquitto with durable settings, or the demo broker, which stores nothing.

    A thread starts the broker, because a start can take a minute and the loop of the supervisor must continue. The same
    thread makes all starts and never ends: the kernel ends a process with the thread that created it
    (PR_SET_PDEATHSIG, prctl(2)).
    """

    name = "broker"

    def __init__(self, config: ServiceConfig) -> None:
        self.mode = config.broker.mode
        if self.mode == "managed" and find_mosquitto() is None:
            log.error(
                "Mosquitto is not installed. The demo broker is used instead, which loses waiting messages at a "
                "restart. %s",
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
        assert broker is not None, "the supervisor does not run an external broker"
        self._broker = broker
        self.durable = broker.durable
        self._probed_s = 0.0
        self._start: BrokerStart | None = None
        self._starts: queue.SimpleQueue[BrokerStart] = queue.SimpleQueue()
        self._starter: threading.Thread | None = None
        if isinstance(broker, ManagedBroker):
            # The login of the service is written here, before another process reads it.
            try:
                broker.prepare()
            except (SlopewardError, OSError) as error:
                log.error("the broker's folder cannot be prepared: %s", error)  # noqa: TRY400

    def start(self) -> None:
        """Begin to start the broker. `has_started` returns True when it accepts connections."""
        if self._starter is None:
            self._starter = threading.Thread(target=self._execute_starts, name="broker-starter", daemon=True)
            self._starter.start()
        self._start = BrokerStart()
        self._starts.put(self._start)

    def _execute_starts(self) -> None:
        while True:
            start = self._starts.get()
            try:
                self._broker.stop()
                self._broker.start(start.cancelled)
            except Exception as error:
                start.error = error
            finally:
                start.finished.set()

    @property
    def is_starting(self) -> bool:
        """Whether a start has begun and is not complete."""
        return self._start is not None and not self._start.finished.is_set()

    def has_started(self) -> bool:
        """Return whether the broker accepts connections since the last start.

        Raises:
            SlopewardError, OSError: The start failed.
        """
        start = self._start
        if start is None or not start.finished.is_set():
            return False
        if start.error is not None:
            raise start.error
        self._probed_s = time.monotonic()
        return True

    def poll(self) -> bool:
        """Return whether the broker runs and, every `PROBE_BROKER_EVERY_S`, whether it accepts connections."""
        if time.monotonic() - self._probed_s < PROBE_BROKER_EVERY_S:
            return self._broker.pid is not None
        self._probed_s = time.monotonic()
        return self._broker.is_alive()

    def describe_end(self) -> Message:
        """Return how the broker ended, or that it runs but accepts no connections."""
        if self._broker.pid is not None:
            return _UNREACHABLE(name=self.name)
        return describe_status(self.name, self._broker.status, {})

    def reload(self) -> None:
        """Apply changed site files to access control. If that fails, the next start of the broker applies them.

        A start that has not finished may have loaded the former site files, so it is begun again.
        """
        if self.is_starting:
            self._cancel_start()
            self.start()
        elif isinstance(self._broker, ManagedBroker):
            try:
                self._broker.reload()
            except (SlopewardError, OSError) as error:
                log.warning("the broker could not load the changed sites: %s", error)

    @property
    def risk_s(self) -> float | None:
        """How many seconds of acknowledged messages a crash of the broker can lose; None if it stores no messages."""
        return self._broker.saver.risk_s if isinstance(self._broker, ManagedBroker) else None

    def list_refused(self) -> list[RefusedTopic]:
        """Return the messages that the broker refused, newest first."""
        return self._broker.log.list_refused()

    def list_contested(self, now: datetime) -> list[ContestedClient]:
        """Return client ids under which several clients seem to connect."""
        return self._broker.log.list_contested(now)

    def list_oversized(self, now: datetime) -> list[OversizedClient]:
        """Return clients whose messages the broker dropped within the last hour because of their size."""
        return self._broker.log.list_oversized(now)

    def note_stored(self, refused: Iterable[RefusedTopic]) -> None:
        """Record that these refused messages are in the database."""
        self._broker.log.note_stored(refused)

    def describe_denied(self, refused: Iterable[RefusedTopic]) -> list[DeniedMessages]:
        """Return the first refused messages whose login has no right to the topic, with its site and station.

        The check of the broker and the page of instruments show them. Messages that are too large are left out, because
        they have an alarm.
        """
        forbidden = [message for message in refused if not message.is_too_large]
        try:
            logins = {login.name: login for login in LoginBook(self._broker.folder).load()}
        except (SlopewardError, OSError) as error:
            log.warning("%s", error)
            logins = {}
        unknown = Login("", "")
        rows: list[DeniedMessages] = []
        for message in forbidden[:MOST_DENIED_IN_HEARTBEAT]:
            login = logins.get(message.login, unknown)
            rows.append(
                {
                    "login": message.login,
                    "topic": message.topic,
                    "n": message.times,
                    "at": format_iso(message.at),
                    "site": login.site,
                    "station": login.station,
                }
            )
        return rows

    def stop(self) -> None:
        """End the broker, also while it is starting. Mosquitto writes its queue first."""
        self._cancel_start()
        self._broker.stop()

    def _cancel_start(self) -> None:
        """End a start early, and wait for its end, but not for long: a disk that does not answer can block it."""
        if self._start is not None:
            self._start.cancelled.set()
            if not self._start.finished.wait(CANCEL_START_S):
                log.error("the start of the broker did not end within %g s", CANCEL_START_S)


def make_quarantine_rows(refused: Iterable[RefusedTopic]) -> list[RejectedMessage]:
    """Return the rows of the quarantine for messages that the broker refused and that are not stored yet."""
    return [_make_quarantine_row(message) for message in refused if message.times > message.stored]


def _make_quarantine_row(message: RefusedTopic) -> RejectedMessage:
    if message.is_too_large:
        code = TOO_LARGE
        reason = _OVERSIZED(login=message.login, most=Figure(PAYLOAD_LIMIT, "d"))
    else:
        code = DENIED_BY_BROKER
        reason = _DENIED(login=message.login)
    return RejectedMessage(
        message.at,
        message.topic,
        b"",
        code,
        reason,
        f"{LOGIN}{message.login}",
        times=message.times - message.stored,
        full_size=PayloadSize(message.payload_bytes, digest_text(f"{code}\0{message.login}\0{message.topic}")),
    )


class ProcessRestarter:
    """Keep one child running.

    Pauses between restarts grow while the child fails: while it ends by itself or cannot be started. No method waits
    until a start is complete.

    Args:
        on_replaced: Called when the child ended with `EXIT_REPLACE`, before it is started again.

    Attributes:
        outcome: How often the child has failed in a row without running for `STEADY_S` in between. None until it has
            failed or has run for `STEADY_S`.
    """

    def __init__(
        self,
        child: Child,
        on_replaced: Callable[[], None] = lambda: None,
    ) -> None:
        self.child = child
        self.outcome: Outcome | None = None
        self._on_replaced = on_replaced
        self._started_s = 0.0
        self._is_starting = False
        self._next_start_s: float | None = 0.0

    @property
    def failures(self) -> int:
        """How often the child has failed in a row."""
        return 0 if self.outcome is None else self.outcome.failures

    def check(self) -> None:
        """Start the child if its start is due, or record that it has ended."""
        now_s = time.monotonic()
        if self._next_start_s is not None:
            if now_s >= self._next_start_s:
                self._start(now_s)
            return
        if self._is_starting:
            self._finish_start(now_s)
            return
        if self.child.poll():
            if self._has_been_steady(now_s) and self.outcome != Outcome(0):
                self.outcome = Outcome(0)
                log.info("%s has run for %g s", self.child.name, STEADY_S)
            return
        if getattr(self.child, "status", None) == heartbeats.EXIT_REPLACE:
            log.info(
                "%s ended with exit status %d, because it has to be replaced, and starts again at once",
                self.child.name,
                heartbeats.EXIT_REPLACE,
            )
            self._on_replaced()
            self.start_at_once()
            return
        self._note_failure(now_s, self.child.describe_end())

    def start_at_once(self) -> None:
        """Start the child at the next check, without a pause."""
        self._next_start_s = 0.0

    def _start(self, now_s: float) -> None:
        self._is_starting = True
        self._next_start_s = None
        try:
            self.child.start()
        except (SlopewardError, OSError) as error:
            self._note_failed_start(now_s, error)
            return
        self._finish_start(now_s)

    def _finish_start(self, now_s: float) -> None:
        """Record that the start of the child is complete or has failed. Does nothing while it is in progress."""
        try:
            has_started = self.child.has_started()
        except (SlopewardError, OSError) as error:
            self._note_failed_start(now_s, error)
            return
        if has_started:
            self._is_starting = False
            self._started_s = time.monotonic()
            log.info("%s started", self.child.name)

    def _note_failed_start(self, now_s: float, error: Exception) -> None:
        self._note_failure(now_s, _NOT_STARTED(name=self.child.name, problem=error_text(error)))

    def _note_failure(self, now_s: float, text: Message) -> None:
        failures_before = 0 if self._has_been_steady(now_s) else self.failures
        pause_s = RESTART_PAUSES_S[min(failures_before, len(RESTART_PAUSES_S) - 1)]
        self.outcome = Outcome(failures_before + 1, text)
        self._is_starting = False
        self._next_start_s = now_s + pause_s
        level = logging.CRITICAL if self.failures >= PROCESS_ENDS_IN_A_ROW else logging.ERROR
        log.log(level, "%s; it is started again in %g s", text, pause_s)

    def _has_been_steady(self, now_s: float) -> bool:
        """Return whether the child has run for `STEADY_S` since its last start."""
        is_running = self._next_start_s is None and not self._is_starting
        return is_running and now_s - self._started_s > STEADY_S


def describe_status(name: str, status: int | None, reasons: Mapping[int, Message] = STATUS_REASONS) -> Message:
    """Return how a process ended.

    Args:
        name: Name of the process in the text.
        status: Return code of `subprocess.Popen`: the exit status, or the negative number of a signal. None if it is
            unknown.
        reasons: Meaning of its exit statuses.
    """
    if status is None:
        return _ENDED(name=name)
    if status < 0:
        reason = SIGNAL_REASONS.get(-status)
        if reason is None:
            return _KILLED(name=name, signal=_name_signal(-status))
        return _KILLED_BECAUSE(name=name, signal=_name_signal(-status), reason=reason)
    reason = reasons.get(status)
    if reason is None:
        return _EXITED(name=name, n=status)
    return _EXITED_BECAUSE(name=name, n=status, reason=reason)


def _name_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def read_sites(config: ServiceConfig) -> list[Site]:
    """Return the sites of all valid site files; empty if the folder does not exist."""
    try:
        return scan_sites(config.paths.sites)[0]
    except SlopewardError:
        return []
