"""A measured scene passes through the inbox: both dates become footprints, and changes between them are marked."""

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
@pytest.mark.usefixtures("jobs_in_process", "one_torch_thread")  # the test checks pixels, not the isolation of jobs
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_both_dates_of_the_hokkaido_scene_become_footprints_with_their_change(database, measured, tmp_path):
    folder = measured("hokkaido-2018-s2-scene")
    site_text = (SITES / "baijiabao.toml").read_text().replace('"baijiabao"', '"iburi"', 1)
    for key, value in (("latitude", 42.73), ("longitude", 141.95)):
        site_text = re.sub(rf"^{key} = .*$", f"{key} = {value}", site_text, flags=re.MULTILINE)
    site = parse_site(site_text + '\n[scenes]\nweights = "landslide4sense"\n', "iburi.toml")
    config = ServiceConfig.model_validate({"paths": {"inbox": str(tmp_path / "inbox")}})
    now = datetime.now(UTC)
    with database.write() as connection:
        save_site(connection, site, "test", "measured scene", now)
    for role, day in (("pre", "2018-07-01"), ("post", "2018-10-01")):
        target = tmp_path / "inbox" / site.id / role
        target.mkdir(parents=True)
        names = [f"{role}_event_B{band}.tif" for band in (2, 3, 4)]
        for name in names:
            shutil.copy(folder / name, target / name)
        bands = "\n".join(f'B{band} = "{role}_event_B{band}.tif"' for band in (2, 3, 4))
        manifest = f'acquired_at = "{day}T01:30:00Z"\nrole = "{role}"\ncomplete = true\n[bands]\n{bands}\n'
        (target / "scene.toml").write_text(manifest)
    result = inbox.run(database, config, site, now)
    with database.read() as connection:
        rows = {row.name: row for row in connection.execute(select(scene)).all()}
        counts = dict(
            connection.execute(
                select(scene_footprint.c.scene_hash, func.count()).group_by(scene_footprint.c.scene_hash)
            ).all()
        )
        footprints = [dict(row) for row in connection.execute(text("SELECT * FROM scene_polygons")).mappings()]
    print(result)
    assert {row.state for row in rows.values()} == {"done"}, result
    assert rows["pre"].pixel_area_m2 == pytest.approx(73.36, rel=0.002)  # geodesic against UTM
    assert rows["pre"].valid_share == pytest.approx(1 - 0.404, abs=0.005)
    assert rows["post"].valid_share > 0.99
    assert len(footprints) == sum(counts.values()) > 100
    # The earlier date is the first date although the inbox reads it last.
    assert {footprint["change"] for footprint in footprints if footprint["scene"] == "pre"} == {"single"}
    change_counts = Counter(footprint["change"] for footprint in footprints if footprint["scene"] == "post")
    print(change_counts)
    assert change_counts["new"] > 50 < change_counts["single"]
    assert not any(footprint["change"] == "new" and not footprint["caution"] for footprint in footprints), (
        "another season: advice only"
    )
    change_report = rows["post"].run["change"]
    assert change_report["pixels"]["joint_share"] == pytest.approx(1 - 0.404, abs=0.005)
    assert change_report["compared"][0]["registered_px"]["columns"] == pytest.approx(-0.7, abs=0.3)
    assert abs(change_report["compared"][0]["shift_px"]["columns"]) < 0.3
    assert any("season or radiometry differs" in warning for warning in plain_to_messages(change_report["warnings"]))
    # No change is reported where the earlier date has no values.
    with (
        rasterio.open(change_report["outputs"]["change"]) as change,
        rasterio.open(folder / "pre_event_B4.tif") as before,
    ):
        # The earlier date is shifted by a pixel onto the later date, and the edge of its values with it.
        masked = ndimage.binary_erosion(before.read(1) == 0, iterations=3)
        assert (change.read(1)[masked] == 255).all()
        outlines = [
            json.loads(footprint["geometry"])
            for footprint in footprints
            if footprint["scene"] == "post" and footprint["change"] == "new"
        ]
        new_mask = rasterize(outlines, out_shape=masked.shape, transform=before.transform).astype(bool)
    assert (new_mask & masked).sum() < 0.2 * new_mask.sum(), "a new outline covers an area without earlier values"
    assert sum(footprint["area_m2"] for footprint in footprints if footprint["change"] == "new") == pytest.approx(
        new_mask.sum() * 73.36, rel=0.05
    )
