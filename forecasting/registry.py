"""The list of models that exist: id to dotted path, loaded only when asked for."""

from importlib import import_module
from typing import Any

from forecasting.errors import UnknownModelError

BASELINES = {
    "persistence": "forecasting.baselines:fit_persistence",
    "drift": "forecasting.baselines:fit_drift",
    "lld": "forecasting.baselines:fit_lld",
    "seasonal": "forecasting.baselines:fit_seasonal",
    "climatology": "forecasting.baselines:fit_climatology",
    "ets": "forecasting.smoothing:fit_ets",
    "arima": "forecasting.arima:fit_arima",
    "ridge": "forecasting.regression:fit_ridge",
    "mean3": "forecasting.averaging:fit_mean3",
    "ewa": "forecasting.averaging:fit_ewa",
    "auto": "forecasting.choice:fit_auto",
}
NETWORKS = {
    "gru": "forecasting.neural.gru:Gru",
    "lstm": "forecasting.neural.lstm:Lstm",
    "graph-gru": "forecasting.neural.graph_gru:GraphGru",
}


def load(name: str) -> Any:
    """The object behind a model id: a fitting function of a baseline or the class of a network.

    Raises:
        UnknownModelError: No model of that name.
    """
    path = BASELINES.get(name) or NETWORKS.get(name)
    if path is None:
        raise UnknownModelError(f"no model is called {name}; there are {', '.join([*BASELINES, *NETWORKS])}")
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)
