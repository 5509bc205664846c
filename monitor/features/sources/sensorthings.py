"""Observations of a SensorThings server: of each Datastream what is newer than what is known, page by page."""

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
from monitor.features.sources.fetch import NEW, SAME, FetchedFile, PollRequest, WantedFile, explain
from monitor.features.sources.http import GuardedClient, follow_link

PAGE: Final = 1000  # observations in one file
MOST_PAGES: Final = 200  # of one Datastream and one look; the next look goes on from there
DOCUMENT_BYTES: Final = 8 << 20
SERVER: Final = "a SensorThings server"
_READ: Final = ("phenomenonTime", "resultTime", "result")


def fetch_observations(request: PollRequest) -> Iterator[FetchedFile]:
    """Each Datastream that has news: files with a list `value` each, in the order of time."""
    with closing(GuardedClient(request)) as browser:
        for number, wanted in enumerate(request.wanted):
            try:
                yield _fetch_stream(browser, request, wanted, f"{number:03d}")
            except Exception as error:  # whatever one Datastream holds, the others are read
                yield explain(error, wanted.name)


def _fetch_stream(browser: GuardedClient, request: PollRequest, wanted: WantedFile, prefix: str) -> FetchedFile:
    unit = browser.read_document(f"{wanted.url}?$select=unitOfMeasurement", DOCUMENT_BYTES, SERVER).get(
        "unitOfMeasurement"
    )
    newest = _read_time(wanted.modified or request.since)
    query = f"$orderby=phenomenonTime asc&$top={PAGE}&$select=phenomenonTime,resultTime,result"
    if newest is not None:
        query += f"&$filter=phenomenonTime gt {newest:%Y-%m-%dT%H:%M:%S.%fZ}"
    url: str | None = f"{wanted.url}/Observations?{quote(query, safe='$=&,:')}"
    stream = {"@iot.id": wanted.name, "unitOfMeasurement": unit}
    files: list[tuple[str, str]] = []
    seen: set[str] = set()
    while url is not None and url not in seen and len(seen) < MOST_PAGES:
        seen.add(url)
        page = browser.read_document(url, DOCUMENT_BYTES, SERVER)
        values = page.get("value")
        if not isinstance(values, list):
            raise RefusedError(f"{hide_query(url)}: no list of Observations")
        for first in range(0, len(values), PAGE):
            part = [
                {key: one[key] for key in _READ if key in one} | {"Datastream": stream}
                if isinstance(one, dict)
                else one
                for one in values[first : first + PAGE]
            ]
            newest = _follow(part, newest, url)
            name = f"{prefix}-{len(files):05d}.json"
            (Path(request.folder) / name).write_text(json.dumps({"value": part}), encoding="utf-8")
            files.append(("", name))
        link = read_next_link(page)
        url = None if link is None else follow_link(url, link)  # its host is checked when it is opened
    return FetchedFile(wanted.name, NEW if files else SAME, files=tuple(files))


def _follow(values: list[Any], newest: datetime | None, url: str) -> datetime | None:
    """The newest time of a page; raises RefusedError where it does not come after the one before."""
    for one in values:
        at = _read_time(one.get("phenomenonTime")) if isinstance(one, dict) else None
        if at is not None and newest is not None and at < newest:
            raise RefusedError(f"{hide_query(url)}: the server neither filters nor sorts by phenomenonTime")
        newest = at or newest
    return newest


def _read_time(text: Any) -> datetime | None:
    """The end of a time or interval; None where it is none, which the decoder says."""
    try:
        at = datetime.fromisoformat(str(text).rpartition("/")[2])
    except ValueError:
        return None
    return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
