"""`slopeward anomalies bench --site` tests the served detectors and stores the test."""

from datetime import UTC, datetime, timedelta

import pytest

from monitor.cli.main import run_command
from monitor.models.queries.proofs import load_proof_facts
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.views import load_view
from tests.data.daily_slope import SITE, START, fill
from tests.data.site_text import criterion
from tests.data.watched_slope import write_service

PLAN = 'detectors = ["rules", "flatline"]\nbudget_per_sensor_month = 2.0'
VOTES = criterion("anomaly", id="strange", stations=["G*"], role="witness", level="yellow")
TEXT = SITE.replace('detectors = ["rules", "ae"]', PLAN) + VOTES


@pytest.mark.soak
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the command's own rule, whatever the database
def test_the_bench_of_a_site_stores_a_test(database, tmp_path, monkeypatch, capsys):
    site = parse_site(TEXT, "jobs.toml")
    with database.write() as c:
        save_site(c, site, "test", "test", START)
    now = fill(database, site, 500)
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, database, TEXT)))
    monkeypatch.chdir(tmp_path)
    assert now < datetime.now(UTC)
    status = run_command(["anomalies", "bench", "--site", site.id, "--detector", "rules"])
    said = capsys.readouterr()
    assert status == 0, said.err
    assert "rules: " in said.out
    assert "(stored)" in said.out
    with database.read() as c:
        facts = {f.name: f for f in load_proof_facts(c, site, datetime.now(UTC) + timedelta(minutes=1))}
        rows = load_view(c, "model_proofs", site=site.id)
    assert set(facts) == {"rules"}
    tested = facts["rules"]
    assert (tested.tested_s is not None, tested.weights) == (True, tested.weights_now)
    assert {r["made_by"] for r in rows} >= {f"slopeward anomalies bench --site {site.id}"}
