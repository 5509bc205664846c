"""Sources: what they add to the service. The state of each stands in the core, whose checks read it."""

from pathlib import Path
from typing import Final

from monitor.domain.extension import Command, Extension, Job

_HERE: Final = "monitor.extensions.sources"


EXTENSION: Final = Extension(
    name="sources",
    description="files that are fetched by HTTP, SFTP, STAC and SensorThings, or put into a watched folder",
    package=_HERE,
    commands={
        "ingest sources": Command(
            f"{_HERE}.cli",
            "List the servers that files are downloaded from; download now",
            after="ingest",
            rules={"ingest sources poll": "serves"},
        )
    },
    jobs=(
        Job(
            "sources",
            f"{_HERE}.poll:run",
            lambda _: 60.0,
            20.0,
            polls=True,
            watched=lambda config, site: Path(config.paths.inbox) / "series" / site.id,
        ),
    ),
    checks=(f"{_HERE}.checks:CHECKS",),
)
