"""The forecasting networks of this package, registered by the entry point group `slopeward.forecasters`."""

from collections.abc import Mapping
from typing import Final

from forecasting.registry import NetworkEntry

NETWORKS: Final[Mapping[str, NetworkEntry]] = {
    "mlp": NetworkEntry("slopeward_lab.forecasters.mlp:Mlp"),
    "rnn": NetworkEntry("slopeward_lab.forecasters.recurrent:Rnn"),
    "lstm2": NetworkEntry("slopeward_lab.forecasters.recurrent:Lstm2"),
    "bilstm": NetworkEntry("slopeward_lab.forecasters.recurrent:BiLstm"),
    "bigru-attention": NetworkEntry("slopeward_lab.forecasters.recurrent:BiGruAttention"),
    "cnn": NetworkEntry("slopeward_lab.forecasters.cnn:Cnn"),
    "tcn": NetworkEntry("slopeward_lab.forecasters.tcn:Tcn"),
    "cnn-lstm": NetworkEntry("slopeward_lab.forecasters.recurrent:CnnLstm"),
    "cnn-bilstm": NetworkEntry("slopeward_lab.forecasters.recurrent:CnnBiLstm"),
    "conv-lstm": NetworkEntry("slopeward_lab.forecasters.conv_lstm:ConvLstm", reads_stations_together=True),
    "cnn-lstm-attention": NetworkEntry("slopeward_lab.forecasters.recurrent:CnnLstmAttention"),
    "transformer": NetworkEntry("slopeward_lab.forecasters.transformer:Transformer"),
    "linear-regression": NetworkEntry("slopeward_lab.forecasters.regressors:LinearRegression"),
    "random-forest": NetworkEntry("slopeward_lab.forecasters.regressors:RandomForest"),
    "svr": NetworkEntry("slopeward_lab.forecasters.regressors:SupportVectorRegression"),
    "ann": NetworkEntry("slopeward_lab.forecasters.regressors:NeuralRegression"),
    "emd-gru": NetworkEntry("slopeward_lab.forecasters.decomposed:EmdGru"),
    "emd-lstm": NetworkEntry("slopeward_lab.forecasters.decomposed:EmdLstm"),
    "ceemdan-gru": NetworkEntry("slopeward_lab.forecasters.decomposed:CeemdanGru"),
    "ceemdan-lstm": NetworkEntry("slopeward_lab.forecasters.decomposed:CeemdanLstm"),
    "vmd-gru": NetworkEntry("slopeward_lab.forecasters.decomposed:VmdGru"),
    "vmd-lstm": NetworkEntry("slopeward_lab.forecasters.decomposed:VmdLstm"),
    "cross-attention": NetworkEntry("slopeward_lab.forecasters.cross_attention:CrossAttention"),
    "physics-gru": NetworkEntry("slopeward_lab.forecasters.physics_gru:PhysicsGru"),
    "stage-gru": NetworkEntry("slopeward_lab.forecasters.stage_gru:StageGru"),
    "temporal-fusion": NetworkEntry("slopeward_lab.forecasters.temporal_fusion:TemporalFusion"),
    "vae-gru": NetworkEntry("slopeward_lab.forecasters.vae_gru:VaeGru"),
    "graph-lstm": NetworkEntry("slopeward_lab.forecasters.graph_lstm:GraphLstm", reads_stations_together=True),
    "graph-attention-gru": NetworkEntry(
        "slopeward_lab.forecasters.graph_attention_gru:GraphAttentionGru", reads_stations_together=True
    ),
    "graph-transformer": NetworkEntry(
        "slopeward_lab.forecasters.graph_transformer:GraphTransformer", reads_stations_together=True
    ),
    "diffusion-gru": NetworkEntry("slopeward_lab.forecasters.diffusion_gru:DiffusionGru", reads_stations_together=True),
    "landgnn": NetworkEntry("slopeward_lab.forecasters.landgnn:LandGnn", reads_stations_together=True),
    "mic-cnn-lstm": NetworkEntry("slopeward_lab.forecasters.mic_cnn_lstm:MicCnnLstm", reads_stations_together=True),
    "multi-source": NetworkEntry("slopeward_lab.forecasters.multi_source:MultiSource", reads_stations_together=True),
}
