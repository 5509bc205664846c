"""Public view of photos."""

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
    Column("photo_id", BigInteger, comment="number of the photo"),
    Column("site", Text, comment="site id"),
    Column("alert_id", BigInteger, comment="alert of the photo; null for a photo of a report"),
    Column("report_id", BigInteger, comment="report of the photo; null for a photo of an alert"),
    Column("added_at", Text, comment="when the photo was sent", info={"unit": "time"}),
    Column("by", Text, comment="the account that sent it"),
    Column("via", Text, comment="access through which it was sent"),
    Column("note", Text, comment="note that was sent with the photo"),
    Column("sha256", Text, comment="SHA-256 of the stored picture"),
    Column("width", Integer, comment="width of the stored picture", info={"unit": "pixels"}),
    Column("height", Integer, comment="height of the stored picture", info={"unit": "pixels"}),
    Column(
        "taken",
        Text,
        comment="date and time that the camera recorded, with its offset from UTC if it recorded one; may be empty",
    ),
    Column("latitude", Double, comment="latitude that the camera recorded", info={"unit": "degrees"}),
    Column("longitude", Double, comment="longitude that the camera recorded", info={"unit": "degrees"}),
    Column("camera", Text, comment="make and model of the camera"),
    comment=(
        "Photos of alerts and of reports of observers. The pictures are in the table `photo` and on the page. "
        "Position, time and camera are what the camera recorded; they are not verified."
    ),
    info={"question": "What did people see, declare or correct?", "row": PhotoRow},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "photos": """SELECT id AS photo_id, site, alert_id, report_id, added_at, "by", via, note, sha256, width, height, taken,
  latitude, longitude, camera FROM photo""",
    }
