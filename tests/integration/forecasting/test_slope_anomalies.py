"""The simulated slope seen by the detectors: planned faults are found, quiet time is quiet, failure is not missed."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta

from detection.anomaly import jobs
from detection.anomaly.records import ScoringRequest
from monitor.extensions.demo.slope import InstrumentFault, SlopeModel

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def score(model, component=0):
    samples = defaultdict(lambda: ([], []))
    for one in model.samples():
        if "gnss" in one.payload:
            samples[one.station][0].append(datetime.fromisoformat(one.payload["time"]).timestamp())
            samples[one.station][1].append(one.payload["gnss"]["enu_mm"][component])
    return jobs.score(ScoringRequest("persistence-z", dict(samples), 3600.0))


def test_faults_are_found_and_nothing_else():
    faults = (
        InstrumentFault("spike", "G1", START + 400 * HOUR, START + 401 * HOUR, 400.0),
        InstrumentFault("rezero", "G2", START + 450 * HOUR, START + timedelta(days=40), -35.0),
        InstrumentFault("stuck", "G3", START + 500 * HOUR, START + 520 * HOUR),
        InstrumentFault("dropout", "G4", START + 500 * HOUR, START + 520 * HOUR),
        InstrumentFault("common_shift", "BASE-A", START + 600 * HOUR, START + 620 * HOUR, 18.0),
    )
    model = SlopeModel(1, 4, START, duration=timedelta(days=30), fails=False, faults=faults)
    answer = score(model)
    first = {}
    for row in answer.scores:
        if row.alerted:
            first.setdefault(row.station, (row.at_s, row.kind))
    epoch = START.timestamp()
    assert (first["G1"], first["G2"]) == ((epoch + 400 * 3600, "spike"), (epoch + 450 * 3600, "spike"))
    # A common shift reaches the control station on the same reference, and no station on the other one.
    assert epoch + 600 * 3600 <= first["C1"][0] < epoch + 620 * 3600
    assert not {"G4", "C2"} & set(first)
    assert {(f.station, f.kind) for f in answer.findings} == {("G3", "stuck"), ("G4", "gap")}


def test_acceleration_to_failure_raises_every_station_of_the_mass_and_no_other():
    model = SlopeModel(3, 4, START, duration=timedelta(days=60), faults=())
    rows = [row for row in score(model, component=1).scores if row.alerted]
    assert {row.station for row in rows} == {"G1", "G2", "G3", "G4"}
    assert min(row.at_s for row in rows) > model.onset_at.timestamp()
    assert {row.kind for row in rows[-5:]} == {"movement"}
