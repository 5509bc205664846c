"""List which instruments of a site measure the motion of the slope, and which are outside the slope."""

from collections.abc import Mapping
from typing import Final

from monitor.sites.quantities import GROUND_MOTION_PREFIXES, HOUSEKEEPING
from monitor.sites.records import SeriesSpec, Site, Station

# Prefixes of weather quantities. A station that measures only these shows nothing of the slope, whatever `on_slope` is.
WEATHER_PREFIXES: Final = ("rain", "snow_depth", "temperature", "air_pressure")
# Part of the name of a quantity from a weather forecast, such as `rain_next_24h`.
_FORECAST: Final = "_next_"


def list_slope_instruments(site: Site) -> Mapping[str, tuple[SeriesSpec, ...]]:
    """Return the series that instruments on the slope measure its motion with, by station.

    Series that people type and series from images are left out.
    """
    instruments = {}
    for station in site.stations:
        series = tuple(
            spec
            for spec in station.series
            if spec.quantity.startswith(GROUND_MOTION_PREFIXES) and not spec.by_hand and not spec.source
        )
        if station.on_slope and series:
            instruments[station.id] = series
    return instruments


def list_outside_instruments(site: Site) -> Mapping[str, tuple[SeriesSpec, ...]]:
    """Return the series of the instruments outside the slope, by station.

    These are stations with `on_slope = false`, weather stations, and stations that are the base, gateway, logger or
    power supply of others, unless such a station measures motion on the slope. Calculated series, forecasts, series
    that people type and series from images are left out, because they do not show that an instrument reports.
    """
    slope_instruments = list_slope_instruments(site)
    shared_equipment = {
        name
        for station in site.stations
        for name in (station.reference, station.gateway, station.logger, station.power)
        if name is not None
    }
    instruments = {}
    for station in site.stations:
        if station.id in slope_instruments:
            continue
        is_outside = not station.on_slope or station.id in shared_equipment or _is_weather_station(station)
        series = tuple(
            spec
            for spec in station.series
            if not (spec.by_hand or spec.source or spec.is_calculated or spec.calculation or _FORECAST in spec.quantity)
        )
        if is_outside and series:
            instruments[station.id] = series
    return instruments


def _is_weather_station(station: Station) -> bool:
    quantities = {spec.quantity for spec in station.series} - HOUSEKEEPING
    return bool(quantities) and all(quantity.startswith(WEATHER_PREFIXES) for quantity in quantities)
