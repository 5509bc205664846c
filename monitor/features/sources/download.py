"""The worker task that downloads new files or rows from a server."""

from collections.abc import Callable, Iterator
from typing import Final

from monitor.api.worker import WorkerTask
from monitor.features.sources.fetching import FetchedFile, PollRequest, PollResult


def download(request: PollRequest) -> PollResult:
    """Download new files. A file that fails does not stop the others."""
    return PollResult(tuple(_import_fetcher(request.kind)(request)))


def _import_fetcher(kind: str) -> Callable[[PollRequest], Iterator[FetchedFile]]:
    """Import the function for a kind of server here, in the worker, because the core process must stay small."""
    if kind == "http":
        from monitor.features.sources.http import fetch_files as fetch_by_http

        return fetch_by_http
    if kind == "sftp":
        from monitor.features.sources.sftp import fetch_files as fetch_by_sftp

        return fetch_by_sftp
    if kind == "sensorthings":
        from monitor.features.sources.sensorthings import fetch_observations

        return fetch_observations
    if kind == "sql":
        from monitor.features.sources.sql import fetch_rows

        return fetch_rows
    if kind == "influxdb":
        from monitor.features.sources.influxdb import fetch_points

        return fetch_points
    from monitor.features.sources.stac import fetch_items

    return fetch_items


DOWNLOAD: Final = WorkerTask("monitor.features.sources.download:download", PollRequest, PollResult)
