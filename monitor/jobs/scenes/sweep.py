"""Results of scenes on disk: folders that no scene names any more are removed after a while."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from monitor.config.service import ServiceConfig
from monitor.store.database.engine import Database
from monitor.store.scenes.arrivals import load_scenes

# A run that a person looks into, or one that was killed, is kept for so long.
KEPT: Final = timedelta(days=1)


def sweep(db: Database, config: ServiceConfig, now: datetime) -> int:
    """Remove folders of deliveries that were touched or read again since; those of superseded scenes stay.

    Returns:
        The number of folders removed.
    """
    root = Path(config.paths.inbox).parent / "scenes"
    with db.read() as c:
        named = {Path(row.out_dir).resolve() for row in load_scenes(c) if row.out_dir is not None}
    removed = 0
    # site / name / delivery
    for folder in root.glob("*/*/*") if root.is_dir() else ():
        if not (folder.is_dir() and not folder.is_symlink()) or folder.resolve() in named:
            continue
        if now.timestamp() - folder.stat().st_mtime < KEPT.total_seconds():
            continue
        shutil.rmtree(folder, ignore_errors=True)
        removed += 1
    return removed
