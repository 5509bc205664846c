"""Satellite points as map layers for other programs."""

from datetime import timedelta

import pyogrio
import pytest
import shapely

from tests.data.filled import NOW
from tests.web.served import serving

SITE = "/api/v1/sites/north-bench"


def test_points_and_their_forecasts_open_in_a_gis(filled_database, tmp_path):
    with serving(filled_database, NOW + timedelta(minutes=5)) as client:
        for name in ("insar-points", "point-forecasts"):
            path = tmp_path / f"{name}.gpkg"
            path.write_bytes(client.get(f"{SITE}/export/{name}.gpkg").content)
            info = pyogrio.read_info(path)
            assert (info["geometry_type"], info["crs"]) == ("Point", "EPSG:4326")
            features = client.get(f"{SITE}/export/{name}.geojson").json()["features"]
            assert info["features"] == len(features) > 0
    _, _, places, (names, newest_mm) = pyogrio.raw.read(
        tmp_path / "insar-points.gpkg", columns=["pid", "value_mm"], where="n > 3"
    )
    assert dict(zip(names, newest_mm, strict=True)) == {"p0": -3.0, "p1": -3.0}
    assert shapely.from_wkb(places[1]).coords[0] == pytest.approx((8.9, 46.2001), abs=1e-12)
