"""How large the tiles of a scene are when nobody says it."""

from types import SimpleNamespace

import pytest

from detection.imagery.footprints.detect import plan_tiles
from detection.imagery.footprints.options import read_options


@pytest.mark.parametrize(
    ("width", "asked", "tile"),
    [(0.125, {}, 768), (0.25, {}, 512), (1.0, {}, 512), (0.125, {"triage": "triage"}, 512), (1.0, {"tile": 256}, 256)],
)
def test_tiles_are_large_where_the_network_is_narrow(width, asked, tile):
    """The ground around a tile is read for it too: 1.7 times the scene with 768 px, twice with 512 px."""
    model = SimpleNamespace(card={"name": "x", "network": {"name": "unet", "width": width}})
    assert plan_tiles(model, read_options({"scene_path": "x.tif", **asked})).tile == tile
