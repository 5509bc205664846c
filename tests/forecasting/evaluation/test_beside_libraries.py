"""Formulas of our own beside the libraries that know them, on the ground that both stand on: full series, no gaps."""

import numpy as np
import pytest

from forecasting.evaluation.significance import diebold_mariano
from forecasting.hydrology.return_period import Extremes, fit_extremes


@pytest.mark.parametrize("steps", [1, 4, 9])
def test_diebold_mariano_is_the_t_of_a_mean_with_newey_west_errors(steps):
    statsmodels = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(steps)
    noise = rng.normal(size=120 + steps)
    apart = 0.2 + np.convolve(noise, np.ones(steps), "valid")[:120]
    ours, _ = diebold_mariano(apart[:, None], np.zeros((120, 1)), steps)
    how = {"maxlags": steps - 1, "use_correction": False}
    fitted = statsmodels.OLS(apart, np.ones(120)).fit(cov_type="HAC", cov_kwds=how)
    # Harvey, Leybourne and Newbold 1997, equation 9, which statsmodels leaves to the caller
    small = (120 + 1 - 2 * steps + steps * (steps - 1) / 120) / 120
    assert ours == pytest.approx(float(fitted.tvalues[0]) * np.sqrt(small), rel=1e-12)
    assert np.isnan(diebold_mariano(apart[:, None], apart[:, None], steps)[1]), "the same errors differ by nothing"


@pytest.mark.parametrize("shape", [-0.3, -0.05, 0.0, 0.2])
def test_extremes_are_those_of_scipy(shape):
    from scipy.stats import genextreme

    ours, theirs = Extremes(60.0, 15.0, shape, 40), genextreme(shape, 60.0, 15.0)
    for years in (1.1, 2.0, 10.0, 100.0, 1000.0):
        depth = float(theirs.ppf(1.0 - 1.0 / years))
        assert ours.depth(years) == pytest.approx(depth, rel=1e-9)
        assert ours.return_years(depth) == pytest.approx(1.0 / float(theirs.sf(depth)), rel=1e-9)
    drawn = theirs.ppf((np.arange(4000) + 0.5) / 4000)
    found = fit_extremes(drawn.tolist(), "gumbel" if shape == 0.0 else "gev")
    assert found.shape == pytest.approx(shape, abs=0.005)
    assert found.depth(100.0) == pytest.approx(float(theirs.ppf(0.99)), rel=0.01)
