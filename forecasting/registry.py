"""Registry of forecasting models: names and where their code is. A model is imported when it is used.

Installed packages add networks by the entry point group `slopeward.forecasters`. Such a package is imported when a
model is named that is not built in, or when all models are listed.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Final

from forecasting.entry_points import load_entries
from forecasting.errors import UnknownModelError


@dataclass(frozen=True, slots=True)
class NetworkEntry:
    """One network of the registry."""

    target: str  # `module:Class`, a subclass of `forecasting.neural.network.Network`
    # Whether the network reads all stations of a site together. Its weights then serve no other site.
    reads_stations_together: bool = False
    reads_drivers: bool = True  # whether it reads rain, water, temperature, image series and the season


ENTRY_POINTS: Final = "slopeward.forecasters"
"""Entry point group of further networks: each entry point names a mapping from model name to `NetworkEntry`."""

SIMPLE_FORECASTS: Final = ("persistence", "line")
"""Every forecast is compared with these two: the last value, and a straight line from the newest reading.

The slope of the line is the one of six fitted slopes that had the smallest error so far at the station and horizon.
"""
COMBINED: Final = "combined"
"""The forecast that people see: the weighted mean of all experts, networks among them."""
REMOVED_MODELS: Final = frozenset(
    {
        *("auto", "gated", "drift", "lld", "seasonal", "climatology", "ets", "arima", "ridge", "lad", "median5", "ewa"),
        *("trend", "local-trend"),
    }
)
"""Models of earlier versions that the combined forecast replaces."""
NETWORKS: Final[Mapping[str, NetworkEntry]] = {
    "gru": NetworkEntry("forecasting.neural.networks.recurrent:Gru"),
    "lstm": NetworkEntry("forecasting.neural.networks.recurrent:Lstm"),
    "graph-gru": NetworkEntry("forecasting.neural.networks.graph_gru:GraphGru", reads_stations_together=True),
    "pretrained-lstm": NetworkEntry("forecasting.neural.networks.pretrained_lstm:PretrainedLstm", reads_drivers=False),
}
"""The built-in networks. `list_networks` also returns those of installed packages."""

PRETRAINED = ("pretrained-lstm",)
"""Networks that begin with shipped weights (`forecasting/weights`) and serve records too short for the others."""

SHORT_RECORD, SHORTEST_RECORD = 200, 40
"""Observations of a station that a network needs, and that one with shipped weights needs."""

TRAINING_ROWS = 2000  # A network learns from this many rows at most, the newest


@cache
def _load_installed() -> Mapping[str, NetworkEntry]:
    installed = load_entries(ENTRY_POINTS, NetworkEntry)
    return {name: entry for name, entry in installed.items() if name not in NETWORKS}


def list_networks() -> Mapping[str, NetworkEntry]:
    """Return the built-in networks and those of installed packages."""
    return {**NETWORKS, **_load_installed()}


def find_entry(name: str) -> NetworkEntry | None:
    """Return the registry entry of a network; None for any other name."""
    if name in NETWORKS:
        return NETWORKS[name]
    if name == COMBINED or name in SIMPLE_FORECASTS or is_removed(name):
        return None
    return _load_installed().get(name)


def is_network(model: str) -> bool:
    """Return whether a model is a network, built in or installed."""
    return find_entry(model) is not None


def is_short(model: str) -> bool:
    """Whether a model brings weights, so that a short record is enough."""
    return model in PRETRAINED


def reads_drivers(models: Collection[str]) -> bool:
    """Whether at least one of the models reads rain, water, temperature, image series or the season."""
    return any(entry.reads_drivers for model in models if (entry := find_entry(model)) is not None)


def reads_stations_together(model: str) -> bool:
    """Whether a network reads all stations of a site together, so that its weights serve no other site."""
    entry = find_entry(model)
    return entry is not None and entry.reads_stations_together


def count_needed(network: str) -> int:
    """Observations of a station that a network needs.

    >>> count_needed("gru"), count_needed("pretrained-lstm")
    (200, 40)
    """
    return SHORTEST_RECORD if is_short(network) else SHORT_RECORD


def list_models() -> tuple[str, ...]:
    """Return the name of every model that can be compared."""
    return (COMBINED, *SIMPLE_FORECASTS, *list_networks())


def is_removed(name: str) -> bool:
    """Return whether a name is that of a model of an earlier version.

    >>> is_removed("auto+gru"), is_removed("ets"), is_removed("gru")
    (True, True, False)
    """
    return name in REMOVED_MODELS or name.startswith("auto+")


def describe_unknown_model(name: str) -> str:
    """Return one line that says why a name is no network, and which networks there are."""
    usable = ", ".join(list_networks())
    if is_removed(name):
        return (
            f"{name!r} was removed: the forecast {COMBINED!r}, which every site has, replaces it; remove it from the "
            f"list, which names networks only: {usable}"
        )
    if name == COMBINED or name in SIMPLE_FORECASTS:
        return f"{name!r} is always forecast; remove it from the list, which names networks only: {usable}"
    line = f"no network is called {name!r}; there are {usable}"
    return line if _load_installed() else f"{line}; more networks: pip install 'slopeward[lab]'"


def load(name: str) -> Any:
    """Return the class of a network.

    Raises:
        UnknownModelError: There is no network of this name.
    """
    entry = find_entry(name)
    if entry is None:
        raise UnknownModelError(describe_unknown_model(name))
    module, _, attribute = entry.target.partition(":")
    return getattr(import_module(module), attribute)
