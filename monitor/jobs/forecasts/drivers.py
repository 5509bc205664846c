"""What may drive a slope, read from the store as known at an instant, for the networks that read it."""

from array import array
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

import numpy as np
from sqlalchemy import Connection

from forecasting.data.rain_forecasts import Outlook
from forecasting.hydrology.wetness import PAST_S, SPAN_S, is_after_rain
from monitor.domain.instants import epoch_s
from monitor.domain.site import Site
from monitor.jobs.samples import UNFIT, Timed
from monitor.store.readings.observations import find_series_id, load_readings, stream_readings

WETTEST_OF = timedelta(seconds=PAST_S + SPAN_S)
QUANTITIES = (
    "rain", "snow_depth", "soil_moisture", "reservoir_level", "groundwater_level", "water_level", "pore_pressure",
    "coherence", "ndvi", "scene_probability",
)  # fmt: skip


def find_wet(c: Connection, site: Site, instants: Iterable[datetime], now: datetime) -> dict[datetime, bool]:
    """Whether much rain had fallen before each instant, at any gauge, as known at `now`; unknown counts as dry."""
    asked = sorted(set(instants))
    if not asked:
        return {}
    rain = load_drivers(c, site, asked[0] - WETTEST_OF, now, quantities=("rain",))
    return {at: any(is_after_rain(*timed, epoch_s(at)) for timed in rain.values()) for at in asked}


def load_drivers(
    c: Connection, site: Site, since: datetime, now: datetime, *, quantities: Sequence[str] = QUANTITIES
) -> dict[str, Timed]:
    """Readings of rain, water and image series in (since, now] as known at `now`, by `station.quantity`.

    Of other quantities only those that the site file names in `covariates`. A counter gives what it rose by. A gauge
    that reports tips alone is left out: its silence and a dry day look alike.
    """
    out: dict[str, Timed] = {}
    expected = {name for name, _ in site.forecast.expected_rain}
    for station in site.stations:
        for spec in station.series:
            label = f"{station.id}.{spec.quantity}"
            named = quantities is QUANTITIES and label in site.forecast.covariates
            if not (spec.quantity in quantities or named) or label in expected:
                continue
            if spec.quantity == "rain" and spec.stamp == "event":
                continue
            series_id = find_series_id(c, site.id, station.id, spec.quantity)
            if series_id is None:
                continue
            readings = stream_readings(c, series_id, since, now, now)
            fit = ((epoch_s(r.observed_at), r.value) for r in readings if not UNFIT.intersection(r.flags))
            if spec.stamp == "counter":
                # a counter that falls was reset: what fell before and after is not known
                fit = ((t, b - a) for (_, a), (t, b) in pairwise(fit) if b >= a)
            times, values = array("d"), array("d")
            for at_s, value in fit:
                times.append(at_s)
                values.append(value)
            if times:
                out[label] = times, values
    return out


def load_expected(c: Connection, site: Site, since: datetime, now: datetime) -> tuple[Outlook, ...]:
    """Issues of expected rain in (since, now] with when each could be read, in the order of `station.quantity`.

    An issue that came while its reach was not over was read when it came. One that came later belongs to an archive:
    it could have been read as long after its issue as the others took. A value that was changed after its reach was
    over may have been changed by what fell: it is left out.
    """
    out = []
    for name, reach_s in site.forecast.expected_rain:
        station, _, quantity = name.partition(".")
        series_id = find_series_id(c, site.id, station, quantity)
        if series_id is None:
            continue
        reach = timedelta(seconds=reach_s)
        issues = [
            (epoch_s(r.observed_at), epoch_s(r.received_at), r.value, r.received_at - r.observed_at <= reach)
            for r in load_readings(c, series_id, since, now, now)
            if not UNFIT.intersection(r.flags) and (r.revision == 0 or r.received_at - r.observed_at <= reach)
        ]
        delay_s = max(0.0, median([came - at for at, came, _, live in issues if live] or [0.0]))
        if issues:
            known_s = [came if live else at + delay_s for at, came, _, live in issues]
            issued_s, values = [at for at, _, _, _ in issues], [value for _, _, value, _ in issues]
            out.append(Outlook(name, reach_s, np.array(issued_s), np.array(known_s), np.array(values)))
    return tuple(sorted(out, key=lambda one: one.name))
