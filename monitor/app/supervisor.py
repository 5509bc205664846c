"""The supervisor: starts the broker, the core and the web process, restarts them, and stops them in order.

Broker, core and web process start side by side. The web process opens its port when the core has upgraded the database.

It also does what must not depend on the core: it notifies people while the core cannot decide (`CoreWatch`), stores its
heartbeat (`SupervisorRecords`) and calls the outside watcher (`send_ping`).
"""

import contextlib
import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from monitor import logs
from monitor.app import heartbeats
from monitor.app.child_environment import core_environment, web_environment
from monitor.app.children import BrokerChild, Child, ProcessRestarter, PythonChild
from monitor.app.self_monitoring.clock import ServiceClock
from monitor.app.self_monitoring.core_watch import CoreWatch
from monitor.app.self_monitoring.dead_man_ping import send_ping
from monitor.app.self_monitoring.supervisor_records import SupervisorRecords
from monitor.app.service_file import LastValidServiceFile
from monitor.errors import BrokerError, SlopewardError
from monitor.ingest.broker_process import hold_folder
from monitor.settings.service import ServiceConfig, load_service
from monitor.worker.linux import hide_memory

log = logging.getLogger(__name__)
WAKE_EVERY_S: Final = 0.2
WAKE_EVERY_WHILE_STARTING_S: Final = 0.1
STOP_CORE_S: Final = 8.0
STOP_WEB_S: Final = 3.0
SEND_TROUBLE_EVERY_S: Final = 3.0
CHECK_ALARMS_EVERY_S: Final = 1.0
FIRST_WRITE_AFTER_S: Final = 2.0
WRITE_EVERY_S: Final = 10.0
# While a call hangs, no other call is started. `dead_man_ping.TIMEOUT_S` limits each operation of the connection; a
# redirect, or a second attempt without a body, has the same time again.
PING_EVERY_S: Final = 60.0
EXTEND_START_EVERY_S: Final = 10.0
EXTEND_START_BY_S: Final = 60
# Exit status of a core whose start failed by an error that a restart does not correct. The supervisor then exits with
# it.
EXIT_CANNOT_START: Final = 1


