"""What the worker that fetches files gets and answers; it may reach the network, and nothing else."""

from dataclasses import dataclass
from typing import Final

from monitor.worker.records import WorkerTask

NEW, SAME, FAILED, OLD = "new", "same", "failed", "old"


@dataclass(frozen=True, slots=True)
class WantedFile:
    """One file of a source.

    Args:
        name: what it is called in the folder and in the database.
        url: where it lies, without any secret.
        etag: what the server said of the version that is known, "" of none.
        modified: the same as a time; for SFTP size and time.
    """

    name: str
    url: str
    etag: str = ""
    modified: str = ""


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
    """One look at a server.

    Args:
        kind: http, sftp or stac.
        wanted: the files; of a catalogue, its own address alone.
        folder: where whole files are put.
        hosts: names that may be connected to.
        private: whether addresses of private networks may be.
        most_bytes: of one file.
        login: of the first host of `hosts` alone.
        ca_file: authority of a server with a private one.
        assets: band -> key of the asset, of a catalogue.
        known: items of a catalogue that were taken.
        reserve_bytes: what must stay free on the disk of the folder, whatever was fetched before.
        since: items of a catalogue before this day are left out, "" none is.
    """

    kind: str
    wanted: tuple[WantedFile, ...]
    folder: str
    hosts: tuple[str, ...]
    private: bool
    most_bytes: int
    login: ServerCredentials = ServerCredentials()
    ca_file: str = ""
    assets: tuple[tuple[str, str], ...] = ()
    known: tuple[str, ...] = ()
    since: str = ""
    reserve_bytes: int = 0


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


FETCH: Final = WorkerTask("monitor.ingest.sources.fetch:fetch", PollRequest, PollResult)
