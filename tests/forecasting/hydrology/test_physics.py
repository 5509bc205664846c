"""Rain, pore pressure, strength and earthquakes: results that were calculated by hand."""

import itertools
from math import cos, erfc, exp, log, pi, radians, sqrt

import pytest

from forecasting.hydrology.rain_events import antecedent_index, event_span_s
from forecasting.hydrology.return_period import (
    TooFewYearsError,
    fit_extremes,
    join_quantiles,
    require_record,
    years_of_depth,
)
from forecasting.hydrology.slope_stability import (
    Ground,
    InfiniteSlope,
    compute_safety,
    critical_acceleration_g,
    estimate_displacement,
    factor_of_safety,
    pressure_below_table,
    pressure_head,
    response,
)

H, DAY = 3600.0, 86400.0


def test_antecedent_index_by_hand():
    # 20 mm today, 10 mm two days ago, k = 0.9: 20 + 10 * 0.81
    assert antecedent_index([0.0, 2 * DAY], [10.0, 20.0], 2 * DAY, 0.9) == pytest.approx(28.1)
    assert antecedent_index([0.0, 3 * DAY], [10.0, 20.0], 2 * DAY, 0.9) == pytest.approx(8.1), "later rain is ignored"


def test_dry_time_ends_an_event_and_missing_data_does_not():
    hours = [H * i for i in range(10)]
    wet_then_dry = [0, 3, 0, 0, 0, 0, 0, 0, 0, 0]
    assert event_span_s(hours, wet_then_dry, H, "interval_end", 6 * H) == 0.0
    missing = [t for i, t in enumerate(hours) if i not in {3, 4, 5}]
    amounts = [a for i, a in enumerate(wet_then_dry) if i not in {3, 4, 5}]
    assert event_span_s(missing, amounts, H, "interval_end", 6 * H) == 9 * H
    # the time between two tips is dry: 5 h are shorter than the gap of 6 h, and 7 h are longer
    assert event_span_s([0.0, 5 * H], [0.2, 0.2], 60.0, "event", 6 * H) == 5 * H + 60.0
    assert event_span_s([0.0, 7 * H], [0.2, 0.2], 60.0, "event", 6 * H) == 60.0
    # the first reading of a counter after 7 h measures all of them as dry
    assert event_span_s([0.0, H, 8 * H], [0.0, 2.0, 0.0], H, "counter", 6 * H) == 0.0


def test_more_rain_never_shortens_an_event():
    hours = [H * i for i in range(6)]
    spans = {a: event_span_s(hours, a, H, "interval_end", 3 * H) for a in itertools.product((0, 1), repeat=6)}
    for amounts, span in spans.items():
        for i in range(6):
            assert spans[(*amounts[:i], 1, *amounts[i + 1 :])] >= span


def test_gumbel_by_moments_of_ten_years():
    maxima = [30.0, 35.0, 40.0, 42.0, 45.0, 50.0, 55.0, 60.0, 70.0, 90.0]
    # b0 = 51.7; b1 = sum(i x) / 90 = 2791 / 90; scale = (2 b1 - b0) / ln 2; location = b0 - 0.5772 scale
    assert sum(i * x for i, x in enumerate(maxima)) == 2791.0
    scale = (2 * 2791 / 90 - 51.7) / log(2)
    fitted = fit_extremes(maxima, "gumbel")
    assert (fitted.scale, fitted.location) == (pytest.approx(scale), pytest.approx(51.7 - 0.5772156649 * scale))
    assert fitted.depth(10.0) == pytest.approx(fitted.location - scale * log(-log(0.9)))
    assert fitted.return_years(fitted.depth(7.0)) == pytest.approx(7.0)


def test_short_records_and_far_return_periods_are_refused():
    maxima = [float(40 + 3 * i) for i in range(12)]
    with pytest.raises(TooFewYearsError):
        fit_extremes(maxima[:9], "gumbel")
    with pytest.raises(TooFewYearsError):
        fit_extremes(maxima, "gev")
    fitted = fit_extremes(maxima, "gumbel")
    require_record(fitted, 24.0)
    with pytest.raises(TooFewYearsError):
        require_record(fitted, 25.0)
    with pytest.raises(TooFewYearsError):
        join_quantiles([(2.0, 50.0), (10.0, 80.0)], 20.0)
    with pytest.raises(ValueError):
        fit_extremes([50.0] * 12, "gumbel")


def test_given_quantiles_are_exact_and_interpolated_between():
    quantiles = [(2.0, 50.0), (10.0, 80.0), (50.0, 105.0)]
    assert [join_quantiles(quantiles, t) for t, _ in quantiles] == pytest.approx([50.0, 80.0, 105.0])
    assert years_of_depth(quantiles, join_quantiles(quantiles, 5.0)) == pytest.approx(5.0)
    assert years_of_depth(quantiles, 200.0) is None


SLOPE = InfiniteSlope(30.0, 2.0, 5.0, 30.0, 20.0)