class Supervisor:
    """Run the processes of the service.

    Args:
        config_path: Passed to the child processes; None lets them find the service file as this process did.
        clock: Replaces the clock that measures unwatched periods, in tests.
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
        self._service_file = LastValidServiceFile(config_path)
        self.stopping = threading.Event()
        self._must_replace_core = threading.Event()
        self._started_s = time.monotonic()
        self._is_ready = False
        self._make_children(config_path, with_web=with_web)
        self.records = SupervisorRecords(config, self.core, self.broker)
        self.core_watch = CoreWatch(config, self.core, clock or ServiceClock(), self.records.record_emergency_notice)
        self.restarters = [ProcessRestarter(child, self._prepare_new_core) for child in self.children]
        self.records.restarters = self.restarters
        self._next_watchdog_s = 0.0
        self._next_extension_s = 0.0
        self._next_trouble_s = 0.0
        self._next_check_s = self._started_s
        self._next_write_s = self._started_s + FIRST_WRITE_AFTER_S
        self._next_ping_s = self._started_s + PING_EVERY_S
        self._writer: threading.Thread | None = None
        self._pinger: threading.Thread | None = None

    def _make_children(self, config_path: str | None, *, with_web: bool) -> None:
        arguments = (config_path,) if config_path else ()
        self.broker = BrokerChild(self.config) if self.config.broker.mode != "external" else None
        # The mode differs from that of the service file if Mosquitto is not installed.
        running_mode = {} if self.broker is None else {"SLOPEWARD_BROKER__MODE": self.broker.mode}
        self.core = PythonChild(
            "core",
            "monitor.app.core",
            arguments,
            stop_s=STOP_CORE_S,
            sends_heartbeats=True,
            service_file=self._service_file,
            environment=core_environment(os.environ) | running_mode,
        )
        self.web = PythonChild(
            "web",
            "monitor.web.server",
            arguments,
            stop_s=STOP_WEB_S,
            receives_lines=True,
            service_file=self._service_file,
            environment=web_environment(os.environ) | running_mode,
        )
        # They are started in this order and stopped in the reverse order.
        self.children: list[Child] = []
        if self.broker is not None:
            self.children.append(self.broker)
        self.children.append(self.core)
        if with_web:
            self.children.append(self.web)

    # ---- start, loop and stop ----------------------------------------------------------------------------------------
    def run(self) -> int:
        """Run the service until it is stopped. Return the exit status."""
        try:
            self._check_children()
            # After the start of the core, so that the core does not wait for it.
            self.core_watch.emergency.load_texts()
            while not self.stopping.is_set():
                self._check_children()
                if self.core.status == EXIT_CANNOT_START and not self._is_ready:
                    log.critical("the core cannot start; see the error of the core above")
                    return EXIT_CANNOT_START
                now_s = time.monotonic()
                self.core_watch.check(now_s)
                self._send_trouble_to_web(now_s)
                self._notify_watchdog(now_s)
                self._extend_start(now_s)
                self._check_alarms(now_s)
                self._write_records(now_s)
                self._ping_watcher(now_s)
                if self._must_replace_core.is_set():
                    self._replace_core()
                self._sleep()
        finally:
            self._stop()
        return 0

    def reload(self) -> None:
        """Replace the core by a new one, which loads the service file and the site files again.

        The supervisor, the broker and the web process keep the service file of their start. The broker keeps messages
        meanwhile. If the service file cannot be used, the core is not replaced. A process that is started again while
        the service file has an error gets its last valid version.
        """
        self._must_replace_core.set()

    def _check_children(self) -> None:
        """Start and restart the children."""
        for restarter in self.restarters:
            restarter.check()
            if restarter.child is self.core:
                self._note_ready()

    def _note_ready(self) -> None:
        """Notify systemd when the core has finished its first start, and the broker its start or its first attempt."""
        is_broker_starting = self.broker is not None and self.broker.is_starting
        if self._is_ready or not self.core.is_ready or is_broker_starting:
            return
        self._is_ready = True
        heartbeats.notify_systemd("READY=1")
        log.info("ready after %.1f s", time.monotonic() - self._started_s)

    @property
    def _is_database_ready(self) -> bool:
        """Whether a core has been ready, so that the database has the schema of this program."""
        return self._is_ready and self.core.has_current_schema

    def _replace_core(self) -> None:
        self._must_replace_core.clear()
        try:
            config = self._service_file.load()
        except (SlopewardError, OSError) as error:
            log.error("not reloaded: the core continues with the files of its start: %s", error)  # noqa: TRY400
            return
        if changed := [
            name for name in ServiceConfig.model_fields if getattr(config, name) != getattr(self.config, name)
        ]:
            log.warning(
                "the service file has changed (%s), and only the core applies it now; restart the service, so that the "
                "broker, the page and the supervisor apply it as well",
                ", ".join(f"[{name}]" for name in changed),
            )
        log.info("the core starts again with the current service file and site files")
        # The broker subscribes the sessions of the core to new topics, so the core must not be connected.
        self.core.stop()
        self._prepare_new_core()
        for restarter in self.restarters:
            if restarter.child is self.core:
                restarter.start_at_once()

    def _prepare_new_core(self) -> None:
        """Prepare the start of a core that replaces another one because of new files."""
        self.core_watch.unwatched.note_replacement()
        if self.broker is not None:
            self.broker.reload()

    def _sleep(self) -> None:
        """Wait briefly. During the start a heartbeat of the core ends the wait, so that READY is not late."""
        pipe = self.core.heartbeat_pipe
        # The pipe of a core that has ended is always readable, so `select` would return at once.
        if pipe is None or self.core.pid is None or self._is_ready:
            self.stopping.wait(WAKE_EVERY_S)
        else:
            select.select([pipe], [], [], WAKE_EVERY_WHILE_STARTING_S)

    def _stop(self) -> None:
        heartbeats.notify_systemd("STOPPING=1")
        started_s = time.monotonic()
        for restarter in reversed(self.restarters):
            restarter.child.stop()
            log.info("%s stopped", restarter.child.name)
        log.info("stopped in %.1f s", time.monotonic() - started_s)

    # ---- periodic duties ---------------------------------------------------------------------------------------------
    def _send_trouble_to_web(self, now_s: float) -> None:
        """Send the reason why the core cannot decide; an empty line if it can.

        The first line also tells the web process that the database is upgraded, so that it may open its port.
        """
        if self._is_database_ready and now_s >= self._next_trouble_s:
            self._next_trouble_s = now_s + SEND_TROUBLE_EVERY_S
            self.web.send_line(self.core_watch.find_trouble(now_s))

    def _notify_watchdog(self, now_s: float) -> None:
        interval_s = heartbeats.watchdog_interval_s()
        if interval_s is not None and now_s >= self._next_watchdog_s:
            self._next_watchdog_s = now_s + interval_s
            heartbeats.notify_systemd("WATCHDOG=1")

    def _extend_start(self, now_s: float) -> None:
        """Ask systemd for more time during the start, because the upgrade of a large database takes minutes."""
        is_starting = not self._is_ready and self.core.pid is not None and not self.core.trouble
        if is_starting and now_s >= self._next_extension_s:
            self._next_extension_s = now_s + EXTEND_START_EVERY_S
            heartbeats.notify_systemd(f"EXTEND_TIMEOUT_USEC={EXTEND_START_BY_S * 1_000_000}")

    def _check_alarms(self, now_s: float) -> None:
        if now_s >= self._next_check_s:
            self._next_check_s = now_s + CHECK_ALARMS_EVERY_S
            self.records.check()

    def _write_records(self, now_s: float) -> None:
        """Write to the database in a thread, because the database may hang."""
        is_due = now_s >= self._next_write_s or self.records.is_urgent
        if self._is_database_ready and is_due:
            self._next_write_s = now_s + WRITE_EVERY_S
            self._writer = _start_unless_alive(self._writer, lambda: self.records.write(self.core_watch), "records")

    def _ping_watcher(self, now_s: float) -> None:
        if self.config.watchdog.ping_url and now_s >= self._next_ping_s:
            self._next_ping_s = now_s + PING_EVERY_S
            self._pinger = _start_unless_alive(self._pinger, self._ping, "ping")

    def _ping(self) -> None:
        """Call the outside watcher, unless the core cannot decide: then the missing call is the alarm."""
        if trouble := self.core_watch.find_ping_trouble(time.monotonic()):
            log.warning("the outside watcher is not called: %s", trouble)
            return
        send_ping(self.config.watchdog.ping_url, self.core_watch.audit_head)


def _start_unless_alive(thread: threading.Thread | None, work: Callable[[], None], name: str) -> threading.Thread:
    """Start a thread, unless the previous thread still runs. Return the thread that runs."""
    if thread is not None and thread.is_alive():
        return thread
    started = threading.Thread(target=work, name=name, daemon=True)
    started.start()
    return started


def main(config_path: str | None = None, *, with_web: bool = True) -> int:
    """Run the service until SIGTERM or SIGINT. SIGHUP replaces the core, see `Supervisor.reload`."""
    # The memory contains secrets of the configuration.
    hide_memory()
    config = load_service(config_path)
    logs.configure("supervisor", config.log.level)
    with contextlib.ExitStack() as stack:
        if config.broker.mode != "external":
            try:
                stack.enter_context(hold_folder(Path(config.broker.data)))
            except BrokerError as error:
                log.critical("%s", error)
                return EXIT_CANNOT_START
            except OSError as error:
                log.error("cannot determine whether another service uses this broker folder: %s", error)  # noqa: TRY400
        supervisor = Supervisor(config, config_path, with_web=with_web)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: supervisor.stopping.set())
        signal.signal(signal.SIGHUP, lambda *_: supervisor.reload())
        return supervisor.run()
