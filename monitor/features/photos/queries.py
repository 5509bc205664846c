"""Photos in the database. Backups, the standby and audit packs therefore contain them without a second folder."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, func, select

from monitor.api.database import Actor, RetentionRule, Sweep, add_audit, add_row, load_view, record_to_dict, sweep_table
from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.queries.alerts import UNKNOWN_ALERT
from monitor.api.tables import alert, report
from monitor.api.text import Figure, Template
from monitor.features.photos.tables import photo
from monitor.features.photos.views import PhotoRow

MAX_PER_SUBJECT: Final = 100  # of one alert or report
MAX_PER_DAY: Final = 200  # of one account
DAY: Final = timedelta(days=1)
_FULL: Final = Template("photo.full", "there are {n} photos already, which is the limit")
_MANY: Final = Template("photo.many", "you sent {n} photos within a day, which is the limit; send more tomorrow")
_NO_REPORT: Final = Template("photo.report", "there is no report {n}")
_NO_PHOTO: Final = Template("photo.none", "there is no photo {n}")
_ALTERED: Final = Template("photo.altered", "photo {n} was altered in the database and is not shown")


@dataclass(frozen=True, slots=True)
class PhotoMetadata:
    """Size of a photo, and the unverified data that the camera recorded."""

    width: int
    height: int
    taken: str = ""
    latitude: float | None = None
    longitude: float | None = None
    camera: str = ""


def add_photo(
    c: Connection,
    site: str,
    actor: Actor,
    note: str,
    content: bytes,
    small: bytes,
    metadata: PhotoMetadata,
    now: datetime,
    *,
    alert_id: int | None = None,
    report_id: int | None = None,
) -> int:
    """Store a photo of an alert or a report. Return its number.

    Raises:
        NotFoundError: The alert or report does not exist at the site.
        RefusedError: The alert or report has the largest number of photos, or the account sent too many within a day.
    """
    find_subject(c, site, alert_id, report_id)
    check_limits(c, actor, now, alert_id, report_id)
    digest = hashlib.sha256(content).hexdigest()
    facts: dict[str, Any] = {"site": site, "alert_id": alert_id, "report_id": report_id, "added_at": now, "note": note}
    facts |= {"by": actor.name, "via": actor.via, "sha256": digest, "picture": content, "small": small}
    photo_id = add_row(c, photo, facts, record_to_dict(metadata))
    subject = f"alert:{alert_id}" if report_id is None else f"site:{site}"
    add_audit(
        c, actor, "photo.add", subject, {"photo": photo_id, "sha256": digest, "report": report_id, "note": note}, now
    )
    return photo_id


def check_limits(c: Connection, actor: Actor, now: datetime, alert_id: int | None, report_id: int | None) -> None:
    """Raise RefusedError if the alert, the report or the account has reached its limit of photos."""
    p = photo.c
    is_of_subject = p.alert_id == alert_id if report_id is None else p.report_id == report_id
    if c.execute(select(func.count()).where(is_of_subject)).scalar_one() >= MAX_PER_SUBJECT:
        raise RefusedError(_FULL(n=MAX_PER_SUBJECT))
    of_account = c.execute(select(func.count()).where(p.by == actor.name, p.added_at > now - DAY)).scalar_one()
    if of_account >= MAX_PER_DAY:
        raise RefusedError(_MANY(n=MAX_PER_DAY))


def find_subject(c: Connection, site: str, alert_id: int | None, report_id: int | None) -> str:
    """Return the site of an alert or report. An empty `site` accepts every site.

    Raises:
        NotFoundError: The alert or report does not exist, or belongs to another site.
    """
    table, number = (alert, alert_id) if report_id is None else (report, report_id)
    subject_site: str | None = c.execute(select(table.c.site).where(table.c.id == number)).scalar()
    if subject_site is None or (site and site != subject_site):
        missing = UNKNOWN_ALERT if report_id is None else _NO_REPORT
        raise NotFoundError(missing(n=Figure(number or 0, "d")))
    return subject_site


def load_photos(c: Connection, limit: int = 60, **equals: Any) -> list[PhotoRow]:
    """Return photos by site or alert without the pictures. The newest photo is first."""
    return load_view(c, "photos", PhotoRow, order_by=("-added_at", "-photo_id"), limit=limit, **equals)


def find_picture(c: Connection, site: str, photo_id: int, *, small: bool) -> bytes:
    """Return a picture as JPEG.

    Raises:
        NotFoundError: The photo does not exist at the site, or it was altered in the database.
    """
    p = photo.c
    row = c.execute(select(p.picture, p.small, p.sha256).where(p.id == photo_id, p.site == site)).first()
    if row is None:
        raise NotFoundError(_NO_PHOTO(n=Figure(photo_id, "d")))
    if not small and hashlib.sha256(row.picture).hexdigest() != row.sha256:
        raise NotFoundError(_ALTERED(n=Figure(photo_id, "d")))
    return bytes(row.small if small else row.picture)


def load_pack_files(c: Connection, alert_id: int) -> dict[str, bytes]:
    """Return the photos of an alert as files of its audit pack, by path."""
    from monitor.api.queries.alerts import format_json

    rows = load_photos(c, 1000, alert_id=alert_id)
    if not rows:
        return {}
    p = photo.c
    pictures = c.execute(select(p.id, p.picture).where(p.alert_id == alert_id))
    return {
        "photos.json": format_json(rows),
        **{f"photos/{row.id}.jpg": bytes(row.picture) for row in pictures},
    }


def _photos_without_open_alert(_sweep: Sweep, before_at: datetime) -> ColumnElement[bool]:
    has_open_alert = select(alert.c.id).where(alert.c.id == photo.c.alert_id, alert.c.closed_at.is_(None)).exists()
    return and_(photo.c.added_at < before_at, ~has_open_alert)


RETENTION_RULES: Final = (
    RetentionRule("photos", "photos of reports and of closed alerts", sweep_table(photo, _photos_without_open_alert)),
)
