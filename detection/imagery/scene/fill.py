"""Nodata that no tag names: one value in every band, at the edge of the scene, again and again."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.errors import TruncatedRasterError
from detection.imagery.scene.reader import BandReader

# A border holds a fill value when so many of its valid pixels repeat one value in every band.
LEAST_SHARE: Final = 0.01
LEAST_PX: Final = 16
STRIP_PX: Final = 4096
# Values that writers fill with; any other value repeats at an edge by chance only.
FILLS: Final = (0.0, 1.0, -9999.0, -32768.0, -999.0, 255.0, 65535.0, 32767.0)


def find_fill(reader: BandReader) -> tuple[float, ...]:
    """Return the fill values of a scene that its files do not declare.

    Looked at are the outermost pixels of all four sides, in the values of the files: a mosaic or a rotated scene ends
    there in its fill. What is declared (nodata, mask, alpha) is not valid already and does not count.

    Args:
        reader: the bands of the model; nothing is set aside yet.
    """
    counts = dict.fromkeys(FILLS, 0)
    seen = 0
    for values, valid in read_border(reader):
        seen += int(valid.sum())
        for fill in FILLS:
            counts[fill] += int(np.count_nonzero((values == fill).all(axis=0) & valid))
    least = max(LEAST_PX, LEAST_SHARE * seen)
    return tuple(fill for fill, count in counts.items() if count >= least)


def read_border(reader: BandReader) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Yield the outermost pixels of a scene piece by piece: values of the files, bands x h x w, and where valid."""
    width, height = reader.grid.width, reader.grid.height
    across = [(c, r, min(STRIP_PX, width - c), 1) for r in {0, height - 1} for c in range(0, width, STRIP_PX)]
    down = [(c, r, 1, min(STRIP_PX, height - r)) for c in {0, width - 1} for r in range(0, height, STRIP_PX)]
    for box in (*across, *down):
        try:
            yield reader.read_spectral(*box)
        except TruncatedRasterError:  # said where the block is needed
            continue
