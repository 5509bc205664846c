"""Download new scenes of a static STAC catalogue: items, with the assets that the site file names as bands."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pystac

from detection.imagery.errors import ManifestError
from detection.imagery.scene.products.stac import find_mask, parse_item, write_item
from monitor.api.errors import RefusedError
from monitor.features.sources.addresses import hide_query
from monitor.features.sources.fetching import NEW, PART, SAME, SKIPPED, FetchedFile, PollRequest, make_failure
from monitor.features.sources.http import GuardedClient

MAX_CATALOGUES: Final = 2000  # per poll
# Items per poll. The newest are downloaded first, the others by the next polls.
MAX_ITEMS: Final = 20
MAX_DOCUMENT_BYTES: Final = 4 << 20
_SUFFIX: Final = re.compile(r"\.[A-Za-z0-9]{1,5}")


def fetch_items(request: PollRequest) -> Iterator[FetchedFile]:
    """Yield each new item, fetched into a folder with a file per band, or the reason why it was not fetched."""
    known_items = frozenset(request.known_items)
    new_items: list[tuple[str, pystac.Item]] = []
    with closing(GuardedClient(request)) as client:
        for url in _list_items(client, request):
            if isinstance(url, FetchedFile):
                yield url
                continue
            if url in known_items:
                yield FetchedFile(url, SAME)
                continue
            try:
                item = _parse_item(_read(client, url), url)
                if item.datetime is None:
                    raise RefusedError(f"{hide_query(url)}: the item has no time")
                if f"{item.datetime:%Y-%m-%d}" < request.since:
                    yield FetchedFile(url, SKIPPED, modified=item.id[:200])
                else:
                    new_items.append((url, item))
            except Exception as error:  # a faulty item must not stop the others
                yield make_failure(error, url)
        new_items.sort(key=lambda pair: str(pair[1].datetime), reverse=True)
        for number, (url, item) in enumerate(new_items[:MAX_ITEMS]):
            try:
                folder = Path(request.folder) / f"item-{number}"
                files = _fetch_assets(client, request, url, item, folder)
                write_item(folder, item, files)
                taken = str(item.datetime and item.datetime.isoformat())
                bands = tuple((band, files[band][1]) for band, _ in request.assets)
                yield FetchedFile(url, NEW, etag=folder.name, modified=item.id[:200], acquired_at=taken, files=bands)
            except Exception as error:
                yield make_failure(error, url)


def _list_items(client: GuardedClient, request: PollRequest) -> Iterator[str | FetchedFile]:
    """Yield the addresses of all items, each once, and the reason why a catalogue cannot be read."""
    waiting = [request.wanted[0].url]
    visited: set[str] = set()
    while waiting:
        url = waiting.pop()
        if url in visited:
            continue
        visited.add(url)
        if len(visited) > MAX_CATALOGUES:
            raise RefusedError(
                f"{hide_query(request.wanted[0].url)}: more than {MAX_CATALOGUES} catalogues in one poll"
            )
        try:
            document = _read(client, url)
            if document.get("type") == "Feature":
                yield url
                continue
            links = _list_links(document, url)
        except (RefusedError, OSError) as error:
            yield make_failure(error, url)
            continue
        waiting += [address for relation, address in links if relation == "child"]
        for relation, address in links:
            if relation == "item" and address not in visited:
                visited.add(address)
                yield address


def _list_links(document: dict[str, Any], url: str) -> list[tuple[str, str]]:
    """Return relation and absolute address of the links of a catalogue or collection; pystac follows none of them."""
    kind: Any = pystac.Collection if document.get("type") == "Collection" else pystac.Catalog
    try:
        links = kind.from_dict(document, href=url).links
        return [(str(link.rel), str(link.get_absolute_href())) for link in links if link.rel in {"child", "item"}]
    except Exception as error:  # pystac checks no types, so a wrong one fails wherever the value is used
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise RefusedError(f"{hide_query(url)}: not a valid STAC catalogue ({reason})") from None


def _parse_item(document: dict[str, Any], url: str) -> pystac.Item:
    try:
        return parse_item(document, hide_query(url), url)
    except ManifestError as error:
        raise RefusedError(str(error)) from None


def _read(client: GuardedClient, url: str) -> dict[str, Any]:
    document = client.read_document(url, MAX_DOCUMENT_BYTES, "a catalogue")
    if document.get("type") not in {"Catalog", "Collection", "Feature"}:
        raise RefusedError(f"{hide_query(url)}: neither a STAC catalogue nor an item")
    return document


def _fetch_assets(
    client: GuardedClient, request: PollRequest, url: str, item: pystac.Item, folder: Path
) -> dict[str, tuple[str, str]]:
    """Fetch the requested bands and the masks of usable pixels.

    Returns:
        Name of the band or mask -> key of the asset, and file.
    """
    folder.mkdir()
    files: dict[str, tuple[str, str]] = {}
    keys = {key for _, key in request.assets}
    masks: dict[str, str] = {}
    for key in sorted(item.assets):  # sorted by resolution, so that the finest mask of a kind is used
        kind = find_mask(key)
        if kind is not None and key not in keys:
            masks.setdefault(kind, key)
    for name, key in (*request.assets, *((key, key) for key in masks.values())):
        asset = item.assets.get(key)
        if asset is None:
            present = ", ".join(sorted(item.assets))[:200]
            raise RefusedError(f"{hide_query(url)}: no asset {key!r}; there are: {present}")
        href = asset.get_absolute_href() or asset.href
        suffix = Path(urlsplit(href).path).suffix
        file = f"{name}{suffix if _SUFFIX.fullmatch(suffix) else '.tif'}"
        part = folder / f"{file}{PART}"
        with client.open(href) as response:
            client.save(response, href, part)
        part.rename(folder / file)
        files[name] = key, file
    return files
