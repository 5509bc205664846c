"""What may drive a slope, read from the store as known at an instant, for the networks that read it."""

from datetime import datetime
from itertools import pairwise

from sqlalchemy import Connection

from monitor.domain.instants import epoch_s
from monitor.domain.site import Site
from monitor.jobs.samples import UNFIT
from monitor.store.observations import find_series_id, load_readings

QUANTITIES = (
    "rain", "snow_depth", "soil_moisture", "reservoir_level", "groundwater_level", "water_level", "pore_pressure",
    "coherence",
)  # fmt: skip
Payload = dict[str, dict[str, list[float]]]


def load_drivers(c: Connection, site: Site, since: datetime, now: datetime) -> Payload:
    """Readings of rain, water and image series in (since, now] as known at `now`, by `station.quantity`.

    A counter gives what it rose by. A gauge that reports tips alone is left out: its silence and a dry day look alike.
    """
    out: Payload = {}
    for station in site.stations:
        for spec in station.series:
            if spec.quantity not in QUANTITIES or (spec.quantity == "rain" and spec.stamp == "event"):
                continue
            series_id = find_series_id(c, site.id, station.id, spec.quantity)
            readings = [] if series_id is None else load_readings(c, series_id, since, now, now)
            fit = [(epoch_s(r.observed_at), r.value) for r in readings if not UNFIT.intersection(r.flags)]
            if spec.stamp == "counter":
                # a counter that falls was reset: what fell before and after is not known
                fit = [(t, b - a) for (_, a), (t, b) in pairwise(fit) if b >= a]
            if fit:
                out[f"{station.id}.{spec.quantity}"] = {"times_s": [t for t, _ in fit], "values": [v for _, v in fit]}
    return out
