"""Download changed files by HTTP and HTTPS, only from allowed hosts and only up to the allowed size."""

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
from monitor.features.sources.fetching import (
    NEW,
    SAME,
    FetchedFile,
    PollRequest,
    WantedFile,
    make_failure,
    make_part_path,
    require_disk_space,
)

TIMEOUT_S: Final = 30.0  # for a connection, and between two parts of a response
MAX_REDIRECTS: Final = 5
CHUNK_BYTES: Final = 1 << 16
SCHEMES: Final = ("https", "http")
NOT_MODIFIED: Final = 304
MAX_REASON_BYTES: Final = 4096
MAX_REASON_LENGTH: Final = 200
NOTHING_CHANGED: Final = "the server reports that nothing changed (304), but no version of the file is stored"
HEADERS: Final = {"User-Agent": "slopeward", "Accept": "*/*", "Accept-Encoding": "identity"}


class GuardedClient:
    """HTTP client that connects only to hosts that a `PollRequest` allows.

    It resolves the name of the host itself and connects to the numeric address that was checked, so that a second
    resolution cannot return another address. The certificate is verified against the name.

    Args:
        shows_reasons: Whether errors contain the reason that the server gives as JSON.
    """

    def __init__(self, request: PollRequest, *, shows_reasons: bool = False) -> None:
        self._request = request
        self._shows_reasons = shows_reasons
        context = ssl.create_default_context(cafile=request.ca_file or None)
        self._client = httpx.Client(
            verify=context, timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, headers=HEADERS
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    @contextmanager
    def open(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[httpx.Response]:
        """Send a GET request and yield the response. Each redirect is checked like the first address.

        Raises:
            RefusedError: An address is not allowed, or the status is neither 200 nor 304.
            OSError: The connection failed.
        """
        headers = dict(headers or {})
        for _ in range(MAX_REDIRECTS + 1):
            with self._send(url, headers) as response:
                if response.status_code in {301, 302, 303, 307, 308} and "location" in response.headers:
                    url = follow_link(url, response.headers["location"])
                    continue
                if response.status_code not in {200, NOT_MODIFIED}:
                    reason = _read_reason(response) if self._shows_reasons else ""
                    raise RefusedError(f"{hide_query(url)}: the server answered {response.status_code}{reason}")
                yield response
                return
        raise RefusedError(f"{hide_query(url)}: more than {MAX_REDIRECTS} redirects")

    @contextmanager
    def _send(self, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        host, port = split_address(url, SCHEMES)
        addresses = find_addresses(host, port, self._request.hosts, allow_private=self._request.allow_private)
        parts = urlsplit(url)
        query = parts.query
        request_headers = {**headers, "Host": parts.netloc}
        login = self._request.login
        if login.secret and self._is_source_server(url):
            if login.parameter:
                parameter = f"{login.parameter}={quote(login.secret, safe='')}"
                query = f"{query}&{parameter}" if query else parameter
            elif login.username:
                basic = base64.b64encode(f"{login.username}:{login.secret}".encode()).decode()
                request_headers["Authorization"] = f"Basic {basic}"
            else:
                request_headers["Authorization"] = f"{login.scheme} {login.secret}"
        locations = [f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address in addresses]
        targets = [parts._replace(netloc=location, query=query, fragment="").geturl() for location in locations]
        response = self._connect(url, targets, request_headers, host)
        try:
            yield response
        except httpx.HTTPError as error:
            raise OSError(f"{hide_query(url)}: broke off: {_describe_error(error)}") from None
        finally:
            response.close()

    def _is_source_server(self, url: str) -> bool:
        """Return whether an address has scheme, host and port of the source. No other server receives the login."""
        host, port = split_address(url, SCHEMES)
        scheme = urlsplit(url).scheme
        source = urlsplit(self._request.wanted[0].url)
        source_port = source.port or PORTS.get(source.scheme)
        is_source_host = host.lower() == self._request.hosts[0].lower()
        return is_source_host and (scheme, port) == (source.scheme, source_port)

    def _connect(self, url: str, targets: list[str], headers: dict[str, str], host: str) -> httpx.Response:
        """Return the response of the first address that accepts a connection."""
        for target in targets:
            try:
                request = self._client.build_request("GET", target, headers=headers, extensions={"sni_hostname": host})
                return self._client.send(request, stream=True)
            except httpx.HTTPError as error:
                if target is targets[-1] or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                    raise OSError(f"{hide_query(url)}: {_describe_error(error)}") from None
        raise OSError(f"{hide_query(url)}: no address")

    def save(self, response: httpx.Response, url: str, path: Path) -> None:
        """Write the body of a response to a file.

        Raises:
            RefusedError: It is larger than allowed, or compressed.
            OSError: The connection broke off.
        """
        require_disk_space(self._request)
        max_bytes = self._request.max_file_bytes
        header = response.headers.get("content-length", "")
        content_length = int(header) if header.isdigit() else None
        if content_length is not None and content_length > max_bytes:
            raise RefusedError(f"{hide_query(url)}: {content_length} bytes; at most {max_bytes} (most_mb)")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise RefusedError(f"{hide_query(url)}: the server packs the file against the request")
        size = 0
        with path.open("wb") as file:
            for chunk in response.iter_raw(CHUNK_BYTES):
                size += len(chunk)
                if size > max_bytes:
                    raise RefusedError(f"{hide_query(url)}: more than {max_bytes} bytes (most_mb)")
                file.write(chunk)
        if content_length is not None and size != content_length:
            raise OSError(f"{hide_query(url)}: broke off after {size} of {content_length} bytes")

    def read_document(self, url: str, max_bytes: int, source_name: str) -> dict[str, Any]:
        """Read a JSON object.

        Args:
            source_name: What should have this address, such as "a catalogue", for error messages.

        Raises:
            RefusedError: The document is larger than `max_bytes`, or no JSON object.
            OSError: The connection failed.
        """
        path = make_part_path(Path(self._request.folder), "document")
        try:
            with self.open(url, {"Accept": "application/json, */*;q=0.1"}) as response:
                self.save(response, url, path)
            if path.stat().st_size > max_bytes:
                raise RefusedError(f"{hide_query(url)}: a document of more than {max_bytes} bytes")
            document = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            raise RefusedError(f"{hide_query(url)}: no JSON; is it the address of {source_name}?") from None
        finally:
            path.unlink(missing_ok=True)
        if not isinstance(document, dict):
            raise RefusedError(f"{hide_query(url)}: no answer of {source_name}")
        return document


def follow_link(url: str, link: str) -> str:
    """Return the absolute address of a link in a response.

    Raises:
        RefusedError: It leads from https to http.
    """
    target = urljoin(url, link)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise RefusedError(f"{hide_query(url)}: leads from https to {hide_query(target)}")
    return target


def fetch_files(request: PollRequest) -> Iterator[FetchedFile]:
    """Download each file that changed, and yield the outcome for every wanted file."""
    with closing(GuardedClient(request)) as client:
        for wanted in request.wanted:
            part = make_part_path(Path(request.folder), wanted.name)
            try:
                yield _fetch_file(client, request, wanted, part)
            except Exception as error:  # any error of this file must not stop the others
                part.unlink(missing_ok=True)
                yield make_failure(error, wanted.name)


def _fetch_file(client: GuardedClient, request: PollRequest, wanted: WantedFile, part: Path) -> FetchedFile:
    headers = {"If-None-Match": wanted.etag, "If-Modified-Since": wanted.modified}
    conditions = {name: value for name, value in headers.items() if value}
    with client.open(wanted.url, conditions) as response:
        if response.status_code == NOT_MODIFIED:
            if not conditions:
                raise RefusedError(f"{hide_query(wanted.url)}: {NOTHING_CHANGED}")
            return FetchedFile(wanted.name, SAME)
        client.save(response, wanted.url, part)
        etag = response.headers.get("etag", "")[:300]
        modified = response.headers.get("last-modified", "")[:300]
    part.rename(Path(request.folder) / wanted.name)
    return FetchedFile(wanted.name, NEW, etag=etag, modified=modified)


def _read_reason(response: httpx.Response) -> str:
    """Return the reason for an error that a server gives as JSON, in brackets; empty if it gives none."""
    beginning = next(response.iter_raw(MAX_REASON_BYTES), b"")
    try:
        document = json.loads(beginning)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    reason = document.get("error") or document.get("message")
    return f" ({' '.join(reason.split())[:MAX_REASON_LENGTH]})" if isinstance(reason, str) else ""


def _describe_error(error: Exception) -> str:
    """Return the text of an error without the query of the address, which may contain a secret."""
    if isinstance(error, httpx.TimeoutException):
        return f"no answer for {TIMEOUT_S:g} s"
    if isinstance(error, httpx.LocalProtocolError):  # its text contains the header with the login
        return type(error).__name__
    return f"{type(error).__name__}: {str(error).partition('?')[0][:200]}"
