"""The table of detectors: what exists, and where; heavy ones are imported when first asked for."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

from detection.anomaly.windows import Array, Series

RULES: Final[Mapping[str, str]] = {
    "persistence-z": "detection.anomaly.robust:persistence_z",
    "robust-z": "detection.anomaly.robust:robust_z",
    "ewma": "detection.anomaly.robust:ewma",
    "slope-change": "detection.anomaly.robust:slope_change",
    "variance": "detection.anomaly.robust:variance",
}
NETWORKS: Final[Mapping[str, str]] = {
    "ae": "detection.anomaly.neural.dense:DenseAutoencoder",
    "lstm-ae": "detection.anomaly.neural.lstm:LstmAutoencoder",
}
# Certain faults have no score and no threshold; each check names the kind of finding it keeps.
CHECKS: Final[Mapping[str, str]] = {"flatline": "stuck", "replay": "replay"}
# Counted on 18 daily GNSS stations in Japan (benchmark G, 2014-07 to 2015-05) for 0.1 / 4 false alarms per
# sensor-month. It may start a site without history; a threshold counted on the site's own record replaces it.
CARRIED_OVER: Final[Mapping[str, float]] = {"persistence-z": 6.26}
# Several parts, judged after what the neighbours explain, that share one budget by what each finds.
COMPOSITES: Final[Mapping[str, tuple[str, ...]]] = {"rules": ("level", "trend", "drift", "bend", "noise")}


def list_detectors() -> list[str]:
    """Ids of all that give scores."""
    return [*RULES, *COMPOSITES, *NETWORKS]


def list_served() -> list[str]:
    """Ids that a site may ask for: detectors with a score, and checks that are certain without one."""
    return [*list_detectors(), *CHECKS]


def load_rule(name: str) -> Callable[[Series], Array]:
    """The scoring function of a rule."""
    found: Callable[[Series], Array] = _load(RULES[name])
    return found


def load_network(name: str) -> Callable[..., Any]:
    """The class of a network (imports torch)."""
    found: Callable[..., Any] = _load(NETWORKS[name])
    return found


def _load(path: str) -> Any:
    module, name = path.split(":")
    return getattr(import_module(module), name)
