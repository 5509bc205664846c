"""Begin, kind and label of an anomaly are the same whatever time is loaded."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from monitor.errors import RefusedError
from monitor.features.anomalies.queries.labels import AnomalyRun, add_label, find_run, load_dismissed, load_runs
from monitor.features.anomalies.queries.scores import AnomalyRow, add_anomalies
from monitor.features.instruments.jobs import SUSPECT_FOR, run
from monitor.readings.queries.observations import find_series_id
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.settings.service import ServiceConfig
from monitor.sites.queries.sites import save_site
from monitor.sites.records import SeriesSpec
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from monitor.text.instants import format_iso
from tests.data.store_rows import ask, tell
from tests.features.instruments.test_instruments import NOW, SITE
from tests.fixtures.databases import ON_BOTH

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ADA = Actor("Ada")
BEGUN = NOW - 60 * DAY


@pytest.fixture
def watched(database: Database) -> Database:
    with database.write() as c:
        save_site(c, SITE, "test", "test", BEGUN - 30 * DAY)
        at = NOW - 70 * DAY
        rows = [Observation("bench", f"G{k}", "displacement_downslope", "mm", at, NOW, 1.0) for k in (1, 2, 3)]
        add_observations(c, rows, at)
    return database


def report(database: Database, days, scores, kinds, detector: str = "rules", scored: float | None = None) -> None:
    """Alerts of G1 so many days after the begin, each scored at once, or all of them so many days after it."""
    with database.write() as c:
        series = find_series_id(c, "bench", "G1", "displacement_downslope")
        assert series is not None
        for day, score, kind in zip(days, scores, kinds, strict=True):
            row = AnomalyRow(series, BEGUN + day * DAY, detector, score, 1.0, 0.1, kind, alerted=True)
            add_anomalies(c, [row], BEGUN + (day if scored is None else scored) * DAY)


def drift(database: Database) -> None:
    """An alert each six hours of sixty days: highest on day 8, then called now movement, now drift."""
    days = [quarter / 4 for quarter in range(4 * 60)]
    scores = [1.2 + 0.3 * min(day, 8.0) - 0.02 * max(0.0, day - 8.0) for day in days]
    report(database, days, scores, ["drift" if 4 <= day <= 20 or int(day) % 2 else "movement" for day in days])


def look(database: Database, day: float, back: timedelta) -> list[AnomalyRun]:
    now = BEGUN + day * DAY
    return ask(database, load_runs, SITE, now - back, now)


def dismiss(database: Database, seen: AnomalyRun, at: datetime) -> None:
    tell(database, add_label, "bench", seen, "dismissed", "snow_ice", ADA, "", at)


@pytest.mark.parametrize("back", [SUSPECT_FOR, 14 * DAY, 400 * DAY])
def test_a_long_anomaly_keeps_its_begin_its_kind_and_its_label(watched: Database, back: timedelta) -> None:
    drift(watched)
    (seen,) = look(watched, 10, back)
    tell(watched, add_label, "bench", seen, "confirmed", "drift", ADA, "", BEGUN + 10 * DAY)
    found = [look(watched, day, back) for day in (10, 30, 50, 59)]
    seen = [[(r.from_at, r.kind, r.score, r.label and r.label.cause) for r in runs] for runs in found]
    assert seen == [[(BEGUN, "drift", pytest.approx(3.6), "drift")]] * 4


@ON_BOTH
def test_the_page_shows_since_when_a_long_anomaly_lasts(watched: Database) -> None:
    drift(watched)
    for day in (10, 30, 50, 59):
        run(watched, ServiceConfig(), SITE, BEGUN + day * DAY)
        rows = ask(watched, load_view, "instrument_findings", site="bench", instrument="G1")
        assert [(r["state"], r["since"]) for r in rows if r["state"] != "calibration"] == [("drift", format_iso(BEGUN))]


def test_an_anomaly_begins_after_a_long_pause(watched: Database) -> None:
    report(watched, [0.0, 0.25, 1.0, 1.5, 2.0, 2.5], [9.0, 9.0, 2.0, 2.0, 2.0, 2.0], ["spike"] * 2 + ["step"] * 4)
    (seen,) = look(watched, 3.0, 1.2 * DAY)
    assert (seen.from_at, seen.kind, seen.score) == (BEGUN + 1.0 * DAY, "step", 2.0)


def test_the_pause_follows_the_interval_of_the_series(watched: Database) -> None:
    first, *others = SITE.stations
    well = SeriesSpec("G2", "groundwater_level", "m", 30 * 86400.0, 90 * 86400.0, by_hand=True)
    site = replace(SITE, stations=(first, replace(others[0], series=(*others[0].series, well)), *others[1:]))
    report(watched, [0.0, 10.0, 10.2], [2.0, 2.0, 2.0], ["spike"] * 3)
    found = ask(watched, load_runs, site, BEGUN - DAY, BEGUN + 20 * DAY)
    assert [run.from_at - BEGUN for run in found] == [timedelta(0), 10 * DAY]


def test_a_dismissed_anomaly_that_becomes_twice_as_strong_is_a_new_one(watched: Database) -> None:
    """Snow was said of it; what is beyond twice as strong was seen by nobody."""
    report(watched, [0.0, 0.25, 0.5], [1.5, 2.0, 1.8], ["step"] * 3)
    (seen,) = look(watched, 0.6, DAY)
    dismiss(watched, seen, BEGUN + 0.6 * DAY)
    report(watched, [0.75, 1.0, 1.25, 1.5], [2.0, 3.9, 4.1, 3.0], ["step", "step", "movement", "movement"])
    before, after = look(watched, 2.0, 3 * DAY)
    assert (before.from_at, before.to_at, before.label.verdict) == (BEGUN, BEGUN + DAY, "dismissed")
    assert (after.from_at, after.to_at) == (BEGUN + 1.25 * DAY, BEGUN + 1.5 * DAY)
    assert (after.kind, after.label) == ("movement", None)
    assert look(watched, 2.0, 0.6 * DAY) == [after], "from whatever day it is looked at"
    with watched.write() as c:
        add_label(c, "bench", find_run([before, after], "G1", after.from_at), "confirmed", "movement", ADA, "", NOW)
    assert [r.label.verdict for r in look(watched, 2.0, 3 * DAY)] == ["dismissed", "confirmed"]


@ON_BOTH
def test_a_label_is_stored_once_withdrawn_and_never_replaced_unseen(watched: Database) -> None:
    """Two taps are one word; of two people the second sees the first one's word before it counts no more."""
    report(watched, [0.0, 0.25, 0.5], [1.5, 2.0, 1.8], ["step"] * 3)

    def say(who: Actor, verdict: str, cause: str, seen: int | None = None) -> int:
        (mine,) = look(watched, 1.0, 3 * DAY)
        return tell(watched, add_label, "bench", mine, verdict, cause, who, "", BEGUN + DAY, seen=seen)

    bo = Actor("Bo")
    first = say(ADA, "dismissed", "weather", seen=0)
    assert say(ADA, "dismissed", "weather", seen=0) == first, "a second tap"
    with pytest.raises(RefusedError, match="Ada has labelled this anomaly meanwhile: dismissed; load the page again"):
        say(bo, "confirmed", "movement", seen=0)
    say(bo, "withdrawn", "unknown", seen=first)
    assert [r.label for r in look(watched, 1.0, 3 * DAY)] == [None]
    with pytest.raises(RefusedError, match="this anomaly has no label any more"):
        say(ADA, "withdrawn", "unknown", seen=first)
    report(watched, [0.75, 1.0], [2.0, 1.9], ["step"] * 2)
    say(bo, "dismissed", "snow_ice", seen=0)
    report(watched, [1.25], [1.9], ["step"])
    (longer,) = look(watched, 1.3, 3 * DAY)
    assert (longer.from_at, longer.label.cause) == (BEGUN, "snow_ice"), "it goes on under the word on it"
    kept = ask(watched, load_view, "anomaly_labels", order_by=("label_id",))
    assert [(k["verdict"], k["by"]) for k in kept] == [("dismissed", "Ada"), ("withdrawn", "Bo"), ("dismissed", "Bo")]


