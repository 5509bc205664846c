"""Files by HTTP and HTTPS: only what is new, only from hosts that are named, and never more than is allowed."""

import base64
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urljoin, urlsplit

import httpx

from monitor.api.errors import RefusedError
from monitor.features.sources.addresses import PORTS, find_addresses, hide_query, split_address
from monitor.features.sources.fetch import NEW, SAME, FetchedFile, PollRequest, explain, part_of, require_room

TIMEOUT_S: Final = 30.0  # between two pieces of an answer
REDIRECTS: Final = 5
PIECE_BYTES: Final = 1 << 16
SCHEMES: Final = ("https", "http")
NOT_MODIFIED: Final = 304
NOTHING_CHANGED: Final = "the server says that nothing changed (304), but no version of the file is stored"
HEADERS: Final = {"User-Agent": "slopeward", "Accept": "*/*", "Accept-Encoding": "identity"}


class GuardedClient:
    """A client that connects to what `PollRequest` allows, at the address that was checked."""

    def __init__(self, request: PollRequest) -> None:
        self._request = request
        context = ssl.create_default_context(cafile=request.ca_file or None)
        self._client = httpx.Client(
            verify=context, timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, headers=HEADERS
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    @contextmanager
    def open(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[httpx.Response]:
        """The answer to a GET; each step of a redirect is checked like the first address.

        Raises:
            RefusedError: an address is not allowed, or the server says no.
            OSError: no connection.
        """
        headers = dict(headers or {})
        for _ in range(REDIRECTS + 1):
            with self._send(url, headers) as answer:
                if answer.status_code in {301, 302, 303, 307, 308} and "location" in answer.headers:
                    url = follow_link(url, answer.headers["location"])
                    continue
                if answer.status_code not in {200, NOT_MODIFIED}:
                    raise RefusedError(f"{hide_query(url)}: the server answered {answer.status_code}")
                yield answer
                return
        raise RefusedError(f"{hide_query(url)}: more than {REDIRECTS} redirects")

    @contextmanager
    def _send(self, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        host, port = split_address(url, SCHEMES)
        addresses = find_addresses(host, port, self._request.hosts, private=self._request.private)
        parts = urlsplit(url)
        own = urlsplit(self._request.wanted[0].url)
        own_port = own.port or PORTS.get(own.scheme)
        home = host.lower() == self._request.hosts[0].lower() and (parts.scheme, port) == (own.scheme, own_port)
        query = parts.query
        login = self._request.login  # goes nowhere else
        sent = {**headers, "Host": parts.netloc}
        if home and login.secret and login.parameter:
            query = "&".join(filter(None, (query, f"{login.parameter}={quote(login.secret, safe='')}")))
        elif home and login.secret:
            basic = base64.b64encode(f"{login.username}:{login.secret}".encode()).decode()
            sent["Authorization"] = f"Basic {basic}" if login.username else f"Bearer {login.secret}"
        places = (f"[{one}]:{port}" if ":" in one else f"{one}:{port}" for one in addresses)
        targets = [parts._replace(netloc=place, query=query, fragment="").geturl() for place in places]
        answer = self._connect(url, targets, sent, host)
        try:
            yield answer
        except httpx.HTTPError as error:
            raise OSError(f"{hide_query(url)}: broke off: {_describe(error)}") from None
        finally:
            answer.close()

    def _connect(self, url: str, targets: list[str], headers: dict[str, str], host: str) -> httpx.Response:
        """The answer of the first address that takes a connection."""
        for target in targets:
            try:
                request = self._client.build_request("GET", target, headers=headers, extensions={"sni_hostname": host})
                return self._client.send(request, stream=True)
            except httpx.HTTPError as error:
                if target is targets[-1] or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                    raise OSError(f"{hide_query(url)}: {_describe(error)}") from None
        raise OSError(f"{hide_query(url)}: no address")

    def save(self, answer: httpx.Response, url: str, path: Path) -> None:
        """Write a body into a file; raises RefusedError where it is larger than is allowed, or packed."""
        require_room(self._request)
        most = self._request.most_bytes
        stated = answer.headers.get("content-length", "")
        if stated.isdigit() and int(stated) > most:
            raise RefusedError(f"{hide_query(url)}: {int(stated)} octets; at most {most} (most_mb)")
        if answer.headers.get("content-encoding", "identity").lower() != "identity":
            raise RefusedError(f"{hide_query(url)}: the server packs the file against the request")
        size = 0
        with path.open("wb") as file:
            for piece in answer.iter_raw(PIECE_BYTES):
                size += len(piece)
                if size > most:
                    raise RefusedError(f"{hide_query(url)}: more than {most} octets (most_mb)")
                file.write(piece)
        if stated.isdigit() and size != int(stated):
            raise OSError(f"{hide_query(url)}: broke off after {size} of {stated} octets")

    def read_document(self, url: str, most: int, of: str) -> dict[str, Any]:
        """A document in JSON; `of`: what it should be of, for people.

        Raises:
            RefusedError: it is larger than `most`, or no object of JSON.
            OSError: no connection.
        """
        path = part_of(Path(self._request.folder), "document")
        try:
            with self.open(url, {"Accept": "application/json, */*;q=0.1"}) as answer:
                self.save(answer, url, path)
            if path.stat().st_size > most:
                raise RefusedError(f"{hide_query(url)}: a document of more than {most} octets")
            document = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            raise RefusedError(f"{hide_query(url)}: no JSON; is it the address of {of}?") from None
        finally:
            path.unlink(missing_ok=True)
        if not isinstance(document, dict):
            raise RefusedError(f"{hide_query(url)}: no answer of {of}")
        return document


def follow_link(url: str, link: str) -> str:
    """Where a link of an answer leads; raises RefusedError where that is less safe than the address it came from."""
    target = urljoin(url, link)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise RefusedError(f"{hide_query(url)}: leads from https to {hide_query(target)}")
    return target


def fetch_files(request: PollRequest) -> Iterator[FetchedFile]:
    """Each file that is new, whole, under its name in the folder."""
    with closing(GuardedClient(request)) as browser:
        for wanted in request.wanted:
            path = Path(request.folder) / wanted.name
            part = part_of(Path(request.folder), wanted.name)
            headers = {"If-None-Match": wanted.etag, "If-Modified-Since": wanted.modified}
            known = {k: v for k, v in headers.items() if v}
            try:
                with browser.open(wanted.url, known) as answer:
                    if answer.status_code == NOT_MODIFIED:
                        if not known:
                            raise RefusedError(f"{hide_query(wanted.url)}: {NOTHING_CHANGED}")
                        yield FetchedFile(wanted.name, SAME)
                        continue
                    browser.save(answer, wanted.url, part)
                    found = {key: answer.headers.get(key, "")[:300] for key in ("etag", "last-modified")}
                part.rename(path)
                yield FetchedFile(wanted.name, NEW, etag=found["etag"], modified=found["last-modified"])
            except Exception as error:  # whatever a server does, the other files are fetched
                part.unlink(missing_ok=True)
                yield explain(error, wanted.name)


def _describe(error: Exception) -> str:
    """What went wrong, without the address that may hold a secret."""
    if isinstance(error, httpx.TimeoutException):
        return f"no answer for {TIMEOUT_S:g} s"
    if isinstance(error, httpx.LocalProtocolError):  # its text holds the header, and with it the login
        return type(error).__name__
    return f"{type(error).__name__}: {str(error).partition('?')[0][:200]}"
