"""Stories of a failure that nobody sees end: how long until a person reads of it, on both databases."""

from datetime import timedelta

from monitor.alerting.evaluate import evaluate_site
from monitor.domain.instants import parse
from monitor.store.schema.views import load_view
from tests.data.watched_slope import HOUR, SITE_TEXT, WatchedSlope

CONTROL = """
[[station]]
id = "C1"
on_slope = false
[[station.series]]
quantity = "crack_opening"
unit = "mm"
interval = "1h"
"""
MINUTE = timedelta(minutes=1)


def read(database, site, key):
    """When the first message of an alarm was queued, and what it says; None as long as there is none."""
    with database.read() as c:
        alerts = {a["alert_id"]: a for a in load_view(c, "alert_history", site=site) if a["key"] == key}
        sent = [n for n in load_view(c, "notification_status", site=site) if n["alert_id"] in alerts]
    return min(((parse(n["queued_at"]), str(alerts[n["alert_id"]]["reason"])) for n in sent), default=None)


def test_the_slope_takes_its_instruments_along_and_people_read_of_it(database, capsys):
    slope = WatchedSlope(database, SITE_TEXT.replace("\n[[criterion]]", CONTROL + "\n[[criterion]]", 1))
    assert slope.fail().level == 3
    last, result = slope.now, None
    for minute in range(1, 6 * 60):
        slope.now = last + minute * MINUTE
        if minute % 60 == 0:
            slope.publish("C1", 0.0, slope.now)  # the control station beside the slope speaks on
        result = evaluate_site(database, slope.site, slope.now, "tick")
        if (first := read(database, slope.site.id, "health:site:silent_slope")) is not None:
            break
    with capsys.disabled():
        print(f"\ncommon silence at red: first message {(first[0] - last).total_seconds():.0f} s after the last word")
    assert first[0] - last < 4 * HOUR, "max_silence is six hours; the rhythm of hourly readings tells it earlier"
    assert first[1].startswith("all 2 instruments on the slope are silent since")
    assert result.observability == "blind"
    with database.read() as c:
        (status,) = load_view(c, "site_status", site=slope.site.id)
    assert parse(status["newest_at"]) == last, "the age shown is that of the slope's own instruments"


def test_the_machine_slept_through_the_failure_and_people_read_of_it_when_it_wakes(database, capsys):
    slope = WatchedSlope(database, SITE_TEXT.replace('valid_for = "12h"', 'valid_for = "2h"'))
    slope.live(26, looks=1)
    asleep, rows = slope.now, []
    for hour in range(1, 11):  # both rovers run away and fall silent in the tenth hour
        for name, rate in (("G1", 150.0), ("G2", 140.0)):
            slope.position[name] += rate / 24.0
            rows.append((name, slope.position[name], asleep + hour * HOUR))
    woke = slope.now = asleep + 14 * HOUR
    evaluate_site(database, slope.site, woke + MINUTE / 120, "tick")  # after the reception, before the commit
    for row in rows:
        slope.publish(*row)
    slope.now += MINUTE / 60
    result = evaluate_site(database, slope.site, slope.now, "data")
    first = read(database, slope.site.id, "health:site:late_red")
    with capsys.disabled():
        print(f"\na failure as a backlog: first message {(first[0] - woke).total_seconds():.0f} s after waking")
    assert result.level < 3, "what is so old votes for nothing"
    assert first[0] - woke <= MINUTE
    assert first[1].startswith("nobody could be warned: readings that came late asked for red at 2026-03-02")
    assert "mm/day" in first[1]
