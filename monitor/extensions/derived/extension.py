"""Calculated channels: what they add to the service. Their values are readings like others, in the core's tables."""

from typing import Final

from monitor.domain.extension import Extension, Job

_HERE: Final = "monitor.extensions.derived"
EXTENSION: Final = Extension(
    name="derived",
    description="series that are computed from other series of a site, with their unit and error",
    package=_HERE,
    site_tables={"derived": f"{_HERE}.declare:DerivedTable", "relative": f"{_HERE}.relative:RelativeTable"},
    functions={
        "config.tables": f"{_HERE}.declare:expand",
        "ingest.readings": f"{_HERE}.pending:note_readings",
        "ingest.complete": f"{_HERE}.worker:compute_pending",
        "service.parts": f"{_HERE}.parts:build_parts",
        "health.subjects": f"{_HERE}.checks:read_agreement",
    },
    checks=(f"{_HERE}.checks:CHECKS",),
    jobs=(Job("derived", f"{_HERE}.redefined:run", lambda _: 60.0, 15.0, light=True),),
)
