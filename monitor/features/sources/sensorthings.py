"""Download observations of a SensorThings server that are newer than the newest stored one, page by page."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from monitor.api.errors import RefusedError
from monitor.api.queries.ingest import read_next_link
from monitor.features.sources.addresses import hide_query
from monitor.features.sources.fetching import NEW, SAME, FetchedFile, PollRequest, WantedFile, make_failure
from monitor.features.sources.http import GuardedClient, follow_link

PAGE_SIZE: Final = 1000  # observations per file
# Pages of a Datastream per poll. The next poll continues after them.
MAX_PAGES: Final = 200
MAX_DOCUMENT_BYTES: Final = 8 << 20
SERVER: Final = "a SensorThings server"
_OBSERVATION_KEYS: Final = ("phenomenonTime", "resultTime", "result")


def fetch_observations(request: PollRequest) -> Iterator[FetchedFile]:
    """Yield the outcome for each Datastream. A page is a file with a list `value` in the order of time."""
    with closing(GuardedClient(request)) as client:
        for number, wanted in enumerate(request.wanted):
            try:
                yield _fetch_stream(client, request, wanted, f"{number:03d}")
            except Exception as error:  # any error of this Datastream must not stop the others
                yield make_failure(error, wanted.name)


def _fetch_stream(client: GuardedClient, request: PollRequest, wanted: WantedFile, prefix: str) -> FetchedFile:
    """Download a Datastream into files whose names begin with `prefix`."""
    description = client.read_document(f"{wanted.url}?$select=unitOfMeasurement", MAX_DOCUMENT_BYTES, SERVER)
    stream = {"@iot.id": wanted.name, "unitOfMeasurement": description.get("unitOfMeasurement")}
    newest = _read_time(wanted.modified or request.since)
    query = f"$orderby=phenomenonTime asc&$top={PAGE_SIZE}&$select=phenomenonTime,resultTime,result"
    if newest is not None:
        query += f"&$filter=phenomenonTime gt {newest:%Y-%m-%dT%H:%M:%S.%fZ}"
    url: str | None = f"{wanted.url}/Observations?{quote(query, safe='$=&,:')}"
    files: list[tuple[str, str]] = []
    visited: set[str] = set()
    while url is not None and url not in visited and len(visited) < MAX_PAGES:
        visited.add(url)
        document = client.read_document(url, MAX_DOCUMENT_BYTES, SERVER)
        observations = document.get("value")
        if not isinstance(observations, list):
            raise RefusedError(f"{hide_query(url)}: no list of Observations")
        for first in range(0, len(observations), PAGE_SIZE):
            page = [_select_keys(row, stream) for row in observations[first : first + PAGE_SIZE]]
            newest = _find_newest(page, newest, url)
            name = f"{prefix}-{len(files):05d}.json"
            (Path(request.folder) / name).write_text(json.dumps({"value": page}), encoding="utf-8")
            files.append(("", name))
        link = read_next_link(document)
        # `GuardedClient.open` checks the host of the link.
        url = None if link is None else follow_link(url, link)
    return FetchedFile(wanted.name, NEW if files else SAME, files=tuple(files))


def _select_keys(observation: Any, stream: dict[str, Any]) -> Any:
    """Keep the keys of an observation that are needed, and add its Datastream. The decoder reports any other value."""
    if not isinstance(observation, dict):
        return observation
    return {key: observation[key] for key in _OBSERVATION_KEYS if key in observation} | {"Datastream": stream}


def _find_newest(observations: list[Any], newest: datetime | None, url: str) -> datetime | None:
    """Return the newest time of a page.

    Raises:
        RefusedError: The times do not increase, or are older than `newest`.
    """
    for observation in observations:
        instant = _read_time(observation.get("phenomenonTime")) if isinstance(observation, dict) else None
        if instant is not None and newest is not None and instant < newest:
            raise RefusedError(f"{hide_query(url)}: the server neither filters nor sorts by phenomenonTime")
        newest = instant or newest
    return newest


def _read_time(text: Any) -> datetime | None:
    """Return the end of a time or interval; None if it is invalid, which the decoder reports."""
    try:
        instant = datetime.fromisoformat(str(text).rpartition("/")[2])
    except ValueError:
        return None
    return instant.replace(tzinfo=instant.tzinfo or UTC).astimezone(UTC)
