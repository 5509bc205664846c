"""The supervisor: broker, core and page as processes of their own, restarted when they end, stopped in order."""

import contextlib
import hashlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from monitor import health, logs
from monitor.alerting.acts.change_control import load_in_force
from monitor.config.service import ServiceConfig, load_service, scan_sites
from monitor.domain.alert import SERVICE, AlertChange, Ledger
from monitor.domain.site import Site, gather_recipients
from monitor.errors import BrokerError, SlopewardError
from monitor.ingest.broker import ManagedBroker, find_mosquitto, hold_folder, open_broker
from monitor.notify.notifier import channel_settings
from monitor.service.child_environment import core_environment, page_environment
from monitor.service.clock import ServiceClock
from monitor.service.emergency_notice import Herald, list_addresses
from monitor.service.notice_record import Address, ToldFile
from monitor.service.unwatched import Unwatched
from monitor.store.alerting.alerts import apply_changes
from monitor.store.alerting.decisions import code_version
from monitor.store.database.audit import find_head
from monitor.store.database.engine import Database
from monitor.store.schema.types import canonical_json
from monitor.store.schema.views import load_view
from monitor.store.service_state import find_stamp, stamp
from monitor.worker.kernel import end_with_parent, hide_memory

log = logging.getLogger(__name__)
BACKOFF_S: Final = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0)
STEADY_S: Final = 60.0  # a child that lived this long starts again from the shortest pause
DEATHS_BEFORE_ALARM: Final = 3
SILENT_CORE_S: Final = 45.0  # without a heartbeat: stuck where it cannot end itself
SLOW_BEAT_S: Final = 10.0  # a core that beats less often than this decides nothing now
LOOK_EVERY_S: Final = 1.0
TELL_WEB_EVERY_S: Final = 3.0
STOP_CORE_S: Final = 8.0
PING_EVERY_S: Final = 60.0
NO_BODY: Final = frozenset({400, 404, 405, 411, 413, 415, 501})  # what a watcher that takes GET alone answers
STAMP_EVERY_S: Final = 10.0
TRY_BROKER_EVERY_S: Final = 15.0
EXIT_KNOWN: Final = 1  # a known error that trying again does not mend


class Child(Protocol):
    """What the supervisor needs of anything it keeps alive."""

    name: str

    def start(self) -> None:
        """Start it; raises SlopewardError or OSError where that is impossible."""

    def alive(self) -> bool:
        """True while it runs as it should."""

    def stop(self) -> None:
        """End it and wait; does nothing where it does not run."""


