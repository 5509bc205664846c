"""A measured slope end to end: real Mosquitto, ingest, decision, delivery and scenes.

The clock is moved by the test, so that each day of the record is judged as it would have been judged then. What
the other records lead to is in tests/measured/test_alerting_measured.py.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rasterio
from rasterio.features import rasterize
from sqlalchemy import func, select, text

from forecasting.message import gather
from monitor.config.service import ServiceConfig, parse_site
from monitor.domain.observation import Observation
from monitor.domain.site import Site
from monitor.jobs.scenes import inbox
from monitor.store.alerting.sites import save_site
from monitor.store.database.engine import Database
from monitor.store.schema.tables import (
    alert,
    alert_event,
    decision,
    notification,
    observation,
    scene,
    scene_footprint,
    series,
)
from tests.conftest import ON_SQLITE
from tests.data.measured import SITES, read_outang
from tests.data.playing import Clock, Listener, Player, deliver_all

pytestmark = [pytest.mark.data, pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]
DAY = timedelta(days=1)


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.close()


def site_with_webhook(name: str) -> Site:
    """The test's site file with one more recipient, who is told by webhook."""
    source = (SITES / f"{name}.toml").read_text()
    source += '\n[[recipient]]\nname = "hook"\nchannels = ["webhook:HOOK"]\nlevels = ["yellow", "orange", "red"]\n'
    return parse_site(source, f"{name}.toml")


def play(
    database: Database, broker_url: str, name: str, record: list[Observation], block: timedelta, listener: Listener
) -> Player:
    """Play a record, deliver what came of it, and check what must hold for every record."""
    site = site_with_webhook(name)
    clock = Clock(min(o.observed_at for o in record))
    with database.write() as c:
        save_site(c, site, "test", "measured record", clock())
    with Player(database, broker_url, {site.id: site}, clock) as player:
        player.play(site, record, block)
        rejected = player.ingest.status()["rejected"]
    deliver_all(database, {site.id: site}, clock, {"HOOK": listener.url, "HOOK_SECRET": "s3cret"})
    assert rejected == 0
    assert stored(database, site.id) == {
        (o.station, o.quantity, o.observed_at): pytest.approx(o.value, rel=1e-12, abs=1e-12) for o in record
    }
    assert_told(database, listener)
    return player


def stored(database: Database, site_id: str) -> dict[tuple[str, str, datetime], float]:
    query = (
        select(series.c.station, series.c.quantity, observation.c.observed_at, observation.c.value_raw)
        .join(series, series.c.id == observation.c.series_id)
        .where(series.c.site == site_id)
    )
    with database.read() as c:
        rows = c.execute(query).all()
    found = {(r.station, r.quantity, r.observed_at): r.value_raw for r in rows}
    assert len(found) == len(rows), "one revision each"
    return found


def assert_told(database: Database, listener: Listener) -> None:
    """Every hazard event has its notifications, each delivered at least once under one key, with evidence behind it."""
    events = select(alert_event.c.id).join(alert, alert.c.id == alert_event.c.alert_id)
    frozen = select(decision.c.evidence, decision.c.evidence_sha256).join(alert, alert.c.decision_id == decision.c.id)
    with database.read() as c:
        rows = c.execute(select(notification)).all()
        hazards = c.execute(events.where(alert.c.ledger == "hazard")).scalars().all()
        evidence = c.execute(frozen.where(alert.c.ledger == "hazard")).all()
    assert {r.state for r in rows} <= {"delivered", "superseded"}, {r.last_error for r in rows}
    told = {r.event_id for r in rows}
    assert set(hazards) <= told
    hooked = [r.idempotency_key for r in rows if r.channel == "webhook:HOOK" and r.state == "delivered"]
    assert sorted(set(listener.keys)) == sorted(hooked)
    for one in evidence:
        assert hashlib.sha256(one.evidence.encode()).hexdigest() == one.evidence_sha256
        assert json.loads(one.evidence)["view"]


