"""The interface of networks that detect anomalies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.stages import Array
from detection.anomaly.windows import Series

# The first part of a record, up to this share of its time, trains the weights of a network.
LEARN_UNTIL: Final = 0.425
# The second part decides when the training stops.
TRAIN_UNTIL: Final = 0.50
# The third part determines the thresholds. The remaining part tests the detector.
VALIDATE_UNTIL: Final = 0.67
# A network is not trained on fewer windows.
MIN_WINDOWS: Final = 100

Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    """The input of a network.

    Attributes:
        samples: Series by `STATION.quantity` or by station, all with the same interval.
        rain: Rain of the site with the same interval, as the sum of each cell; None if the site measures no rain.
    """

    samples: Mapping[str, Series]
    rain: Series | None = None


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """Weights of a network, and facts about the training as JSON-ready values."""

    weights: dict[str, NDArray[np.float32]]
    notes: dict[str, Any]


class DetectorNetwork(Protocol):
    """A network that scores how unusual readings are."""

    def train(self, name: str, record: NetworkRecord, seed: int) -> TrainedNetwork:
        """Train on the first `TRAIN_UNTIL` of a record; equal seeds give equal weights.

        Args:
            name: Name of the detector, for error messages.

        Raises:
            InputError: There are too few windows to train on.
        """
        ...

    def score(self, trained: TrainedNetwork, record: NetworkRecord) -> dict[str, dict[str, Array]]:
        """Return the scores by part and series, one for each cell, NaN where readings are missing; shape (n,).

        A score depends only on cells up to its own. A network with one score returns it as the part "".
        """
        ...
