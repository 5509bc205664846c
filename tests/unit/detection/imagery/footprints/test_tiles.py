"""How a scene is cut when nobody says it: in rows where the network can be shown them."""

from types import SimpleNamespace

import pytest

from detection.imagery.footprints.detect import plan_tiles
from detection.imagery.footprints.options import read_options


@pytest.mark.parametrize(
    ("network", "asked", "blend", "tile", "halo"),
    [
        ("unet", {}, "rows", 2048, 112),
        ("resunet", {}, "rows", 2048, 112),
        ("unet", {"triage": "triage"}, "crop", 512, 112),
        ("unet", {"tile": 256}, "crop", 256, 112),
        ("unet", {"halo": 96}, "crop", 512, 96),
        ("linknet", {}, "crop", 512, 256),
        ("sbconv-unet", {}, "hann", 128, 0),
    ],
)
def test_rows_where_the_network_takes_them_and_nobody_asks_for_tiles(network, asked, blend, tile, halo):
    model = SimpleNamespace(card={"name": "x", "network": {"name": network, "width": 0.125}})
    plan = plan_tiles(model, read_options({"scene_path": "x.tif", **asked}))
    assert (plan.blend, plan.tile, plan.halo) == (blend, tile, halo)