@ON_SQLITE
def test_outang_climbs_in_autumn_2017(
    database: Database, mosquitto: Any, listener: Listener, measured: Callable[[str], Path]
) -> None:
    whole = read_outang(measured("outang/monitoring_data.csv"))
    from_at, to_at = datetime(2017, 6, 1, tzinfo=UTC), datetime(2017, 12, 1, tzinfo=UTC)
    record = [o for o in whole if from_at <= o.observed_at < to_at]
    player = play(database, mosquitto.url, "outang", record, DAY, listener)
    first = {level: at for at, _, level in reversed(player.levels)}
    print({level: f"{at:%Y-%m-%d}" for level, at in sorted(first.items())})
    assert max(first) >= 2, "orange at least"
    assert all(at >= datetime(2017, 8, 15, tzinfo=UTC) for level, at in first.items() if level >= 2)
    assert any(body["level"] >= 2 for body in listener.bodies)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # it is about pixels
def test_both_dates_of_the_hokkaido_scene_become_footprints(
    database: Database, measured: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = measured("hokkaido-2018-s2-scene")
    declared = (SITES / "baijiabao.toml").read_text().replace('"baijiabao"', '"iburi"', 1)
    site = parse_site(declared + '\n[scenes]\nweights = "landslide4sense"\n', "iburi.toml")
    config = ServiceConfig.model_validate({"paths": {"inbox": str(tmp_path / "inbox")}})
    now = datetime.now(UTC)
    with database.write() as c:
        save_site(c, site, "test", "measured scene", now)
    for role, day in (("pre", "2018-07-01"), ("post", "2018-10-01")):
        target = tmp_path / "inbox" / site.id / role
        target.mkdir(parents=True)
        names = [f"{role}_event_B{band}.tif" for band in (2, 3, 4)]
        for name in names:
            shutil.copy(folder / name, target / name)
        bands = "\n".join(f'B{band} = "{role}_event_B{band}.tif"' for band in (2, 3, 4))
        manifest = f'acquired_at = "{day}T01:30:00Z"\nrole = "{role}"\ncomplete = true\n[bands]\n{bands}\n'
        (target / "scene.toml").write_text(manifest)
    said = inbox.run(database, config, site, now)
    with database.read() as c:
        rows = {r.name: r for r in c.execute(select(scene)).all()}
        counts = dict(
            c.execute(select(scene_footprint.c.scene_hash, func.count()).group_by(scene_footprint.c.scene_hash)).all()
        )
        shown = [dict(r) for r in c.execute(text("SELECT * FROM scene_polygons")).mappings()]
    print(said)
    assert {r.state for r in rows.values()} == {"done"}, said
    assert rows["pre"].pixel_area_m2 == pytest.approx(73.36, rel=0.002)  # geodesic against UTM
    assert rows["pre"].valid_share == pytest.approx(1 - 0.404, abs=0.005)
    assert rows["post"].valid_share > 0.99
    assert len(shown) == sum(counts.values()) > 100
    # the date before came in last, and is first all the same
    assert {p["change"] for p in shown if p["scene"] == "pre"} == {"single"}
    found = Counter(p["change"] for p in shown if p["scene"] == "post")
    print(found)
    assert found["new"] > 50 < found["single"]
    assert not any(p["change"] == "new" and not p["caution"] for p in shown), "another season: advice only"
    told = rows["post"].run["change"]
    assert told["pixels"]["joint_share"] == pytest.approx(1 - 0.404, abs=0.005)
    assert told["compared"][0]["shift_px"]["columns"] == pytest.approx(-0.7, abs=0.3)
    assert any("season or radiometry differs" in w for w in gather(told["warnings"]))
    # nothing is said where the date before has nothing
    with rasterio.open(told["outputs"]["change"]) as change, rasterio.open(folder / "pre_event_B4.tif") as before:
        unseen = before.read(1) == 0
        assert (change.read(1)[unseen] == 255).all()
        outlines = [json.loads(p["geometry"]) for p in shown if p["scene"] == "post" and p["change"] == "new"]
        burnt = rasterize(outlines, out_shape=unseen.shape, transform=before.transform).astype(bool)
    assert (burnt & unseen).sum() < 0.2 * burnt.sum(), "at most an edge of a new outline lies where nothing was seen"
    areas = sum(p["area_m2"] for p in shown if p["change"] == "new")
    assert areas == pytest.approx(burnt.sum() * 73.36, rel=0.05)
