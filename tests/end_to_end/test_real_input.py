"""A measured scene through the inbox of the service: both dates become footprints, and what changed between them."""

import json
import re
import shutil
from collections import Counter
from datetime import UTC, datetime

import pytest
import rasterio
from rasterio.features import rasterize
from scipy import ndimage
from sqlalchemy import func, select, text

from monitor.features.scenes import inbox
from monitor.features.scenes.tables import scene, scene_footprint
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.text.message import plain_to_messages
from tests.data.measured import SITES

pytestmark = [pytest.mark.data, pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.soak
@pytest.mark.usefixtures("jobs_in_process", "one_torch_thread")  # it is about pixels
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_both_dates_of_the_hokkaido_scene_become_footprints(database, measured, tmp_path):
    folder = measured("hokkaido-2018-s2-scene")
    declared = (SITES / "baijiabao.toml").read_text().replace('"baijiabao"', '"iburi"', 1)
    for key, value in (("latitude", 42.73), ("longitude", 141.95)):
        declared = re.sub(rf"^{key} = .*$", f"{key} = {value}", declared, flags=re.MULTILINE)
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
    assert told["compared"][0]["registered_px"]["columns"] == pytest.approx(-0.7, abs=0.3)
    assert abs(told["compared"][0]["shift_px"]["columns"]) < 0.3
    assert any("season or radiometry differs" in w for w in plain_to_messages(told["warnings"]))
    # nothing is said where the date before has nothing
    with rasterio.open(told["outputs"]["change"]) as change, rasterio.open(folder / "pre_event_B4.tif") as before:
        # The date before is moved by a pixel onto the newer one, and the edge of its values with it.
        unseen = ndimage.binary_erosion(before.read(1) == 0, iterations=3)
        assert (change.read(1)[unseen] == 255).all()
        outlines = [json.loads(p["geometry"]) for p in shown if p["scene"] == "post" and p["change"] == "new"]
        burnt = rasterize(outlines, out_shape=unseen.shape, transform=before.transform).astype(bool)
    assert (burnt & unseen).sum() < 0.2 * burnt.sum(), "at most an edge of a new outline lies where nothing was seen"
    assert sum(p["area_m2"] for p in shown if p["change"] == "new") == pytest.approx(burnt.sum() * 73.36, rel=0.05)
