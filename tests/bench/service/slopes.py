"""Drawn slopes, and clients that publish for them, for the benches of the service."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import paho.mqtt.client as mqtt

from monitor.sites.records import Criterion, Level, SeriesSpec, Site, Station

LEVELS = tuple(Level(k, name, k < 2) for k, name in enumerate(("green", "yellow", "orange", "red")))


def make_site(name: str, stations: Sequence[str], *specs: SeriesSpec, criteria: tuple[Criterion, ...] = ()) -> Site:
    """A slope of stations that all measure the same, the first of it along a line to the east."""
    placed = tuple(
        Station(one, 46.0, 8.0, azimuth_deg=90.0, plunge_deg=20.0, series=(replace(specs[0], station=one), *specs[1:]))
        for one in stations
    )
    return Site(name, name, 46.0, 8.0, "UTC", LEVELS, placed, criteria, version="bench")


def open_client(port: int, in_flight: int = 20, **handlers: Any) -> mqtt.Client:
    """A client of the broker of this machine; its network runs in a thread of its own."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.max_inflight_messages_set(in_flight)
    for name, handler in handlers.items():
        setattr(client, name, handler)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client


def close_client(*clients: mqtt.Client) -> None:
    """Say goodbye, and end the threads."""
    for client in clients:
        client.disconnect()
        client.loop_stop()
