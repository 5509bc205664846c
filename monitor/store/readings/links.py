"""Whether the device of a station is connected, in the words of its protocol; the newest word stands."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection

from monitor.domain.observation import Link
from monitor.store.service_state import load_stamps, stamp

_PREFIX: Final = "link:"


def save_links(connection: Connection, links: Iterable[Link]) -> None:
    """Keep what devices said, in the transaction that stores their readings."""
    for link in links:
        facts = {"online": link.online, "text": link.text}
        stamp(connection, f"{_PREFIX}{link.site}/{link.station}", facts, link.at)


def load_links(connection: Connection, site: str) -> dict[str, Link]:
    """What was said last, by station."""
    start = f"{_PREFIX}{site}/"
    return {
        name[len(start) :]: Link(site, name[len(start) :], at, bool(detail["online"]), str(detail["text"]))
        for name, (at, detail) in load_stamps(connection).items() if name.startswith(start)
    }  # fmt: skip
