"""The anomaly detectors of this package, registered by the entry point group `slopeward.detectors`."""

from collections.abc import Mapping
from typing import Final

from detection.anomaly.registry import DetectorEntry

DETECTORS: Final[Mapping[str, DetectorEntry]] = {
    "robust-z": DetectorEntry("slopeward_lab.detectors.rules:robust_z"),
    "ewma": DetectorEntry("slopeward_lab.detectors.rules:ewma"),
    "slope-change": DetectorEntry("slopeward_lab.detectors.rules:slope_change"),
    "variance": DetectorEntry("slopeward_lab.detectors.rules:variance"),
    "conv-ae": DetectorEntry("slopeward_lab.detectors.autoencoders:ConvAutoencoder", is_network=True),
    "lstm-ae": DetectorEntry("slopeward_lab.detectors.autoencoders:LstmAutoencoder", is_network=True),
    "gru-ae": DetectorEntry("slopeward_lab.detectors.autoencoders:GruAutoencoder", is_network=True),
    "vae": DetectorEntry("slopeward_lab.detectors.autoencoders:VariationalAutoencoder", is_network=True),
}
