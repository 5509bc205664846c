"""CAS Landslide Dataset (Xu et al. 2024): 512 px true-colour GeoTIFFs of nine regions, one folder per region."""

from pathlib import Path

from detection.imagery.data.folder import pair_files, read_pairs
from detection.imagery.data.patches import Patches
from detection.imagery.errors import TrainingRecipeError

BANDS = ("B4", "B3", "B2")
"""Red, green, blue."""


def read(folder: Path, part: str, *, test_regions: tuple[str, ...] = ()) -> Patches:
    """Read `<region>/img/*.tif` and `<region>/mask/*.tif` (0 background, anything else landslide).

    The set has no parts of its own: the regions named are the test part, all others train, so that no region is on
    both sides.

    Args:
        part: `train`, or anything else for the test part.
        test_regions: names of folders.
    """
    pairs = pair_files(folder, "img", "mask")
    regions = {image.parent.parent.name for image, _ in pairs}
    if unknown := sorted(set(test_regions) - regions):
        raise TrainingRecipeError(f"{folder}: no region {unknown[0]!r}; there are: {', '.join(sorted(regions))}")
    chosen = [pair for pair in pairs if (pair[0].parent.parent.name in test_regions) == (part != "train")]
    if not chosen:
        raise TrainingRecipeError(f"{folder}: no patches for {part!r} with test_regions {list(test_regions)}")
    return read_pairs(folder, chosen, BANDS, landslide=None)