def test_factor_of_safety_by_hand():
    # weight 40 kPa, cos^2 30 = 0.75, sin cos = 0.4330, tan 30 = 0.57735
    assert factor_of_safety(SLOPE, 0.0) == pytest.approx((5 + 30 * 0.5773502692) / (40 * 0.4330127019), rel=1e-9)
    # water at the ground: u = 9.81 * 2 * 0.75 = 14.715 kPa
    assert pressure_below_table(2.0, 0.0, 30.0) == pytest.approx(14.715)
    assert factor_of_safety(SLOPE, 14.715) == pytest.approx((5 + 15.285 * 0.5773502692) / 17.3205080757)
    assert factor_of_safety(SLOPE, 1000.0) == pytest.approx(5 / 17.3205080757), "the frictional part is 0, not negative"


def test_uncertain_cohesion_gives_the_range_by_hand():
    safety = compute_safety(InfiniteSlope(30.0, 2.0, 5.0, 30.0, 20.0, cohesion_sd_kpa=2.0), 0.0)
    assert safety.sd == pytest.approx(2.0 / 17.3205080757)
    assert safety.low < safety.best < safety.high
    assert safety.best - safety.low == pytest.approx(1.645 * safety.sd, rel=0.15)
    assert (compute_safety(SLOPE, 0.0).below_one, compute_safety(SLOPE, 1000.0).below_one) == (0.0, 1.0)


def test_each_uncertainty_widens_the_range_and_water_lowers_the_factor():
    sd = 0.0
    for extra in ("cohesion_sd_kpa", "friction_sd_deg", "unit_weight_sd_kn_m3", "depth_sd_m", "pressure_sd_kpa"):
        assert compute_safety(InfiniteSlope(30.0, 2.0, 5.0, 30.0, 20.0, **{extra: 0.5}), 5.0).sd > sd
    factors = [compute_safety(SLOPE, u).best for u in (-5.0, 0.0, 5.0, 20.0, 50.0)]
    assert factors == sorted(factors, reverse=True)


GROUND = Ground(30.0, 1e-6, 1e-6, 2.0)


def test_pressure_head_by_hand():
    # constant rain at half the conductivity for 5 d: Z = 2 m, t* = t * 4e-6 * 0.75 / 4
    t = 5 * DAY
    ratio = t * 4e-6 * 0.75 / 4.0
    r = sqrt(ratio / pi) * exp(-1 / ratio) - erfc(1 / sqrt(ratio))
    assert response(ratio) == pytest.approx(r)
    rain = [(0.0, t, 0.5e-6 * t * 1000.0)]
    assert pressure_head(GROUND, 2.0, rain, t) == pytest.approx(2.0 * 0.5 * r)
    # the same rain in 120 pieces is the same
    pieces = [(i * H, (i + 1) * H, 0.5e-6 * H * 1000.0) for i in range(120)]
    assert pressure_head(GROUND, 2.0, pieces, t) == pytest.approx(2.0 * 0.5 * r)
    # a day after it ended
    late = response((t + DAY) * 7.5e-7) - response(DAY * 7.5e-7)
    assert pressure_head(GROUND, 2.0, rain, t + DAY) == pytest.approx(late)


def test_pressure_stays_between_dry_and_water_at_the_ground():
    assert pressure_head(GROUND, 2.0, [], 0.0) == 0.0
    deep = Ground(30.0, 1e-6, 1e-6, 3.0)
    assert pressure_head(deep, 2.0, [], 0.0) == pytest.approx(-0.75)
    flood = [(0.0, 3000 * DAY, 1e9)]
    assert pressure_head(GROUND, 2.0, flood, 3000 * DAY) == pytest.approx(2.0 * cos(radians(30.0)) ** 2)


def test_more_rain_never_lowers_the_pressure():
    base = [(i * H, (i + 1) * H, float(i % 5 == 0)) for i in range(100)]
    before = pressure_head(GROUND, 2.0, base, 100 * H)
    for i in range(0, 100, 7):
        wetter = [*base[:i], (base[i][0], base[i][1], base[i][2] + 2.0), *base[i + 1 :]]
        assert pressure_head(GROUND, 2.0, wetter, 100 * H) >= before


def test_newmark_by_hand_and_its_limits():
    # ac/amax = 0.5: log D = 0.215 + log10(0.5**2.341 * 0.5**-1.438) = 0.215 - 0.903 * 0.30103
    assert estimate_displacement(0.4, 0.2).median_cm == pytest.approx(10 ** (0.215 - 0.903 * 0.3010299957))
    assert estimate_displacement(0.2, 0.2).high_cm == 0.0
    grown = [estimate_displacement(pga, 0.1).median_cm for pga in (0.11, 0.2, 0.4, 0.8)]
    assert (grown, critical_acceleration_g(1.2, 30.0)) == (sorted(grown), pytest.approx(0.1))
    with pytest.raises(ValueError):
        critical_acceleration_g(1.0, 30.0)
    with pytest.raises(ValueError):
        estimate_displacement(0.2, 0.0)