class PythonChild:
    """A module of this distribution in a process of its own, which ends when the supervisor does."""

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
        self.name = name
        self._module, self._arguments, self._stop_s = module, arguments, stop_s
        self._beats, self._hears = beats, hears
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: int | None = None
        self.beat_at = 0.0  # monotonic; of the last heartbeat
        self.has_beaten = False
        self.decides = False  # it has stored an evaluation since it began
        self.trouble = ""  # what the last heartbeat said
        self._rest = b""
        self._teller: int | None = None

    def start(self) -> None:
        """Start the process; its log goes where ours goes."""
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
            [sys.executable, "-P", "-m", self._module, *self._arguments],
            stdin=subprocess.DEVNULL, env=environment, pass_fds=keep, preexec_fn=end_with_parent,  # noqa: PLW1509
        )  # fmt: skip
        for fd in keep:
            os.close(fd)
        self.beat_at, self.has_beaten, self.decides = time.monotonic(), False, False

    def alive(self) -> bool:
        """False when it has ended, or when its heartbeat is long overdue (then it is killed)."""
        if self._process is None or self._process.poll() is not None:
            return False
        if self._pipe is not None:
            with contextlib.suppress(BlockingIOError):
                if content := os.read(self._pipe, 65536):
                    self._read_beats(content)
            if time.monotonic() - self.beat_at > SILENT_CORE_S:
                log.critical("%s has not gone round for %g s; killed", self.name, SILENT_CORE_S)
                self._process.kill()
                return False
        return True

    def _read_beats(self, content: bytes) -> None:
        *lines, self._rest = (self._rest + content).split(b"\n")
        if lines:
            last = lines[-1].decode("utf-8", "replace")
            mark = last[:1] if last.startswith((health.STARTING, health.UNPROVEN)) else ""
            self.beat_at, self.trouble = time.monotonic(), last.removeprefix(mark)
            self.has_beaten = self.has_beaten or mark != health.STARTING
            self.decides = not mark

    def tell(self, line: str) -> None:
        """Let it hear a line; one that does not read loses it and hears the next."""
        if self._teller is not None:
            with contextlib.suppress(OSError):
                os.write(self._teller, f"{' '.join(line.split())[:1000]}\n".encode())

    def ask(self) -> None:
        """Ask it to end."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> None:
        """Ask it to end, kill it when it does not in time."""
        if self._process is not None:
            self.ask()
            try:
                self._process.wait(self._stop_s)
            except subprocess.TimeoutExpired:
                log.error("%s did not end in %g s; killed", self.name, self._stop_s)  # noqa: TRY400
                self._process.kill()
                self._process.wait()
        for fd in (self._pipe, self._teller):
            if fd is not None:
                os.close(fd)
        self._pipe = self._teller = None
        self._rest, self.trouble, self.decides = b"", "", False

    @property
    def status(self) -> int | None:
        """Exit status, None while it runs or before it ran."""
        return None if self._process is None else self._process.poll()


class BrokerChild:
    """The broker of our own: Mosquitto with durable settings, or the one for demos that forgets."""

    name = "broker"

    def __init__(self, config: ServiceConfig) -> None:
        self.mode = config.broker.mode
        if self.mode == "managed" and find_mosquitto() is None:
            log.error("degraded: Mosquitto is not installed; a broker that forgets at restart takes its place; %s",
                      health.HOW_TO_INSTALL)  # fmt: skip
            self.mode = "demo"
        broker = open_broker(
            self.mode, Path(config.broker.data), config.broker.host, config.broker.port,
            anonymous=config.broker.anonymous, find_sites=lambda: _read_sites(config),
        )  # fmt: skip
        assert broker is not None, "an external broker is nobody's child"
        self._broker, self.durable, self._asked_at = broker, broker.durable, 0.0
        if isinstance(broker, ManagedBroker):
            try:
                broker.prepare()  # before anybody asks how the service reaches it
            except (SlopewardError, OSError) as error:
                log.error("the broker's folder cannot be prepared: %s", error)  # noqa: TRY400

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self._broker.start()
        self._asked_at = time.monotonic()

    def alive(self) -> bool:
        """True while it runs; whether it takes connections is tried now and then, for each try is a line in its log."""
        if time.monotonic() - self._asked_at < TRY_BROKER_EVERY_S:
            return self._broker.pid is not None
        self._asked_at = time.monotonic()
        return self._broker.alive()

    def reload(self) -> None:
        """Let it know of sites that changed; a broker that cannot be told now reads them at its next start."""
        if isinstance(self._broker, ManagedBroker):
            try:
                self._broker.reload()
            except (SlopewardError, OSError) as error:
                log.warning("the broker does not know of changed sites: %s", error)

    def stop(self) -> None:
        """End it; Mosquitto writes its queue first."""
        self._broker.stop()


class Keeper:
    """Keeps one child alive: pauses between restarts grow, and repeated deaths are told once."""

    def __init__(
        self, child: Child, on_dying: Callable[[str, str, bool], None], on_renewed: Callable[[], None] = lambda: None
    ) -> None:  # fmt: skip
        self.child, self._on_dying, self._on_renewed = child, on_dying, on_renewed
        self.deaths = 0
        self._started_at = 0.0
        self._next_start: float | None = 0.0
        self._told = False

    def look(self) -> None:
        """Start the child when it is due, and note when it has died."""
        now = time.monotonic()
        if self._next_start is not None:
            if now >= self._next_start:
                self._start(now)
            return
        if self.child.alive():
            if self._told and now - self._started_at > STEADY_S:
                self._told, self.deaths = False, 0
                self._on_dying(self.child.name, f"{self.child.name} runs again", False)
            return
        if getattr(self.child, "status", None) == health.EXIT_RENEW:
            log.info("%s ended to start anew with the site files in force", self.child.name)
            self._on_renewed()
            self.renew()
            return
        self._note_death(now, f"{self.child.name} ended{_spell_status(self.child)}")

    def renew(self) -> None:
        """Start it again at once after an end that was asked for."""
        self._next_start = 0.0

    def _start(self, now: float) -> None:
        try:
            self.child.stop()  # frees what a dead one left behind
            self.child.start()
        except (SlopewardError, OSError) as error:
            self._note_death(now, f"{self.child.name} cannot be started: {error}")
            return
        self._started_at, self._next_start = time.monotonic(), None
        log.info("%s started", self.child.name)

    def _note_death(self, now: float, line: str) -> None:
        if self._next_start is None and now - self._started_at > STEADY_S:
            self.deaths = 0
        pause_s = BACKOFF_S[min(self.deaths, len(BACKOFF_S) - 1)]
        self.deaths += 1
        self._next_start = now + pause_s
        log.error("%s; again in %g s", line, pause_s)
        if self.deaths >= DEATHS_BEFORE_ALARM and not self._told:
            self._told = True
            self._on_dying(self.child.name, f"{line}, {self.deaths} times running", True)


class Supervisor:
    """Starts broker, core and web in this order, keeps them, and stops them the other way round.

    Args:
        config: the service file.
        config_path: handed to the children; None lets them find it as we did.
        with_web: False leaves the page out.
        clock: by which gaps in the watch are seen.
    """

    def __init__(
        self,
        config: ServiceConfig,
        config_path: str | None,
        *,
        with_web: bool = True,
        clock: ServiceClock | None = None,
    ) -> None:
        self.config = config
        self.stopping = threading.Event()
        self._renew_core = threading.Event()
        self._began = time.monotonic()
        arguments = (config_path,) if config_path else ()
        self.broker = BrokerChild(config) if config.broker.mode != "external" else None
        # the children go by the broker that runs, which need not be the one that was asked for
        running = {} if self.broker is None else {"SLOPEWARD_BROKER__MODE": self.broker.mode}
        self.core = PythonChild(
            "core", "monitor.service.core", arguments, stop_s=STOP_CORE_S, beats=True,
            environment=core_environment(os.environ) | running,
        )  # fmt: skip
        children: list[Child] = [self.core]
        if self.broker is not None:
            children.insert(0, self.broker)
        self.web = PythonChild(
            "web", "monitor.web.server", arguments, stop_s=3.0, hears=True,
            environment=page_environment(os.environ) | running,
        )  # fmt: skip
        if with_web:
            children.append(self.web)
        self.keepers = [Keeper(child, self._on_dying, self._reload_broker) for child in children]
        self._lines: list[AlertChange] = []
        self.herald = Herald(
            self._list_addresses, self._describe_levels, channel_settings(config, os.environ), _now_utc,
            self._note_told, ToldFile(_find_told_path(config)),
        )  # fmt: skip
        self._known: list[Site] = []  # the versions in force and the last stored levels, as last read
        self._levels: list[str] = []
        self._head = ""  # of the audit log
        self.unwatched = Unwatched(clock or ServiceClock())
        self._next_look = self._next_tell = 0.0
        self._writer: threading.Thread | None = None
        self._refused = False  # the database did not take what we wrote last: the next try is at the next stamp
        self._ready = False
        self._has_written = False

    def run(self) -> int:
        """Go round until told to stop; returns the exit status."""
        next_stamp, next_ping = time.monotonic() + 2.0, time.monotonic() + PING_EVERY_S
        interval_s = health.watchdog_interval_s()
        next_word = 0.0
        try:
            while not self.stopping.is_set():
                for keeper in self.keepers:
                    if keeper.child is self.web and not self._ready:
                        continue  # the page needs the schema that core brings up to date
                    keeper.look()
                self._note_ready()
                self._look_at_core(time.monotonic())
                if self.core.status == EXIT_KNOWN and not self._ready:
                    log.critical("core cannot start; its line above says why")
                    return EXIT_KNOWN
                now = time.monotonic()
                if interval_s is not None and now >= next_word:
                    health.notify_systemd("WATCHDOG=1")
                    next_word = now + interval_s
                if self._ready and (now >= next_stamp or (self._lines and not self._refused)):
                    next_stamp = now + STAMP_EVERY_S
                    if self._writer is None or not self._writer.is_alive():
                        self._writer = threading.Thread(target=self._write, name="stamp", daemon=True)
                        self._writer.start()
                if self.config.watchdog.ping_url and now >= next_ping:
                    next_ping = now + PING_EVERY_S
                    threading.Thread(target=self._ping, name="ping", daemon=True).start()
                if self._renew_core.is_set():
                    self._restart_core()
                self._rest()
        finally:
            self._stop()
        return 0

    def _look_at_core(self, now: float) -> None:
        """Follow whether anybody decides: tell it past the outbox where nobody does, and the gap when it is over."""
        if not self.core.beat_at or now < self._next_look:
            return
        self._next_look = now + LOOK_EVERY_S
        trouble = self.find_trouble(now)
        self.herald.look(trouble, now, sure=self.core.decides)
        if now >= self._next_tell:
            self._next_tell = now + TELL_WEB_EVERY_S
            self.web.tell(trouble)
        beats = now - self.core.beat_at <= SLOW_BEAT_S and self.core.alive()
        self.unwatched.look(now, self.core.beat_at, beats=beats)

    def find_trouble(self, now: float) -> str:
        """Why nothing can be decided at this moment; empty when all is well."""
        if now - self.core.beat_at > SLOW_BEAT_S:
            silent_at = _now_utc() - timedelta(seconds=now - self.core.beat_at)
            return f"core does not go round since {silent_at:%Y-%m-%d %H:%M:%S} UTC"
        return self.core.trouble

    def _list_addresses(self) -> list[Address]:
        """Whom the files name and whom the versions in force name: the database need not answer."""
        return list_addresses([*_read_sites(self.config), *self._known])

    def _describe_levels(self) -> list[str]:
        return self._levels or ["No level is known."]

    def _note_told(self, told: str, taken: int, asked: int) -> None:
        """Put what was told past the outbox into the ledger; it is not sent again."""
        line = f"cannot decide: {told}; reported past the outbox by {taken} of {asked} channels"
        evidence = canonical_json({"told": told, "channels_taken": taken, "channels_asked": asked})
        for is_open, reason in ((True, line), (False, f"over: {line}")):
            self._lines.append(
                AlertChange(Ledger.HEALTH, "health:decide", 2 * is_open, is_open, reason, None, evidence, notify=False)
            )

    def _read_known(self, c: Connection) -> None:
        """Keep what is needed when the database is away: the sites in force and their last levels."""
        self._known = list(load_in_force(c))
        rows = load_view(c, "site_status", order_by=["site"])
        self._levels = [
            f"{row['site']}: level {row['level_name']} was stored last at {str(row['evaluated_at'])[:19]} UTC"
            for row in rows if row["evaluated_at"] is not None
        ]  # fmt: skip
        self._head = "audit entry {} head {}".format(*find_head(c))
        gap = self.unwatched.take(rows)
        if gap is not None:
            line = gap.describe(rows)
            log.critical("%s", line)
            known = "What was measured meanwhile was read from the broker and is part of these levels."
            self.herald.say(line[:150], [f"{line}.", *filter(None, [gap.why]), known], f"gap:{gap.begin}")

    def reload(self) -> None:
        """Start core anew, which reads configuration and site files again; nothing is lost, the broker keeps it."""
        self._renew_core.set()

    def _rest(self) -> None:
        # the heartbeat wakes us at once, so that READY is not late
        pipe = self.core._pipe  # noqa: SLF001  both classes live in this room
        if pipe is None or self._ready:
            self.stopping.wait(0.2)
        else:
            select.select([pipe], [], [], 0.1)

    def _note_ready(self) -> None:
        if not self._ready and self.core.has_beaten:
            self._ready = True
            health.notify_systemd("READY=1")
            log.info("ready after %.1f s; page: %s", time.monotonic() - self._began, self.config.web.url)

    def _restart_core(self) -> None:
        self._renew_core.clear()
        log.info("reading configuration and site files again: core starts anew")
        self._reload_broker()
        self.core.stop()
        next(k for k in self.keepers if k.child is self.core).renew()

    def _reload_broker(self) -> None:
        if self.broker is not None:
            self.broker.reload()

    def _stop(self) -> None:
        health.notify_systemd("STOPPING=1")
        started = time.monotonic()
        for keeper in reversed(self.keepers):
            keeper.child.stop()
            log.info("%s stopped", keeper.child.name)
        log.info("stopped in %.1f s", time.monotonic() - started)

    def _on_dying(self, name: str, line: str, dying: bool) -> None:
        (log.critical if dying else log.info)("%s", line)
        evidence = canonical_json({"child": name, "line": line})
        self._lines.append(AlertChange(Ledger.HEALTH, f"health:process:{name}", 2 * dying, dying, line, None, evidence))

    def _write(self) -> None:
        """Write alarms and what the children do into the database; what cannot be written now is written later."""
        lines, self._lines = self._lines, []
        now = datetime.now(UTC)
        try:
            db = Database(self.config.database.url)
            try:
                with db.write() as c:
                    if lines:
                        apply_changes(
                            c, "status", lines, site=None, recipients=_load_recipients(self.config, c), actor=SERVICE,
                            now=now, rule_version=code_version(),
                        )  # fmt: skip
                    before = find_stamp(c, "supervisor")
                    own = {"pid": os.getpid(), "host": socket.gethostname(), "deaths": self._count_deaths()}
                    stamp(c, "supervisor", own, now)
                    stamp(c, "broker", self._describe_broker(), now)
                if not self._has_written:
                    self._has_written = True
                    self.unwatched.note_start(before and before[0])
                with db.read() as c:
                    self._read_known(c)
            finally:
                db.close()
            self._refused = False
        except Exception as error:  # the supervisor must outlive any trouble of the database
            self._refused = True
            self._lines = [*lines, *self._lines]
            log.warning("stamp not written: %s", error)

    def _count_deaths(self) -> dict[str, int]:
        return {k.child.name: k.deaths for k in self.keepers}

    def _describe_broker(self) -> dict[str, Any]:
        if self.broker is None:
            return {"mode": "external", "url": self.config.broker.url}
        return {"mode": self.broker.mode, "durable": self.broker.durable, "alive": self.broker.alive()}

    def _ping(self) -> None:
        """Tell the outside watcher that core goes round; its silence is the alarm."""
        trouble = "core has not begun" if not self.core.has_beaten else self.find_trouble(time.monotonic())
        if trouble:
            log.warning("the outside watcher is not called: %s", trouble)
            return
        try:
            self._call_watcher(self._head.encode())
        except OSError as error:
            log.warning("the outside watcher does not answer: %s", error)

    def _call_watcher(self, body: bytes | None) -> None:
        """The head of the audit log goes along, so that somebody elsewhere has it; a watcher may take no body."""
        try:
            with urllib.request.urlopen(self.config.watchdog.ping_url, body, timeout=10):  # noqa: S310  checked as http(s)
                pass
        except urllib.error.HTTPError as error:
            if body is None or error.code not in NO_BODY:
                raise
            self._call_watcher(None)


def _now_utc() -> datetime:
    return datetime.now(UTC)


def _find_told_path(config: ServiceConfig) -> Path:
    """One file per database: services that share a working directory do not hear of each other's outages."""
    name = make_url(config.database.url).render_as_string(hide_password=True)
    return Path(config.paths.state) / f"told-{hashlib.sha256(name.encode()).hexdigest()[:8]}.json"


