"""The simulated slope moves as it says: Voight, lagged rain, seeded noise, faults where they were planned."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from monitor.features.demo import slope as physics
from monitor.features.demo.slope import InstrumentFault, SlopeModel, format_time

START = datetime(2026, 1, 1, tzinfo=UTC)


def short(**changes):
    settings = {"seed": 5, "stations": 4, "start_at": START, "duration": timedelta(days=20), "step": timedelta(hours=1)}
    return SlopeModel(**{**settings, **changes})


def test_velocity_is_steady_up_to_the_onset_and_its_inverse_falls_linearly_to_zero_at_the_failure():
    days = np.arange(0.0, 29.5, 0.001)
    velocity = np.gradient(physics.voight_displacement(days, 2.0, 20.0, 30.0), days)
    assert np.abs(velocity[days < 19.99] - 2.0).max() < 1e-6
    late = (days > 20.01) & (days < 29.49)
    slope, intercept = np.polyfit(days[late], 1.0 / velocity[late], 1)
    assert -intercept / slope == pytest.approx(30.0, abs=1e-3)
    assert np.abs(np.polyval([slope, intercept], days[late]) * velocity[late] - 1.0).max() < 1e-3
    assert np.isnan(physics.voight_displacement(np.array([30.0, 31.0]), 2.0, 20.0, 30.0)).all()


def test_rain_response_peaks_after_its_lag_and_keeps_the_sum():
    rain = np.zeros(3000)
    rain[100] = 50.0
    response = physics.wetness(rain, 1.0)
    assert (response[:100] == 0.0).all()
    assert np.argmax(response) - 100 == pytest.approx(physics.wetness_peak_lag_h(), abs=1.0)
    assert response.sum() == pytest.approx(50.0, rel=1e-6)


def test_flicker_noise_has_more_power_at_low_frequency():
    power = np.abs(np.fft.rfft(physics.flicker_noise(np.random.default_rng(3), 2**14, 1.0))) ** 2
    low, high = power[8:64].mean(), power[1024:8192].mean()
    assert 20 < low / high < 1500  # 1/f between f = 36 and 4608 means about 128 to 170


def test_the_record_is_the_same_whole_or_in_chunks_and_by_seed():
    whole = list(short().samples())
    chunks, at = [], START
    model = short()
    while at < model.end_at:
        chunks += model.samples(at, at + timedelta(hours=7))
        at += timedelta(hours=7)
    assert chunks == whole
    assert list(short(seed=6).samples()) != whole
    assert [s.at for s in whole] == sorted(s.at for s in whole)


def test_gnss_payload_carries_the_contract():
    sample = next(s for s in short(faults=()).samples() if s.station == "G2")
    assert set(sample.payload) == {"time", "source", "boot_id", "seq", "gnss"}
    gnss = sample.payload["gnss"]
    assert set(gnss) == {"enu_mm", "cov_mm2", "epoch0", "frame", "solution", "fix", "satellites", "reference"}
    assert len(gnss["enu_mm"]) == 3
    ee, nn, uu, en, eu, nu = gnss["cov_mm2"]
    assert np.linalg.eigvalsh([[ee, en, eu], [en, nn, nu], [eu, nu, uu]]).min() > 0
    assert gnss["reference"] == "BASE-B"


def test_every_instrument_speaks_its_quantity():
    seen = {s.station: set(s.payload) - {"time", "source", "boot_id", "seq"} for s in short(faults=()).samples()}
    assert (seen["R1"], seen["P1"], seen["E1"]) == ({"rain_mm"}, {"pore_pressure_kpa"}, {"crack_opening_mm"})
    assert (seen["T1"], seen["W1"]) == ({"tilt_x_mrad", "tilt_y_mrad"}, {"reservoir_level_m"})


@pytest.mark.soak
def test_noise_of_a_control_station_has_the_stated_size_and_correlation():
    model = SlopeModel(seed=9, duration=timedelta(days=300), faults=(), fails=False, flicker_mm=(0.0, 0.0, 0.0))
    enu = np.array([s.payload["gnss"]["enu_mm"] for s in model.samples() if s.station == "C1"])
    assert enu.std(axis=0) == pytest.approx(model.white_mm, rel=0.05)
    assert np.corrcoef(enu.T)[1, 2] == pytest.approx(0.15, abs=0.05)


def test_station_moves_downslope_by_its_factor():
    model = short(faults=(), fails=False, duration=timedelta(days=100))
    plan = next(s for s in model.stations if s.id == "G1")
    e, n, u = np.mean([s.payload["gnss"]["enu_mm"] for s in model.samples() if s.station == "G1"][-24:], axis=0)
    assert np.degrees(np.arctan2(e, n)) % 360 == pytest.approx(plan.azimuth_deg, abs=3)
    moved = float(np.linalg.norm([e, n, u]))
    assert moved == pytest.approx(plan.factor * model.displacement_mm[-24:].mean(), rel=0.05)


def test_the_mass_is_silent_after_the_failure_and_the_stable_ground_is_not():
    model = short(faults=())
    assert {s.station for s in model.samples(model.failure_at)} == {"C1", "C2", "R1", "P1", "W1"}


def test_each_fault_shows_where_it_was_planned_and_nowhere_else():
    hour = timedelta(hours=1)
    faults = (
        InstrumentFault("spike", "G1", START + 10 * hour, START + 11 * hour, 400.0),
        InstrumentFault("stuck", "G2", START + 20 * hour, START + 40 * hour),
        InstrumentFault("dropout", "G3", START + 20 * hour, START + 40 * hour),
        InstrumentFault("clock_jump", "G4", START + 20 * hour, START + 24 * hour, 26 * 3600.0),
        InstrumentFault("common_shift", "BASE-A", START + 50 * hour, START + 60 * hour, 18.0),
        InstrumentFault("rezero", "E1", START + 70 * hour, START + timedelta(days=20), -35.0),
    )
    clean = {(s.station, s.at): s.payload for s in short(faults=()).samples()}
    broken = {(s.station, s.at): s.payload for s in short(faults=faults).samples()}
    lost = set(clean) - set(broken)
    assert lost == {("G3", START + k * hour) for k in range(20, 40)}
    changed = {key for key in broken if broken[key] != clean[key]}
    assert {k for k in changed if k[0] == "G1" and k[1] < START + 50 * hour} == {("G1", START + 10 * hour)}
    assert len({tuple(broken["G2", START + k * hour]["gnss"]["enu_mm"]) for k in range(20, 40)}) == 1
    assert broken["G4", START + 22 * hour]["time"] == format_time(START + 48 * hour)
    assert {s for s, at in changed if at == START + 55 * hour} == {"G1", "G3", "C1"}
    at = START + 80 * hour
    assert broken["E1", at]["crack_opening_mm"] - clean["E1", at]["crack_opening_mm"] == pytest.approx(-35.0)
    # A dropout leaves a hole in the logger's numbers.
    numbers = sorted(p["seq"] for p in broken.values() if p["source"] == "logger-a")
    assert len(set(range(numbers[0], numbers[-1] + 1)) - set(numbers)) >= 20


def test_a_logger_keeps_what_a_dropout_swallowed():
    hour = timedelta(hours=1)
    faults = (InstrumentFault("dropout", "G3", START + 20 * hour, START + 40 * hour),)
    clean = [s for s in short(faults=()).samples() if s.station == "G3"]
    model = short(faults=faults)
    kept = list(model.missed("logger-a", 0, 10**6))
    assert kept == clean[20:40]
    sent = {s.payload["seq"] for s in model.samples() if s.payload["source"] == "logger-a"}
    assert not sent & {s.payload["seq"] for s in kept}
    assert list(model.missed("logger-b", 0, 10**6)) == []


def test_truth_names_failure_factors_and_faults():
    model = short()
    truth = model.truth()
    assert truth["failure_at"] == format_time(model.failure_at)
    assert truth["factors"]["C1"] == 0.0
    assert {f["kind"] for f in truth["faults"]} == {"spike", "stuck", "dropout", "clock_jump", "rezero", "common_shift"}


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="aware"):
        SlopeModel(start_at=datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="onset"):
        short(onset_at=START + timedelta(days=10), failure_at=START + timedelta(days=5))
