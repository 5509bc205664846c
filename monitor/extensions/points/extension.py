"""Satellite points: what they add to the service. Their rows stand in the core, whose criterion of radar reads them."""

from typing import Final

from monitor.domain.extension import Address, Command, Extension, Job

_HERE: Final = "monitor.extensions.points"
_QUARTER_S: Final = 900.0
EXTENSION: Final = Extension(
    name="points",
    description="satellite points by the ten thousand: seen as they come, forecast, on the map",
    package=_HERE,
    routes=(f"{_HERE}.routes:router",),
    addresses={
        f"GET /api/v1/sites/{{site}}/{one}": Address("read")
        for one in ("anomalies/points", "forecasts/points", "points.geojson", "points/series")
    },
    commands={
        "anomalies points": Command(f"{_HERE}.looks_cli", "List anomalies of InSAR points", after="anomalies"),
        "forecast points": Command(
            f"{_HERE}.forecasts_cli",
            "Forecast InSAR points",
            after="forecast failure-time",
            rules={"forecast points": "serves"},
        ),
    },
    jobs=(
        Job("points", f"{_HERE}.looks:run", lambda _: _QUARTER_S, 50.0),
        Job("point-map", f"{_HERE}.map_squares:run", lambda _: _QUARTER_S, 52.0, show=True),
        Job("point-forecasts", f"{_HERE}.forecasts:run", lambda _: _QUARTER_S, 55.0),
    ),
    panels={"site.instruments": ("points.html",)},
    functions={"site.instruments": f"{_HERE}.routes:collect_points"},
)
