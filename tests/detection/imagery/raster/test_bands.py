"""Bands are chosen by what they contain, never by their number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio import Affine

from detection.imagery.errors import RadiometryError
from detection.imagery.raster.raster import RasterFacts
from detection.imagery.raster.reading.bands import choose_band, find_content

AT = Affine(50, 0, 500_000, 0, -50, 5_100_000)
SIDE, WAVELENGTH_M = 24, 0.0555
NAMES = {
    "phase": ["phase", "unwrapped_phase", "Unw_Phase_ifg", "unw", "phs"],
    "coherence": ["coherence", "coh_IW2_VV", "cc", "temporal_coherence"],
    "velocity": ["velocity", "mean_velocity", "vel (mm/yr)", "rate", "LOS velocity"],
    "backscatter": ["Sigma0_VV", "gamma0_vh_db", "VV", "HH (dB)", "backscatter"],
    "angle": ["incidence angle", "localIncidenceAngle", "inc", "theta"],
    "error": ["velocity_std", "vel_std", "sigma", "velocityStd", "rate error", "uncertainty"],
    "amplitude": ["amplitude", "amp", "magnitude"],
    "mask": ["mask", "water_mask", "conncomp", "connected_components", "quality"],
    "height": ["height", "dem", "elevation"],
}


def facts(*names, colours=None):
    count = len(names)
    return RasterFacts(8, 8, count, names, colours or ("gray",) * count, {}, (1.0,) * count, (0.0,) * count)


@pytest.mark.parametrize(("content", "name"), [(content, name) for content in NAMES for name in NAMES[content]])
def test_name_of_a_band_says_what_it_contains(content, name):
    assert find_content(name) == find_content(name.upper()) == content


@given(
    content=st.sampled_from(["phase", "coherence", "velocity", "backscatter", "angle"]),
    data=st.data(),
)
def test_band_is_found_wherever_it_is(content, data):
    """Other bands, in any order, never change which band is chosen."""
    name = data.draw(st.sampled_from(NAMES[content]))
    similar = {content, "amplitude"} if content == "backscatter" else {content}
    others = sorted(other for key, listed in NAMES.items() if key not in similar for other in listed)
    bands = data.draw(st.permutations([name, *data.draw(st.lists(st.sampled_from([*others, None]), max_size=4))]))
    assert choose_band("a.tif", facts(*bands), content) == bands.index(name) + 1


@pytest.mark.parametrize(
    "names",
    [(None, None), ("a", "b"), ("phase 1", "phase 2"), ("amplitude",), ("amplitude", "coherence"), (None, None, "cc")],
)
def test_band_that_is_not_certain_is_refused(names):
    with pytest.raises(RadiometryError, match="phase"):
        choose_band("a.tif", facts(*names), "phase")


def test_only_band_that_is_left_is_taken():
    assert choose_band("a.tif", facts(None), "phase") == 1
    assert choose_band("a.tif", facts("amplitude", None), "phase") == 2
    assert choose_band("a.tif", facts(None, None, colours=("gray", "alpha")), "phase") == 1
