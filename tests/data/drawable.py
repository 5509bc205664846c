"""A scene of the filled story with a picture and a place, so that somebody can draw on it."""

import struct
import zlib
from math import hypot, sin

from monitor.store.scenes.outlines import Unsure, save_unsure
from monitor.store.schema.tables import scene
from tests.data.filled import HASHES, NOW

SCENE = HASHES["scene"]
BOUNDS = (8.898, 46.198, 8.912, 46.208)
ADDRESS = f"/sites/north-bench/scenes/{SCENE}/outlines"


def write_png(path, wide=210, high=150):
    """A slope of woods and gullies with a bare scar."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    def pixel(x, y):
        light = 24 * sin(x / 9 + sin(y / 17)) + 14 * sin(y / 5 + x / 31) + (x * 7 + y * 13) % 11
        is_scar = hypot((x - 118) / (14 + y / 9), (y - 75) / 52) < 1
        return bytes(round(k + light) for k in ((165, 145, 118) if is_scar else (62, 98, 58)))

    rows = b"".join(b"\0" + b"".join(pixel(x, y) for x in range(wide)) for y in range(high))
    head = struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def make_drawable(db, folder):
    """Give the newest scene of the story a picture in `folder`, and two tiles that its model is unsure of."""
    write_png(folder / "preview.png")
    run = {"threshold": 0.5, "outputs": {"preview": "preview.png", "bounds": list(BOUNDS)}}
    with db.write() as c:
        c.execute(scene.update().where(scene.c.scene_hash == SCENE).values(run=run, out_dir=str(folder)))
        tiles = [Unsure(8.8975, 46.2, 8.9, 46.2025, 0.93), Unsure(8.907, 46.2, 8.9095, 46.2025, 0.7)]
        save_unsure(c, "north-bench", SCENE, HASHES["unet"], tiles, NOW)
