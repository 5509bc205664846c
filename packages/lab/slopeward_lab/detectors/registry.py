"""The anomaly detectors of this package, registered by the entry point group `slopeward.detectors`."""

from collections.abc import Mapping
from typing import Final

from detection.anomaly.registry import NETWORK_EXPECTATION, USUAL_INCREMENTS, DetectorEntry


def _rule(function: str, compared_with: str) -> DetectorEntry:
    return DetectorEntry(f"slopeward_lab.detectors.rules:{function}", compared_with=compared_with)


def _network(name: str) -> DetectorEntry:
    target = f"slopeward_lab.detectors.autoencoders:{name}"
    return DetectorEntry(target, is_network=True, compared_with=NETWORK_EXPECTATION)


# The phrases of the rules are translated by the catalogues of the service, which list them in
# `monitor.text.vocabulary`.
DETECTORS: Final[Mapping[str, DetectorEntry]] = {
    "persistence-z": _rule("persistence_z", "the median of its last 7 days"),
    "robust-z": _rule("robust_z", "its last reading"),
    "ewma": _rule("ewma", "the line of its last 60 days"),
    "slope-change": _rule("slope_change", "its slope of the 60 days before"),
    "variance": _rule("variance", USUAL_INCREMENTS),
    "dense-ae": _network("DENSE"),
    "conv-ae": _network("CONV"),
    "lstm-ae": _network("LSTM"),
    "gru-ae": _network("GRU"),
    "vae": _network("VARIATIONAL"),
}
