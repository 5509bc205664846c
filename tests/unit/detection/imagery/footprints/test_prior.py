"""What may lie below footprints as susceptibility: probabilities, not percent and not undeclared nodata."""

import numpy as np
import pytest

from detection.imagery.errors import SceneError
from detection.imagery.footprints.prior import describe_prior
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff


@pytest.mark.parametrize(
    ("values", "nodata", "line"),
    [
        ((0.0, 1.0), None, None),
        ((-1.0, 0.3), -1.0, None),
        ((np.nan, 0.3), None, None),
        ((0.0, 80.0), None, "probabilities from 0 to 80: possible are"),
        ((-1.0, 0.3), None, "declared as nodata"),
    ],
)
def test_values_are_probabilities(tmp_path, values, nodata, line):
    path = tmp_path / "prior.tif"
    raster = np.resize(np.array(values, np.float32), (1, 8, 8))
    write_geotiff(path, raster, grid_around(9.0, 46.0, 8, 20.0), nodata=nodata)
    if line is None:
        assert describe_prior(path)["file"] == "prior.tif"
        return
    with pytest.raises(SceneError, match=line):
        describe_prior(path)
