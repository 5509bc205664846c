"""Whether the service is alive and sees: stamps that are overdue, heartbeats, and words to systemd."""

import json
import os
import select
import socket
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from monitor.text.message import Template, messages_to_plain, plain_to_messages

# a safety thread that has not gone round for this long is stuck; a lock of a minute is weather, not a fault
OVERDUE_S: Final = 120.0
CANNOT_DECIDE: Final = Template("service.cannot_decide", "cannot decide: {text}")
LONGEST: Final = 300  # characters, each of at most twelve bytes in JSON
TROUBLE_FD: Final = "SLOPEWARD_TROUBLE_FD"  # by which the page hears from the supervisor what keeps core from deciding
STARTING: Final = "~"  # before a heartbeat: core is not ready yet
UNPROVEN: Final = "?"  # it goes round and has not stored an evaluation yet
STANDS_BY: Final = "="  # it waits to take over from the core of another service
STANDS_APART: Final = "-"  # the same, on a database that this version cannot read yet
STANDBY_PREFIX: Final = "standby:"  # before the name of a service that stands by: its stamp
HEARTBEAT_FD: Final = "SLOPEWARD_HEARTBEAT_FD"
EXIT_RENEW: Final = 76  # core ends so that a fresh one reads the site files in force: no death, started again at once


def find_overdue(progress: Mapping[str, datetime], now: datetime, limit_s: float = OVERDUE_S) -> list[str]:
    """Names of the safety threads whose last stamp is older than the limit, oldest first."""
    late = [(at, name) for name, at in progress.items() if now - at > timedelta(seconds=limit_s)]
    return [name for _, name in sorted(late)]


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


def encode_line(text: str) -> bytes:
    """A text as a line for another process, with id and values where it has them; what is too long is cut, as text.

    >>> read_line(encode_line(CANNOT_DECIDE(text="disk full")).decode()).id, read_line(encode_line("").decode())
    ('service.cannot_decide', '')
    """
    line = json.dumps(messages_to_plain(text)).encode() + b"\n" if text else b"\n"
    whole = len(line) < select.PIPE_BUF  # written at once, beside its mark
    return line if whole else json.dumps(str(text)[:LONGEST]).encode() + b"\n"


def read_line(line: str) -> str:
    """The text of such a line."""
    found: str = plain_to_messages(json.loads(line)) if line.strip() else ""
    return found


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
        os.write(int(number), mark.encode() + encode_line(trouble))
    except BlockingIOError:
        return True  # it is slow to read; what it has not read says the same
    except OSError:
        return False
    return True
