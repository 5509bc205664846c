"""Which curves a site page draws: the stations to choose from, and what stands below each."""

from collections import Counter
from collections.abc import Sequence
from math import cos, radians, sin
from typing import Any, Final

from monitor.domain.quantities import BATTERY, OF_SCENES, SIGNAL
from monitor.store.readings.observations import SeriesRow

COMPUTED: Final = "displacement_downslope"
COMPONENTS: Final = ("displacement_east", "displacement_north", "displacement_up")
PANES: Final = 4  # beside curve and velocity
# what drives a slope, in the order in which it is shown
DRIVERS: Final = (
    "rain", "reservoir_level", "groundwater_level", "water_level", "pore_pressure", "soil_moisture", "snow_depth",
    "temperature", "air_pressure",
)  # fmt: skip
MOTION: Final = ("displacement", "crack", "tilt", "strain")


def plan_page(
    stations: list[dict[str, Any]], landslides: list[dict[str, Any]], forecast: set[tuple[str, str]],
    series: Sequence[SeriesRow],
) -> dict[str, Any]:  # fmt: skip
    """What the chart of a site page needs before any answer: stations with their quantities, and room for panes."""
    charts = plan_charts(stations, forecast)
    counts = Counter(q for k in charts for q in k["choices"])
    first = charts[0] if charts else None
    below = [] if first is None else plan_panes(series, first["station"], first["first"])
    moves = first is not None and first["first"].startswith("displacement")
    return {
        "charts": charts, "landslide_charts": plan_charts(landslides, forecast),
        "shared": [quantity for quantity, count in counts.most_common() if count > 1],
        "panes": [*(["velocity"] if moves else []), *(f"{s.station}.{s.quantity}" for s in below)],
    }  # fmt: skip


def list_quantities(station: dict[str, Any]) -> list[str]:
    """What can be drawn for a station; the computed downslope movement first where it can be computed."""
    found = [row["quantity"] for row in station["latest"]]
    if COMPUTED not in found and station["azimuth_deg"] is not None and set(COMPONENTS) <= set(found):
        return [COMPUTED, *found]
    return found


def plan_charts(stations: list[dict[str, Any]], forecast: set[tuple[str, str]]) -> list[dict[str, Any]]:
    """Which curves a site page shows: movement first, then pressure and water, then rain; each with its choices.

    A station opens with a quantity that has a shown forecast, of several the one its azimuth points along.
    """
    rank = {"displacement": 0, "crack": 1, "tilt": 1, "strain": 1, "velocity": 1, "reservoir": 3, "rain": 4}
    charts = []
    for station in stations:
        choices = list_quantities(station)
        if not choices:
            continue
        first = _pick_first(station, [q for q in choices if (station["id"], q) in forecast], choices)
        order = rank.get(first.split("_")[0], 2)
        on_slope = station["on_slope"]
        charts.append(
            {"station": station["id"], "choices": choices, "first": first, "order": order, "on_slope": on_slope}
        )
    return sorted(charts, key=lambda k: (k["order"], not k["on_slope"], k["station"]))


def _pick_first(station: dict[str, Any], with_forecast: list[str], choices: list[str]) -> str:
    if not with_forecast:
        return choices[0]
    if station["azimuth_deg"] is None:
        return with_forecast[0]
    azimuth = radians(station["azimuth_deg"])
    weight = {"displacement_north": abs(cos(azimuth)), "displacement_east": abs(sin(azimuth))}
    return max(with_forecast, key=lambda q: weight.get(q, 1.0))


def plan_panes(series: Sequence[SeriesRow], station: str, quantity: str) -> list[SeriesRow]:
    """What is drawn below a curve: what else its station measures, then what drives the slope, one series of a kind."""
    family = quantity.partition("_")[0]
    own = [
        s for s in series
        if s.station == station and s.quantity.partition("_")[0] != family and not s.quantity.startswith(MOTION)
        and s.quantity not in {BATTERY, SIGNAL, *OF_SCENES} and s.unit != "index"
    ]  # fmt: skip
    rank = {name: k for k, name in enumerate(DRIVERS)}
    drivers = sorted(
        (s for s in series if s.quantity in rank and s.station != station and s.quantity != quantity),
        key=lambda s: (rank[s.quantity], s.station),
    )
    found: dict[str, SeriesRow] = {}
    for one in [*sorted(own, key=lambda s: rank.get(s.quantity, len(rank))), *drivers]:
        found.setdefault(one.quantity, one)
    chosen = sorted(found.values(), key=lambda s: (s.station != station, rank.get(s.quantity, len(rank))))[:PANES]
    return sorted(chosen, key=lambda s: rank.get(s.quantity, len(rank)))
