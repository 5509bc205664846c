"""Whether the service is alive and sees: stamps that are overdue, the judgement of `status`, and words to systemd."""

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from forecasting.message import Template
from monitor.domain.instants import CORE_SILENT

# a safety thread that has not gone round for this long is stuck; a lock of a minute is weather, not a fault
OVERDUE_S: Final = 120.0
HOW_TO_INSTALL: Final = (
    "install Mosquitto: sudo apt-get install mosquitto (or use a broker of yours: broker.mode = external)"
)
CANNOT_DECIDE: Final = Template("service.cannot_decide", "cannot decide: {text}")
TROUBLE_FD: Final = "SLOPEWARD_TROUBLE_FD"  # by which the page hears from the supervisor what keeps core from deciding
STARTING: Final = "~"  # before a heartbeat: core is not ready yet
UNPROVEN: Final = "?"  # it goes round and has not stored an evaluation yet
STANDS_BY: Final = "="  # it waits to take over from the core of another service
STANDS_APART: Final = "-"  # the same, on a database that this version cannot read yet
STANDBY: Final = "standby:"  # before the name of a service that stands by: its stamp
STANDBY_SILENT_S: Final = 60.0
STANDBY_FORGOTTEN_S: Final = 7 * 86400.0  # one that was silent for so long is not missed any more
HEARTBEAT_FD: Final = "SLOPEWARD_HEARTBEAT_FD"
EXIT_RENEW: Final = 76  # core ends so that a fresh one reads the site files in force: no death, started again at once
SEEN, DEGRADED, BLIND = "seen", "degraded", "blind"
EXIT_OF: Final = {SEEN: 0, DEGRADED: 5, BLIND: 6}


def find_overdue(progress: Mapping[str, datetime], now: datetime, limit_s: float = OVERDUE_S) -> list[str]:
    """Names of the safety threads whose last stamp is older than the limit, oldest first."""
    late = [(at, name) for name, at in progress.items() if now - at > timedelta(seconds=limit_s)]
    return [name for _, name in sorted(late)]


@dataclass(frozen=True, slots=True)
class SiteSight:
    """What is known of one site, as the database says it."""

    id: str
    level: int
    level_name: str
    observability: str  # full, degraded, blind
    reachable_level: int
    top_level: int
    evaluated_at: datetime | None  # None: declared, never evaluated yet
    newest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of `slopeward status`: seen, degraded or blind, each with its reasons."""

    state: str
    reasons: tuple[str, ...] = field(default=())


def judge(
    stamps: Mapping[str, tuple[datetime, Mapping[str, Any]]],
    sites: Iterable[SiteSight],
    now: datetime,
    evaluate_tick_s: float,
    declared: Iterable[str] = (),
) -> Verdict:
    """Judge from what is stored, so that any process (and a person with SQL) comes to the same answer.

    Blind: core is silent, no site is watched, or a site is blind or was not evaluated for ten ticks.
    Degraded: a site sees only in part or cannot reach its top level, the broker is not durable, a child restarts.

    Args:
        stamps: what the processes wrote last.
        sites: what is known of each site that is watched.
        now: the present.
        evaluate_tick_s: longest time between two evaluations.
        declared: sites that have a file; named where none is watched yet.
    """
    blind, degraded = judge_parts(stamps, now)
    watched = list(sites)
    if not watched and (waiting := sorted(declared)):
        blind.append(f"no site is watched yet; `slopeward run` takes: {', '.join(waiting)}")
    elif not watched:
        blind.append("no site is watched; write one with `slopeward sites init NAME`")
    for site in watched:
        if site.evaluated_at is None:
            blind.append(f"{site.id}: not evaluated yet")
            continue
        if now - site.evaluated_at > max(timedelta(seconds=10 * evaluate_tick_s), CORE_SILENT):
            blind.append(f"{site.id}: not evaluated since {site.evaluated_at:%Y-%m-%d %H:%M:%S} UTC")
        if site.observability == "blind":
            blind.append(f"{site.id}: cannot see; no criterion has valid data")
        elif site.observability == "degraded":
            degraded.append(f"{site.id}: sees in part; see `slopeward status --json` and the page for its stations")
        if site.reachable_level < site.top_level:
            degraded.append(f"{site.id}: only level {site.reachable_level} of {site.top_level} can be reached now")
    state = BLIND if blind else DEGRADED if degraded else SEEN
    return Verdict(state, (*blind, *degraded))


def judge_parts(stamps: Mapping[str, tuple[datetime, Mapping[str, Any]]], now: datetime) -> tuple[list[str], list[str]]:
    """What is wrong with the service's own parts: reasons why nobody looks, and reasons why it is not whole."""
    blind: list[str] = []
    degraded: list[str] = []
    core = stamps.get("core")
    if core is None:
        blind.append("the service has never run on this database; start it with `slopeward run`")
    elif now - core[0] > CORE_SILENT:
        blind.append(f"core has been silent since {core[0]:%Y-%m-%d %H:%M:%S} UTC; see the log of `slopeward run`")
    else:
        degraded += [str(line) for line in core[1].get("degraded", ())]
    for name, (at, detail) in stamps.items():
        if name.startswith(STANDBY):
            degraded += _judge_standby(name.removeprefix(STANDBY), at, detail, now)
    broker = stamps.get("broker")
    if broker is not None and not broker[1].get("durable", True):
        degraded.append("broker not durable: what it holds is lost when it restarts; " + HOW_TO_INSTALL)
    return blind, degraded


def _judge_standby(name: str, at: datetime, detail: Mapping[str, Any], now: datetime) -> list[str]:
    """What is wrong with a service that should be ready to take over."""
    silent_s = (now - at).total_seconds()
    if silent_s > STANDBY_FORGOTTEN_S:
        return []
    if silent_s > STANDBY_SILENT_S:
        return [f"{name} stood by and is silent since {at:%Y-%m-%d %H:%M:%S} UTC: nobody would take over"]
    differs = ", ".join(detail.get("differs", ()))
    return [f"{name} stands by with other site files than those in force: {differs}"] if differs else []


def notify_systemd(text: str) -> bool:
    """Tell systemd `READY=1`, `WATCHDOG=1` or `STOPPING=1`; False where no systemd listens (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    # a leading @ means the abstract namespace
    address = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        try:
            out.sendto(text.encode(), address)
        except OSError:
            return False
    return True


def watchdog_interval_s() -> float | None:
    """Half of what systemd allows between two WATCHDOG=1; None where it does not watch (sd_watchdog_enabled(3))."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2e6 if microseconds.isdigit() else None


def beat(trouble: str = "", mark: str = "") -> bool:
    """Tell the supervisor that this process goes round, and what keeps it from deciding; False when nobody listens.

    Args:
        trouble: one line; empty when all is well.
        mark: STARTING, UNPROVEN, STANDS_BY or STANDS_APART; empty: it decides.
    """
    number = os.environ.get(HEARTBEAT_FD)
    if not number:
        return True
    try:
        os.write(int(number), f"{mark}{' '.join(trouble.split())[:1000]}\n".encode())  # written whole (PIPE_BUF)
    except BlockingIOError:
        return True  # it is slow to read; what it has not read says the same
    except OSError:
        return False
    return True
