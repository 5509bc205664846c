"""What a site's headline is about."""

from datetime import UTC, datetime

from monitor.web.parts.headline import describe_motion, find_hazards

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SLOPE = {"G1", "G2", "G3"}


def row(station, velocity, stage="creep", window=None, quantity="displacement", last=None, heard=None):
    return {
        "station": station,
        "quantity": quantity,
        "velocity_mm_per_day": velocity,
        "stage": stage,
        "window": window,
        "last_stage": last or (None if stage == "unknown" else stage),
        "data_until": heard,
    }


def window(begin, end, *, trusted=True):
    spelled = [f"2026-03-{day:02}T00:00:00.000000Z" for day in (begin, end)]
    return {"window_from": spelled[0], "window_to": spelled[1], "trusted": trusted}


def test_a_headline_is_about_the_highest_open_alert_of_its_site_and_no_drill():
    def alert(number, site, ledger="hazard", *, exercise=False):
        return {"alert_id": number, "site": site, "ledger": ledger, "exercise": exercise}

    alerts = [
        alert(1, "a", "health"),
        alert(2, "a"),
        alert(3, "b", exercise=True),
        alert(4, "a"),
        alert(5, "c", "advice"),
    ]
    assert {site: one["alert_id"] for site, one in find_hazards(alerts).items()} == {"a": 2}


def test_the_fastest_counts_in_either_direction_and_stations_count_once():
    rows = [row("G1", 3.0), row("G1", -8.0, "progressive", quantity="displacement_up"), row("G2", None, "unknown")]
    found = describe_motion(rows, NOW, SLOPE, {})
    assert (found.fastest["velocity_mm_per_day"], found.beyond, found.stations) == (-8.0, 1, 1)
    assert (found.lost, found.last_stages) == (1, [])
    assert describe_motion([row("G2", None, "unknown")], NOW, SLOPE, {}) is None


def test_a_station_that_fell_silent_is_told_with_its_last_stage_and_not_counted_as_calm():
    silent = [row("G2", None, "unknown", last="progressive"), row("G3", None, "unknown", last="creep")]
    found = describe_motion([row("G1", 0.1), *silent], NOW, SLOPE, {})
    assert (found.beyond, found.stations, found.lost) == (0, 1, 2)
    assert found.last_stages == ["progressive", "creep"]
    alone = describe_motion(silent, NOW, SLOPE, {})
    assert (alone.fastest, alone.stations, alone.lost) == (None, 0, 2)


def test_every_station_that_cannot_be_judged_is_counted_with_the_reason():
    """Also one whose stage of an hour ago still stands, and one whose motion was never judged."""
    watched = {f"G{n}" for n in range(1, 14)}
    rows = [row(f"G{n}", 0.1) for n in range(1, 9)] + [row("G9", None, "unknown")]
    states = {
        "G1": "silent",
        "G2": "silent",
        "G10": "silent",
        "G13": "silent",
        "G3": "stuck",
        "G4": "verify",
        "P": "silent",
    }
    found = describe_motion(rows, NOW, watched, states)
    said = "6 of 13 stations on the slope cannot be judged now: 4 silent, 1 stuck, 1 without a stage"
    assert (found.lost, found.stations, found.lost_text) == (6, 5, said)


def test_a_window_that_is_over_gives_way_to_another_only_where_the_slope_spoke_after_it():
    late, soon = window(20, 25), window(4, 12)
    until = window(2, 13)
    rows = [
        row("G1", 1.0, window=late, heard=until["window_from"]),
        row("G2", 1.0, window=soon),
        row("G3", 1.0, window=window(2, 3, trusted=False)),
    ]
    assert describe_motion(rows, NOW, SLOPE, {}).window == soon
    after = datetime(2026, 3, 14, tzinfo=UTC)
    assert describe_motion(rows, after, SLOPE, {}).window == soon, "nothing was heard since: it may have come true"
    rows[0]["data_until"] = until["window_to"]
    assert describe_motion(rows, after, SLOPE, {}).window == late
    assert describe_motion(rows[2:], NOW, SLOPE, {}).window is None
