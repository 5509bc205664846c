"""Photos of the field, kept in the database: a copy, a standby and an audit pack have them without a second folder."""

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

MOST_OF_ONE: Final = 100  # of one alert or report
MOST_A_DAY: Final = 200  # of one account
DAY: Final = timedelta(days=1)
_FULL: Final = Template("photo.full", "{n} photos are here already; more say nothing more")
_MANY: Final = Template("photo.many", "you sent {n} photos within a day; send more tomorrow")
_NO_REPORT: Final = Template("photo.report", "there is no report {n}")
_NONE: Final = Template("photo.none", "there is no photo {n}")
_ALTERED: Final = Template("photo.altered", "photo {n} was altered in the database; it is not shown")


@dataclass(frozen=True, slots=True)
class PhotoMetadata:
    """What the camera said of a photo, which nobody has proven."""

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
    """Keep a photo of an alert or of a report; returns its number.

    Raises:
        NotFoundError: there is no such alert or report of the site.
        RefusedError: it has as many as one may have, or the account sent too many within a day.
    """
    find_subject(c, site, alert_id, report_id)
    require_few(c, actor, now, alert_id, report_id)
    digest = hashlib.sha256(content).hexdigest()
    facts: dict[str, Any] = {"site": site, "alert_id": alert_id, "report_id": report_id, "added_at": now, "note": note}
    facts |= {"by": actor.name, "via": actor.via, "sha256": digest, "picture": content, "small": small}
    made = add_row(c, photo, facts, record_to_dict(metadata))
    subject = f"alert:{alert_id}" if report_id is None else f"site:{site}"
    add_audit(c, actor, "photo.add", subject, {"photo": made, "sha256": digest, "report": report_id, "note": note}, now)
    return made


def require_few(c: Connection, actor: Actor, now: datetime, alert_id: int | None, report_id: int | None) -> None:
    """Keep photos from filling the database; raises RefusedError."""
    p = photo.c
    of_one = p.alert_id == alert_id if report_id is None else p.report_id == report_id
    if c.execute(select(func.count()).where(of_one)).scalar_one() >= MOST_OF_ONE:
        raise RefusedError(_FULL(n=MOST_OF_ONE))
    mine = c.execute(select(func.count()).where(p.by == actor.name, p.added_at > now - DAY)).scalar_one()
    if mine >= MOST_A_DAY:
        raise RefusedError(_MANY(n=MOST_A_DAY))


def find_subject(c: Connection, site: str, alert_id: int | None, report_id: int | None) -> str:
    """The site of what a photo is of; raises NotFoundError: there is no such alert, or no such report of the site."""
    owner, number = (alert, alert_id) if report_id is None else (report, report_id)
    found: str | None = c.execute(select(owner.c.site).where(owner.c.id == number)).scalar()
    if found is None or found != (site or found):
        missing = UNKNOWN_ALERT if report_id is None else _NO_REPORT
        raise NotFoundError(missing(n=Figure(number or 0, "d")))
    return found


def load_photos(c: Connection, limit: int = 60, **which: Any) -> list[PhotoRow]:
    """Photos by site or alert, the newest first, without the pictures."""
    return load_view(c, "photos", PhotoRow, order_by=("-added_at", "-photo_id"), limit=limit, **which)


def find_picture(c: Connection, site: str, photo_id: int, *, small: bool) -> bytes:
    """A picture of a site; raises NotFoundError: there is none, or it is not the one that was kept."""
    p = photo.c
    row = c.execute(select(p.picture, p.small, p.sha256).where(p.id == photo_id, p.site == site)).first()
    if row is None:
        raise NotFoundError(_NONE(n=Figure(photo_id, "d")))
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
