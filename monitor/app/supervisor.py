"""The supervisor: broker, core and page as processes of their own, restarted when they end, stopped in order."""

import contextlib
import hashlib
import logging
import math
import os
import select
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Required, TypedDict

from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from monitor import logs
from monitor.alerts.acts.change_control import load_in_force
from monitor.alerts.queries.alerts import ChangeContext, apply_changes
from monitor.alerts.views import AlertRow
from monitor.app.checks import health
from monitor.app.checks.decisions import SLOW_BEAT_S, Heartbeat
from monitor.app.checks.table import run_checks
from monitor.app.child_environment import core_environment, page_environment
from monitor.app.children import BrokerChild, Child, ProcessRestarter, PythonChild, read_sites, reject_denied
from monitor.app.clock import ServiceClock
from monitor.app.emergency_notice import EmergencyNotifier, list_addresses
from monitor.app.monitoring_gap import MonitoringGap
from monitor.app.notice_record import ChannelAddress, NoticeStateFile
from monitor.broker.broker_log import RefusedTopic
from monitor.canonical import code_version
from monitor.decision.changes import RESOLVED, AlertChange, health_alarm
from monitor.delivery.notifier import channel_settings
from monitor.errors import BrokerError
from monitor.ingest.broker_process import hold_folder
from monitor.ingest.payload_limits import PAYLOAD_LIMIT
from monitor.ingest.queries.messages import Quota, add_rejected
from monitor.settings.service import ServiceConfig, load_service
from monitor.sites.records import Site, gather_recipients
from monitor.sites.views import SiteStatusRow
from monitor.storage.actor import SERVICE_ACTOR
from monitor.storage.audit import find_head
from monitor.storage.check import LONGEST
from monitor.storage.engine import Database
from monitor.storage.service_state import DeniedMessages, find_heartbeat, remove_heartbeat, write_heartbeat
from monitor.storage.views import load_view
from monitor.text.instants import parse_time
from monitor.text.message import SENTENCE, Figure, Message, Template, Term, Timestamp
from monitor.worker.linux import hide_memory

_PAST_OUTBOX: Final = Template(
    "service.notice.past_outbox", "cannot decide: {text}; reported past the outbox by {n} of {n2} channels"
)
LAST_LEVEL: Final = Template("service.notice.last_level", "{site}: level {level} was stored last at {at}")
_IS_PART: Final = Template(
    "service.notice.is_part", "What was measured meanwhile was read from the broker and is part of these levels."
)
_CONTESTED: Final = Template(
    "service.broker.contested",
    "verify now: several instruments seem to connect to the broker as '{client}': it closed the older connection {n} "
    "times within 10 minutes. Messages of both can be lost; give each instrument a login of its own (slopeward broker "
    "add), and a client id of its own",
)
_UNCONTESTED: Final = Template(
    "service.broker.uncontested", "no connection of the client id '{client}' was taken over within 10 minutes"
)
CONTESTED_KEY: Final = "health:broker:client:"
_OVERSIZED: Final = Template(
    "service.broker.oversized",
    "verify now: the broker dropped {n} messages of '{client}' within an hour, because they have more than {most} "
    "bytes. Their readings are lost. Let it send its readings in several messages",
)
_NOT_OVERSIZED: Final = Template(
    "service.broker.not_oversized", "the broker dropped no message of '{client}' because of its size within an hour"
)
OVERSIZED_KEY: Final = "health:broker:too_large:"
_NO_LEVEL: Final = Template("service.notice.no_level", "No level is known.")

log = logging.getLogger(__name__)
CHECK_EVERY_S: Final = 1.0
NOTIFY_WEB_EVERY_S: Final = 3.0
STOP_CORE_S: Final = 8.0
PING_EVERY_S: Final = 60.0
NO_BODY: Final = frozenset({400, 404, 405, 411, 413, 415, 501})  # what a watcher that takes GET alone answers
STAMP_EVERY_S: Final = 10.0
ELSEWHERE_S: Final = 15.0  # as long after its stamp another service is believed to decide, and looked for anew before
EXIT_KNOWN: Final = 1  # a known error that trying again does not mend


class BrokerStamp(TypedDict, total=False):
    """How the broker does: one of ours, or the address of another one."""

    mode: Required[str]
    url: str
    durable: bool
    alive: bool
    risk_s: float | None  # seconds of acknowledged messages that a crash of the broker can lose
    denied: list[DeniedMessages]


