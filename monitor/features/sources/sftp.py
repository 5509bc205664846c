"""Download changed files by SFTP. The service file pins the key of the server, and the login is a key, no password."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import asyncssh

from monitor.api.errors import RefusedError
from monitor.features.sources.addresses import find_addresses, hide_query, split_address
from monitor.features.sources.fetching import (
    FAILED,
    NEW,
    SAME,
    FetchedFile,
    PollRequest,
    WantedFile,
    make_failure,
    make_part_path,
    require_disk_space,
)

TIMEOUT_S: Final = 30.0
CHUNK_BYTES: Final = 1 << 18
# Attempts to read a file that changes meanwhile, and the pause between them.
MAX_ATTEMPTS: Final = 4
PAUSE_S: Final = 0.5


def fetch_files(request: PollRequest) -> Iterator[FetchedFile]:
    """Download each file whose size or time changed, and yield the outcome for every wanted file."""
    try:
        yield from asyncio.run(_fetch(request))
    except (OSError, asyncssh.Error, RefusedError, TimeoutError) as error:
        reason = _describe_error(error, request)
        yield from (FetchedFile(wanted.name, FAILED, reason) for wanted in request.wanted)


async def _fetch(request: PollRequest) -> list[FetchedFile]:
    host, port = split_address(request.wanted[0].url, ("sftp",))
    addresses = find_addresses(host, port, request.hosts, allow_private=request.allow_private)
    try:
        host_key = asyncssh.import_public_key(request.login.host_key)
    except asyncssh.KeyImportError:
        raise RefusedError("host_key: expected the line of the server in known_hosts, from `ssh-ed25519` on") from None
    async with (
        asyncssh.connect(
            host,
            port,
            sock=_connect(addresses, port),
            config=None,
            known_hosts=([host_key], [], []),
            username=request.login.username,
            client_keys=[_read_key(request)],
            passphrase=request.login.secret or None,
            agent_path=None,
            preferred_auth="publickey",
            connect_timeout=TIMEOUT_S,
            login_timeout=TIMEOUT_S,
            keepalive_interval=10,
            server_host_key_algs=[algorithm.decode() for algorithm in host_key.sig_algorithms],
            x509_trusted_certs=None,
        ) as connection,
        connection.start_sftp_client() as client,
    ):
        return [await _fetch_file(client, request, wanted) for wanted in request.wanted]


async def _fetch_file(client: asyncssh.SFTPClient, request: PollRequest, wanted: WantedFile) -> FetchedFile:
    folder = Path(request.folder)
    part = make_part_path(folder, wanted.name)
    try:
        # relative to the home folder of the login, or absolute if the address contains `//` after the host
        path = wanted.url.split("://", 1)[1].partition("/")[2] or "."
        require_disk_space(request)
        for _ in range(MAX_ATTEMPTS):
            before = await client.stat(path)
            if _format_version(before) == wanted.modified:
                return FetchedFile(wanted.name, SAME)
            size = await _copy(client, path, part, request.max_file_bytes)
            after = await client.stat(path)
            # A file that only grew and was read to its end is complete up to there.
            is_unchanged = _format_version(after) == _format_version(before)
            if size == after.size and (is_unchanged or size > (before.size or 0)):
                part.rename(folder / wanted.name)
                return FetchedFile(wanted.name, NEW, modified=_format_version(after))
            await asyncio.sleep(PAUSE_S)
        raise OSError(
            f"{hide_query(wanted.url)}: changed each time while it was read: let its writer pause, or put a copy there"
        )
    except Exception as error:  # any error of this file must not stop the others
        part.unlink(missing_ok=True)
        return make_failure(OSError(f"{wanted.name}: {_describe_error(error, request)}"), wanted.name)


async def _copy(client: asyncssh.SFTPClient, path: str, part: Path, max_bytes: int) -> int:
    size = 0
    async with client.open(path, "rb") as source:
        with part.open("wb") as file:
            while chunk := bytes(await asyncio.wait_for(source.read(CHUNK_BYTES), TIMEOUT_S)):  # type: ignore[arg-type]
                size += len(chunk)
                if size > max_bytes:
                    raise RefusedError(f"more than {max_bytes} bytes (most_mb)")
                file.write(chunk)
    return size


def _connect(addresses: list[str], port: int) -> socket.socket:
    """Connect to the first address that accepts a connection; raise OSError if none does."""
    for address in addresses[:-1]:
        with contextlib.suppress(OSError):
            return socket.create_connection((address, port), TIMEOUT_S)
    return socket.create_connection((addresses[-1], port), TIMEOUT_S)


def _read_key(request: PollRequest) -> Any:
    try:
        return asyncssh.read_private_key(request.login.key_file, request.login.secret or None)
    except (OSError, asyncssh.KeyImportError) as error:
        raise RefusedError(f"key_file: {error}") from None


def _format_version(attributes: Any) -> str:
    return f"{attributes.size} {attributes.mtime}"


def _describe_error(error: Exception, request: PollRequest) -> str:
    url = hide_query(request.wanted[0].url)
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return f"{url}: the server has another key than host_key: is it another server?"
    if isinstance(error, asyncssh.PermissionDenied):
        return f"{url}: the server refuses the login of {request.login.username!r}"
    if isinstance(error, TimeoutError):
        return f"{url}: no answer for {TIMEOUT_S:g} s"
    text = str(error) if isinstance(error, RefusedError | OSError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:500]
