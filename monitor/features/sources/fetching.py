"""Records and helpers of the worker task that downloads files, shared by all kinds of servers."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from monitor.api.errors import RefusedError, SlopewardError
from monitor.api.extras import explain_missing
from monitor.features.sources.row_query import RowQuery

# States of a fetched file. SKIPPED is an item of a catalogue that never needs to be downloaded.
NEW: Final = "new"
SAME: Final = "same"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"
# Suffix of a file that is still being downloaded. A file has its final name only when it is complete.
PART: Final = ".part"


@dataclass(frozen=True, slots=True)
class WantedFile:
    """A file to download.

    Attributes:
        name: Name in the folder and in the database.
        url: Address without secrets.
        etag: `ETag` header of the stored version; empty if none.
        modified: `Last-Modified` header of the stored version; for SFTP its size and time, for SensorThings the newest
            stored time.
    """

    name: str
    url: str
    etag: str = ""
    modified: str = ""


@dataclass(frozen=True, slots=True)
class ServerCredentials:
    """Login of a server. It must not be part of a text that is stored or logged.

    Attributes:
        parameter: Parameter of the address that holds the secret instead of a header.
        key_file: Private key for SFTP. The secret is its passphrase.
        host_key: Public key of an SFTP server.
        scheme: Authentication scheme of HTTP for a secret without a user name.
    """

    username: str = ""
    secret: str = ""
    parameter: str = ""
    key_file: str = ""
    host_key: str = ""
    scheme: str = "Bearer"


@dataclass(frozen=True, slots=True)
class PollRequest:
    """Request of the worker task that downloads files from a server.

    Attributes:
        kind: `http`, `sftp`, `stac`, `sensorthings`, `sql` or `influxdb`.
        wanted: Files to download; for a STAC catalogue only its address.
        folder: Folder for complete files.
        hosts: Hosts that may be contacted.
        allow_private: Whether hosts may have addresses of private networks.
        max_file_bytes: Largest size of a file.
        login: Login for the first host of `hosts`.
        ca_file: Certificate of a private certificate authority.
        assets: Band and key of its asset, for a catalogue.
        known_items: Items of a catalogue that are stored.
        since: First day of items or observations, in ISO format; empty for all.
        reserve_bytes: Space that must stay free on the disk of `folder`.
        rows: Table to read, for a database.
    """

    kind: str
    wanted: tuple[WantedFile, ...]
    folder: str
    hosts: tuple[str, ...]
    allow_private: bool
    max_file_bytes: int
    login: ServerCredentials = ServerCredentials()
    ca_file: str = ""
    assets: tuple[tuple[str, str], ...] = ()
    known_items: tuple[str, ...] = ()
    since: str = ""
    reserve_bytes: int = 0
    rows: RowQuery | None = None


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """Outcome of a wanted file, or of an item of a catalogue.

    Attributes:
        name: Name of the wanted file, or address of the item.
        state: `NEW`, `SAME`, `FAILED` or `SKIPPED`.
        reason: Why it failed.
        etag: `ETag` header; for an item the name of its folder; for rows whether more of them follow.
        modified: See `WantedFile`; for an item its id.
        acquired_at: Time of an item; for rows the newest time of a reading.
        files: Band and file of an item; for SensorThings the pages, with an empty band; for rows the position after
            each file, and the file.
        notes: What was not read, and is no error.
    """

    name: str
    state: str
    reason: str = ""
    etag: str = ""
    modified: str = ""
    acquired_at: str = ""
    files: tuple[tuple[str, str], ...] = ()
    notes: str = ""


@dataclass(frozen=True, slots=True)
class PollResult:
    """Outcomes of all wanted files."""

    files: tuple[FetchedFile, ...]


def make_failure(error: Exception, name: str) -> FetchedFile:
    """Return the outcome of a file whose download failed, with a reason of one line without secrets."""
    if isinstance(error, ModuleNotFoundError):
        raise error
    text = str(error) if isinstance(error, SlopewardError | OSError) else f"{type(error).__name__}: {error}"
    return FetchedFile(name, FAILED, (explain_missing(error) or " ".join(text.split()))[:500])


def require_disk_space(request: PollRequest) -> None:
    """Raise `RefusedError` if another file could fill the disk. The next poll begins with the missing files."""
    free_bytes = shutil.disk_usage(request.folder).free
    needed_bytes = request.max_file_bytes + request.reserve_bytes
    if free_bytes < needed_bytes:
        raise RefusedError(
            f"{free_bytes >> 20} MiB are free on the disk of paths.state, and {needed_bytes >> 20} may be needed"
            " (most_mb and the reserve): fetched later"
        )


def make_part_path(folder: Path, name: str) -> Path:
    """Return the path of a file while it is being downloaded, and create its folder."""
    path = folder / f"{name}{PART}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
