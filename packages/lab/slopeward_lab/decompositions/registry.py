"""The decompositions of this package, registered by the entry point group `slopeward.decompositions`."""

from collections.abc import Mapping
from typing import Final

from forecasting.decomposition.components import MethodEntry

METHODS: Final[Mapping[str, MethodEntry]] = {
    "emd": MethodEntry("slopeward_lab.decompositions.emd:split_known"),
    "ceemdan": MethodEntry("slopeward_lab.decompositions.ceemdan:split_known"),
    "vmd": MethodEntry("slopeward_lab.decompositions.vmd:split_known"),
}
