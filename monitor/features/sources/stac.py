"""Scenes of a static STAC catalogue: items that are new, each with the assets that the file names as bands."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pystac

from detection.imagery.scene.products.stac import find_mask, write_item
from monitor.api.errors import RefusedError
from monitor.features.sources.addresses import hide_query
from monitor.features.sources.fetch import NEW, OLD, PART, SAME, FetchedFile, PollRequest, explain
from monitor.features.sources.http import GuardedClient

MOST_DOCUMENTS: Final = 2000  # of one look
MOST_ITEMS: Final = 20  # of one look, the newest; the others come at the next ones
DOCUMENT_BYTES: Final = 4 << 20
_SUFFIX: Final = re.compile(r"\.[A-Za-z0-9]{1,5}")


def fetch_items(request: PollRequest) -> Iterator[FetchedFile]:
    """Each item that is new: a folder with a file per band; an item that cannot be fetched stands with its reason."""
    known = frozenset(request.known)
    found: list[tuple[str, pystac.Item]] = []
    with closing(GuardedClient(request)) as browser:
        for url in _walk(browser, request):
            if isinstance(url, FetchedFile):
                yield url
                continue
            if url in known:
                yield FetchedFile(url, SAME)
                continue
            try:
                item = pystac.Item.from_dict(_read(browser, url), href=url)
                if item.datetime is None:
                    raise RefusedError(f"{hide_query(url)}: the item has no time")
                if f"{item.datetime:%Y-%m-%d}" < request.since:
                    yield FetchedFile(url, OLD, modified=item.id[:200])
                else:
                    found.append((url, item))
            except Exception as error:  # whatever an item holds, the others are taken
                yield explain(error, url)
        found.sort(key=lambda one: str(one[1].datetime), reverse=True)
        for number, (url, item) in enumerate(found[:MOST_ITEMS]):
            try:
                folder = Path(request.folder) / f"item-{number}"
                files = _fetch_assets(browser, request, url, item, folder)
                write_item(folder, item, files)
                taken = str(item.datetime and item.datetime.isoformat())
                bands = tuple((band, files[band][1]) for band, _ in request.assets)
                yield FetchedFile(url, NEW, etag=folder.name, modified=item.id[:200], acquired_at=taken, files=bands)
            except Exception as error:
                yield explain(error, url)


def _walk(browser: GuardedClient, request: PollRequest) -> Iterator[str | FetchedFile]:
    """Addresses of all items, each once; of a catalogue that cannot be read, why."""
    waiting, seen = [request.wanted[0].url], set()
    while waiting:
        url = waiting.pop()
        if url in seen:
            continue
        seen.add(url)
        if len(seen) > MOST_DOCUMENTS:
            raise RefusedError(
                f"{hide_query(request.wanted[0].url)}: more than {MOST_DOCUMENTS} catalogues in one look"
            )
        try:
            document = _read(browser, url)
        except (RefusedError, OSError) as error:
            yield explain(error, url)
            continue
        if document.get("type") == "Feature":
            yield url
            continue
        catalog: Any = pystac.Collection if document.get("type") == "Collection" else pystac.Catalog
        links = catalog.from_dict(document, href=url).links
        waiting += [link.get_absolute_href() for link in links if link.rel == "child"]
        for link in links:
            if link.rel == "item" and link.get_absolute_href() not in seen:
                seen.add(link.get_absolute_href())
                yield link.get_absolute_href()


def _read(browser: GuardedClient, url: str) -> dict[str, Any]:
    document = browser.read_document(url, DOCUMENT_BYTES, "a catalogue")
    if document.get("type") not in {"Catalog", "Collection", "Feature"}:
        raise RefusedError(f"{hide_query(url)}: neither a STAC catalogue nor an item")
    return document


def _fetch_assets(
    browser: GuardedClient, request: PollRequest, url: str, item: pystac.Item, folder: Path
) -> dict[str, tuple[str, str]]:
    """Fetch the bands that are asked for, and what says which pixels can be used; name -> key of the asset, file."""
    folder.mkdir()
    files: dict[str, tuple[str, str]] = {}
    keys = {key for _, key in request.assets}
    masks: dict[str, str] = {}
    for key in sorted(item.assets):  # of one that comes in several resolutions the finest
        if (kind := find_mask(key)) is not None and key not in keys:
            masks.setdefault(kind, key)
    for name, key in (*request.assets, *((key, key) for key in masks.values())):
        asset = item.assets.get(key)
        if asset is None:
            there = ", ".join(sorted(item.assets))[:200]
            raise RefusedError(f"{hide_query(url)}: no asset {key!r}; there are: {there}")
        href = asset.get_absolute_href() or asset.href
        suffix = Path(urlsplit(href).path).suffix
        file = f"{name}{suffix if _SUFFIX.fullmatch(suffix) else '.tif'}"
        part = folder / f"{file}{PART}"
        with browser.open(href) as answer:
            browser.save(answer, href, part)
        part.rename(folder / file)
        files[name] = key, file
    return files
