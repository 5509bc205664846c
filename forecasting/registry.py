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

BASELINES = {
    "persistence": "forecasting.simple.baselines:fit_persistence",
    "drift": "forecasting.simple.baselines:fit_drift",
    "lld": "forecasting.simple.baselines:fit_lld",
    "seasonal": "forecasting.simple.baselines:fit_seasonal",
    "climatology": "forecasting.simple.baselines:fit_climatology",
    "ets": "forecasting.simple.ets:fit_ets",
    "arima": "forecasting.simple.arima:fit_arima",
    "ridge": "forecasting.simple.ridge:fit_ridge",
    "lad": "forecasting.simple.lad:fit_lad",
    "median5": "forecasting.simple.averaging:fit_median5",
    "ewa": "forecasting.simple.averaging:fit_ewa",
    "trend": "forecasting.simple.trend:fit_trend",
    "local-trend": "forecasting.simple.trend:fit_local_trend",
    "auto": "forecasting.simple.auto:fit_auto",
}
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

TRAINING_ROWS = 2000  # A network learns from so many rows at most, the newest


@cache
def _load_installed() -> Mapping[str, NetworkEntry]:
    installed = load_entries(ENTRY_POINTS, NetworkEntry)
    return {name: entry for name, entry in installed.items() if name not in BASELINES and name not in NETWORKS}


def list_networks() -> Mapping[str, NetworkEntry]:
    """Return the built-in networks and those of installed packages."""
    return {**NETWORKS, **_load_installed()}


def find_entry(name: str) -> NetworkEntry | None:
    """Return the registry entry of a network; None for a simple forecast and for an unknown name."""
    if name in NETWORKS:
        return NETWORKS[name]
    return None if name in BASELINES else _load_installed().get(name)


def is_network(model: str) -> bool:
    """Return whether a model is a network: it is trained, and its own forecast is never shown."""
    return find_entry(model) is not None


def is_model(name: str) -> bool:
    """Whether a site may use a model: a simple forecast, or a network that is built in or installed."""
    return name in BASELINES or is_network(name)


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


def model_ids() -> tuple[str, ...]:
    """Return the id of every model that can be compared."""
    return (*BASELINES, *list_networks())


def is_removed(name: str) -> bool:
    """Return whether a name is that of a former forecast, of which a network was a part.

    >>> is_removed("gated"), is_removed("auto+gru"), is_removed("auto")
    (True, True, False)
    """
    return name == "gated" or name.startswith("auto+")


def describe_unknown_model(name: str, kind: str = "model") -> str:
    """Return one line: the name is unknown, which models can be used, and how to install more.

    Args:
        kind: `model`, or `network` where simple forecasts are not accepted.
    """
    if is_removed(name):
        return f"{name!r} was removed: auto is the forecast that is shown, and networks have a share in it; name auto"
    usable = [*(BASELINES if kind == "model" else ()), *list_networks()]
    line = f"no {kind} is called {name!r}; there are {', '.join(usable)}"
    return line if _load_installed() else f"{line}; more networks: pip install 'slopeward[lab]'"


def load(name: str) -> Any:
    """The object behind a model id: a fitting function of a simple forecast or the class of a network."""
    entry = find_entry(name)
    path = BASELINES.get(name) if entry is None else entry.target
    if path is None:
        raise UnknownModelError(describe_unknown_model(name))
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)
