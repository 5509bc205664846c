"""The box around each outline beside it, and why a tile waits: a detection, or a network that was learnt.

Revision ID: 0044
Revises: 0043
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None
FRAME = ("min_lon", "min_lat", "max_lon", "max_lat")
INDEXED = ("min_lat", "max_lat", "min_lon", "max_lon", "at", "withdrawn_at")
PIECE = 500  # rows at a time


def upgrade() -> None:
    for name in FRAME:
        op.add_column("scene_outline", sa.Column(name, sa.Double()))
    op.drop_index("ix_scene_outline", "scene_outline")
    # all that is asked of an outline near a tile: its row, with a long geometry, is not read for it
    op.create_index("ix_scene_outline", "scene_outline", ["site", "scene_hash", *INDEXED])
    op.add_column("scene_unsure", sa.Column("cause", sa.String(16), nullable=False, server_default="detection"))
    c = op.get_bind()
    # a network that was only learnt is a candidate or in no registry; one that found something is in it and serves
    c.execute(
        sa.text(
            "UPDATE scene_unsure SET cause = 'learning' WHERE NOT EXISTS "
            "(SELECT 1 FROM model m WHERE m.model_hash = scene_unsure.model_hash AND m.state <> 'candidate')"
        )
    )
    numbers = [row[0] for row in c.execute(sa.text("SELECT id FROM scene_outline ORDER BY id"))]
    read = sa.text("SELECT id, geometry FROM scene_outline WHERE id IN :ids").bindparams(sa.bindparam("ids", expanding=True))
    write = sa.text(f"UPDATE scene_outline SET {', '.join(f'{name} = :{name}' for name in FRAME)} WHERE id = :id")
    for first in range(0, len(numbers), PIECE):
        rows = c.execute(read, {"ids": numbers[first : first + PIECE]}).all()
        c.execute(write, [{"id": row.id, **dict(zip(FRAME, _frame(row.geometry), strict=True))} for row in rows])


def _frame(geometry: str) -> tuple[float, float, float, float]:
    lons, lats = zip(*((corner[0], corner[1]) for corner in json.loads(geometry)["coordinates"][0]), strict=True)
    return min(lons), min(lats), max(lons), max(lats)


def downgrade() -> None:
    op.drop_column("scene_unsure", "cause")
    op.drop_index("ix_scene_outline", "scene_outline")
    op.create_index("ix_scene_outline", "scene_outline", ["site", "scene_hash"])
    for name in reversed(FRAME):
        op.drop_column("scene_outline", name)
