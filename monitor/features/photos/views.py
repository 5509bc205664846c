"""Public views on photos."""

from typing import TypedDict

from sqlalchemy import BigInteger, Column, Double, Integer, Table, Text

from monitor.api.store import Dialect, view_metadata


class PhotoRow(TypedDict):
    """A row of `photos`."""

    photo_id: int
    site: str
    alert_id: int | None
    added_at: str
    by: str
    note: str


photos = Table(
    "photos",
    view_metadata,
    Column("photo_id", BigInteger, comment="number"),
    Column("site", Text, comment="site id"),
    Column("alert_id", BigInteger, comment="of an alert; null: of a report"),
    Column("report_id", BigInteger, comment="of a report; null: of an alert"),
    Column("added_at", Text, comment="when it was sent", info={"unit": "time"}),
    Column("by", Text, comment="the account that sent it"),
    Column("via", Text, comment="by which way"),
    Column("note", Text, comment="what was written beside it"),
    Column("sha256", Text, comment="of the picture that is kept"),
    Column("width", Integer, comment="of that picture", info={"unit": "pixels"}),
    Column("height", Integer, comment="of that picture", info={"unit": "pixels"}),
    Column(
        "taken",
        Text,
        comment="date and time as the camera said them, with its offset where it named one; empty: it did not",
    ),
    Column("latitude", Double, comment="as the camera said it", info={"unit": "degrees"}),
    Column("longitude", Double, comment="as the camera said it", info={"unit": "degrees"}),
    Column("camera", Text, comment="make and model"),
    comment=(
        "Photos of the field, of an alert or of a report. The pictures themselves stand in the table "
        "`photo` and on the page. Place, time and camera are what the camera said; nobody has proven "
        "them."
    ),
    info={"question": "What did people see, declare or correct?", "row": PhotoRow},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "photos": """SELECT id AS photo_id, site, alert_id, report_id, added_at, "by", via, note, sha256, width, height, taken,
  latitude, longitude, camera FROM photo""",
    }
