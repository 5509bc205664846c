"""Many suggestions of one cause beside one alert: one line on page, in list and in messages; nothing is lost."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from monitor.cli.main import run_verb
from monitor.config.service import parse_site
from monitor.domain.alert import SERVICE, AlertCategory, AlertChange
from monitor.domain.language.catalogue import use
from monitor.domain.site import Recipient
from monitor.notify.message import translate
from monitor.notify.path import run_stages
from monitor.notify.verdict import DeliveryContext
from monitor.store.alerting.alerts import ChangeContext, apply_changes
from monitor.store.alerting.outbox import claim_due
from monitor.store.schema.views import load_view
from tests.data.filled import NOW
from tests.data.store_rows import ask
from tests.data.watched_slope import write_service
from tests.integration.web.test_door import Clock, serving
from tests.integration.web.test_rules import enter

FILE = Path(__file__).resolve().parents[3] / "configs" / "sites" / "north-bench.toml"
PLACES = [f"G{n}" for n in range(1, 13)]


def test_thirteen_suggestions_beside_an_alert_are_one_line(filled_database, tmp_path, capsys):
    text = FILE.read_text(encoding="utf-8")
    site, changes = parse_site(text, "north-bench.toml"), []
    reasons = {f"anomaly:{name}": f"{name}: displacement_downslope scores 7.10 over 6.26 (rules)" for name in PLACES}
    reasons["forecast:G1"] = "G1: forecast of 12 mm/day in 1d, over 10 mm/day"
    for key, reason in reasons.items():
        changes.append(AlertChange(AlertCategory.ADVICE, f"advice:{key}", 1, True, reason, NOW, "{}"))
    channels = ("log:advice", "voice:GEOLOGIST", "siren:site/1")
    duty = Recipient("duty", channels, ("yellow", "orange", "red"), ledgers=("hazard", "health", "advice"))
    with filled_database.write() as c:
        apply_changes(c, changes, ChangeContext(site.id, site, [replace(duty, levels=())], SERVICE, NOW, "test"))
        later = NOW + timedelta(seconds=10)
        advised = {x["channel"] for x in load_view(c, "deliveries") if x["ledger"] == "advice"}
        assert advised == {"log:advice"}, "advice rings no telephone and sounds no siren"
        run_stages(c, "log:advice", DeliveryContext(later, 0))
        sent = claim_due(c, later, "test", 30.0, 9, "log:advice")
    # one message with a line for each of the two causes, which reads in every language
    assert len(sent) == 1
    assert "Advice notice North bench, pit 4: G1: forecast of 12 mm/day in 1d, over 10 mm/day. 2" in sent[0].subject
    covered = [line for line in sent[0].body.splitlines() if line.startswith("- ")]
    told = "12 suggestions of anomaly: G1, G2, G3, G4, G5, G6, G7, G8 and 4 more"
    assert [line.partition(": ")[2] for line in covered] == [f"Advice notice {site.name}: {told}. 2026-03-01 06:00 UTC"]
    with use("it"):
        assert "12 segnalazioni di anomalia: G1, G2, G3, G4, G5, G6, G7, G8 e altri 4" in translate(sent[0]).body
    # the list: hazard first
    service = str(write_service(tmp_path, filled_database, text))
    capsys.readouterr()
    assert run_verb(["alerts", "list", "--site", "north-bench", "--config", service]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[5] for line in lines] == ["hazard", *["advice"] * 14]
    assert run_verb(["alerts", "list", "--site", "north-bench", "--json", "--config", service]) == 0
    facts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len({fact["id"] for fact in facts}) == 15
    assert len(ask(filled_database, load_view, "active_alerts", site="north-bench", ledger="advice")) == 14
    # the page: a line that opens, with a link to each
    ids = {fact["id"] for fact in facts if fact["key"].startswith("advice:anomaly")}
    with serving(filled_database, Clock()) as address, enter(address, "bo") as bo:
        for path in ("/sites/north-bench", "/", "/alerts"):
            page = bo.get(path).text
            assert page.count("13 suggestions of anomaly") == 1
            assert {int(n) for n in re.findall(r'href="/alerts/(\d+)"', page)} >= ids
            opened = re.search(r"<details><summary>(?:(?!<details>).)*?13 suggestions.*?</details>", page, re.DOTALL)
            assert opened is not None
            assert len(set(re.findall(r"/alerts/(\d+)", opened[0]))) == 13
        rows = bo.get("/alerts").text
        hazard = next(fact["id"] for fact in facts if fact["ledger"] == "hazard")
        assert rows.index(f'href="/alerts/{hazard}"') < rows.index("tag advice")
