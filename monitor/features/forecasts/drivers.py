"""Load what drives the motion of a slope (rain, water levels, pore pressures) as known at an instant."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Final

import numpy as np
from sqlalchemy import Connection

from forecasting.data.kinds import SEASON, STATION, WORDS
from forecasting.data.rain_forecasts import Outlook
from forecasting.hydrology.wetness import PAST_S, SPAN_S, is_after_rain
from monitor.api.queries.models import SeriesSamples, load_driver, plan_xy_m
from monitor.api.queries.readings import find_series_id, load_readings
from monitor.api.readings import Timed, is_fit
from monitor.api.sites import COMPONENTS, MEASURED, SCALARS, Site
from monitor.api.text import epoch_s

DRIVING_QUANTITIES: Final = ("rain", "reservoir_level", "groundwater_level", "water_level", "pore_pressure")
WETTEST_OF = timedelta(seconds=PAST_S + SPAN_S)


@dataclass(frozen=True, slots=True)
class Driving:
    """What may drive a slope, as known at an instant."""

    measured: Mapping[str, Timed] = field(default_factory=dict)  # `station.quantity` to times and values
    expected: tuple[Outlook, ...] = ()  # issues of expected rain
    season: bool = False  # whether the time of the year is read
    stations: bool = False  # whether the constant properties of stations are read


def load_driving(c: Connection, site: Site, since: datetime, now: datetime) -> Driving:
    """Load what drives the motion of a site in (since, now] as known at `now`."""
    named = site.forecast.covariates
    return Driving(
        load_drivers(c, site, since, now, named=list_drivers(site)),
        load_expected(c, site, since, now),
        SEASON in named,
        STATION in named,
    )


def list_drivers(site: Site) -> tuple[str, ...]:
    """Return the series that drive the motion of a site, as `station.quantity`.

    They are those that `forecast.covariates` names. The word `measured` means every series of rain, water level and
    pore pressure except those in `forecast.exclude_covariates`.
    """
    plan = site.forecast
    names: dict[str, None] = {}
    for covariate in plan.covariates:
        if covariate == MEASURED:
            names |= dict.fromkeys(
                f"{station.id}.{spec.quantity}"
                for station in site.stations
                for spec in station.series
                if spec.quantity in DRIVING_QUANTITIES
            )
        elif covariate not in WORDS:
            names[covariate] = None
    return tuple(name for name in names if name not in plan.exclude_covariates)


def describe_stations(site: Site, samples: Sequence[SeriesSamples]) -> dict[str, dict[str, float]]:
    """Return the constant properties of each station by label: height, plunge, distance from the middle, quantity."""
    places = plan_xy_m(site, list(samples)) or {}
    middle = np.mean(list(places.values()), axis=0) if places else np.zeros(2)
    quantities = sorted({series.quantity for series in samples})
    out: dict[str, dict[str, float]] = {}
    for series in samples:
        declared = {"height_m": series.station.height_m, "plunge_deg": series.station.plunge_deg}
        properties = {name: value for name, value in declared.items() if value is not None}
        if series.label in places:
            properties["distance_m"] = float(np.hypot(*(np.array(places[series.label]) - middle)))
        out[series.label] = properties | {f"measures.{q}": float(q == series.quantity) for q in quantities[1:]}
    return out


def find_wet(c: Connection, site: Site, instants: Iterable[datetime], now: datetime) -> dict[datetime, bool]:
    """Return whether much rain had fallen before each instant at any gauge, as known at `now`; unknown means dry."""
    ordered = sorted(set(instants))
    if not ordered:
        return {}
    rain = load_drivers(c, site, ordered[0] - WETTEST_OF, now, quantities=("rain",))
    return {at: any(is_after_rain(*timed, epoch_s(at)) for timed in rain.values()) for at in ordered}


def load_drivers(
    c: Connection,
    site: Site,
    since: datetime,
    now: datetime,
    *,
    quantities: Sequence[str] = (),
    named: Collection[str] = (),
) -> dict[str, Timed]:
    """Return readings in (since, now] as known at `now`, by `station.quantity`.

    A counter is converted to increments. A gauge that only reports tips is left out, because no report and no rain
    cannot be distinguished. Displacement that is stored as components is read as components.

    Args:
        quantities: Quantities of which all series are read.
        named: Further series, as `station.quantity`.
    """
    out: dict[str, Timed] = {}
    expected = {name for name, _ in site.forecast.expected_rain}
    wanted = {f"{s.id}.{p.quantity}": None for s in site.stations for p in s.series if p.quantity in quantities}
    wanted |= dict.fromkeys(named)
    for name in wanted:
        station, _, quantity = name.partition(".")
        spec = site.series(station, quantity)
        if spec is None or name in expected or (quantity == "rain" and spec.stamp == "event"):
            continue
        for stored in dict.fromkeys((quantity, *SCALARS, *COMPONENTS)) if quantity == "displacement" else (quantity,):
            if (series_id := find_series_id(c, site.id, station, stored)) is not None:
                times_s, values = load_driver(c, series_id, spec, since, now)
                if times_s:
                    out[f"{station}.{stored}"] = times_s, values
    return dict(sorted(out.items()))


def load_expected(c: Connection, site: Site, since: datetime, now: datetime) -> tuple[Outlook, ...]:
    """Return the issues of expected rain in (since, now] with the instant at which each was available.

    An issue that was received within its reach was available when it was received. A later one was imported from an
    archive: it counts as available after the median delay of the others. A value that was changed after its reach is
    left out, because the rain that fell may have changed it.
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
            for r in load_readings(c, series_id, since, now, now, with_unsigned=True)
            if is_fit(r) and (r.revision == 0 or r.received_at - r.observed_at <= reach)
        ]
        delay_s = max(0.0, median([came - at for at, came, _, live in issues if live] or [0.0]))
        if issues:
            known_s = [came if live else at + delay_s for at, came, _, live in issues]
            issued_s, values = [at for at, _, _, _ in issues], [value for _, _, value, _ in issues]
            out.append(Outlook(name, reach_s, np.array(issued_s), np.array(known_s), np.array(values)))
    return tuple(sorted(out, key=lambda one: one.name))
