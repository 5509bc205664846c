"""The kinds of criteria that exist: this table is the list."""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from monitor.sites.criteria.entry import KindEntry
from monitor.sites.kinds import Kind

_ROOM: Final = "monitor.decision.criteria.kinds"
FILES: Final = {
    "velocity": "velocity",
    "level": "level",
    "rate": "rate",
    "survey_rate": "survey_rate",
    "rain_sum": "rain_sum",
    "rain_intensity_duration": "rain_intensity_duration",
    "rain_antecedent": "rain_antecedent",
    "rain_return_period": "rain_return_period",
    "rain_learned": "rain_learned",
    "factor_of_safety": "slope_safety",
    "drawdown": "drawdown",
    "earthquake": "earthquake",
    "acceleration": "acceleration",
    "tangential_angle": "tangential",
    "inverse_velocity": "inverse_velocity",
    "forecast": "forecast",
    "anomaly": "anomaly",
    "scene": "scene",
    "insar_rate": "insar",
    "report": "report",
}


def _load(file: str) -> KindEntry:
    found: KindEntry = import_module(f"{_ROOM}.{file}").ENTRY
    return found


CRITERIA: Final[Mapping[str, KindEntry]] = {name: _load(file) for name, file in FILES.items()}
KINDS: Final[Mapping[str, Kind]] = {name: entry.kind for name, entry in CRITERIA.items()}
