"""The job that fetches: whole files under their names, or one line why not; nothing half-written bears a name."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from monitor.api.errors import RefusedError, SlopewardError
from monitor.api.extras import explain_missing

NEW, SAME, FAILED, OLD = "new", "same", "failed", "old"


@dataclass(frozen=True, slots=True)
class WantedFile:
    """One file of a source."""

    name: str  # what it is called in the folder and in the database
    url: str  # where it lies, without any secret
    etag: str = ""  # what the server said of the version that is known, "" of none
    modified: str = ""  # the same as a time; for SFTP size and time


@dataclass(frozen=True, slots=True)
class ServerCredentials:
    """What a server is shown; it never stands in a text that is stored or logged."""

    username: str = ""
    secret: str = ""
    parameter: str = ""  # of the address, instead of a header
    key_file: str = ""
    host_key: str = ""


@dataclass(frozen=True, slots=True)
class PollRequest:
    """One look at a server."""

    kind: str  # http, sftp or stac
    wanted: tuple[WantedFile, ...]  # the files; of a catalogue, its own address alone
    folder: str  # where whole files are put
    hosts: tuple[str, ...]  # names that may be connected to
    private: bool  # whether addresses of private networks may be
    most_bytes: int  # of one file
    login: ServerCredentials = ServerCredentials()  # of the first host of `hosts` alone
    ca_file: str = ""  # authority of a server with a private one
    assets: tuple[tuple[str, str], ...] = ()  # band -> key of the asset, of a catalogue
    known: tuple[str, ...] = ()  # items of a catalogue that were taken
    since: str = ""  # items of a catalogue before this day are left out, "" none is
    reserve_bytes: int = 0  # what must stay free on the disk of the folder, whatever was fetched before


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """What became of one file; of an item of a catalogue, of its folder."""

    name: str
    state: str  # NEW, SAME, FAILED, or OLD: an item that is left out for good
    reason: str = ""
    etag: str = ""
    modified: str = ""
    acquired_at: str = ""  # of a scene
    files: tuple[tuple[str, str], ...] = ()  # of a scene: band -> file


@dataclass(frozen=True, slots=True)
class PollResult:
    """What became of all of them."""

    files: tuple[FetchedFile, ...]


PART: Final = ".part"


def explain(error: Exception, name: str) -> FetchedFile:
    """What stands in the way of one file, in one line without secrets."""
    if isinstance(error, ModuleNotFoundError):
        raise error
    text = str(error) if isinstance(error, SlopewardError | OSError) else f"{type(error).__name__}: {error}"
    return FetchedFile(name, FAILED, (explain_missing(error) or " ".join(text.split()))[:500])


def require_room(request: PollRequest) -> None:
    """Refuse to fetch one more file where it could fill the disk; the next look begins with those that are missing."""
    free, needed = shutil.disk_usage(request.folder).free, request.most_bytes + request.reserve_bytes
    if free < needed:
        raise RefusedError(
            f"{free >> 20} MiB are free on the disk of paths.state, and {needed >> 20} may be needed"
            " (most_mb and the reserve): fetched later"
        )


def part_of(folder: Path, name: str) -> Path:
    """Where a file grows until it is whole."""
    path = folder / f"{name}{PART}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
