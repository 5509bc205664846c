"""What a broker can do for us while we are away: found out as a client of it, and how long that lasts."""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from monitor.broker.access import Access
from monitor.broker.probe import KEEPS, USUAL_BYTES, BrokerFacts, connected, subscribe

SYS_S: Final = 1.5  # its figures are retained: they come at once, where we may read them
OVERHEAD_BYTES: Final = 250  # of Mosquitto for a message that it keeps
DROPPED: Final = "$SYS/broker/publish/messages/dropped"
RECEIVED: Final = ("$SYS/broker/publish/bytes/received", "$SYS/broker/publish/messages/received")


class OutageLimit(NamedTuple):
    """What ends an outage that the broker can bridge: after how many seconds, and what to change."""

    seconds: float
    why: str
    setting: str


def read_figures(access: Access) -> dict[str, float]:
    """The figures that the broker publishes of itself; empty where it has none, or we may not read them.

    Raises:
        OSError: the broker does not answer.
    """
    found: dict[str, float] = {}

    def keep(_client: Any, _data: Any, message: Any) -> None:
        with contextlib.suppress(ValueError, IndexError):
            found[message.topic] = float(bytes(message.payload).split()[0])

    with connected(access, "", expiry_s=0, clean=True) as (client, _, _):
        client.on_message = keep
        subscribe(client, "$SYS/broker/#")
        deadline = time.monotonic() + SYS_S
        while time.monotonic() < deadline and not found.keys() >= {DROPPED, *RECEIVED}:
            time.sleep(0.05)
    return found


def message_bytes(figures: Mapping[str, float]) -> float:
    """The mean size of a message, by the broker's own count."""
    size, count = (figures.get(name, 0.0) for name in RECEIVED)
    return size / count if count else USUAL_BYTES


def find_limit(
    facts: BrokerFacts, rate_per_s: float, size_bytes: float, free_bytes: Mapping[str, float], requested_expiry_s: float
) -> OutageLimit:
    """Which limit ends first while nobody fetches.

    Args:
        free_bytes: room for what the broker keeps, by name (`memory`, `disk`).

    >>> find_limit(BrokerFacts(True, None, 1000), 10.0, 300.0, {}, 86400.0)[:2]
    (100.0, 'it kept 1000 of 1500 messages')
    """
    if not facts.session_present:
        return OutageLimit(0.0, "it keeps no session for an absent client", "persistent sessions (persistence true)")
    expiry_s = requested_expiry_s if facts.session_expiry_s is None else facts.session_expiry_s
    limits = [OutageLimit(expiry_s, "it forgets a client that is away for longer", "persistent_client_expiration")]
    rate = max(rate_per_s, 1e-9)
    if facts.kept < KEEPS:
        why = f"it kept {facts.kept} of {KEEPS} messages"
        limits.append(OutageLimit(facts.kept / rate, why, "max_queued_messages 0 and max_queued_bytes 0"))
    for name, free in free_bytes.items():
        seconds = free / (rate * (size_bytes + OVERHEAD_BYTES))
        limits.append(OutageLimit(seconds, f"the {name} of its machine is full", f"the size of its {name}"))
    return min(limits)


def available_memory_bytes() -> float | None:
    """Memory that programs can still get; None where the system does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    return None
