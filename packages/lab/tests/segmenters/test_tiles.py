"""Tiles of networks that take no rows: cut where they are exact, blended where they are not."""

from types import SimpleNamespace

import pytest

from detection.imagery.footprints.detect import plan_tiles
from tests.data.asked_detection import read_options


@pytest.mark.parametrize(
    ("network", "blend", "tile", "halo"), [("linknet", "crop", 512, 256), ("sbconv-unet", "hann", 128, 0)]
)
def test_exact_tiles_are_cut_and_others_blended(network, blend, tile, halo):
    model = SimpleNamespace(card={"name": "x", "network": {"name": network, "width": 0.125}})
    plan = plan_tiles(model, read_options({"scene_path": "x.tif"}))
    assert (plan.blend, plan.tile, plan.halo) == (blend, tile, halo)
