"""Bands that a sensor has or lacks together: what band dropout masks in training, so that weights do without them."""

from collections.abc import Iterable, Sequence
from itertools import chain, combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.patches import Patches, as_values
from detection.imagery.errors import TrainingRecipeError
from detection.imagery.raster.terrain import TERRAIN

VISIBLE: Final = ("B2", "B3", "B4")
"""Blue, green and red are never masked: every scene has them."""
GROUPS: Final = {
    **dict.fromkeys(("B5", "B6", "B7"), "red edge"),
    **dict.fromkeys(("B8", "B8A", "B9"), "near infrared"),
    **dict.fromkeys(("B10", "B11", "B12"), "short-wave infrared"),
    **dict.fromkeys(TERRAIN, "terrain"),
}
BEFORE: Final = "_before"
"""Names of bands of the earlier date end so; they are one group."""
GROUPS_MOST: Final = 5  # each of the 31 ways to lack some is scored on the held part


def group_bands(bands: Iterable[str]) -> dict[str, list[str]]:
    """The bands that a scene may lack, by group; one that belongs to none is a group of its own.

    >>> group_bands(["B4", "B3", "B8", "B11", "B12", "slope", "B4_before", "yellow"])
    ... # doctest: +NORMALIZE_WHITESPACE
    {'near infrared': ['B8'], 'short-wave infrared': ['B11', 'B12'], 'terrain': ['slope'],
     'date before': ['B4_before'], 'yellow': ['yellow']}
    """
    found: dict[str, list[str]] = {}
    for name in bands:
        if name not in VISIBLE:
            found.setdefault("date before" if name.endswith(BEFORE) else GROUPS.get(name, name), []).append(name)
    return found


def list_subsets(bands: Sequence[str]) -> list[list[str]]:
    """What a scene may lack, nothing excepted: every combination of whole groups, in the order of `bands`.

    Raises:
        TrainingRecipeError: nothing can be lacking, nothing is always there, or there are too many groups.

    >>> list_subsets(["B4", "B8", "slope"])
    [['B8'], ['slope'], ['B8', 'slope']]
    """
    groups = list(group_bands(bands).values())
    if not 1 <= len(groups) <= GROUPS_MOST or not {*bands} & {*VISIBLE}:
        raise TrainingRecipeError(
            f"drop_bands: {', '.join(VISIBLE)} are never masked, the recipe must name one of them at least and other "
            f"bands of 1 to {GROUPS_MOST} groups; there are {len(groups)}"
        )
    chosen = chain.from_iterable(combinations(groups, count) for count in range(1, len(groups) + 1))
    return [[name for name in bands if name in chain(*some)] for some in chosen]


def drop_groups(images: NDArray[np.float32], bands: Sequence[str], share: float, rng: np.random.Generator) -> None:
    """Mask whole groups of normalised images N x bands x H x W, each with probability `share`: 0 is a band's mean.

    So is NaN, a band that a patch lacks.
    """
    images[np.isnan(images)] = 0
    groups = [[bands.index(name) for name in names] for names in group_bands(bands).values()]
    for image in images:
        for group in groups:
            if rng.random() < share:
                image[group] = 0


def mask_bands(patches: Patches, missing: Sequence[str]) -> Patches:
    """The same patches with bands that are missing, NaN everywhere: normalisation makes that the mean of the band."""
    lacks = np.isin(patches.bands, missing)[:, None, None]
    return patches.change(lambda image, _: np.where(lacks, np.float32(np.nan), as_values(image)))