def test_a_fault_found_by_a_check_after_a_dismissal_is_a_new_anomaly(watched: Database) -> None:
    report(watched, [0.0, 0.25], [2.0, 2.0], ["spike"] * 2)
    (seen,) = look(watched, 0.5, DAY)
    dismiss(watched, seen, BEGUN + 0.5 * DAY)
    report(watched, [0.5], [1.0], ["stuck"], "flatline")
    before, after = look(watched, 0.6, DAY)
    assert (before.label.verdict, after.kind, after.label) == ("dismissed", "stuck", None)


@pytest.mark.parametrize(("day", "begin"), [(0.75, 0.75), (-0.2, -0.2)])
def test_a_stronger_late_alert_is_no_part_of_a_dismissed_anomaly(watched, day, begin):
    """Nothing need follow: the person who said snow had not seen it."""
    report(watched, [0.0, 0.25, 0.5, 1.0], [1.5, 2.0, 1.8, 1.9], ["step"] * 4)
    (seen,) = look(watched, 1.1, 2 * DAY)
    dismiss(watched, seen, BEGUN + 1.1 * DAY)
    report(watched, [0.6], [3.9], ["step"], scored=1.2)
    assert [r.label and r.label.verdict for r in look(watched, 2.0, 3 * DAY)] == ["dismissed"], "not twice as strong"
    report(watched, [day], [9.0], ["movement"], scored=1.3)
    late = look(watched, 2.0, 3 * DAY)[-1]
    assert (late.from_at, late.to_at, late.kind, late.label) == (BEGUN + begin * DAY, BEGUN + DAY, "movement", None)
    assert look(watched, 2.0, 1.05 * DAY) == [late], "from whatever day it is looked at"
    dismiss(watched, late, BEGUN + 2 * DAY)
    assert {r.label.verdict for r in look(watched, 3.0, 4 * DAY)} == {"dismissed"}, "now it was seen"


