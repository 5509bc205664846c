"""The scorecard, computed by hand: durations, indicators, leads, misses, false days and their causes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.alerts.replay.failure_windows import IssuedWindow
from monitor.alerts.replay.history import VisibilityRule
from monitor.alerts.replay.leads import list_level_leads, make_fixed_site
from monitor.alerts.replay.matrix import (
    BEFORE,
    NONE,
    EventLabel,
    LevelTimeline,
    Span,
    build_matrix,
    find_false_days,
    list_alarm_days,
    list_labels_of_outcomes,
    read_labels,
    score_event,
)
from monitor.alerts.replay.queries import AlertWithOutcome
from monitor.alerts.replay.record_state import find_record_end, find_station_days
from monitor.alerts.replay.scorecard import ReplayTotals, score
from monitor.alerts.replay.window_table import list_periods
from monitor.decision.warning_summary import RecordEnd
from monitor.errors import ConfigError, RefusedError
from monitor.sites.parsing import parse_site
from monitor.text.instants import epoch_s
from tests.data.site_text import criterion, head, series, station

DAY = 86400.0
START = datetime(2025, 6, 1, tzinfo=UTC)
S = epoch_s(START)
SITE = (
    head("slope", timezone="UTC", levels={"names": ["green", "yellow", "orange", "red"]})
    + station("G1", series("displacement", "mm", "1d", max_silence="3d"))
    + criterion("velocity", stations=["G1"], yellow={"over": 2.0, "window": "7d"})
)


def span(from_day: float, to_day: float, level: int) -> Span:
    return Span(S + from_day * DAY, S + to_day * DAY, level)


def label(from_day: float, to_day: float, number: int, level: int) -> EventLabel:
    return EventLabel(START + timedelta(days=from_day), START + timedelta(days=to_day), number, level)


# 100 days: green, yellow from 40, orange 45-60, green; a false yellow 80-82; one event 50-55 of class 2 (needs orange)
RIBBON = (span(0, 40, 0), span(40, 45, 1), span(45, 60, 2), span(60, 80, 0), span(80, 82, 1), span(82, 100, 0))
EVENT = label(50, 55, 2, 2)


def test_duration_matrix_and_indicators() -> None:
    matrix = build_matrix(RIBBON, [EVENT], 20 * DAY, ("green", "yellow", "orange", "red"))
    days = {(0, NONE): 30 + 20 + 18, (0, BEFORE): 10, (1, BEFORE): 5, (2, BEFORE): 5}
    days |= {(2, 2): 5, (2, NONE): 5, (1, NONE): 2}
    assert {k: v / DAY for k, v in matrix.seconds.items()} == days
    assert matrix.classes == (BEFORE, NONE, 2)
    found = matrix.indicators()
    # correct 5, missed 0, false 5 + 2, negatives 68: the twenty days before the event count for nothing
    assert (found["efficiency"], found["hit_rate"]) == (pytest.approx(73 / 80), 1.0)
    assert found["predictive_power"] == pytest.approx(5 / 12)
    assert (found["threat_score"], found["odds_ratio"]) == (pytest.approx(5 / 12), pytest.approx(73 / 7))
    assert (found["missed_alert_rate"], found["false_alert_rate"]) == (0.0, pytest.approx(7 / 12))
    assert found["error_rate"] == pytest.approx(5 / 80), "orange without an event is two levels off"
    assert found["serious_mistakes"] == 0.0
    assert sum(matrix.seconds.values()) == pytest.approx(100 * DAY)


def test_lead_is_that_of_the_required_level_and_an_event_without_it_is_missed() -> None:
    event = label(70, 72, 4, 3)
    matrix = build_matrix(RIBBON, [event], 5 * DAY, ("green", "yellow", "orange", "red"))
    found = matrix.indicators()
    assert (found["hit_rate"], found["missed_alerts_h"]) == (0.0, pytest.approx(48.0))
    assert found["serious_mistakes"] == pytest.approx(2 / 95)
    one = score_event(event, RIBBON, 5 * DAY)
    assert one.missed
    assert one.lead_s is None
    assert one.peak_level == 0
    assert build_matrix(RIBBON, [], DAY, ("green", "yellow")).indicators()["hit_rate"] is None, "no event, no rate"
    one = score_event(EVENT, RIBBON, 20 * DAY)
    assert (one.first_at, one.warned_at) == (START + timedelta(days=40), START + timedelta(days=45))
    assert (one.lead_s, one.peak_level) == (5 * DAY, 2)
    # a level that stood longer than the lead counts from there on: it is no merit to warn always
    assert score_event(EVENT, (span(0, 100, 3),), 20 * DAY).lead_s == 20 * DAY
    late = score_event(label(44, 60, 2, 2), RIBBON, 20 * DAY)
    assert late.lead_s == -1 * DAY
    assert not late.missed


def test_false_days_have_the_recorded_cause() -> None:
    def alert(day: float, outcome: str | None) -> AlertWithOutcome:
        at = START + timedelta(days=day)
        return AlertWithOutcome(1, "hazard", "hazard", 1, at, at + timedelta(days=2), outcome)

    def days(*alerts: AlertWithOutcome, zone: str = "UTC", judged: bool = True) -> list[tuple[str, str, int]]:
        return find_false_days(RIBBON, [EVENT], alerts, 10 * DAY, zone, judged=judged)

    expected = [(f"2025-07-{d:02}", 2) for d in range(27, 31)] + [("2025-08-20", 1), ("2025-08-21", 1)]
    assert days() == [(day, "unexplained", level) for day, level in expected]
    assert {c for d, c, _ in days(alert(80, "false_weather")) if d >= "2025-08"} == {"false_weather"}
    assert not [d for d, *_ in days(alert(80, "true")) if d >= "2025-08"], "people say that it was one"
    assert {c for _, c, _ in days(judged=False)} == {"unjudged"}
    # local days: midnight UTC is the evening of the day before in Denver
    assert "2025-08-19" in {d for d, *_ in days(zone="America/Denver")}


def test_each_alarm_day_has_one_kind() -> None:
    def count(labels: list[EventLabel], outcome: str | None = None) -> dict[tuple[str, str], int]:
        at = START + timedelta(days=80)
        alerts = [AlertWithOutcome(1, "hazard", "hazard", 1, at, at + timedelta(days=2), outcome)]
        # from day 58 on nothing measured asks for the orange level of the ribbon
        measured = [span(40, 45, 1), span(45, 58, 2), span(80, 82, 1)]
        days = list_alarm_days(RIBBON, measured, labels, alerts, 10 * DAY, "UTC")
        found = [(day.kind, day.cause) for day in days]
        assert len({day.day for day in days}) == len(days) == 22
        return {one: found.count(one) for one in found}

    assert count([]) == {("unjudged", ""): 20, ("waiting", ""): 2}
    # day 55 still belongs to the event, which lasts until its beginning
    assert count([EVENT]) == {("event", ""): 16, ("false", "unexplained"): 4, ("waiting", ""): 2}
    weather = ("false", "false_weather")
    assert count([EVENT], "false_weather") == {
        ("event", ""): 16,
        ("false", "unexplained"): 2,
        weather: 2,
        ("waiting", ""): 2,
    }
    assert count([EVENT], "true") == {("event", ""): 18, ("false", "unexplained"): 2, ("waiting", ""): 2}


def test_lead_of_each_level_ends_at_the_event_or_the_end_of_the_record() -> None:
    sources = {"decision": RIBBON, "other": (span(0, 48, 0), span(48, 100, 3))}
    decision, other = list_level_leads(sources, [EVENT], 20 * DAY, 3, S + 100 * DAY)
    assert (decision.source, decision.before, other.source) == ("decision", "2025-07-21", "other")
    assert decision.leads == ((1, 10 * DAY), (2, 5 * DAY), (3, None))
    assert other.leads == ((1, 2 * DAY), (2, 2 * DAY), (3, 2 * DAY))
    (end, _) = list_level_leads(sources, [], 20 * DAY, 3, S + 100 * DAY)
    assert (end.before, end.leads) == ("end of the record", ((1, 60 * DAY), (2, 55 * DAY), (3, None)))


def test_fixed_bound_uses_all_series_that_measure_motion() -> None:
    site = parse_site(
        SITE + station("R1", series("rain", "mm")) + station("E1", series("crack_opening", "mm", "10d")), "slope.toml"
    )
    fixed = make_fixed_site(site)
    assert fixed is not None
    assert [(c.kind.id, c.stations) for c in fixed.criteria] == [("velocity", ("G1",)), ("rate", ("E1",))]
    assert [[t.window_s / DAY for t in c.thresholds if t.window_s] for c in fixed.criteria] == [
        [14, 7, 4],
        [40, 40, 40],
    ]
    assert fixed.version != site.version
    bare = parse_site(head("slope") + station("R1", series("rain", "mm")), "slope.toml")
    assert make_fixed_site(bare) is None


def test_windows_of_a_station_are_joined_into_periods() -> None:
    def window(day: float, *, trusted: bool, until: float | None = None) -> IssuedWindow:
        at_s, mid_s = S + day * DAY, S + 51 * DAY
        gone = None if until is None else S + until * DAY
        why = None if until is None else "slower"
        return IssuedWindow("A", "displacement", at_s, at_s, at_s, mid_s, mid_s, trusted, "", gone, why)

    early = [window(10, trusted=False, until=12), window(11, trusted=False, until=12)]
    late = [window(30, trusted=False), window(31, trusted=True), window(32, trusted=True)]
    one, two = list_periods([*early, *late], [EVENT], S + 100 * DAY)
    assert (one.first_trusted, one.lead_s, one.end, one.issued, one.trusted) == (None, None, "slower", 2, 0)
    assert two.first_trusted is late[1]
    assert (two.lead_s, two.last, two.trusted) == (19 * DAY, late[2], 2)
    assert two.end == "it is in force at the end of the record"
    (alone,) = list_periods(late, [], S + 100 * DAY)
    assert (alone.before, alone.lead_s) == ("end of the record", 69 * DAY)


def test_labels_and_visibility_rules_are_read_or_refused(tmp_path: Path) -> None:
    site = parse_site(SITE, "slope.toml")
    path = tmp_path / "events.csv"
    path.write_text(
        "from,to,class,level,name\n2025-06-01T12:00:00+02:00,,large,,second\n2025-05-01,2025-05-02,1,orange,first\n"
    )
    one, two = read_labels(path, site)
    assert (one.name, one.class_number, one.level) == ("first", 1, 2)
    assert two.from_at == two.to_at == datetime(2025, 6, 1, 10, tzinfo=UTC)
    assert (two.class_number, two.level) == (3, 3)
    for row, said in (
        ("2025-06-02,2025-06-01,1,,", "line 2: the event ends before it starts"),
        ("2025-06-01,,huge,,", "class 'huge'"),
        ("2025-06-01,,1,purple,", "expected one of: yellow, orange, red"),
        ("2025-06-01T12:00:00,,1,,", "has no zone"),
        ("yesterday,,1,,", "line 2"),
    ):
        path.write_text(f"from,to,class,level,name\n{row}\n")
        with pytest.raises(ConfigError, match=said):
            read_labels(path, site)
    path.write_text("when,class\n")
    with pytest.raises(ConfigError, match="columns from are missing"):
        read_labels(path, site)
    confirmed = AlertWithOutcome(7, "hazard", "hazard", 2, START, None, "true")
    (found,) = list_labels_of_outcomes([confirmed], START + timedelta(days=3), site)
    assert (found.level, found.source, found.to_at) == (2, "outcome", START + timedelta(days=3))
    with pytest.raises(RefusedError, match="expected one of: auto, received, observed"):
        VisibilityRule("then")


def test_days_at_levels_and_the_last_level_of_each_station() -> None:
    site = parse_site(SITE, "slope.toml")
    totals = ReplayTotals(S, S + 10 * DAY)
    totals.levels.note(S, 0)
    totals.levels.note(S + 6 * DAY, 1)
    timeline = totals.station_levels["velocity-1", "G1"] = LevelTimeline()
    for day, level in ((0, 0), (2, 2), (3, 1), (5, 0)):
        timeline.note(S + day * DAY, level)
    totals.finish(S + 10 * DAY)
    run = score("A", site, totals, [], [], DAY)
    assert find_station_days(run, site) == {
        ("velocity-1", "G1", "yellow"): {"2025-06-03", "2025-06-04", "2025-06-05"},
        ("velocity-1", "G1", "orange"): {"2025-06-03"},
    }
    end = find_record_end(run, site, START + timedelta(days=9), START + timedelta(days=12))
    assert end == RecordEnd("2025-06-10", 3 * DAY, 1, "2025-06-07")
