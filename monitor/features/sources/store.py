"""Store the content of files that were downloaded or found in a watched folder.

Files are read in a sandboxed worker, and their values pass the same checks as messages of instruments.
"""

import hashlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from monitor.api.database import Actor, Database
from monitor.api.decoders import Pipeline
from monitor.api.errors import RefusedError, SlopewardError
from monitor.api.files import Content, ImportOptions
from monitor.api.ingest import LINE_LIMIT
from monitor.api.queries.ingest import (
    FILE_TOPIC,
    Clock,
    FileImport,
    FileResult,
    PointsFile,
    delete_superseded_rows,
    list_readers,
    open_converted,
    open_plain,
    read_points,
    record_file,
)
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import EMPTY_FILE, LABELLED_TEXT, Figure, Template, rename_file, tidy_text
from monitor.features.sources.queries import FileState

HEAD_BYTES: Final = 2048
GZIP: Final = b"\x1f\x8b"
# First bytes of formats that do not consist of lines: XML, zip, Parquet, TOB1, gzip, HDF5 and NetCDF.
FORMATS_WITHOUT_LINES: Final = (b"<", b"PK", b"PAR1", b'"TOB1"', GZIP, b"\x89HDF", b"CDF")
_WEB_PAGE_START: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
_NO_FILE: Final = Template("source.file.none", "no file")
_PACKED: Final = Template("source.file.packed", "is packed by gzip: unpack it on the server or in the folder")
_WEB_PAGE: Final = Template(
    "source.file.page", "a web page and no data; does the server request a login, or report an error?"
)
_SHRINKS: Final = Template(
    "source.file.shrinks",
    "has {n} bytes and had {before}: a file that shrinks is not taken; set rolling = true if it contains only the "
    "newest days, or accept it once with slopeward ingest sources poll NAME --shorter",
)
_NOTHING: Final = Template("source.file.nothing", "nothing valid was found; the first reason: {reason}")
_NO_TIME: Final = Template("source.scene.time", "'{at}' is no time")
_NO_ZONE: Final = Template("source.scene.zone", "expected a time with its zone and at least one band")
_NO_NAME: Final = Template("source.scene.name", "'{file}' is no name of a band's file")
_NO_BAND: Final = Template("source.scene.band", "'{band}' is no band that was fetched")
ALREADY_IN_INBOX: Final = Template("source.scene.there", "{scene}: is in the inbox already")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class SourceTarget:
    """Where the files of a source are stored.

    Attributes:
        site: Version of the site file in force.
        clock: Returns the present as aware UTC.
        actor_name: Name of the source, stored with the values that it changes.
        accept_units: Whether the service file confirms the units of the files.
    """

    db: Database
    config: ServiceConfig
    site: Site
    clock: Clock
    actor_name: str
    accept_units: bool = False


def measure_file(path: Path) -> tuple[int, str]:
    """Return size and SHA-256 of a file.

    Raises:
        RefusedError: It is not a regular file.
    """
    if path.is_symlink() or not path.is_file():
        raise RefusedError(LABELLED_TEXT(name=path.name, text=_NO_FILE()))
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def find_complete_end(path: Path, size: int, digest: str, before: FileState | None) -> int:
    """Return the size of a file without an unfinished last line.

    The writer may not have finished a last line without line end: it may contain -1 instead of -12.5. If the file is
    unchanged since the last poll, the line is complete.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(max(0, size - LINE_LIMIT))
        tail = file.read(LINE_LIMIT)
    is_unchanged = before is not None and before.sha256 == digest
    has_lines = b"\0" not in head and not head.lstrip().startswith(FORMATS_WITHOUT_LINES)
    end_in_tail = tail.rfind(b"\n") + 1
    if is_unchanged or not has_lines or end_in_tail == 0 or tail.endswith((b"\n", b"\r")):
        return size
    return size - len(tail) + end_in_tail


def check_content(path: Path, size: int, before: FileState | None, *, may_shrink: bool) -> None:
    """Reject a file that contains no data, or less than its last version.

    Raises:
        RefusedError: with one line.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(GZIP):
        raise RefusedError(LABELLED_TEXT(name=path.name, text=_PACKED()))
    if not head.strip(b"\0 \r\n\t"):
        raise RefusedError(LABELLED_TEXT(name=path.name, text=EMPTY_FILE()))
    if _WEB_PAGE_START.match(head):
        raise RefusedError(LABELLED_TEXT(name=path.name, text=_WEB_PAGE()))
    if before is not None and before.reason is None and size < before.size and not may_shrink:
        shrinks = _SHRINKS(n=Figure(size, "d"), before=Figure(before.size, "d"))
        raise RefusedError(LABELLED_TEXT(name=path.name, text=shrinks))


