"""What was fetched or found goes into the database: looked at, read in a sandboxed worker, through the usual gate."""

import hashlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
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
    read_points,
    record_file,
)
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import EMPTY_FILE, LABELLED_TEXT, Figure, Template, rename_file, tidy_text
from monitor.features.sources.queries import FileState

HEAD_BYTES: Final = 2048
_PAGE: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
_NO_LINES: Final = (b"<", b"PK", b"PAR1", b'"TOB1"', b"\x1f\x8b", b"\x89HDF", b"CDF")  # how files begin that have none
_NO_FILE: Final = Template("source.file.none", "no file")
_PACKED: Final = Template("source.file.packed", "is packed by gzip: let it lie there unpacked")
_WEB_PAGE: Final = Template(
    "source.file.page", "a web page and no data; does the server ask for a login, or report an error?"
)
_SHRINKS: Final = Template(
    "source.file.shrinks",
    "has {n} octets and had {before}: a file that shrinks is not taken; rolling = true where it holds the newest days "
    "alone, or slopeward ingest sources poll NAME --shorter, once",
)
_NOTHING: Final = Template("source.file.nothing", "nothing valid was found; the first reason: {reason}")
_NO_TIME: Final = Template("source.scene.time", "'{at}' is no time")
_NO_ZONE: Final = Template("source.scene.zone", "expected a time with its zone and at least one band")
_NO_NAME: Final = Template("source.scene.name", "'{file}' is no name of a band's file")
_NO_BAND: Final = Template("source.scene.band", "'{band}' is no band that was fetched")
IS_THERE: Final = Template("source.scene.there", "{scene}: is in the inbox already")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class SourceTarget:
    """Where files of a source go."""

    db: Database
    config: ServiceConfig  # of the service
    site: Site  # in force
    clock: Clock  # gives the present, aware UTC
    who: str  # the source, as it stands beside the values that it changes
    accept_units: bool = False  # a person has said in the file that the units are right


def measure(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file; raises RefusedError where it is no plain file."""
    if path.is_symlink() or not path.is_file():
        raise RefusedError(LABELLED_TEXT(name=path.name, text=_NO_FILE()))
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def find_end(path: Path, size: int, digest: str, before: FileState | None) -> int:
    """How many octets of a file count: without a last line that nobody has ended, while its writer may be in it.

    Half a line may hold half a number, -1 of -12.5. What is still the same at the next look is whole.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(max(0, size - LINE_LIMIT))
        tail = file.read(LINE_LIMIT)
    end = tail.rfind(b"\n") + 1
    is_same = before is not None and before.sha256 == digest
    if is_same or not end or tail.endswith((b"\n", b"\r")) or b"\0" in head or head.lstrip().startswith(_NO_LINES):
        return size
    return size - len(tail) + end


def check_content(path: Path, size: int, before: FileState | None, *, may_shrink: bool) -> None:
    """Refuse what is no data, or less than was there before; raises RefusedError: one line."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(b"\x1f\x8b"):
        raise RefusedError(LABELLED_TEXT(name=path.name, text=_PACKED()))
    if not head.strip(b"\0 \r\n\t"):
        raise RefusedError(LABELLED_TEXT(name=path.name, text=EMPTY_FILE()))
    if _PAGE.match(head):
        raise RefusedError(LABELLED_TEXT(name=path.name, text=_WEB_PAGE()))
    if before is not None and before.reason is None and size < before.size and not may_shrink:
        shrinks = _SHRINKS(n=Figure(size, "d"), before=Figure(before.size, "d"))
        raise RefusedError(LABELLED_TEXT(name=path.name, text=shrinks))


def take_file(path: Path, form: str, options: ImportOptions, place: SourceTarget, name: str = "") -> FileResult:
    """Read a file in a sandboxed worker and store what it says.

    Raises:
        ConfigError, UnitDoubtError, RefusedError: it cannot be taken; one line.
        StoreBusyError: the database did not answer; what came before is stored, reading again is harmless.
    """
    with open_converted(path, form, options, place.config.compute, place.clock()) as opened:
        if list_readers()[form].content is Content.POINTS:
            found = opened.points(place.clock())
            result = read_points(PointsFile(path, place.site, place.clock, place.db), found)
        else:
            sites, name = {place.site.id: place.site}, f"{place.who}/{name or path.name}"

            def drop() -> None:
                with place.db.write() as c:  # the whole file is read: what is wrong in it waits once
                    delete_superseded_rows(c, FILE_TOPIC + place.site.id, f"file:{name}")

            result = FileImport(
                path,
                Pipeline(place.db, sites, place.clock, place.config.limits),
                place.site,
                place.clock,
                mapping=options.mapping,
                accept_units=place.accept_units,
                accept_ranges=True,
                by=place.who,
                name=name,
                open_lines=opened.readings,
                before_storing=drop,
            ).run()
    record_file(place.db, Actor(place.who, "service"), result, place.clock())
    if not result.valid and result.rejected:
        raise RefusedError(LABELLED_TEXT(name=path.name, text=_NOTHING(reason=result.first_reason)))
    return result


def explain(error: SlopewardError, path: Path) -> str:
    """Why a file was not taken, in one line with its name and without folders of this machine."""
    name = tidy_text(path.name).encode("utf-8", "replace").decode()
    text = rename_file(error.message, str(path), name)
    plain = " ".join(text.split()).encode("utf-8", "replace").decode()
    explained = text if plain == text else plain
    return explained if name in explained else LABELLED_TEXT(name=name, text=explained)


def place_scene(folder: Path, item: str, acquired_at: str, files: Sequence[tuple[str, str]], inbox: Path) -> str:
    """Put the files of an item into the scenes' inbox, the manifest with them; returns the name of the scene.

    The manifest names the bands as the source does, and all files that must have arrived. What the item itself says
    (scale, offset, clouds) lies beside it. Raises RefusedError: what was fetched is not what was asked for.
    """
    name = _UNSAFE.sub("-", item).strip("-.")[:100] or "item"
    try:
        at = datetime.fromisoformat(acquired_at)
    except ValueError:
        raise RefusedError(LABELLED_TEXT(name=name, text=_NO_TIME(at=acquired_at[:40]))) from None
    if at.tzinfo is None or not files:
        raise RefusedError(LABELLED_TEXT(name=name, text=_NO_ZONE()))
    there = sorted(folder.iterdir())
    for path in there:
        if _UNSAFE.search(path.name) or path.name.startswith(".") or path.is_symlink() or not path.is_file():
            raise RefusedError(LABELLED_TEXT(name=name, text=_NO_NAME(file=path.name[:60])))
    if odd := next((band for band, file in files if _UNSAFE.search(band) or folder / file not in there), None):
        raise RefusedError(LABELLED_TEXT(name=name, text=_NO_BAND(band=odd[:60])))
    lines = [f"acquired_at = {at.isoformat()}", "", "[bands]", *(f'"{band}" = "{file}"' for band, file in files)]
    sizes = [f'"{path.name}" = {path.stat().st_size}' for path in there]
    (folder / "scene.toml").write_text("\n".join([*lines, "", "[files]", *sizes, ""]), encoding="utf-8")
    inbox.mkdir(parents=True, exist_ok=True)
    hidden, final = inbox / f".{name}", inbox / name
    if final.exists():
        raise RefusedError(IS_THERE(scene=name))
    shutil.rmtree(hidden, ignore_errors=True)
    shutil.move(str(folder), str(hidden))
    hidden.rename(final)
    return name
