"""Heartbeats and texts between the processes of the service, their exit statuses, and notifications to systemd.

The core writes heartbeats to a pipe of the supervisor (`send_heartbeat`). The supervisor writes the reason why the core
cannot decide to a pipe of the web process (`encode_line`).
"""

import json
import os
import select
import socket
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from monitor.text.message import Template, messages_to_plain, plain_to_messages

# A thread that decides or delivers and has made no progress for this long hangs. The limit is longer than a minute,
# because a thread may wait that long for a lock of the database.
OVERDUE_S: Final = 120.0
CANNOT_DECIDE: Final = Template("service.cannot_decide", "cannot decide: {text}")
# A text that is too long for a line is cut to this many characters. Each takes at most twelve bytes in JSON.
MAX_TEXT_CHARACTERS: Final = 300
# Environment variables with the file descriptors of the pipes.
HEARTBEAT_FD: Final = "SLOPEWARD_HEARTBEAT_FD"
TROUBLE_FD: Final = "SLOPEWARD_TROUBLE_FD"
# Marks at the start of a heartbeat. A heartbeat without a mark comes from a core that has stored an evaluation, or that
# has no site to evaluate.
STARTING: Final = "~"  # the start has not finished
NOT_EVALUATED: Final = "?"  # the start has finished, but no evaluation has been stored yet
STANDBY: Final = "="  # waits to take over from the core of another service
STANDBY_OTHER_SCHEMA: Final = "-"  # as STANDBY, and this version cannot read the schema of the database
# Name of the heartbeat of a standby service in the database, before the name of the service.
STANDBY_PREFIX: Final = "standby:"
# Exit status of a core that must be replaced at once, because it has to load other site files, or because it becomes
# active or standby. This does not count as a failure.
EXIT_REPLACE: Final = 76
# Exit status of a core of which a thread has ended or hangs.
EXIT_OVERDUE: Final = 70
# Exit status of a core that found the database unreachable at its start.
EXIT_TRY_AGAIN: Final = 75


def find_overdue(progress: Mapping[str, datetime], now: datetime, limit_s: float = OVERDUE_S) -> list[str]:
    """Return the names of threads whose last progress is older than the limit, oldest first."""
    late = [(at, name) for name, at in progress.items() if now - at > timedelta(seconds=limit_s)]
    return [name for _, name in sorted(late)]


def notify_systemd(text: str) -> bool:
    """Send a message such as `READY=1` to systemd; return False if there is no systemd (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    # A leading @ stands for the abstract namespace.
    address = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        try:
            out.sendto(text.encode(), address)
        except OSError:
            return False
    return True


def watchdog_interval_s() -> float | None:
    """Return half of the time that systemd allows between two WATCHDOG=1; None without a watchdog.

    See sd_watchdog_enabled(3).
    """
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2e6 if microseconds.isdigit() else None


def encode_line(text: str) -> bytes:
    """Encode a text as a line for another process, with its id and values. A text that is too long is cut.

    >>> decode_line(encode_line(CANNOT_DECIDE(text="disk full")).decode()).id, decode_line(encode_line("").decode())
    ('service.cannot_decide', '')
    """
    line = json.dumps(messages_to_plain(text)).encode() + b"\n" if text else b"\n"
    # Together with its mark, a line of less than PIPE_BUF bytes is written to the pipe in one piece.
    is_atomic = len(line) < select.PIPE_BUF
    return line if is_atomic else json.dumps(str(text)[:MAX_TEXT_CHARACTERS]).encode() + b"\n"


def decode_line(line: str) -> str:
    """Return the text that `encode_line` has encoded."""
    text: str = plain_to_messages(json.loads(line)) if line.strip() else ""
    return text


def send_heartbeat(trouble: str = "", mark: str = "") -> bool:
    """Send a heartbeat to the supervisor. Return False if the supervisor has ended.

    Args:
        trouble: Why nothing can be decided, in one line; empty if decisions are made.
        mark: STARTING, NOT_EVALUATED, STANDBY or STANDBY_OTHER_SCHEMA; empty if an evaluation was stored or there is no
            site.
    """
    number = os.environ.get(HEARTBEAT_FD)
    if not number:
        return True
    try:
        os.write(int(number), mark.encode() + encode_line(trouble))
    except BlockingIOError:
        # The supervisor reads slowly. The heartbeats that it has not read yet suffice.
        return True
    except OSError:
        return False
    return True
