"""The panel: grid, gaps, duplicates, refusals; and the detector of interpolated input."""

import numpy as np
import pytest

from forecasting.data.kinds import LENGTHS
from forecasting.data.series import DAY_S, HARMLESS, Panel, panel_from_samples, read_long_csv
from forecasting.errors import HorizonError, PanelError
from forecasting.evaluation.csv_audit import audit_rows
from monitor.readings import records as observation
from monitor.sites.units import UNITS


def test_gaps_stay_gaps_and_stations_are_sorted():
    panel = panel_from_samples({"B": ([0, DAY_S, 3 * DAY_S], [1.0, 2.0, 4.0]), "A": ([DAY_S], [7.0])}, DAY_S)
    assert (panel.stations, panel.values.shape) == (("A", "B"), (4, 2))
    np.testing.assert_array_equal(panel.values[:, 1], [1.0, 2.0, np.nan, 4.0])
    np.testing.assert_array_equal(np.isfinite(panel.values[:, 0]), [False, True, False, False])


def test_jitter_moves_no_sample_and_duplicates_take_the_last():
    rng = np.random.default_rng(1)
    times = 1e9 + DAY_S * np.arange(50) + rng.uniform(-600, 600, 50)
    panel = panel_from_samples({"A": (times, np.arange(50.0))}, DAY_S)
    np.testing.assert_array_equal(panel.values[:, 0], np.arange(50.0))
    assert panel_from_samples({"A": ([0, 0, DAY_S], [1.0, 9.0, 2.0])}, DAY_S).values[0, 0] == 9.0


def test_shuffled_samples_give_the_same_panel_and_a_cell_takes_the_mean():
    times = np.array([0.0, 10.0, 3600.0, 3590.0, 7200.0])
    values = np.array([1.0, 3.0, 5.0, 7.0, 9.0])
    panel = panel_from_samples({"A": (times, values)}, 3600.0)
    order = [4, 2, 0, 3, 1]
    again = panel_from_samples({"A": (times[order], values[order])}, 3600.0)
    np.testing.assert_array_equal(panel.values, again.values)
    np.testing.assert_allclose(panel.values[:, 0], [2.0, 6.0, 9.0])


def test_the_grid_reaches_the_moment_of_issue():
    panel = panel_from_samples({"A": ([0, DAY_S], [1.0, 2.0])}, DAY_S, end_s=4 * DAY_S)
    assert (panel.values.shape, panel.end_s) == ((5, 1), 4 * DAY_S)
    assert np.isnan(panel.values[2:]).all()


def test_bad_numbers_are_dropped_and_nothing_at_all_is_refused():
    assert panel_from_samples({"A": ([0, DAY_S, np.nan], [1.0, np.inf, 3.0])}, DAY_S).values.shape == (1, 1)
    with pytest.raises(PanelError, match="no finite sample"):
        panel_from_samples({"A": ([], [])}, DAY_S)
    with pytest.raises(PanelError, match="2 times but 1 values"):
        panel_from_samples({"A": ([0, 1], [1.0])}, DAY_S)


@pytest.mark.parametrize(
    ("step_s", "stations", "values"),
    [(60.0, "aa", [[1, 2]]), (0.0, "a", [[1]]), (60.0, "ab", [[1]]), (60.0, "a", [[float("inf")]])],
)
def test_an_unusable_panel_is_one_clear_error(step_s, stations, values):
    with pytest.raises(PanelError):
        Panel(0.0, step_s, tuple(stations), np.array(values, dtype=float))


def test_horizons_are_durations():
    panel = Panel(0.0, 3600.0, ("A",), np.zeros((3, 1)))
    assert panel.steps(DAY_S) == 24
    with pytest.raises(HorizonError):
        panel.steps(60.0)


