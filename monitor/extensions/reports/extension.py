"""Reports: what they add to the service. Their rows stand in the core, whose copies and seals hold them."""

from typing import Final

from monitor.domain.extension import Address, Command, Extension, Job

_HERE: Final = "monitor.extensions.reports"
EXTENSION: Final = Extension(
    name="reports",
    description="bulletins, shift reports and the quick card, as HTML and PDF, mailed by schedule",
    package=_HERE,
    routes=(f"{_HERE}.routes:router",),
    addresses={
        "GET /sites/{site}/reports": Address("read"),
        "GET /sites/{site}/reports/{name}.{form}": Address("read"),
        "GET /sites/{site}/card.{form}": Address("viewer"),
    },
    commands={"report": Command(f"{_HERE}.cli", "Write bulletins and the quick card")},
    panels={"site.links": ("reports_link.html",)},
    jobs=(Job("reports", f"{_HERE}.issue:run", lambda _: 300.0, 60.0, per_site=False, polls=True),),
)
