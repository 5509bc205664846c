"""The table of detectors: what exists, and where; heavy ones are imported when first asked for."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from forecasting.message import NameList, Template, Term

if TYPE_CHECKING:  # the core and the page read the names alone, and start without numpy
    from detection.anomaly.stages import Array
    from detection.anomaly.windows import Series

RULES: Final[Mapping[str, str]] = {
    "persistence-z": "detection.anomaly.robust:persistence_z",
    "robust-z": "detection.anomaly.robust:robust_z",
    "ewma": "detection.anomaly.robust:ewma",
    "slope-change": "detection.anomaly.robust:slope_change",
    "variance": "detection.anomaly.robust:variance",
}
NETWORKS: Final[Mapping[str, str]] = {
    "ae": "detection.anomaly.neural.autoencoders:DenseAutoencoder",
    "conv-ae": "detection.anomaly.neural.autoencoders:ConvAutoencoder",
    "lstm-ae": "detection.anomaly.neural.autoencoders:LstmAutoencoder",
    "gru-ae": "detection.anomaly.neural.autoencoders:GruAutoencoder",
    "vae": "detection.anomaly.neural.autoencoders:VariationalAutoencoder",
}
# Certain faults have no score and no threshold; each check names the kind of finding it keeps.
CHECKS: Final[Mapping[str, str]] = {"flatline": "stuck", "replay": "replay", "unit-jump": "unit", "timing": "timing"}
# A site without history starts with these; thresholds counted on its own record replace them.
# persistence-z: counted on 18 daily GNSS stations in Japan (benchmark G, 2014-07 to 2015-05) for 0.1 / 4 false alarms
# per sensor-month.
# rules: those of `DRAWN_TO`, with the parts that see fast faults lowered as far as ten records that are no benchmark
# and the measured earthquakes and slow slips let them.
CARRIED_OVER: Final[Mapping[str, Mapping[str, float]]] = {
    "persistence-z": {"persistence-z": 6.26},
    "rules": {"level": 4.6, "trend": 5.7, "creep": 18.23, "bend": 6.0, "noise": 2.45},
}
# Halfway to these lie the thresholds that a site's own record gives: split by value for 0.1 on records that are no
# benchmark: east of 18 stations in Japan, north of 25 in Cascadia, and the curve of a landslide at 8 points with the
# noise of the former; of each part the larger of the threshold with the neighbours of its site and that of each series
# alone. Such a split is fairer where half of each threshold knows the site, those above where none does.
DRAWN_TO: Final[Mapping[str, Mapping[str, float]]] = {
    "rules": {"level": 5.03, "trend": 6.45, "creep": 18.23, "bend": 6.0, "noise": 2.71}
}
CARRIED_BUDGET: Final = 0.1  # false alarms per sensor-month that those of `rules` are for
# Several parts, judged after what the neighbours explain, that share one budget by what each finds.
COMPOSITES: Final[Mapping[str, tuple[str, ...]]] = {"rules": ("level", "trend", "drift", "creep", "bend", "noise")}

SUMS: Final = frozenset({"creep"})  # of these parts a threshold is a sum of readings, and of the others a size

# What of the own past the score of each detector was compared with; of `rules` by the kind that it gives.
COMPARED: Final[Mapping[str, str]] = {
    "persistence-z": "the median of its last 7 days",
    "robust-z": "its last reading",
    "ewma": "the line of its last 60 days",
    "slope-change": "its slope of the 60 days before",
    "variance": "its usual increments",
    "rules": "its last 7 to 10 days",
    "rules drift": "the lines of its last 30 and 60 days",
    "rules noise": "its usual increments",
    "ae": "what a network expects of its last 30 readings",
    "conv-ae": "what a network expects of its last 30 readings",
    "lstm-ae": "what a network expects of its last 30 readings",
    "gru-ae": "what a network expects of its last 30 readings",
    "vae": "what a network expects of its last 30 readings",
    "flatline": "its usual resolution",
    "replay": "its earlier readings",
    "unit-jump": "its level and noise before",
    "timing": "its usual interval",
}

PAST: Final = Template("compared.past", "{past}")
_OTHERS: Final = Template("compared.others", "{past}, and with {n} other series")
_ALL_NAMED: Final = Template("compared.named", "{past}, and with {n} other series ({names})")
_SOME_NAMED: Final = Template("compared.among", "{past}, and with {n} other series ({names} among them)")


def list_detectors() -> list[str]:
    """Ids of all that give scores of readings alone, against a threshold that is counted."""
    return [*RULES, *COMPOSITES, *NETWORKS]


def list_served() -> list[str]:
    """Ids that a site may ask for: detectors with a score, and checks that are certain without one."""
    return [*list_detectors(), *CHECKS]


def compared_with(detector: str, kind: str, others: int = 0, named: Sequence[str] = ()) -> str:
    """What a score of this kind was compared with, in words; empty for a detector of another version.

    >>> compared_with("rules", "drift"), compared_with("rules", "spike", 3, ("G2", "G3", "G4"))
    ('the lines of its last 30 and 60 days', 'its last 7 to 10 days, and with 3 other series (G2, G3 and G4)')
    >>> compared_with("rules", "noise", 17, ("G2", "G3"))
    'its usual increments, and with 17 other series (G2 and G3 among them)'
    """
    past = Term(COMPARED.get(f"{detector} {kind}") or COMPARED.get(detector, ""))
    if not others:
        return PAST(past=past) if past.word else ""
    if not named:
        return _OTHERS(past=past, n=others)
    form = _ALL_NAMED if len(named) == others else _SOME_NAMED
    return form(past=past, n=others, names=NameList(tuple(named), conjunction=True))


def load_rule(name: str) -> "Callable[[Series], Array]":
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
