"""Load what is known of instruments: open notices, times of faults, and the links of devices."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection, Select, or_, select

from monitor.alerts.tables import alert, alert_event
from monitor.readings.instrument_tables import instrument, instrument_finding
from monitor.readings.records import Link
from monitor.sites.parents import list_children
from monitor.sites.records import Site
from monitor.sites.tables import maintenance
from monitor.sites.tables import station as station_table
from monitor.sites.watched import INSTRUMENT_FAULTS
from monitor.storage.service_state import load_heartbeats, write_heartbeat
from monitor.text.instants import join_spans
from monitor.text.message import Message, plain_to_messages

Spans = tuple[tuple[datetime, datetime], ...]


def load_open_pages(connection: Connection, site: str, states: Collection[str]) -> Mapping[str, Message]:
    """Return the text of each open notice about an instrument, by its key.

    Args:
        states: Kinds of notices, such as "battery" or "clock".
    """
    a = alert.c
    is_open = (a.closed_at.is_(None), a.exercise.is_(False), a.state != "returned_unacknowledged")
    is_notice = (a.site == site, a.ledger == "health", a.key.like("health:instrument:%"))
    rows = connection.execute(
        select(a.key, a.reason, a.reason_id, a.reason_values).where(*is_notice, *is_open)
    ).mappings()
    return {row["key"]: plain_to_messages(row)["reason"] for row in rows if row["key"].rpartition(":")[2] in states}


def load_stations_with_empty_battery(connection: Connection, site: str, by: datetime) -> frozenset[str]:
    """Return the stations whose battery is expected to be empty by an instant, if an open notice reports it."""
    i = instrument.c
    return _load_notified(
        connection, site, "battery", select(i.station).where(i.site == site, i.battery_empty_at <= by)
    )


def load_stations_with_wrong_clock(connection: Connection, site: str) -> frozenset[str]:
    """Return the stations that send readings with a wrong clock, if an open notice reports it."""
    f = instrument_finding.c
    return _load_notified(connection, site, "clock", select(f.station).where(f.site == site, f.state == "clock"))


def _load_notified(connection: Connection, site: str, state: str, stations: Select[Any]) -> frozenset[str]:
    """Return the stations that an open notice is about, or whose logger, base, gateway or power supply it is about."""
    k, pages = station_table.c, load_open_pages(connection, site, (state,))
    query = select(k.id, k.logger, k.reference, k.gateway, k.power).where(k.site == site, k.id.in_(stations))
    return frozenset(
        row.id
        for row in connection.execute(query)
        if any(
            f"health:instrument:{name}:{state}" in pages
            for name in (
                row.id,
                f"logger:{row.logger}",
                f"base:{row.reference}",
                f"gateway:{row.gateway}",
                f"power:{row.power}",
            )
        )
    )


def load_impaired_spans(connection: Connection, site: Site, since: datetime, now: datetime) -> dict[str, Spans]:
    """Return the times of announced work and of open notices about an instrument, by station.

    The times of one station do not overlap.
    """
    m, a, e = maintenance.c, alert.c, alert_event.c
    spans: dict[str, list[tuple[datetime, datetime]]] = {}
    for row in connection.execute(select(maintenance).where(m.site == site.id, m.to_at > since, m.from_at <= now)):
        spans.setdefault(row.station, []).append((row.from_at, min(row.to_at, row.ended_at or row.to_at)))
    children = {
        f"{parent.kind}:{parent.name}": {station for station, _ in places}
        for parent, places in list_children(site).items()
    }
    is_notice = (e.alert_id == a.id, a.site == site.id, a.ledger == "health", a.exercise.is_(False), e.at <= now)
    is_recent = or_(a.closed_at.is_(None), a.closed_at > since)
    query = select(a.id, a.key, e.at, e.to_level).where(*is_notice, is_recent).order_by(a.id, e.sequence)
    events = connection.execute(query).all()
    for _, group in groupby(events, key=lambda row: row.id):
        rows = list(group)
        name, _, state = rows[0].key.removeprefix("health:").removeprefix("instrument:").rpartition(":")
        if state not in INSTRUMENT_FAULTS:
            continue
        stations = children.get(name, {name.partition(".")[0]})
        ends = [*(row.at for row in rows[1:]), now]
        for station in stations:
            spans.setdefault(station, []).extend(
                (row.at, end) for row, end in zip(rows, ends, strict=True) if row.to_level
            )
    return {
        station: tuple(join_spans(span for span in spans_of_station if span[1] > since))
        for station, spans_of_station in spans.items()
    }


_PREFIX: Final = "link:"


def save_links(connection: Connection, links: Iterable[Link]) -> None:
    """Store the links that devices reported, in the transaction that stores their readings."""
    for link in links:
        facts = {"online": link.online, "text": link.text}
        write_heartbeat(connection, f"{_PREFIX}{link.site}/{link.station}", facts, link.at)


def load_links(connection: Connection, site: str) -> dict[str, Link]:
    """Return the newest reported link of each station."""
    start = f"{_PREFIX}{site}/"
    return {
        name[len(start) :]: Link(site, name[len(start) :], at, bool(detail["online"]), str(detail["text"]))
        for name, (at, detail) in load_heartbeats(connection).items()
        if name.startswith(start)
    }