class Supervisor:
    """Starts broker, core and web in this order, keeps them, and stops them the other way round.

    Args:
        config_path: handed to the children; None lets them find it as we did.
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
            "core",
            "monitor.app.core",
            arguments,
            stop_s=STOP_CORE_S,
            sends_heartbeats=True,
            environment=core_environment(os.environ) | running,
        )
        children: list[Child] = [self.core]
        if self.broker is not None:
            children.insert(0, self.broker)
        self.web = PythonChild(
            "web",
            "monitor.web.server",
            arguments,
            stop_s=3.0,
            receives_lines=True,
            environment=page_environment(os.environ) | running,
        )
        if with_web:
            children.append(self.web)
        self.restarters = [ProcessRestarter(child, self._on_dying, self._reload_broker) for child in children]
        self._lines: list[AlertChange] = []
        self._broker_alarms: set[str] = set()  # keys of open alarms about clients of the broker
        self._quota = Quota.of_megabytes(config.limits.quarantine_mb, config.limits.quarantine_source_mb)
        self.emergency = EmergencyNotifier(
            self._list_addresses,
            lambda: self._levels or [_NO_LEVEL()],
            channel_settings(config, os.environ),
            _now_utc,
            self._record_notice,
            NoticeStateFile(_find_notice_path(config)),
            lambda name: self._languages.get(name) or config.language.default,
            config.web.timezone,
        )
        self._languages: dict[str, str] = {}  # of recipients, by name
        self._known: list[Site] = []  # the versions in force and the last stored levels, as last read
        self._levels: list[str] = []
        self._head = ""  # of the audit log
        self.gap = MonitoringGap(clock or ServiceClock())
        self._next_check = self._next_web_notice = self._elsewhere_until = 0.0
        self._writer: threading.Thread | None = None
        self._pinger: threading.Thread | None = None
        self._refused = False  # the database did not take what we wrote last: the next try is at the next stamp
        self._ready = False
        self._has_written = False

    def run(self) -> int:
        """Go round until told to stop; returns the exit status."""
        next_stamp, next_ping = time.monotonic() + 2.0, time.monotonic() + PING_EVERY_S
        interval_s = health.watchdog_interval_s()
        next_watchdog = 0.0
        try:
            while not self.stopping.is_set():
                for restarter in self.restarters:
                    # the page needs the schema that core brings up to date
                    if restarter.child is not self.web or (self._ready and self.core.can_read):
                        restarter.check()
                if not self._ready and self.core.is_ready:
                    self._ready = True
                    health.notify_systemd("READY=1")
                    log.info("ready after %.1f s", time.monotonic() - self._began)  # the page says where it is itself
                self._check_core(time.monotonic())
                if self.core.status == EXIT_KNOWN and not self._ready:
                    log.critical("core cannot start; its line above says why")
                    return EXIT_KNOWN
                now = time.monotonic()
                if interval_s is not None and now >= next_watchdog:
                    health.notify_systemd("WATCHDOG=1")
                    next_watchdog = now + interval_s
                if self._ready and self.core.can_read and (now >= next_stamp or (self._lines and not self._refused)):
                    next_stamp = now + STAMP_EVERY_S
                    self._writer = _start_unless_alive(self._writer, self._write, "stamp")
                if self.config.watchdog.ping_url and now >= next_ping:
                    next_ping = now + PING_EVERY_S  # one that lets us hang is no more called
                    self._pinger = _start_unless_alive(self._pinger, self._ping, "ping")
                if self._renew_core.is_set():
                    self._restart_core()
                self._rest()
        finally:
            self._stop()
        return 0

    def _check_core(self, now: float) -> None:
        """Follow whether anybody decides: tell it past the outbox where nobody does, and the gap when it is over."""
        if not self.core.last_beat_s or now < self._next_check:
            return
        self._next_check = now + CHECK_EVERY_S
        trouble = self.find_trouble(now)
        # of a core that is back from a standstill and begins anew nobody knows yet whether it will stand by
        elsewhere = now < self._elsewhere_until
        self.emergency.update(
            "" if elsewhere else trouble, now, sure=elsewhere or self.core.decides or self.core.stands_by
        )
        if now >= self._next_web_notice:
            self._next_web_notice = now + NOTIFY_WEB_EVERY_S
            self.web.send_line(trouble)
        beats = now - self.core.last_beat_s <= SLOW_BEAT_S and self.core.alive()
        self.gap.update(now, self.core.last_beat_s, beats=beats)
        if self.core.stands_by:  # the other one watches
            self.gap.forget()

    def find_trouble(self, now: float) -> str:
        """Why nothing can be decided at this moment; empty when all is well."""
        silent_s = now - self.core.last_beat_s
        beat = Heartbeat(silent_s, _now_utc() - timedelta(seconds=silent_s))
        return next((one.text for one in run_checks(beat) if one.is_wrong), self.core.trouble)

    def _list_addresses(self) -> list[ChannelAddress]:
        sites = [*read_sites(self.config), *self._known]
        self._languages = {r.name: r.language for r in gather_recipients(sites)}
        return list_addresses(sites)

    def _record_notice(self, trouble: str, taken: int, addressed: int) -> None:
        """Put what was told past the outbox into the ledger; it is not sent again."""
        line = _PAST_OUTBOX(text=trouble, n=taken, n2=addressed)
        facts = {"told": trouble, "channels_taken": taken, "channels_asked": addressed}
        for is_open, reason in ((True, line), (False, RESOLVED(text=line))):
            level = 2 * is_open
            self._lines.append(
                health_alarm("health:decide", level, reason, is_open=is_open, evidence=facts, notify=False)
            )

    def _read_known(self, c: Connection) -> None:
        """Keep what is needed when the database is away: the sites in force and their last levels."""
        self._known = list(load_in_force(c))
        self._languages |= {r.name: r.language for r in gather_recipients(self._known)}
        rows = load_view(c, "site_status", SiteStatusRow, order_by=["site"])
        self._levels = [
            LAST_LEVEL(
                site=row["site"],
                level=Term(str(row["level_name"])),
                at=Timestamp.of(parse_time(str(row["evaluated_at"])), "second"),
            )
            for row in rows
            if row["evaluated_at"] is not None
        ]
        self._head = "audit entry {} head {}".format(*find_head(c))
        if self._is_elsewhere(c, ELSEWHERE_S):
            self._elsewhere_until = time.monotonic() + ELSEWHERE_S
        gap = self.gap.take(rows)
        if gap is not None and not self._is_elsewhere(c):
            line = gap.describe(rows)
            log.critical("%s", line)
            self.emergency.notify(line, [SENTENCE(text=line), *filter(None, [gap.why]), _IS_PART()], f"gap:{gap.begin}")

    def reload(self) -> None:
        """Start core anew, which reads configuration and site files again; nothing is lost, the broker keeps it."""
        self._renew_core.set()

    def _rest(self) -> None:
        # the heartbeat wakes us at once, so that READY is not late
        pipe = self.core.heartbeat_pipe
        if pipe is None or self._ready:
            self.stopping.wait(0.2)
        else:
            select.select([pipe], [], [], 0.1)

    def _restart_core(self) -> None:
        self._renew_core.clear()
        log.info("reading configuration and site files again: core starts anew")
        # The broker subscribes the sessions of the core to new topics, so the core must not be connected.
        self.core.stop()
        self._reload_broker()
        next(k for k in self.restarters if k.child is self.core).start_at_once()

    def _reload_broker(self) -> None:
        if self.broker is not None:
            self.broker.reload()

    def _stop(self) -> None:
        health.notify_systemd("STOPPING=1")
        started = time.monotonic()
        for keeper in reversed(self.restarters):
            keeper.child.stop()
            log.info("%s stopped", keeper.child.name)
        log.info("stopped in %.1f s", time.monotonic() - started)

    def _is_elsewhere(self, c: Connection, within_s: float = math.inf) -> bool:
        """Whether another service decided last, so long ago at most: it watched while this one slept."""
        core = find_heartbeat(c, "core")
        if not self.config.standby.enabled or core is None or core[1].get("name") == self.config.service_name:
            return False
        return (_now_utc() - core[0]).total_seconds() < within_s

    def _on_dying(self, name: str, line: str, dying: bool) -> None:
        (log.critical if dying else log.info)("%s", line)
        facts = {"child": name, "line": line}
        self._lines.append(health_alarm(f"health:process:{name}", 2 * dying, line, is_open=dying, evidence=facts))

    def _check_broker_clients(self) -> None:
        """Raise an alarm for each client of the broker whose messages may be lost, and end those that are over.

        Either several clients use one client id, or the messages of a client are larger than the broker accepts.
        """
        now = _now_utc()
        found: dict[str, tuple[Message, dict[str, Any]]] = {}
        if self.broker is not None:
            for contested in self.broker.list_contested(now):
                text = _CONTESTED(client=contested.client, n=contested.times)
                facts = {"client": contested.client, "times": contested.times}
                found[f"{CONTESTED_KEY}{contested.client[:LONGEST]}"] = text, facts
            for oversized in self.broker.list_oversized(now):
                most = Figure(PAYLOAD_LIMIT, "d")
                text = _OVERSIZED(client=oversized.client, n=Figure(oversized.times, "d"), most=most)
                facts = {"client": oversized.client, "times": oversized.times}
                found[f"{OVERSIZED_KEY}{oversized.client[:LONGEST]}"] = text, facts
        for key in found.keys() - self._broker_alarms:
            text, facts = found[key]
            self._lines.append(health_alarm(key, 2, text, is_open=True, evidence=facts))
        for key in self._broker_alarms - found.keys():
            if key.startswith(CONTESTED_KEY):
                text = _UNCONTESTED(client=key.removeprefix(CONTESTED_KEY))
            else:
                text = _NOT_OVERSIZED(client=key.removeprefix(OVERSIZED_KEY))
            self._lines.append(health_alarm(key, 0, text, is_open=False))
        self._broker_alarms = set(found)

    def _write(self) -> None:
        """Write alarms and what the children do into the database; what cannot be written now is written later."""
        self._check_broker_clients()
        lines, self._lines = self._lines, []
        denied = [] if self.broker is None else self.broker.list_refused()
        stands_by = self.core.stands_by
        now = datetime.now(UTC)
        try:
            with Database(self.config.database.url) as db:
                with db.read() as c:  # first: a database that takes no writes still answers what the last levels are
                    self._read_known(c)
                    if not self._has_written:  # alarms of the run before end once their clients are quiet
                        keys = [row["key"] for row in load_view(c, "active_alerts", AlertRow)]
                        self._broker_alarms |= {key for key in keys if key.startswith((CONTESTED_KEY, OVERSIZED_KEY))}
                with db.write() as c:
                    if lines:
                        apply_changes(
                            c,
                            lines,
                            ChangeContext(
                                "status", None, _load_recipients(self.config, c), SERVICE_ACTOR, now, code_version()
                            ),
                        )
                    before = find_heartbeat(c, "supervisor")
                    deaths = {k.child.name: k.deaths for k in self.restarters}
                    own = {"pid": os.getpid(), "host": socket.gethostname(), "deaths": deaths}
                    if not stands_by:
                        remove_heartbeat(c, f"{health.STANDBY_PREFIX}{self.config.service_name}")
                        write_heartbeat(c, "supervisor", own, now)
                        write_heartbeat(c, "broker", self._describe_broker(denied), now)
                        add_rejected(c, reject_denied(denied), self._quota)
                if self.broker is not None and not stands_by:
                    self.broker.note_stored(denied)
                if not self._has_written and not stands_by:
                    self._has_written = True
                    self.gap.note_start(before and before[0])
            self._refused = False
        except Exception as error:  # the supervisor must outlive any trouble of the database
            self._refused = True
            self._lines = [*lines, *self._lines]
            log.warning("stamp not written: %s", error)

    def _describe_broker(self, denied: Sequence[RefusedTopic]) -> BrokerStamp:
        if self.broker is None:
            return {"mode": "external", "url": self.config.broker.url}
        return {
            "mode": self.broker.mode,
            "durable": self.broker.durable,
            "alive": self.broker.alive(),
            "risk_s": self.broker.risk_s,
            "denied": self.broker.describe_denied(denied),
        }

    def _ping(self) -> None:
        """Tell the outside watcher that core goes round; its silence is the alarm."""
        trouble = "core has not begun" if not self.core.is_ready else self.find_trouble(time.monotonic())
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
            with WATCHER.open(self.config.watchdog.ping_url, body, timeout=10):  # checked as http(s)
                pass
        except urllib.error.HTTPError as error:
            if body is None or error.code not in NO_BODY:
                raise
            self._call_watcher(None)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Leads on without the body of the answer, which the library reads to its end, and it may have none."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """The next request; what is left of this answer is not read."""
        fp.close()
        return super().redirect_request(req, fp, code, msg, headers, newurl)


WATCHER: Final = urllib.request.build_opener(_Redirects)


def _now_utc() -> datetime:
    return datetime.now(UTC)


def _find_notice_path(config: ServiceConfig) -> Path:
    """One file per database: services that share a working directory do not hear of each other's outages."""
    name = make_url(config.database.url).render_as_string(hide_password=True)
    return Path(config.paths.state) / f"told-{hashlib.sha256(name.encode()).hexdigest()[:8]}.json"


def _load_recipients(config: ServiceConfig, c: Connection) -> tuple[Any, ...]:
    """Whom the files name and whom the versions in force name: an edit that nobody approved silences nobody."""
    return gather_recipients([*read_sites(config), *load_in_force(c)])


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


def _start_unless_alive(thread: threading.Thread | None, work: Callable[[], None], name: str) -> threading.Thread:
    if thread is not None and thread.is_alive():
        return thread
    started = threading.Thread(target=work, name=name, daemon=True)
    started.start()
    return started
