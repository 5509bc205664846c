"""A message about anomalies of several stations describes each of them, the worst first."""

import re
from email import message_from_bytes, policy

import pytest

from monitor.alerts.evaluate import evaluate_site
from monitor.delivery.limits import DeliveryLimits
from monitor.features.anomalies.queries.scores import AnomalyRow, add_anomalies
from monitor.readings.queries.observations import find_series_id
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from tests.data.site_text import criterion, head, series, station
from tests.delivery.outbox import clock, running, serving_mail
from tests.fixtures.waiting import wait_for

TEXT = head("slope", timezone="UTC")
TEXT += "".join(station(f"G{n}", series("displacement", "mm", "1h", max_silence="3h")) for n in range(1, 5))
TEXT += criterion("anomaly", id="anomaly", stations=["G*"], level="yellow")
TEXT += """
[[recipient]]
name = "duty"
channels = ["email:duty@example.org"]
levels = ["yellow"]
ledgers = ["advice"]
"""
# Station, detector, score and threshold, kind. G1 is a fault of an instrument, G4 has nothing.
ANOMALIES = (
    ("G1", "flatline", 1.0, 1.0, "stuck"),
    ("G2", "rules", 2.2, 1.0, "drift"),
    ("G3", "rules", 7.5, 1.0, "step"),
)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_a_delivered_mail_describes_each_station_the_worst_first(database, order):
    mails = []

    class Inbox:
        async def handle_DATA(self, server, session, envelope):  # noqa: N802
            mails.append(message_from_bytes(envelope.content, policy=policy.default))
            return "250 taken"

    site, now = parse_site(TEXT, "slope.toml"), clock()
    with database.write() as c:
        save_site(c, site, "test", "test", now)
        readings = [Observation("slope", f"G{n}", "displacement", "mm", now, now, 5.0) for n in range(1, 5)]
        add_observations(c, readings, now)
        for name, detector, score, threshold, kind in (ANOMALIES[k] for k in order):
            series_id = find_series_id(c, "slope", name, "displacement")
            row = AnomalyRow(
                series_id, now, detector, score, threshold, 0.1, kind, alerted=True, compared_with="its past"
            )
            add_anomalies(c, [row], now)
    evaluate_site(database, site, now, "test")
    limits = DeliveryLimits(group_wait_s=0.1, unconfirmed_after_s=1e9, unreached_after_s=1e9)
    with serving_mail(Inbox()) as environ, running(database, environ, limits=limits):
        wait_for(lambda: mails)
    (mail,) = mails
    assert "3 suggestions of anomaly: G3, G2, G1" in mail["Subject"]
    lines = mail.get_body().get_content().splitlines()
    assert lines[0] == "3 suggestions of anomaly: G3, G2, G1"
    described = [re.fullmatch(r"- (G\d): (.*) \(alert (\d+)\)", line).groups() for line in lines[1:4]]
    assert [name for name, _, _ in described] == ["G3", "G2", "G1"]
    assert "displacement scores 7.50 over 1.00 (rules): step" in described[0][1]
    assert "displacement scores 2.20 over 1.00 (rules): drift" in described[1][1]
    assert "the check flatline found a fault (stuck)" in described[2][1]
    assert len({number for _, _, number in described}) == 3
    assert not any("G4" in line for line in lines)
