"""A core that waits for the turn of another one, and takes it over where that one is gone, hangs or is cut off."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from monitor.api.app import CommitMonitor, health, read_sites
from monitor.api.database import CoreLease, Database, remove_heartbeat, require_current, write_heartbeat
from monitor.api.errors import StoreBusyError, StoreError
from monitor.api.queries.alerts import load_in_force
from monitor.api.settings import ServiceConfig
from monitor.features.scale_out.queries import end_core_sessions, find_lease

log: Final = logging.getLogger(__name__)
EXPIRED_S: Final = 8.0  # then a core that stands by ends the sessions of the one that hangs
GRACE_S: Final = 4.0  # before that a free turn is left to the core that had it: it may only start anew
STAMP_EVERY_S: Final = 3.0


def wait_for_turn(
    config: ServiceConfig,
    turn: CoreLease,
    commits: CommitMonitor,
    stopping: threading.Event,
    attempt: Callable[[Callable[[], object]], bool],
) -> bool:
    """Wait until the turn is ours; False when told to end before. The service that has it decides meanwhile.

    `commits` learns whether the database answers: where it does not, people must hear of it from us as well.
    """
    fault, next_stamp_s = "", 0.0
    while not attempt(lambda: take_over(turn)) or not turn.is_ours:
        trouble, known, fault = commits.trouble(), fault, _find_fault(turn, commits)
        if fault not in {"", known}:
            log.warning("standing by without a page: %s", fault)
        if not fault and time.monotonic() >= next_stamp_s:
            next_stamp_s = time.monotonic() + STAMP_EVERY_S
            _stamp(config)
        if not health.beat(trouble, health.STANDS_APART if fault else health.STANDS_BY) or stopping.wait(1.0):
            _stamp(config, is_over=True)  # ended by a person: nobody misses what stood by
            return False
    log.warning("turn %d is ours: this service decides from now on", turn.fence)
    return True


def _stamp(config: ServiceConfig, *, is_over: bool = False) -> None:
    """Say that this service stands by, and with which other site files than those in force; or that it is over."""
    name = f"{health.STANDBY_PREFIX}{config.service_name}"
    try:
        with Database(config.database.url) as db, db.write() as c:  # without the guard: the turn is not ours
            if is_over:
                remove_heartbeat(c, name)
                return
            known = {site.id: site.version for site in load_in_force(c)}
            differs = sorted(site.id for site in read_sites(config) if known.get(site.id) != site.version)
            write_heartbeat(
                c, name, {"pid": os.getpid(), "host": socket.gethostname(), "differs": differs}, datetime.now(UTC)
            )
    except Exception as error:  # whatever is wrong with the stamp, it stands by
        log.warning("stamp not written: %s", error)


def _find_fault(turn: CoreLease, commits: CommitMonitor) -> str:
    """Why this version cannot read the database; empty where it can, or where nobody knows."""
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
    """Take the turn where whoever had it is gone or hangs; False where another core has it, or may still come back.

    Raises StoreBusyError: the database is away for the moment.
    """
    lease = find_lease(turn.engine)
    if lease is not None and lease.holder != turn.holder and lease.idle_s < GRACE_S:
        return False
    if turn.take():
        return True
    if lease is None or lease.idle_s < EXPIRED_S:
        return False
    ended = end_core_sessions(turn.engine, lease.session)
    who = lease.holder or "nobody"
    log.critical("%s has not renewed its lease for %.0f s; its %d sessions are ended", who, lease.idle_s, ended)
    return turn.take()
