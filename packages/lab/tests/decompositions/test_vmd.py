"""Variational mode decomposition: bands of frequency, and the modes of vmdpy."""

import numpy as np
import pytest

from slopeward_lab.decompositions import vmd


def make_waves(rows=240):
    """A trend with two waves, of 16 and of 5 rows."""
    t = np.arange(float(rows))
    return 0.02 * t, 2.0 * np.sin(2 * np.pi * t / 16), np.sin(2 * np.pi * t / 5)


def test_waves_of_different_length_are_separated():
    trend, slow, fast = make_waves()
    names, parts = vmd.split_known(trend + slow + fast, 1)
    assert names == ("trend", "mode 3", "mode 2", "mode 1")
    np.testing.assert_allclose(parts.sum(axis=0), trend + slow + fast, atol=1e-9)
    inside = slice(40, -40)
    waves = parts[1:, inside]
    for wave in (slow, fast):
        assert max(np.corrcoef(mode, wave[inside])[0, 1] for mode in waves) > 0.99


def test_series_decomposed_together_are_as_decomposed_alone():
    series = np.random.default_rng(1).normal(size=(5, 60)).cumsum(axis=1)
    series[2] = 7.0
    together = vmd.split_together(series)
    for one, parts in zip(series, together, strict=True):
        np.testing.assert_allclose(vmd.split_together(one[None])[0], parts, atol=1e-12)
    assert np.abs(together[2].sum(axis=0) - 7.0).max() < 1e-12


def test_modes_are_those_of_vmdpy():
    vmdpy = pytest.importorskip("vmdpy")
    series = np.random.default_rng(0).normal(size=60).cumsum()
    line = np.linspace(series[0], series[-1], 60)
    theirs, _, centres = vmdpy.VMD(series - line, vmd.BANDWIDTH_PENALTY, 0.0, vmd.MODES, 1, 1, 1e-9)
    theirs = theirs[np.argsort(centres[-1])]
    ours = vmd.split_together(series[None])[0]
    ours[0] -= line
    ours[-1] = theirs[-1]  # ours has what all modes leave out
    spread = series.std()
    assert np.abs(ours - theirs).max() < 0.02 * spread