def test_withdrawing_a_label_keeps_the_label_of_the_anomaly_before(watched: Database) -> None:
    report(watched, [0.0, 0.25, 0.5, 1.0], [1.5, 2.0, 1.8, 1.9], ["step"] * 4)

    def say(number: int, who: Actor, verdict: str, day: float) -> None:
        with watched.write() as c:
            add_label(c, "bench", look(watched, day, 3 * DAY)[number], verdict, "unknown", who, "", BEGUN + day * DAY)

    say(0, ADA, "dismissed", 1.1)
    report(watched, [0.75], [9.0], ["movement"], scored=1.2)
    say(1, ADA, "dismissed", 1.3)
    say(1, Actor("Bo"), "confirmed", 1.4)
    assert [r.label.verdict for r in look(watched, 2.0, 3 * DAY)] == ["dismissed", "confirmed"]
    say(1, Actor("Bo"), "withdrawn", 1.5)
    assert [r.label and r.label.verdict for r in look(watched, 2.0, 3 * DAY)] == ["dismissed", None]
    say(1, Actor("Bo"), "withdrawn", 1.5)  # a second tap
    with pytest.raises(RefusedError, match="this anomaly has no label any more"):
        say(1, ADA, "withdrawn", 1.5)
    say(0, ADA, "withdrawn", 1.6)
    assert [r.label for r in look(watched, 2.0, 3 * DAY)] == [None]


def test_a_dismissed_anomaly_keeps_earlier_alarms_valid(watched: Database) -> None:
    report(watched, [0.0, 0.25, 20.0, 25.0], [3.0, 2.0, 2.0, 2.0], ["step", "step", "spike", "spike"])
    report(watched, [0.5], [2.0], ["spike"], "persistence-z")
    with watched.write() as c:
        for run in load_runs(c, SITE, BEGUN - DAY, BEGUN + 26 * DAY)[1:]:
            add_label(c, "bench", run, "dismissed", "snow_ice", ADA, "", BEGUN + 26 * DAY)
        (found,) = load_dismissed(c, SITE, BEGUN - DAY, BEGUN + 27 * DAY).values()
    assert (found.alarms, found.stuck) == (BEGUN + 25 * DAY, None)
    assert found.valid == {"rules": BEGUN + 0.25 * DAY, "persistence-z": BEGUN + 0.5 * DAY}