def store_file(path: Path, reader: str, options: ImportOptions, target: SourceTarget, name: str = "") -> FileResult:
    """Read a file in a sandboxed worker and store its values.

    Args:
        reader: Name of the reader of its format.
        name: Name of the file in the source, if it differs from the name of `path`.

    Raises:
        ConfigError, UnitDoubtError, RefusedError: The file cannot be read or stored, in one line.
        StoreBusyError: The database is unavailable. A part may be stored; reading the file again is safe.
    """
    with open_converted(path, reader, options, target.config.compute, target.clock()) as converted:
        if list_readers()[reader].content is Content.POINTS:
            points = converted.points(target.clock())
            result = read_points(PointsFile(path, target.site, target.clock, target.db), points)
        else:
            client_name = f"{target.actor_name}/{name or path.name}"

            def delete_rejected_rows() -> None:
                # The file is read completely, so its rejected rows replace those of the last poll.
                with target.db.write() as c:
                    delete_superseded_rows(c, FILE_TOPIC + target.site.id, f"file:{client_name}")

            result = FileImport(
                path,
                Pipeline(target.db, {target.site.id: target.site}, target.clock, target.config.limits),
                target.site,
                target.clock,
                mapping=options.mapping,
                accept_units=target.accept_units,
                accept_ranges=True,
                by=target.actor_name,
                name=client_name,
                open_lines=converted.readings,
                before_storing=delete_rejected_rows,
            ).run()
    record_file(target.db, Actor(target.actor_name, "service"), result, target.clock())
    if not result.valid and result.rejected:
        raise RefusedError(LABELLED_TEXT(name=path.name, text=_NOTHING(reason=result.first_reason)))
    return result


def store_rows(path: Path, target: SourceTarget) -> FileResult:
    """Store readings that a worker read from a database, as `write_lines` wrote them.

    Units are not compared with those of stored readings, as for messages of instruments: a sudden motion must not stop
    the readings of a site. `slopeward import` compares them.

    Raises:
        ConfigError, UnitDoubtError: The file cannot be read or stored, in one line.
        RefusedError: No row is valid.
        StoreBusyError: The database is unavailable. A part may be stored; reading the rows again is safe.
    """
    result = FileImport(
        path,
        Pipeline(target.db, {target.site.id: target.site}, target.clock, target.config.limits),
        target.site,
        target.clock,
        accept_units=True,
        accept_times=True,
        accept_ranges=True,
        by=target.actor_name,
        name=target.actor_name,
        open_lines=partial(open_plain, path),
        has_message_per_row=True,
    ).run()
    if not result.valid and result.rejected:
        raise RefusedError(_NOTHING(reason=result.first_reason))
    return result


def describe_error(error: SlopewardError, path: Path) -> str:
    """Return why a file was not stored, in one line with its name and without folders of this machine."""
    name = tidy_text(path.name).encode("utf-8", "replace").decode()
    text = rename_file(error.message, str(path), name)
    plain = " ".join(text.split()).encode("utf-8", "replace").decode()
    line = text if plain == text else plain
    return line if name in line else LABELLED_TEXT(name=name, text=line)


def move_scene_to_inbox(
    folder: Path, item_id: str, acquired_at: str, files: Sequence[tuple[str, str]], inbox: Path
) -> str:
    """Move the files of an item with a manifest to the inbox of scenes, and return the name of the scene.

    The manifest contains the bands as the source names them, and all files with their sizes. The item itself (scale,
    offset, clouds) stays beside it.

    Args:
        files: Band and file.

    Raises:
        RefusedError: The worker returned an invalid time, band or file, or the scene is in the inbox already.
    """
    name = _UNSAFE.sub("-", item_id).strip("-.")[:100] or "item"
    try:
        instant = datetime.fromisoformat(acquired_at)
    except ValueError:
        raise RefusedError(LABELLED_TEXT(name=name, text=_NO_TIME(at=acquired_at[:40]))) from None
    if instant.tzinfo is None or not files:
        raise RefusedError(LABELLED_TEXT(name=name, text=_NO_ZONE()))
    paths = sorted(folder.iterdir())
    for path in paths:
        if _UNSAFE.search(path.name) or path.name.startswith(".") or path.is_symlink() or not path.is_file():
            raise RefusedError(LABELLED_TEXT(name=name, text=_NO_NAME(file=path.name[:60])))
    for band, file in files:
        if _UNSAFE.search(band) or folder / file not in paths:
            raise RefusedError(LABELLED_TEXT(name=name, text=_NO_BAND(band=band[:60])))
    bands = [f'"{band}" = "{file}"' for band, file in files]
    sizes = [f'"{path.name}" = {path.stat().st_size}' for path in paths]
    lines = [f"acquired_at = {instant.isoformat()}", "", "[bands]", *bands, "", "[files]", *sizes, ""]
    (folder / "scene.toml").write_text("\n".join(lines), encoding="utf-8")
    inbox.mkdir(parents=True, exist_ok=True)
    # The reader of the inbox ignores hidden folders, so it never reads a scene that is only partly moved.
    hidden = inbox / f".{name}"
    final = inbox / name
    if final.exists():
        raise RefusedError(ALREADY_IN_INBOX(scene=name))
    shutil.rmtree(hidden, ignore_errors=True)
    shutil.move(str(folder), str(hidden))
    hidden.rename(final)
    return name
