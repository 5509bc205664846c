"""The job that fetches: whole files under their names, or one line why not; nothing half-written bears a name."""

import importlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from monitor.domain.errors import RefusedError, SlopewardError
from monitor.domain.extras import explain_missing
from monitor.extensions.sources.tasks import FAILED, FetchedFile, PollRequest, PollResult

# kind of server -> what fetches from it; loaded in the worker alone
FETCHERS: Final[dict[str, str]] = {
    "http": "monitor.extensions.sources.http:fetch_files",
    "sftp": "monitor.extensions.sources.sftp:fetch_files",
    "sensorthings": "monitor.extensions.sources.sensorthings:fetch_observations",
    "stac": "monitor.extensions.sources.stac:fetch_items",
}
PART: Final = ".part"


def fetch(request: PollRequest) -> PollResult:
    """Fetch what is new; a file that fails does not keep the others out."""
    module, _, name = FETCHERS[request.kind].partition(":")
    fetcher: Callable[[PollRequest], Iterator[FetchedFile]] = getattr(importlib.import_module(module), name)
    return PollResult(tuple(fetcher(request)))


def explain(error: Exception, name: str) -> FetchedFile:
    """What stands in the way of one file, in one line without secrets."""
    if isinstance(error, ModuleNotFoundError):
        raise error
    text = str(error) if isinstance(error, SlopewardError | OSError) else f"{type(error).__name__}: {error}"
    return FetchedFile(name, FAILED, (explain_missing(error) or " ".join(text.split()))[:500])


def require_room(request: PollRequest) -> None:
    """Refuse to fetch one more file where it could fill the disk; the next look begins with those that are missing."""
    free, needed = shutil.disk_usage(request.folder).free, request.most_bytes + request.reserve_bytes
    if free < needed:
        raise RefusedError(
            f"{free >> 20} MiB are free on the disk of paths.state, and {needed >> 20} may be needed"
            " (most_mb and the reserve): fetched later"
        )


def part_of(folder: Path, name: str) -> Path:
    """Where a file grows until it is whole."""
    path = folder / f"{name}{PART}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
