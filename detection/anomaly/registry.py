"""Registry of anomaly detectors: names and where their code is. A detector is imported when it is used.

Installed packages add detectors by the entry point group `slopeward.detectors`. Such a package is imported when a
detector is named that is not built in, or when all detectors are listed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from detection.entry_points import load_entries
from detection.reasons import Explanation, Reason, Value

if TYPE_CHECKING:  # the core and the page read the names alone, and start without numpy
    from detection.anomaly.stages import Array
    from detection.anomaly.windows import Series


@dataclass(frozen=True, slots=True)
class DetectorEntry:
    """One detector of the registry."""

    # `module:function` of a rule, from a series to one score per cell; `module:Class` of an autoencoder
    target: str
    is_network: bool = False
    # The part of a series' own past with which a score is compared: an English phrase, such as "its last reading", or
    # the code of a phrase that the service translates, such as `USUAL_INCREMENTS`. Empty: not stated.
    compared_with: str = ""


USUAL_INCREMENTS: Final = "usual-increments"
NETWORK_EXPECTATION: Final = "network-on-30-readings"
ENTRY_POINTS: Final = "slopeward.detectors"
"""Entry point group of further detectors: each entry point names a mapping from name to `DetectorEntry`."""

RULES: Final[Mapping[str, DetectorEntry]] = {
    "persistence-z": DetectorEntry("detection.anomaly.robust:persistence_z", compared_with="median-of-7-days"),
}
NETWORKS: Final[Mapping[str, DetectorEntry]] = {
    "ae": DetectorEntry(
        "detection.anomaly.neural.autoencoders:DenseAutoencoder", is_network=True, compared_with=NETWORK_EXPECTATION
    ),
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

# The part of a series' own past with which the scores of composites and the findings of checks are compared. For
# one kind of score, the key has the kind after a space.
COMPARED: Final[Mapping[str, str]] = {
    "rules": "last-7-to-10-days",
    "rules drift": "lines-of-30-and-60-days",
    "rules noise": USUAL_INCREMENTS,
    "flatline": "usual-resolution",
    "replay": "earlier-readings",
    "unit-jump": "level-and-noise",
    "timing": "usual-interval",
}


@cache
def _load_installed() -> Mapping[str, DetectorEntry]:
    built_in = {*RULES, *NETWORKS, *COMPOSITES, *CHECKS}
    installed = load_entries(ENTRY_POINTS, DetectorEntry)
    return {name: entry for name, entry in installed.items() if name not in built_in}


def list_rules() -> Mapping[str, DetectorEntry]:
    """Return the single rules: those that are built in and those of installed packages."""
    return {**RULES, **{name: entry for name, entry in _load_installed().items() if not entry.is_network}}


def list_networks() -> Mapping[str, DetectorEntry]:
    """Return the autoencoders: those that are built in and those of installed packages."""
    return {**NETWORKS, **{name: entry for name, entry in _load_installed().items() if entry.is_network}}


def is_network(name: str) -> bool:
    """Whether a detector is an autoencoder, which needs PyTorch and a training."""
    if name in NETWORKS:
        return True
    if name in RULES or name in COMPOSITES or name in CHECKS:
        return False
    return name in list_networks()


def list_detectors() -> list[str]:
    """Ids of all that give scores of readings alone, against a threshold that is counted."""
    return [*list_rules(), *COMPOSITES, *list_networks()]


def describe_unknown_detector(name: str) -> str:
    """Return one line: the name is unknown, which detectors can be used, and how to install more."""
    line = f"unknown detector {name!r}; known: {', '.join(list_detectors())}"
    return line if _load_installed() else f"{line}; more detectors: pip install 'slopeward[lab]'"


def list_served() -> list[str]:
    """Ids that a site may ask for: detectors with a score, and checks that are certain without one."""
    return [*list_detectors(), *CHECKS]


def compared_with(detector: str, kind: str, others: int = 0, named: Sequence[str] = ()) -> Explanation:
    """Return what a score of this kind was compared with; empty for a detector that is not installed.

    Args:
        others: how many other series were compared.
        named: the names of the most important ones, or of all.

    >>> print(compared_with("rules", "drift"))
    compared.past: past=lines-of-30-and-60-days
    >>> print(compared_with("rules", "noise", 17, ("G2", "G3")))
    compared.among: past=usual-increments, n=17, names=[G2, G3]
    """
    past = COMPARED.get(f"{detector} {kind}") or COMPARED.get(detector) or _find_past(detector)
    if not others:
        return Reason("compared.past", {"past": past}) if past else ""
    if not named:
        return Reason("compared.others", {"past": past, "n": others})
    values: Mapping[str, Value] = {"past": past, "n": others, "names": tuple(named)}
    if len(named) == others:
        return Reason("compared.named", values)
    return Reason("compared.among", values)


def _find_past(name: str) -> str:
    entry = RULES.get(name) or NETWORKS.get(name) or _load_installed().get(name)
    return "" if entry is None else entry.compared_with


def load_rule(name: str) -> "Callable[[Series], Array]":
    """The scoring function of a rule."""
    found: Callable[[Series], Array] = _load((RULES.get(name) or list_rules()[name]).target)
    return found


def load_network(name: str) -> Callable[..., Any]:
    """The class of a network (imports torch)."""
    found: Callable[..., Any] = _load((NETWORKS.get(name) or list_networks()[name]).target)
    return found


def _load(path: str) -> Any:
    module, name = path.split(":")
    return getattr(import_module(module), name)
