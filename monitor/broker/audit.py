"""Estimate how long an outage of the service a broker can bridge."""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from monitor.broker.access import Access
from monitor.broker.probe import DEFAULT_MESSAGE_BYTES, PROBE_MESSAGES, BrokerFacts, connected, subscribe

# A broker sends its statistics at once, because they are retained, unless the login has no right to them.
SYS_S: Final = 1.5
OVERHEAD_BYTES: Final = 250  # of Mosquitto, for each message in a queue
DROPPED: Final = "$SYS/broker/publish/messages/dropped"
RECEIVED: Final = ("$SYS/broker/publish/bytes/received", "$SYS/broker/publish/messages/received")


class OutageLimit(NamedTuple):
    """The limit that ends an outage that the broker can bridge.

    Attributes:
        seconds: Length of the outage after which messages are lost.
        why: The reason.
        setting: What to change.
    """

    seconds: float
    why: str
    setting: str


def read_figures(access: Access) -> dict[str, float]:
    """Return the statistics that a broker publishes under `$SYS`, by topic.

    They are empty if the broker has none or the login has no right to them.

    Raises:
        OSError: The broker does not answer.
    """
    figures: dict[str, float] = {}

    def add_figure(_client: Any, _data: Any, message: Any) -> None:
        with contextlib.suppress(ValueError, IndexError):
            figures[message.topic] = float(bytes(message.payload).split()[0])

    with connected(access, "", expiry_s=0, clean=True) as (client, _, _):
        client.on_message = add_figure
        subscribe(client, "$SYS/broker/#")
        deadline = time.monotonic() + SYS_S
        while time.monotonic() < deadline and not figures.keys() >= {DROPPED, *RECEIVED}:
            time.sleep(0.05)
    return figures


def message_bytes(figures: Mapping[str, float]) -> float:
    """Return the mean size of the messages that a broker has received, from its statistics."""
    total_bytes, messages = (figures.get(name, 0.0) for name in RECEIVED)
    return total_bytes / messages if messages else DEFAULT_MESSAGE_BYTES


def find_limit(
    facts: BrokerFacts, rate_per_s: float, size_bytes: float, free_bytes: Mapping[str, float], requested_expiry_s: float
) -> OutageLimit:
    """Return the limit that is reached first while the service is away.

    Args:
        facts: Results of `probe_broker`.
        rate_per_s: Messages per second.
        size_bytes: Mean size of a message.
        free_bytes: Free space for the queue of the broker, by name (`memory`, `disk`).
        requested_expiry_s: Session expiry that was requested. A broker that grants less states it.

    >>> find_limit(BrokerFacts(True, None, 1000), 10.0, 300.0, {}, 86400.0)[:2]
    (100.0, 'it kept 1000 of 1500 messages')
    """
    if not facts.session_present:
        return OutageLimit(0.0, "it keeps no session for an absent client", "persistent sessions (persistence true)")
    expiry_s = requested_expiry_s if facts.session_expiry_s is None else facts.session_expiry_s
    limits = [
        OutageLimit(
            expiry_s, "it deletes the session of a client that is away for longer", "persistent_client_expiration"
        )
    ]
    rate = max(rate_per_s, 1e-9)
    if facts.kept_messages < PROBE_MESSAGES:
        why = f"it kept {facts.kept_messages} of {PROBE_MESSAGES} messages"
        limits.append(OutageLimit(facts.kept_messages / rate, why, "max_queued_messages 0 and max_queued_bytes 0"))
    for name, free in free_bytes.items():
        seconds = free / (rate * (size_bytes + OVERHEAD_BYTES))
        limits.append(OutageLimit(seconds, f"the {name} of its machine is full", f"the size of its {name}"))
    return min(limits)


def available_memory_bytes() -> float | None:
    """Return the memory that is available to programs; None if the system does not report it."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    return None