def test_long_csv(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(
        "time,station,quantity,value,sigma\n"
        "2026-01-01T00:00:00Z,A,displacement_mm,1.5,\n2026-01-02T00:00:00+00:00,A,displacement_mm,2.5,\n"
        "2026-01-03T08:00:00+08:00,A,displacement_mm,3.5,\n2026-01-01T00:00:00Z,R,rain_mm,4,\n"
    )
    panel = read_long_csv(path)
    assert (panel.stations, panel.step_s) == (("A",), DAY_S)
    np.testing.assert_array_equal(panel.values[:, 0], [1.5, 2.5, 3.5])
    assert panel.start_s == 1767225600.0
    with pytest.raises(PanelError, match="no row has quantity"):
        read_long_csv(path, quantity="tilt_mrad")
    path.write_text("time,station,quantity,value\n2026-01-01T00:00:00,A,displacement_mm,1.5\n")
    with pytest.raises(PanelError, match="zone"):
        read_long_csv(path)
    path.write_text("time,station,value\n")
    with pytest.raises(PanelError, match="quantity is missing"):
        read_long_csv(path)


def test_readings_that_do_not_count_in_the_service_do_not_count_in_what_it_exports(tmp_path):
    path = tmp_path / "observations.csv"
    rows = [("01", 1.5, ""), ("02", 2.5, "late,backfill"), ("03", 9e9, "out_of_range"), ("04", 4.5, "")]
    rows += [("05", 5.5, "")]
    rows += [("04", 974.0, "revised,mistyped"), ("05", 5.0, "revised")]
    lines = [f'2026-01-{day}T00:00:00Z,A,displacement_mm,{value},"{flags}"' for day, value, flags in rows]
    path.write_text("\n".join(["observed_at,station,quantity,value,flags", *lines]))
    np.testing.assert_array_equal(read_long_csv(path, step_s=DAY_S).values[:, 0], [1.5, 2.5, np.nan, np.nan, 5.0])
    assert HARMLESS == observation.HARMLESS


def test_the_name_of_a_quantity_states_its_unit(tmp_path):
    path = tmp_path / "metres.csv"
    rows = [f"2026-01-0{day}T00:00:00Z,G1,displacement_downslope_m,{0.25 * day}" for day in (1, 2, 3)]
    path.write_text("\n".join(["time,station,quantity,value", *rows]) + "\n")
    assert read_long_csv(path).values[:, 0].tolist() == [250.0, 500.0, 750.0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("quantity", ["displacement", "displacement_m"])
def test_a_row_counts_in_the_unit_that_it_says(tmp_path, seed, quantity):
    draw = np.random.default_rng(seed)
    units = draw.choice([*LENGTHS, ""], size=30)
    usual = 1000.0 if quantity.endswith("_m") else 1.0
    mm = np.cumsum(draw.uniform(0.1, 5.0, 30))
    rows = [
        f"2024-01-{k + 1:02d}T00:00:00Z,A,{quantity},{value / LENGTHS.get(unit, usual)!r},{unit}\n"
        for k, (value, unit) in enumerate(zip(mm.tolist(), units.tolist(), strict=True))
    ]
    path = tmp_path / "long.csv"
    path.write_text("time,station,quantity,value,unit\n" + "".join(rows))
    np.testing.assert_allclose(read_long_csv(path).values[:, 0], mm)
    assert not [one for one in audit_rows(path, (DAY_S,)) if one.code == "implausible_value"]
    path.write_text(path.read_text() + f"2024-02-01T00:00:00Z,A,{quantity},1.0,kPa\n")
    with pytest.raises(PanelError, match="in 'kPa'; expected mm"):
        read_long_csv(path)


def test_lengths_agree_with_the_quantities_of_the_service():
    """One table of lengths, written twice because the library may not import the service."""
    in_mm = {"mm": 1.0, "m": 1000.0}
    theirs = {name: factor * in_mm[base] for name, (base, factor, _) in UNITS.items() if base in in_mm}
    assert pytest.approx(theirs) == LENGTHS
