"""Print all texts about an alert as JSON. A test runs this module on a copy of the packages with an edited file."""

import json
import sys
from datetime import timedelta

from monitor.alerts.queries.alerts import load_alerts
from monitor.decision.changes import AlertCategory
from monitor.delivery.message import translate
from monitor.delivery.notifiers.mail import compose as compose_mail
from monitor.delivery.queries.outbox import claim_due
from monitor.features.cap.chain import compose as compose_cap
from monitor.features.telephony.telephone import format_sms
from monitor.settings.service import parse_service
from monitor.storage.engine import Database
from monitor.storage.service_state import write_heartbeat
from monitor.text.catalogue import use_language
from monitor.text.local_time import use_zone
from tests.data.watched_slope import SITE_TEXT, WatchedSlope
from tests.web.served import serving

MAIL = "email:duty@example.org"
RATE = SITE_TEXT[SITE_TEXT.index("[[criterion]]") : SITE_TEXT.index("author =")]
CRACK_CRITERION = """[[criterion]]
kind = "level"
series = "G1.crack_opening"
red = {over = 5.0}
"""
TEXT = (
    SITE_TEXT.replace(RATE, CRACK_CRITERION)
    .replace("top_needs = 2", "top_needs = 1")
    .replace('["log", "log:second"]', f'["{MAIL}"]')
)


def collect_texts(url):
    """Return the texts about an alert for an open crack, by output and language."""
    database = Database(url)
    slope = WatchedSlope(database, TEXT)
    slope.live(4, looks=1)
    assert slope.live(6, {"G1": 200.0}).level == 3
    with database.write() as c:
        write_heartbeat(c, "core", {"state": "running", "version": "x", "degraded": []}, slope.now)
        (alert,) = [
            candidate
            for candidate in load_alerts(c, "bench", open_only=True)
            if candidate.ledger == AlertCategory.HAZARD
        ]
        (notification,) = claim_due(c, slope.now, "test", 60.0, 9, MAIL)
        caps = {f"cap {x}": compose_cap(c, parse_service("", "x"), alert.id, languages=(x,)) for x in ("en", "it")}
    outputs = {"file": sys.modules["monitor.decision.criteria.kinds.level"].__file__, **caps}
    with serving(database, slope.now + timedelta(minutes=1)) as client:
        outputs["api"] = client.get("/api/v1/alerts").text
        for language in ("en", "it"):
            with use_language(language), use_zone("UTC"):
                translated = translate(notification)
                outputs[f"mail {language}"] = compose_mail(translated, "a@example.org", "b@example.org").get_content()
                outputs[f"sms {language}"] = format_sms(translated)
            outputs[f"page {language}"] = client.get(f"/alerts/{alert.id}", params={"lang": language}).text
    database.close()
    return outputs


if __name__ == "__main__":
    print(json.dumps(collect_texts(sys.argv[1])))
