"""Files by SFTP: the key of the server is the one that the file names, and the login is a key, never a password."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import asyncssh

from monitor.api.errors import RefusedError
from monitor.features.sources.addresses import find_addresses, hide_query, split_address
from monitor.features.sources.fetch import (
    FAILED,
    NEW,
    SAME,
    FetchedFile,
    PollRequest,
    WantedFile,
    explain,
    part_of,
    require_room,
)

TIMEOUT_S: Final = 30.0
PIECE_BYTES: Final = 1 << 18
TRIES: Final = 4  # of a file that changes while it is read
PAUSE_S: Final = 0.5


def fetch_files(request: PollRequest) -> Iterator[FetchedFile]:
    """Each file whose size or time changed, whole, under its name in the folder."""
    try:
        yield from asyncio.run(_fetch(request))
    except (OSError, asyncssh.Error, RefusedError, TimeoutError) as error:
        line = _describe(error, request)
        yield from (FetchedFile(wanted.name, FAILED, line) for wanted in request.wanted)


async def _fetch(request: PollRequest) -> list[FetchedFile]:
    host, port = split_address(request.wanted[0].url, ("sftp",))
    addresses = find_addresses(host, port, request.hosts, private=request.private)
    try:
        pinned = asyncssh.import_public_key(request.login.host_key)
    except asyncssh.KeyImportError:
        raise RefusedError("host_key: expected the line of the server in known_hosts, from `ssh-ed25519` on") from None
    async with (
        asyncssh.connect(
            host,
            port,
            sock=_connect(addresses, port),
            config=None,
            known_hosts=([pinned], [], []),
            username=request.login.username,
            client_keys=[_read_key(request)],
            passphrase=request.login.secret or None,
            agent_path=None,
            preferred_auth="publickey",
            connect_timeout=TIMEOUT_S,
            login_timeout=TIMEOUT_S,
            keepalive_interval=10,
            server_host_key_algs=[a.decode() for a in pinned.sig_algorithms],
            x509_trusted_certs=None,
        ) as connection,
        connection.start_sftp_client() as client,
    ):
        return [await _fetch_one(client, request, wanted) for wanted in request.wanted]


async def _fetch_one(client: asyncssh.SFTPClient, request: PollRequest, wanted: WantedFile) -> FetchedFile:
    folder = Path(request.folder)
    part = part_of(folder, wanted.name)
    try:
        # below the home folder of the login; `//` at its beginning: from the root
        path = wanted.url.split("://", 1)[1].partition("/")[2] or "."
        require_room(request)
        for _ in range(TRIES):
            before = await client.stat(path)
            if _format_state(before) == wanted.modified:
                return FetchedFile(wanted.name, SAME)
            size = await _copy(client, path, part, request.most_bytes)
            after = await client.stat(path)
            # one that only grew, and was read to its end, is whole up to there
            if size == after.size and (_format_state(after) == _format_state(before) or size > (before.size or 0)):
                part.rename(folder / wanted.name)
                return FetchedFile(wanted.name, NEW, modified=_format_state(after))
            await asyncio.sleep(PAUSE_S)
        raise OSError(
            f"{hide_query(wanted.url)}: changed each time while it was read: let its writer pause, or put a copy there"
        )
    except Exception as error:  # whatever a server does, the other files are fetched
        part.unlink(missing_ok=True)
        return explain(OSError(f"{wanted.name}: {_describe(error, request)}"), wanted.name)


async def _copy(client: asyncssh.SFTPClient, path: str, part: Path, most: int) -> int:
    size = 0
    async with client.open(path, "rb") as source:
        with part.open("wb") as file:
            while piece := bytes(await asyncio.wait_for(source.read(PIECE_BYTES), TIMEOUT_S)):  # type: ignore[arg-type]
                size += len(piece)
                if size > most:
                    raise RefusedError(f"more than {most} octets (most_mb)")
                file.write(piece)
    return size


def _connect(addresses: list[str], port: int) -> socket.socket:
    """A connection to the first address that takes one; raises OSError."""
    for address in addresses[:-1]:
        with contextlib.suppress(OSError):
            return socket.create_connection((address, port), TIMEOUT_S)
    return socket.create_connection((addresses[-1], port), TIMEOUT_S)


def _read_key(request: PollRequest) -> Any:
    try:
        return asyncssh.read_private_key(request.login.key_file, request.login.secret or None)
    except (OSError, asyncssh.KeyImportError) as error:
        raise RefusedError(f"key_file: {error}") from None


def _format_state(state: Any) -> str:
    return f"{state.size} {state.mtime}"


def _describe(error: Exception, request: PollRequest) -> str:
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return f"{hide_query(request.wanted[0].url)}: the server has another key than host_key: is it another server?"
    if isinstance(error, asyncssh.PermissionDenied):
        return f"{hide_query(request.wanted[0].url)}: the server refuses the login of {request.login.username!r}"
    if isinstance(error, TimeoutError):
        return f"{hide_query(request.wanted[0].url)}: no answer for {TIMEOUT_S:g} s"
    text = str(error) if isinstance(error, RefusedError | OSError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:500]
