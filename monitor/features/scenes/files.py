"""Make the files of a scene that its rows do not need, unless the job of its tiles made them already."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from detection.imagery.footprints.records import MAKING, NOT_MADE, SceneFilesRequest, SceneFilesResult, note_failure
from monitor.api.errors import JobError
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import convert_reason
from monitor.api.worker import Request, Result, WorkerTask, compute, run_in_worker
from monitor.features.scenes.inbox import compute_fingerprint
from monitor.features.scenes.queries.arrivals import SceneRow
from monitor.features.scenes.queries.versions import SUPERSEDED
from monitor.features.scenes.rows import list_deliveries

log = logging.getLogger(__name__)

MAKE_FILES: Final[WorkerTask[SceneFilesRequest, SceneFilesResult]] = WorkerTask(
    "detection.imagery.footprints.outputs:make_files", SceneFilesRequest, SceneFilesResult
)
# After a failure, the next attempt follows this much later. The disk may have been full.
RETRY_AFTER_S: Final = 3600.0


def make_missing_files(
    config: ServiceConfig, site: Site, rows: Iterable[SceneRow], now: datetime, *, requested: bool = False
) -> None:
    """Make the missing files of scenes that were read. A failure does not change the rows of a scene.

    The worker locks the folder, so that no two processes write the same file.

    Args:
        requested: A person requested the files. They are made even if the last attempt failed less than
            `RETRY_AFTER_S` ago.

    Raises:
        JobError: The service is stopping.
    """
    for row in rows:
        if not (has_missing_files(row) if requested else are_files_due(row, now)):
            continue
        folder, scene = Path(row.out_dir or ""), find_image(row)
        assert row.acquired_at is not None
        request = SceneFilesRequest(folder.absolute(), scene, row.acquired_at, *site.scenes.placed)
        made = run_in_background(config, MAKE_FILES, request, scene, folder)
        if made.error:
            log.warning("%s: files of %s are not made: %s", site.id, row.name, convert_reason(made.error))
            with suppress(OSError):  # on a full disk; the next run tries again
                note_failure(folder, made.error)


def has_missing_files(row: SceneRow) -> bool:
    """Return whether a scene was read and some of its files are missing.

    This includes scenes that a later delivery superseded, because their results are kept.
    """
    try:
        return row.state in {"done", SUPERSEDED} and bool(row.out_dir) and (Path(row.out_dir or "") / MAKING).is_file()
    except OSError:  # no file can be made in a folder that cannot be read
        return False


def are_files_due(row: SceneRow, now: datetime) -> bool:
    """Return whether files of a scene are missing and no attempt failed within the last `RETRY_AFTER_S`."""
    folder = Path(row.out_dir or "")
    if not has_missing_files(row):
        return False
    try:
        return now.timestamp() - (folder / NOT_MADE).stat().st_mtime > RETRY_AFTER_S
    except FileNotFoundError:
        return True
    except OSError:
        return False


def run_in_background(
    config: ServiceConfig, task: WorkerTask[Request, Result], request: Request, scene: Path | None, folder: Path
) -> Result:
    """Run a task with low priority and return its result. If it failed, the result contains the error.

    Raises:
        JobError: The service is stopping.
    """
    reads = [] if scene is None else [scene.parent]
    try:
        return run_in_worker(
            config.compute, task, request, reads=reads, writes=[folder.absolute()], is_low_priority=True
        )
    except JobError as error:
        if compute.is_stopping():
            raise
        make_result: Callable[..., Result] = task.result_type
        return make_result(error=error.message)


def find_image(row: SceneRow) -> Path | None:
    """Return the path of the image of a scene. None if the file is gone or was replaced by another."""
    path = Path(row.path).absolute()
    try:
        is_unchanged = compute_fingerprint(path) in {fingerprint for _, fingerprint in list_deliveries(row)}
    except OSError:
        return None
    return path if is_unchanged else None
