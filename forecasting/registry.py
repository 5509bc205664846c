"""The list of models that exist: id to dotted path, loaded only when asked for."""

from importlib import import_module
from typing import Any

from forecasting.errors import UnknownModelError

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
NETWORKS = {
    "gru": "forecasting.neural.networks.recurrent.parts:Gru",
    "lstm": "forecasting.neural.networks.recurrent.parts:Lstm",
    "graph-gru": "forecasting.neural.networks.graph.gru:GraphGru",
    "mlp": "forecasting.neural.networks.mlp:Mlp",
    "rnn": "forecasting.neural.networks.recurrent.parts:Rnn",
    "lstm2": "forecasting.neural.networks.recurrent.parts:Lstm2",
    "bilstm": "forecasting.neural.networks.recurrent.parts:BiLstm",
    "bigru-attention": "forecasting.neural.networks.recurrent.parts:BiGruAttention",
    "cnn": "forecasting.neural.networks.convolution.cnn:Cnn",
    "tcn": "forecasting.neural.networks.convolution.tcn:Tcn",
    "cnn-lstm": "forecasting.neural.networks.recurrent.parts:CnnLstm",
    "cnn-bilstm": "forecasting.neural.networks.recurrent.parts:CnnBiLstm",
    "conv-lstm": "forecasting.neural.networks.convolution.conv_lstm:ConvLstm",
    "cnn-lstm-attention": "forecasting.neural.networks.recurrent.parts:CnnLstmAttention",
    "transformer": "forecasting.neural.networks.attention.transformer:Transformer",
    "vae-gru": "forecasting.neural.networks.recurrent.vae_gru:VaeGru",
    "graph-lstm": "forecasting.neural.networks.graph.lstm:GraphLstm",
    "graph-attention-gru": "forecasting.neural.networks.graph.attention_gru:GraphAttentionGru",
    "graph-transformer": "forecasting.neural.networks.graph.transformer:GraphTransformer",
    "diffusion-gru": "forecasting.neural.networks.graph.diffusion_gru:DiffusionGru",
    "pretrained-lstm": "forecasting.neural.networks.recurrent.pretrained_lstm:PretrainedLstm",
}

READS_TOGETHER = frozenset(name for name, path in NETWORKS.items() if ".graph." in path) | {"conv-lstm"}
"""Networks that read the stations of one site together: they serve no others."""

PRETRAINED = ("pretrained-lstm",)
"""Networks that begin with shipped weights (`forecasting/weights`) and serve records too short for the others."""

SHORT_RECORD, SHORTEST_RECORD = 200, 40
"""Observations of a station that a network needs, and that one with shipped weights needs."""

TRAINING_ROWS = 2000  # A network learns from so many rows at most, the newest

READS_DRIVERS = frozenset(NETWORKS) - {*PRETRAINED}
"""Networks that take rain, water, temperature, image series and the season besides the movement."""

SERVED = (*BASELINES, *NETWORKS)  # what a site may ask for


_BLEND = "auto+"  # begins the id of a blend: the part of a network that its gate takes, laid beside `auto`


def is_network(model: str) -> bool:
    """Whether a model passes a gate and is shown only after its time in the shadow."""
    return model in NETWORKS


def is_short(model: str) -> bool:
    """Whether a model brings weights, so that a short record is enough."""
    return model in PRETRAINED


def count_needed(network: str) -> int:
    """Observations of a station that a network needs.

    >>> count_needed("gru"), count_needed("pretrained-lstm")
    (200, 40)
    """
    return SHORTEST_RECORD if is_short(network) else SHORT_RECORD


def name_blend(network: str) -> str:
    """The id of what the gate makes of a network and `auto`.

    >>> name_blend("gru"), find_network("auto+gru"), find_network("gru"), find_network("lld")
    ('auto+gru', 'gru', 'gru', None)
    """
    return _BLEND + network


def is_blend(model: str) -> bool:
    """Whether a model is the blend of a network with `auto`, and not the network itself."""
    return model.startswith(_BLEND)


def find_network(model: str) -> str | None:
    """The network behind a model, alone or in a blend; None of a simple forecast, or of a name that nobody has."""
    name = model.removeprefix(_BLEND)
    return name if is_network(name) else None


def model_ids() -> tuple[str, ...]:
    """Every id that can be compared; `gated` stands for what the service would have shown."""
    return (*BASELINES, *NETWORKS, "gated")


def load(name: str) -> Any:
    """The object behind a model id: a fitting function of a simple forecast or the class of a network."""
    path = (BASELINES | NETWORKS).get(name)
    if path is None:
        raise UnknownModelError(f"no model is called {name}; there are {', '.join(model_ids())}")
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)
