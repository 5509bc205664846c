"""The two hours after the failure of the demonstration, evaluated once a minute as the service does."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from monitor.alerts.audit.recompute import recompute
from monitor.alerts.evaluate import Evaluator
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.alerts import find_alert
from monitor.alerts.queries.evaluations import find_common_silence, load_decision
from monitor.decision.common_silence import SILENT_SLOPE
from monitor.delivery.queries.outbox import claim_due, load_due_channels
from monitor.features.demo.demo import STATIONS, STEP
from monitor.features.telephony.telephone import format_sms
from monitor.sites.queries.sites import load_site_source
from monitor.storage.views import load_view
from tests.data.simulated_slope import READING_INTERVAL, SimulatedSlope
from tests.web.served import serving

END = datetime(2026, 3, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WATCHED = timedelta(hours=2)


def check_pages(slope):
    """Check that the overview and the page of the site show the silence first."""
    with serving(slope.database, slope.now) as client:
        overview = client.get("/").text
        site = client.get(f"/sites/{slope.site.id}").text
    for page in (overview, site):
        assert 0 < page.index("Silent slope:") < page.index('class="because"')
        assert "Now:" not in page, "what a silent slope did last is not its present motion"
        assert "power" not in page[: page.index("Silent slope:")].lower()
        (emphasised,) = re.findall(r"<b>Silent slope: (.*?)</b>", page)
        assert re.fullmatch(r"all \d+ instruments on the slope .*; keep everybody out", emphasised)
        (notified,) = re.findall(r'data-answer="told">(.*?)</dd>', page, re.DOTALL)
        assert notified.index("silent slope:") < notified.index("red:")


def check_board(slope):
    """Check that the board of instruments asks people to look at the slope before power and radio."""
    with serving(slope.database, slope.now) as client:
        page = client.get(f"/sites/{slope.site.id}/instruments").text
    board = page[page.index("<main") :]
    assert (
        0 < board.index("Silent slope:") < board.index("keep everybody out until the slope was seen from a safe place")
    )
    assert "check power, antenna and radio" not in board[: board.index("seen from a safe place")]


@pytest.mark.soak
@pytest.mark.parametrize(
    ("interval", "received_at"),
    [
        pytest.param(READING_INTERVAL, None, id="readings received live", marks=pytest.mark.soak),
        pytest.param(STEP, END, id="record sent at once, as the demo does"),
    ],
)
def test_failure_is_reported_in_one_alert_before_any_advice_about_power(database, interval, received_at):
    slope = SimulatedSlope(database, END, days=1.75, stations=STATIONS, interval=interval)
    slope.receive_until(END + MINUTE, received_at)
    evaluate = Evaluator()
    assert evaluate(database, slope.site, slope.now, "data").level == slope.site.top_level
    moving = [station.id for station in slope.model.stations if station.factor]
    last_at = max(sample.at for sample in slope.model.samples(END - interval) if sample.station in moving)

    reported_at = None
    health_alerts = []
    while slope.now < END + WATCHED:
        slope.receive_until(slope.now + MINUTE)
        result = evaluate(database, slope.site, slope.now, "tick")
        assert result.level == slope.site.top_level, "the level does not fall"
        if reported_at is None and SILENT_SLOPE in result.decision.memory.conditions:
            reported_at = slope.now
            check_pages(slope)
        # The question what the last jump of the extensometer was stays open.
        health_alerts += [
            change for change in result.changes if change.ledger == "health" and not change.key.endswith(":verify")
        ]

    check_board(slope)
    assert reported_at is not None
    assert interval < reported_at - last_at <= interval + timedelta(minutes=10)
    assert [change.key for change in health_alerts] == [SILENT_SLOPE], health_alerts
    [alert] = health_alerts
    assert (alert.key, alert.open, alert.level) == (SILENT_SLOPE, True, 2)
    assert str(alert.reason).startswith(
        f"all 8 instruments on the slope have been silent since {last_at:%Y-%m-%d %H:%M}"
    )
    with database.read() as c:
        assert find_common_silence(c, slope.site.id) == alert.reason
        bodies = list(c.execute(select(notification.c.body).where(notification.c.queued_at > last_at)).scalars())
        [row] = [row for row in load_view(c, "active_alerts", site=slope.site.id) if row["key"] == SILENT_SLOPE]
        stored = find_alert(c, row["alert_id"])
        decision = load_decision(c, stored.decision_id)
        source = load_site_source(c, decision.config_sha256)
    assert recompute(decision, source).differences == ()
    [message] = [body for body in bodies if "instruments on the slope" in body]
    assert message.startswith("all 8 instruments on the slope have been silent since")
    assert "; keep everybody out; those outside it report (" in message
    assert not [body for body in bodies if "power" in body.lower()]
    with database.write() as c:
        waiting = [
            n for channel in load_due_channels(c, slope.now) for n in claim_due(c, slope.now, "t", 30.0, 100, channel)
        ]
    [text] = [format_sms(n) for n in waiting if "instruments on the slope" in n.body]
    assert len(text) < 400
    assert "keep everybody out" in text
