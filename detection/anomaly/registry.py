"""Registry of anomaly detectors. The module of a detector is imported when the detector is used.

Built in are the detector `rules`, the autoencoder `ae` and the checks. Installed packages add detectors by the entry
point group `slopeward.detectors`. These packages are imported when a detector is named that is not built in, or when
all detectors are listed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from detection.entry_points import load_entries
from detection.reasons import Explanation, Reason, Value

if TYPE_CHECKING:  # the service core and the page import this module without numpy
    from detection.anomaly.networks import DetectorNetwork
    from detection.anomaly.stages import Array
    from detection.anomaly.windows import Series


@dataclass(frozen=True, slots=True)
class DetectorEntry:
    """A detector in the registry.

    Attributes:
        target: `module:function` of a rule, which maps a series to one score for each cell; or `module:NAME` of a
            `DetectorNetwork`.
        is_network: Whether the target is a network. It needs PyTorch and training.
        compared_with: The part of a series' own past with which a score is compared: an English phrase, such as "its
            last reading", or the code of a phrase that the service translates, such as `USUAL_INCREMENTS`. Empty if
            not stated.
        parts: Names of the scores of a network that have thresholds of their own; empty if it has one score.
    """

    target: str
    is_network: bool = False
    compared_with: str = ""
    parts: tuple[str, ...] = ()


USUAL_INCREMENTS: Final = "usual-increments"
NETWORK_EXPECTATION: Final = "network-on-30-readings"
ENTRY_POINTS: Final = "slopeward.detectors"
"""Entry point group of further detectors. Each entry point names a mapping from name to `DetectorEntry`."""

NETWORKS: Final[Mapping[str, DetectorEntry]] = {
    "ae": DetectorEntry(
        "detection.anomaly.neural.station_network:STATION_NETWORK",
        is_network=True,
        compared_with=NETWORK_EXPECTATION,
        parts=("level", "drift", "noise"),
    ),
}
# Checks have no score and no threshold. The value is the kind of fault that the check finds.
CHECKS: Final[Mapping[str, str]] = {"flatline": "stuck", "replay": "replay", "unit-jump": "unit", "timing": "timing"}
# Detectors whose score is the largest score of several parts, each in multiples of its threshold. The parts share one
# budget.
COMPOSITES: Final[Mapping[str, tuple[str, ...]]] = {"rules": ("level", "trend", "drift", "creep", "bend", "noise")}
# Parts whose threshold is a sum over readings. The threshold of any other part is a size.
SUM_PARTS: Final = frozenset({"creep"})
# Detectors of the package slopeward-lab, with the built-in detector that replaces each.
REPLACED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("persistence-z", "robust-z", "ewma", "slope-change", "variance"), "rules"),
    **dict.fromkeys(("dense-ae", "conv-ae", "lstm-ae", "gru-ae", "vae"), "ae"),
}
# Thresholds for a site without history. They are used until thresholds are chosen on its own record. They are those of
# `OTHER_SITES`; the parts that find fast faults have lower thresholds, as far as the false alarms on ten records that
# no benchmark uses, and on measured earthquakes and slow slips, allow.
CARRIED_OVER_THRESHOLDS: Final[Mapping[str, Mapping[str, float]]] = {
    "rules": {"level": 4.6, "trend": 5.7, "creep": 18.23, "bend": 6.0, "noise": 2.45},
}
# Thresholds counted at other sites. The thresholds of a site are halfway between these and the ones counted on its own
# record. They are for a budget of 0.1 on records that no benchmark uses: east of 18 stations in Japan, north of 25 in
# Cascadia, and the curve of a landslide at 8 points with the noise of the stations in Japan. For each part, the larger
# of two thresholds was taken: with neighbours, and for each series alone.
OTHER_SITES: Final[Mapping[str, Mapping[str, float]]] = {
    "rules": {"level": 5.03, "trend": 6.45, "creep": 18.23, "bend": 6.0, "noise": 2.71}
}
# Budget of the thresholds in `CARRIED_OVER_THRESHOLDS` and `OTHER_SITES`, false alarms per sensor-month.
CARRIED_BUDGET: Final = 0.1

# The part of a series' own past with which the scores of `rules` and the findings of checks are compared. A key may
# contain the kind of a score after a space.
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
    built_in = {*NETWORKS, *COMPOSITES, *CHECKS}
    installed = load_entries(ENTRY_POINTS, DetectorEntry)
    return {name: entry for name, entry in installed.items() if name not in built_in}


def list_rules() -> Mapping[str, DetectorEntry]:
    """Return the single rules of installed packages."""
    return {name: entry for name, entry in _load_installed().items() if not entry.is_network}


def list_networks() -> Mapping[str, DetectorEntry]:
    """Return the networks: the built-in one and those of installed packages."""
    return {**NETWORKS, **{name: entry for name, entry in _load_installed().items() if entry.is_network}}


def is_network(name: str) -> bool:
    """Return whether a detector is a network, which needs PyTorch and training."""
    if name in NETWORKS:
        return True
    if name in COMPOSITES or name in CHECKS:
        return False
    return name in list_networks()


def list_detectors() -> list[str]:
    """Return the names of all detectors that have scores and thresholds, that is all but the checks."""
    return [*list_rules(), *COMPOSITES, *list_networks()]


def list_parts(name: str) -> tuple[str, ...]:
    """Return the names under which the thresholds of a detector are stored.

    >>> list_parts("ae")
    ('level', 'drift', 'noise')
    """
    if name in COMPOSITES:
        return COMPOSITES[name]
    entry = NETWORKS.get(name) or _load_installed().get(name)
    return (entry.parts if entry is not None else ()) or (name,)


def describe_unknown_detector(name: str) -> str:
    """Return one line about an unknown detector: its replacement or the known names, and how to install more."""
    if name in REPLACED:
        return (
            f"{name!r} is in the package slopeward-lab: use {REPLACED[name]!r}, or install the package: "
            "pip install 'slopeward[lab]'"
        )
    line = f"unknown detector {name!r}; known: {', '.join(list_detectors())}"
    return line if _load_installed() else f"{line}; more detectors: pip install 'slopeward[lab]'"


def list_served() -> list[str]:
    """Return all names that a site file may contain: detectors with scores, and checks."""
    return [*list_detectors(), *CHECKS]


@lru_cache(maxsize=1000)
def describe_comparison(detector: str, kind: str, others: int = 0, named: tuple[str, ...] = ()) -> Explanation:
    """Return a description of what a score of this kind was compared with; empty if the detector is not installed.

    The result is cached, because thousands of scores share a few descriptions.

    Args:
        others: Number of other series with which the score was compared.
        named: Names of the first of these series, or of all of them.

    >>> print(describe_comparison("rules", "drift"))
    compared.past: past=lines-of-30-and-60-days
    >>> print(describe_comparison("rules", "noise", 17, ("G2", "G3")))
    compared.among: past=usual-increments, n=17, names=[G2, G3]
    """
    past = COMPARED.get(f"{detector} {kind}") or COMPARED.get(detector) or _find_past(detector)
    if not others:
        return Reason("compared.past", {"past": past}) if past else ""
    if not named:
        return Reason("compared.others", {"past": past, "n": others})
    values: Mapping[str, Value] = {"past": past, "n": others, "names": named}
    if len(named) == others:
        return Reason("compared.named", values)
    return Reason("compared.among", values)


def _find_past(name: str) -> str:
    entry = NETWORKS.get(name) or _load_installed().get(name)
    return "" if entry is None else entry.compared_with


def load_rule(name: str) -> "Callable[[Series], Array]":
    """Return the scoring function of a rule."""
    rule: Callable[[Series], Array] = _load(list_rules()[name].target)
    return rule


def load_network(name: str) -> "DetectorNetwork":
    """Return a network. This imports PyTorch."""
    network: DetectorNetwork = _load((NETWORKS.get(name) or list_networks()[name]).target)
    return network


def _load(target: str) -> Any:
    module, name = target.split(":")
    return getattr(import_module(module), name)
