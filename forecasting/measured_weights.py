"""Weights that learnt from measured data: in a checkout beside the code, else of a distribution of their own.

What is known of the licence of that data stands in the card of each; the main distribution has none of them.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

DISTRIBUTION: Final = "slopeward_weights"
INSTALL: Final = "weights that learnt from measured data: pip install 'slopeward[weights]'"


def find_weights(folder: Path, part: str) -> Path:
    """The folder of such weights in a checkout, else in the distribution; neither may be there."""
    spec = None if folder.is_dir() else find_spec(DISTRIBUTION)
    places = (spec and spec.submodule_search_locations) or ()
    return Path(places[0]) / part if places else folder
