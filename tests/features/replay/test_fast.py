"""Test a slope measured every two seconds: levels of `backtest --as-then` are late by its granularity at most."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from monitor.alerts.evaluate import Evaluator
from monitor.cli.main import run_command
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.engine import Database
from monitor.text.instants import parse_time
from tests.data.site_text import THREE, bounds, criterion, head, series, station
from tests.data.store_rows import tell

START = datetime(2026, 3, 1, 6, tzinfo=UTC)
EPOCHS = 46
FALL_AT = 26
BEHIND_S = {"A": 0.1, "B": 0.45, "C": 0.9}  # messages of an epoch arrive one after the other
FUSION = {"top_needs": 2, "verify_within": "10s"}
MOVED = series("displacement", "mm", "2s", max_silence="20s", noise_floor_mm=0.5)
HOW = {"dwell": {"hits": 2, "of": 3}, "author": "test", "reason": "fast"}
SITE = (
    head("fast", longitude=9.0, timezone="UTC", levels=THREE, fusion=FUSION)
    + "".join(station(name, MOVED, azimuth_deg=90.0) for name in BEHIND_S)
    + criterion("velocity", stations=[*BEHIND_S], **bounds(yellow="20000 20s", red="60000 20s"), **HOW)
)


@pytest.fixture
def live_levels(tmp_path, monkeypatch):
    """Evaluate a minute and a half after each message, and return the time of each change of level."""
    (tmp_path / "configs/sites").mkdir(parents=True)
    (tmp_path / "configs/sites/fast.toml").write_text(SITE)
    url = f"sqlite:///{tmp_path}/fast.db"
    (tmp_path / "configs/slopeward.toml").write_text(f'[database]\nurl = "{url}"\n')
    monkeypatch.chdir(tmp_path)
    assert run_command(["db", "upgrade"]) == 0
    site, evaluator, levels = parse_site(SITE, "fast"), Evaluator(), []
    with Database(url) as db:
        tell(db, save_site, site, "test", "fast", START)
        for message in stream():
            now = message.received_at
            assert Pipeline(db, {site.id: site}, lambda at=now: at).store([message]).added.stored == 1
            level = evaluator(db, site, now, "data").level
            if not levels or level != levels[-1][1]:
                levels.append((now, level))
    return levels


def stream():
    """Yield messages of a slope at rest that later moves 2 mm per epoch, 86 m per day."""
    for k in range(EPOCHS):
        for name, behind_s in BEHIND_S.items():
            at = START + timedelta(seconds=2 * k)
            value = max(0, k - FALL_AT) * 2.0 + (k * 7919 % 11 - 5) / 50.0
            body = json.dumps({"time": at.isoformat(), "displacement_mm": value}).encode()
            yield BrokerMessage(f"slopeward/v1/fast/{name}/obs", body, at + timedelta(seconds=behind_s), "live")


def test_levels_are_late_by_the_reported_granularity_at_most(live_levels, capsys):
    capsys.readouterr()
    words = ["backtest", "--site", "fast", "--as-then", "--since", START.isoformat()]
    assert run_command([*words, "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    granularity_s = card["known"]["granularity_s"]
    assert granularity_s <= 0.5, "a quarter of two seconds"
    (run,) = card["runs"]
    shown = [(parse_time(s["from"]), s["level"]) for s in run["level_history"]]
    assert [level for _, level in shown] == [level for _, level in live_levels]
    assert live_levels[-1][1] == 2, "the slope went red"
    late = [(b - a).total_seconds() for (a, _), (b, _) in zip(live_levels, shown, strict=True)]
    assert all(0.0 <= s <= granularity_s for s in late[1:]), f"seconds late: {late}"
    assert run_command(words) == 0
    assert f"levels are exact to {granularity_s:g} s" in " ".join(capsys.readouterr().out.split())