def _load_recipients(config: ServiceConfig, c: Connection) -> tuple[Any, ...]:
    """Whom the files name and whom the versions in force name: an edit that nobody approved silences nobody."""
    return gather_recipients([*_read_sites(config), *load_in_force(c)])


def _read_sites(config: ServiceConfig) -> list[Site]:
    """The sites whose files can be read."""
    try:
        return scan_sites(config.paths.sites)[0]
    except SlopewardError:
        return []


def _spell_status(child: Child) -> str:
    status = getattr(child, "status", None)
    if status is None:
        return ""
    return f" by signal {-status}" if status < 0 else f" with status {status}"


def main(config_path: str | None = None, *, with_web: bool = True) -> int:
    """Run the service until SIGTERM or SIGINT; SIGHUP reads configuration and site files again."""
    hide_memory()  # it holds secrets
    config = load_service(config_path)
    logs.configure("supervisor", config.log.level)
    with contextlib.ExitStack() as stack:
        if config.broker.mode != "external":
            try:
                stack.enter_context(hold_folder(Path(config.broker.data)))
            except BrokerError as error:
                log.critical("%s", error)
                return EXIT_KNOWN
            except OSError as error:
                log.error("nobody can say whether another service runs here: %s", error)  # noqa: TRY400
        return _run(config, config_path, with_web=with_web)


def _run(config: ServiceConfig, config_path: str | None, *, with_web: bool) -> int:
    supervisor = Supervisor(config, config_path, with_web=with_web)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stopping.set())
    signal.signal(signal.SIGHUP, lambda *_: supervisor.reload())
    return supervisor.run()
