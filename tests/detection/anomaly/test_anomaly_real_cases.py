"""Detectors of a site without history on measured faults and movements."""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from math import nan
from pathlib import Path

import numpy as np
import pytest

from detection.anomaly import jobs
from detection.anomaly.bench import run_bench
from detection.anomaly.certain.checks import check_series
from detection.anomaly.certain.unit_jump import find_unit_jumps
from detection.anomaly.detector import start_without_history
from detection.anomaly.records import DetectorTraining, ReadingScore, Scores, ScoringRequest
from detection.anomaly.windows import Series, build_series
from forecasting.data.workbook import read_sheet
from monitor.features.demo.slope import InstrumentFault, SlopeModel
from monitor.readings.cleaned.step_detector import ERRATIC, SPIKE_REASON, StepDetector
from monitor.sites.quantities import QUANTITIES
from tests.data.readers.gnss import read_positions
from tests.data.readers.markers import name_slips, read_markers

DAY = 86400.0
Samples = dict[str, tuple[list[float], list[float]]]
Measured = Callable[[str], Path]

pytestmark = pytest.mark.data


def day(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def read_pbo(folder: Path, stations: Iterable[str], from_at: str, to_at: str) -> Samples:
    """East of stations of Cascadia, mm."""
    samples: Samples = {}
    for station in stations:
        times, values = samples[station] = [], []
        with (folder / f"{station}.pbo.nam08.csv").open() as file:
            for row in csv.reader(file):
                if len(row) > 6 and row[0][4:5] == "-" and from_at <= row[0] < to_at:
                    times.append(day(row[0]))
                    values.append(float(row[2]))
    return samples


def alarms(answer: Scores, from_at: str, to_at: str = "2030-01-01") -> list[ReadingScore]:
    return [row for row in answer.scores if row.alerted and day(from_at) <= row.at_s < day(to_at)]


def test_outliers_of_one_station_do_not_alarm_at_others(measured: Measured) -> None:
    """BLYN throws single days and weeks by 30 to 200 mm; its neighbours do not."""
    folder = measured("gnss-cascadia-pbo-csv")
    samples = read_pbo(folder, ("BLYN", "SEAT", "P401", "P402", "P403", "P436", "P437", "SC02"), "2010-06", "2014-01")
    found = alarms(jobs.score(ScoringRequest("rules", samples, DAY)), "2012-10-01")
    mine = {row.at_s for row in found if row.station == "BLYN"}
    # (those that come after a week of silence have nothing to be compared with)
    wild = ("2012-10-29", "2013-01-18", "2013-02-09", "2013-10-18", "2013-11-14", "2013-11-23")
    assert {day(one) for one in wild} <= mine
    others = {row.station for row in found if row.at_s in {day(one) for one in wild}} - {"BLYN"}
    assert len(others) <= 1  # one of seven has a drift of its own


def test_slow_slip_is_a_movement_at_most_stations(measured: Measured) -> None:
    """Cascadia, August 2010: the stations go west by some millimetres within weeks, each by another amount."""
    folder = measured("gnss-cascadia-pbo-csv")
    names = "ALBH KTBW NEAH P064 P399 P401 P402 P403 P418 P424 P436 P437 P439 PABH SC02 SC03 SEAT SEDR".split()
    samples = read_pbo(folder, names, "2008-09", "2010-10")
    found = alarms(jobs.score(ScoringRequest("rules", samples, DAY)), "2010-08-10")
    assert len({row.station for row in found}) < len(names) / 2  # those that go farther than most
    called = [row.kind for row in found if row.kind in {"drift", "movement"}]
    assert called.count("movement") > 1.5 * called.count("drift")  # for most stations go with them


@pytest.mark.parametrize("part", ["east", "north"])
def test_the_gorkha_earthquake_is_a_step_at_the_stations_that_moved(measured: Measured, part: str) -> None:
    from_at, to_at = datetime(2015, 1, 1, tzinfo=UTC), datetime(2015, 6, 1, tzinfo=UTC)
    samples: Samples = {}
    for path in measured("gnss-nepal2015-neu").glob("*.neu"):
        rows = [o for o in read_positions(path, "nepal", from_at, to_at) if o.quantity.endswith(part)]
        samples[path.name[:4]] = [o.observed_at.timestamp() for o in rows], [o.value for o in rows]
    found = alarms(jobs.score(ScoringRequest("rules", samples, DAY)), "2015-04-25")
    first = {name: min(row.at_s for row in found if row.station == name) for name in {row.station for row in found}}
    stepped = {"KKN4", "CHLM", "SNDL"}
    assert stepped <= set(first) <= stepped | {"RMTE"}
    assert max(first[name] for name in stepped) < day("2015-04-27")
    # known as steps at the second reading: a spike may be one so far
    kinds = {name: [row.kind for row in found if row.station == name][1] for name in ("KKN4", "CHLM")}
    assert set(kinds.values()) <= {"step", "movement"}


def read_logger(path: Path) -> Iterator[tuple[float, float]]:
    """Times and pressure of a Campbell final storage: id, year, day, hhmm, temperature, pressure twice."""
    for line in path.read_text().splitlines():
        f = line.split(",")
        if len(f) == 7:
            since = timedelta(days=int(f[2]) - 1, hours=int(f[3]) // 100, minutes=int(f[3]) % 100)
            yield (datetime(int(f[1]), 1, 1, tzinfo=UTC) + since).timestamp(), float(f[5])


@pytest.mark.soak
def test_a_pressure_sensor_that_fails_alarms_and_is_stuck(measured: Measured) -> None:
    """Bowdoin: from 2017-02-04 00:30 on the logger writes -99999 for it."""
    path = measured("bowdoin-loggers/drucksens073303_final_storage_1.dat")
    rows = [row for row in read_logger(path) if day("2016-12-15") <= row[0] < day("2017-02-06")]
    timed = [t for t, _ in rows], [v for _, v in rows]
    answer = jobs.score(ScoringRequest("rules", {"P": timed}, 1800.0))
    died = day("2017-02-04T00:30")
    assert min(v for _, v in rows) < QUANTITIES["pore_pressure"].low, "flagged as it arrives: it has no vote"
    before = max(row.score for row in answer.scores if row.at_s < died)
    assert next(row.score for row in answer.scores if row.at_s == died) > 100.0 * before
    findings = check_series(build_series(*timed, 1800.0), timed[0])
    assert [(f.kind, f.at_s - died <= 6 * 3600.0) for f in findings] == [("stuck", True)]


@pytest.mark.parametrize(("factor", "unit"), [(0.1, "cm"), (0.001, "m"), (1 / 25.4, "in")])
def test_a_measured_record_that_continues_in_another_unit(measured: Measured, factor: float, unit: str) -> None:
    """Baijiabao grows eightfold in June 2018 in its own unit, which is none; its last month in another one is."""
    values = read_sheet(measured("bazimen-baijiabao/source_sample.xlsx"))["Total"].to_numpy(dtype=np.float64)
    times = np.arange(len(values)) * DAY
    assert find_unit_jumps(Series(times, values, DAY)) == []
    found = find_unit_jumps(Series(times, np.where(np.arange(len(values)) < 270, values, values * factor), DAY))
    assert [f.kind for f in found] == ["unit"], unit
    assert found[0].at_s <= times[280]


def test_typing_errors_of_crack_markers_are_found_and_their_movement_is_not(measured: Measured) -> None:
    """Dynaslope, 1,917 readings typed by hand: the check was chosen on A to C; D to F are unseen."""
    slips = name_slips(read_markers(measured("dynaslope-markers/surficialdata.csv")), "ABCDEF")
    found = {(n, f"{row.at:%Y-%m-%d}", slip.typed, slip.detail): row.is_doubted for n, row, slip in slips}
    assert found == {
        ("A", "2015-08-28", 195.0, "a digit too many"): True,
        ("A", "2016-03-23", 308.2, "B"): True,
        ("C", "2016-08-05", 144.7, "D"): True,
        ("E", "2015-08-21", 148.0, "F"): True,
        ("E", "2015-10-08", 144.2, "D"): True,
        ("E", "2015-12-18", 228.7, "F"): True,
        ("F", "2015-09-15", 113.9, "digits swapped"): False,
    }


def test_markers_that_were_reset_are_steps_and_typing_errors_return(measured: Measured) -> None:
    """What no slip explains is a step that waits for a person; the next reading takes those back that were errors."""
    steps, returned = {}, set()
    for name, rows in read_markers(measured("dynaslope-markers/surficialdata.csv")).items():
        mm = {row.at.timestamp(): 10.0 * row.value for row in rows}
        walk = StepDetector(100.0, unit="mm")
        walk.extend(list(mm), list(mm), [(value,) for value in mm.values()], [(1.0,)] * len(mm))
        steps |= {(name, day_of(jump.at_s)): round(jump.size[0]) for _, jump in walk.jumps if jump.size[0] < -1000.0}
        returned |= {(name, day_of(at_s)) for at_s in walk.set_aside if walk.set_aside[at_s] in {SPIKE_REASON, ERRATIC}}
    assert steps == {("B", "2016-11-06"): -2332, ("F", "2016-10-07"): -1915}
    wrong = "A 2015-08-28, A 2016-03-23, B 2016-07-29, C 2016-08-05, E 2015-10-08, E 2015-10-15, E 2015-12-18"
    assert {" ".join(one) for one in returned} >= set(wrong.split(", "))


def day_of(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).date().isoformat()


# ---- the anomaly library on measured series -------------------------------------------------------------------------
@pytest.fixture(scope="module")
def japan(measured):
    samples = defaultdict(lambda: ([], []))
    with measured("benchmarks/G.csv").open() as file:
        for row in csv.DictReader(file):
            times, values = samples[row["station"]]
            times.append(datetime.fromisoformat(row["time"]).timestamp())
            values.append(float(row["value"]) if row["value"] else nan)
    return dict(samples)


@pytest.fixture(scope="module")
def baijiabao(measured):
    rows = read_sheet(measured("bazimen-baijiabao/source_sample.xlsx"))
    times = [datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() for at in rows["Time"]]
    return {"BJB": (times, rows["Total"].tolist())}


@pytest.mark.soak
def test_threshold_keeps_its_budget_on_held_out_time(japan, tmp_path):
    card = jobs.train(DetectorTraining("rules", japan, DAY, tmp_path)).card
    assert card["validation_months"] > 150
    assert card["validation_false_alarms_per_sensor_month"] <= 0.1
    assert card["heldout_months"] > 300
    assert card["heldout_alarms_per_sensor_month"] <= 0.1


@pytest.mark.soak
def test_rules_with_checks_find_injected_faults_within_the_budget(japan):
    samples = {name: build_series(*one, DAY) for name, one in japan.items()}
    rows = {row["detector"]: row for row in run_bench(samples, ["rules+checks"], 0.1, range(1))}
    rules = rows["rules+checks"]
    assert rules["recall"] >= 0.9
    assert rules["precision"] >= 0.85
    assert rules["false_alarms_per_sensor_month"] <= 0.1
    assert rules["recall_by_kind"]["stuck"] == rules["recall_by_kind"]["replay"] == 1.0
    assert rules["recall_by_kind"]["spike"] >= 0.7


@pytest.mark.soak
def test_a_site_without_history_finds_faults_within_the_budget(japan):
    """What a fresh site is served: thresholds that were carried over, on stations of which it has seen nothing."""
    samples = {name: build_series(*one, DAY) for name, one in japan.items()}
    ready = {"rules": start_without_history("rules", DAY)}
    row = run_bench(samples, ["rules+checks"], 0.1, range(1), ready)[0]
    assert row["recall"] >= 0.85
    assert row["false_alarms_per_sensor_month"] <= 0.1


def test_the_acceleration_of_baijiabao_in_2018_alarms_in_time(baijiabao):
    answer = jobs.score(ScoringRequest("rules", baijiabao, DAY))
    alarms = [datetime.fromtimestamp(row.at_s, UTC) for row in answer.scores if row.alerted]
    quiet_from, event_from = datetime(2018, 1, 12, tzinfo=UTC), datetime(2018, 6, 1, tzinfo=UTC)
    assert [at for at in alarms if quiet_from <= at < event_from] == []
    assert min(at for at in alarms if at >= event_from) <= datetime(2018, 6, 8, tzinfo=UTC)


# ---- the simulated slope seen by the detectors ----------------------------------------------------------------------
START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def measure(model, component=0):
    samples = defaultdict(lambda: ([], []))
    for one in model.samples():
        if "gnss" in one.payload:
            samples[one.station][0].append(datetime.fromisoformat(one.payload["time"]).timestamp())
            samples[one.station][1].append(one.payload["gnss"]["enu_mm"][component])
    return dict(samples)


def score(samples):
    return jobs.score(ScoringRequest("rules", samples, 3600.0))


@pytest.mark.soak
def test_faults_of_the_simulated_slope_are_found_without_false_alarms():
    faults = (
        InstrumentFault("spike", "G1", START + 1000 * HOUR, START + 1001 * HOUR, 400.0),
        InstrumentFault("rezero", "G2", START + 1050 * HOUR, START + timedelta(days=80), -35.0),
        InstrumentFault("stuck", "G3", START + 1100 * HOUR, START + 1120 * HOUR),
        InstrumentFault("dropout", "G4", START + 1100 * HOUR, START + 1120 * HOUR),
        InstrumentFault("common_shift", "BASE-A", START + 1200 * HOUR, START + 1220 * HOUR, 18.0),
    )
    samples = measure(SlopeModel(1, 4, START, duration=timedelta(days=55), fails=False, faults=faults))
    answer = score(samples)
    first = {}
    for row in answer.scores:
        if row.alerted:
            first.setdefault(row.station, (row.at_s, row.kind))
    epoch = START.timestamp()
    assert (first["G1"], first["G2"]) == ((epoch + 1000 * 3600, "spike"), (epoch + 1050 * 3600, "spike"))
    # A common shift reaches the control station on the same reference, and no station on the other one.
    assert epoch + 1200 * 3600 <= first["C1"][0] < epoch + 1220 * 3600
    assert not {"G4", "C2"} & set(first)
    found = {name: check_series(build_series(*one, 3600.0), one[0]) for name, one in samples.items()}
    assert {(name, fault.kind) for name, faults in found.items() for fault in faults} == {
        ("G3", "stuck"),
        ("G4", "gap"),
    }


@pytest.mark.soak
def test_acceleration_to_failure_is_a_movement_of_every_station_of_the_mass():
    model = SlopeModel(3, 4, START, duration=timedelta(days=60), faults=())
    onset_s = model.onset_at.timestamp()
    rows = [row for row in score(measure(model, component=1)).scores if row.alerted and row.at_s > onset_s]
    assert {"G1", "G2", "G3", "G4"} <= {row.station for row in rows}
    assert {row.kind for row in rows[-5:]} == {"movement"}
