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
    "lad": "forecasting.least_absolute:fit_lad",
    "mean3": "forecasting.averaging:fit_mean3",
    "median3": "forecasting.averaging:fit_median3",
    "median5": "forecasting.averaging:fit_median5",
    "ewa": "forecasting.averaging:fit_ewa",
    "auto": "forecasting.choice:fit_auto",
}
NETWORKS = {
    "gru": "forecasting.neural.gru:Gru",
    "lstm": "forecasting.neural.lstm:Lstm",
    "graph-gru": "forecasting.neural.graph_gru:GraphGru",
    "mlp": "forecasting.neural.mlp:Mlp",
    "rnn": "forecasting.neural.rnn:Rnn",
    "lstm2": "forecasting.neural.lstm2:Lstm2",
    "bilstm": "forecasting.neural.bilstm:BiLstm",
    "bigru-attention": "forecasting.neural.bigru_attention:BiGruAttention",
    "cnn": "forecasting.neural.cnn:Cnn",
    "tcn": "forecasting.neural.tcn:Tcn",
    "cnn-lstm": "forecasting.neural.cnn_lstm:CnnLstm",
    "cnn-bilstm": "forecasting.neural.cnn_bilstm:CnnBiLstm",
    "conv-lstm": "forecasting.neural.conv_lstm:ConvLstm",
    "cnn-lstm-attention": "forecasting.neural.cnn_lstm_attention:CnnLstmAttention",
    "transformer": "forecasting.neural.transformer:Transformer",
    "vae-gru": "forecasting.neural.vae_gru:VaeGru",
    "graph-lstm": "forecasting.neural.graph_lstm:GraphLstm",
    "graph-attention-gru": "forecasting.neural.graph_attention_gru:GraphAttentionGru",
    "graph-transformer": "forecasting.neural.graph_transformer:GraphTransformer",
    "diffusion-gru": "forecasting.neural.diffusion_gru:DiffusionGru",
    "multi-source": "forecasting.neural.multi_source:MultiSource",
}

READS_DRIVERS = frozenset({"multi-source"})
"""Networks that take rain, water and image series besides the movement."""

COMPARISONS = {
    "random-forest": "forecasting.comparison:make_forest",
    "gradient-boosting": "forecasting.comparison:make_boosting",
    "svr": "forecasting.comparison:make_svr",
}
"""Learners of the field's papers, for tables only: not served, not chosen by `auto` (extra `slopeward[compare]`)."""


SERVED = (*BASELINES, *NETWORKS)
"""What a site may ask for."""


def model_ids() -> tuple[str, ...]:
    """Every id that can be compared; `gated` stands for what the service would have shown."""
    return (*BASELINES, *COMPARISONS, *NETWORKS, "gated")


def load(name: str) -> Any:
    """The object behind a model id: a fitting function of a baseline or the class of a network.

    Raises:
        UnknownModelError: No model of that name.
    """
    path = (BASELINES | COMPARISONS | NETWORKS).get(name)
    if path is None:
        raise UnknownModelError(f"no model is called {name}; there are {', '.join(model_ids())}")
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)
