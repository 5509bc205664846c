"""Photos of the field: what they add to the service. Their rows stand in the core, whose audit packs hold them."""

from typing import Final

from monitor.domain.extension import Address, Extension

_HERE: Final = "monitor.extensions.photos"
EXTENSION: Final = Extension(
    name="photos",
    description="photos of the field on an alert or a report",
    package=_HERE,
    routes=(f"{_HERE}.routes:router",),
    addresses={
        "GET /sites/{site}/photos/{photo_id}/{size}": Address("read"),
        "POST /alerts/{alert_id}/photos": Address("operator", in_person=True),
        "POST /sites/{site}/reports/{report_id}/photos": Address("operator", in_person=True),
    },
    panels={
        "alert.photo": ("photo_of_alert.html",),
        "note.form": ("photo_of_note.html",),
        "report.form": ("photo_of_report.html",),
        "site.alerts": ("photos_of_site.html",),
    },
)
