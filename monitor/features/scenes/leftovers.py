"""Remove folders of deliveries that no stored scene refers to."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from monitor.api.database import IDLE, Database
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.features.scenes.queries.arrivals import load_scenes

# A newer folder may belong to a run that was killed and starts again, or a person may be examining it.
KEPT: Final = timedelta(days=1)


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:  # noqa: ARG001 - as all jobs
    """Remove folders of deliveries without a scene, read or superseded. Return one line."""
    root = Path(config.paths.inbox).parent / "scenes"
    with db.read() as c:
        named = {Path(row.out_dir).resolve() for row in load_scenes(c) if row.out_dir is not None}
    removed = 0
    # site / name / delivery
    for folder in root.glob("*/*/*") if root.is_dir() else ():
        is_other = not folder.is_dir() or folder.is_symlink() or folder.resolve() in named
        if is_other or now.timestamp() - folder.stat().st_mtime < KEPT.total_seconds():
            continue
        shutil.rmtree(folder, ignore_errors=True)
        removed += 1
    return f"{removed} folders of scenes removed" if removed else IDLE
