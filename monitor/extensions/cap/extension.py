"""CAP: what it adds to the service. The keys of `[cap]` stand in the core, whose service file has one record."""

from typing import Final

from monitor.domain.extension import Address, Channel, Command, Extension

_HERE: Final = "monitor.extensions.cap"
EXTENSION: Final = Extension(
    name="cap",
    description="hazard alerts as CAP 1.2 messages for other warning systems: posted, as a feed, signed",
    package=_HERE,
    routes=(f"{_HERE}.routes:router",),
    addresses={
        "GET /cap/feed.atom": Address("read", of_no_site=True),
        "GET /sites/{site}/cap/feed.atom": Address("read"),
        "GET /alerts/{alert_id}/cap/{name}.xml": Address("read"),
    },
    commands={
        "alerts": Command(f"{_HERE}.alerts_cli", "Print an alert as a CAP message"),
        "notify cap": Command(
            f"{_HERE}.cli", "Verify CAP messages; create the key that signs them", after="notify channels"
        ),
    },
    checks=(f"{_HERE}.checks:CHECKS",),
    channels={"cap": Channel(f"{_HERE}.notifier:CapNotifier", document=f"{_HERE}.chain:compose_event")},
)
