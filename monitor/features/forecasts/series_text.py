"""Texts about series: their short names, and which declared series are not forecast."""

from collections.abc import Iterator, Sequence
from typing import Final

from monitor.api.queries.models import list_panels
from monitor.api.sites import HOUSEKEEPING, SeriesSpec, Site, number_declared_series
from monitor.api.text import Message, NameList, Template, Term, join

# Quantities of the weather. They drive the slope and do not describe its state.
WEATHER: Final = frozenset({"rain", "snow_depth", "temperature", "air_pressure", "soil_moisture"})
MOST_NAMED: Final = 3  # series in one line
_NOT_FORECAST: Final = Template("not_forecast.line", "not forecast: {reasons}")
_WEATHER: Final = Template("not_forecast.weather", "{names} (weather, which drives the slope)")
_INSTRUMENT: Final = Template("not_forecast.instrument", "{names} (about the instrument)")
_OTHER_MOTION: Final = Template("not_forecast.other_motion", "{names} (another series is the motion of the station)")
_CORRECTED: Final = Template("not_forecast.corrected", "{names} (the copy without the reference's motion is forecast)")
_OTHER: Final = Template("not_forecast.other", "{names} (no motion, crack, tilt, strain, pressure or water level)")


def name_series(station: str, quantity: str) -> str:
    """Return the name of a series in a line: the station, and the quantity unless it is displacement.

    >>> name_series("G1", "displacement_east"), name_series("P1", "pore_pressure")
    ('G1', 'P1 pore pressure')
    """
    return station if quantity.startswith("displacement") else f"{station} {quantity.replace('_', ' ')}"


def describe_not_forecast(site: Site) -> Message | None:
    """Return one line about the declared series that are not forecast, with the reasons; None if all are forecast."""
    panels = list_panels(site, number_declared_series(site))
    forecast = {(series.station.id, series.spec.quantity) for panel in panels for series in panel.series}
    specs = [spec for station in site.stations for spec in station.series]
    left_out = [spec for spec in specs if (spec.station, spec.quantity) not in forecast]
    reasons = list(_list_reasons(left_out))
    return _NOT_FORECAST(reasons=join(reasons, "; ")) if reasons else None


def _list_reasons(specs: Sequence[SeriesSpec]) -> Iterator[Message]:
    weather = [spec for spec in specs if spec.quantity in WEATHER]
    instrument = [spec for spec in specs if spec.quantity in HOUSEKEEPING]
    corrected = [spec for spec in specs if spec.corrected_as]
    motion = [spec for spec in specs if spec.quantity.startswith("displacement") and not spec.corrected_as]
    grouped = [*weather, *instrument, *corrected, *motion]
    other = [spec for spec in specs if spec not in grouped]
    for template, members in ((_WEATHER, weather), (_INSTRUMENT, instrument), (_OTHER, other)):
        if members:
            yield template(names=join((Term(name) for name in dict.fromkeys(spec.quantity for spec in members)), ", "))
    for template, members in ((_OTHER_MOTION, motion), (_CORRECTED, corrected)):
        if members:
            names = tuple(f"{spec.station}.{spec.quantity}" for spec in members)
            yield template(names=NameList(names[:MOST_NAMED], more=max(0, len(names) - MOST_NAMED)))
