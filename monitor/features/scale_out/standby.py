"""Wait in a standby service, and take over if the active core is gone, hangs or is cut off from the database."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection

from monitor.api.app import CommitMonitor, heartbeats, read_sites
from monitor.api.database import CoreLease, Database, remove_heartbeat, require_current, write_heartbeat
from monitor.api.errors import StoreBusyError, StoreError
from monitor.api.queries.alerts import load_in_force
from monitor.api.settings import ServiceConfig
from monitor.features.scale_out.queries import end_core_sessions, find_lease

log: Final = logging.getLogger(__name__)
# The lease of a core that hangs is this old before a standby service ends its sessions.
EXPIRED_S: Final = 8.0
# A free lease that is younger is left to the core that held it, which may only be restarting.
GRACE_S: Final = 4.0
HEARTBEAT_INTERVAL_S: Final = 3.0
POLL_S: Final = 1.0


def wait_for_turn(
    config: ServiceConfig,
    turn: CoreLease,
    commits: CommitMonitor,
    stopping: threading.Event,
    attempt: Callable[[Callable[[], object]], bool],
) -> bool:
    """Wait until this service holds the lease. Return False if it was stopped before.

    The arguments are those of the hook `wait_for_turn`. Failures of the database are recorded in `commits`, so that
    this service reports them too.
    """
    fault = ""
    next_heartbeat_s = 0.0
    while not attempt(lambda: take_over(turn)) or not turn.is_ours:
        trouble = commits.find_trouble()
        previous_fault = fault
        fault = _find_version_fault(turn, commits)
        if fault and fault != previous_fault:
            log.warning("this standby service cannot show its page: %s", fault)
        if not fault and time.monotonic() >= next_heartbeat_s:
            next_heartbeat_s = time.monotonic() + HEARTBEAT_INTERVAL_S
            _write_heartbeat(config)
        has_parent = heartbeats.send_heartbeat(
            trouble, heartbeats.STANDBY_OTHER_SCHEMA if fault else heartbeats.STANDBY
        )
        if not has_parent or stopping.wait(POLL_S):
            # A person stopped this service, so its silence must not be reported.
            _remove_heartbeat(config)
            return False
    log.warning("this service is active from now on (lease %d)", turn.fence)
    return True


def _write_heartbeat(config: ServiceConfig) -> None:
    """Record that this service stands by, and which of its site files differ from those in force."""

    def write(c: Connection) -> None:
        versions = {site.id: site.version for site in load_in_force(c)}
        differs = sorted(site.id for site in read_sites(config) if versions.get(site.id) != site.version)
        facts = {"pid": os.getpid(), "host": socket.gethostname(), "differs": differs}
        write_heartbeat(c, _get_heartbeat_name(config), facts, datetime.now(UTC))

    _run_unguarded(config, write)


def _remove_heartbeat(config: ServiceConfig) -> None:
    _run_unguarded(config, lambda c: remove_heartbeat(c, _get_heartbeat_name(config)))


def _get_heartbeat_name(config: ServiceConfig) -> str:
    return f"{heartbeats.STANDBY_PREFIX}{config.service_name}"


def _run_unguarded(config: ServiceConfig, write: Callable[[Connection], None]) -> None:
    """Write with a connection that needs no lease. Errors are logged, because this service must continue to wait."""
    try:
        with Database(config.database.url) as db, db.write() as c:
            write(c)
    except Exception as error:
        log.warning("heartbeat not written: %s", error)


def _find_version_fault(turn: CoreLease, commits: CommitMonitor) -> str:
    """Return why this version cannot read the database; empty if it can or if the database is unavailable."""
    try:
        require_current(turn.db)
    except StoreBusyError as error:
        commits.note_error(error.message)
        return ""
    except StoreError as error:
        commits.note_write()
        return str(error)
    commits.note_write()
    return ""


def take_over(turn: CoreLease) -> bool:
    """Take the lease if its holder is gone or hangs. Return False if another core holds it or may return.

    Raises:
        StoreBusyError: The database is unavailable.
    """
    lease = find_lease(turn.engine)
    if lease is not None and lease.holder != turn.holder and lease.idle_s < GRACE_S:
        return False
    if turn.take():
        return True
    if lease is None or lease.idle_s < EXPIRED_S:
        return False
    ended = end_core_sessions(turn.engine, lease.session)
    holder = lease.holder or "an unnamed service"
    log.critical("%s has not renewed its lease for %.0f s; its %d sessions are ended", holder, lease.idle_s, ended)
    return turn.take()
