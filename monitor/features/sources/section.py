"""Derive from a `[[source]]` table what to request from the server, and how its files or rows are read."""

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from sqlalchemy.engine import make_url

from monitor.api.errors import ConfigError, MissingSettingError
from monitor.api.extras import describe_missing, is_installed
from monitor.api.files import ImportOptions
from monitor.api.ingest import load_mapping
from monitor.api.queries.ingest import LONG, WIDE, add_places, list_readers, read_series
from monitor.api.settings import INFLUXDB_KIND, ROW_KINDS, SQL_KIND, SourceSection, find_secret
from monitor.api.sites import Binding, Site
from monitor.features.sources.addresses import hide_query
from monitor.features.sources.fetching import PollRequest, ServerCredentials, WantedFile
from monitor.features.sources.queries import FileState
from monitor.features.sources.row_query import RowColumns, RowQuery
from monitor.features.sources.rows import MORE, ROWS
from monitor.features.sources.sql import find_package

# Kinds that are known addresses of files on an HTTP server.
PROTOCOLS: Final = {"nevada": "http", "egms": "http"}
# Parameter of the address that contains the secret.
SECRET_PARAMETERS: Final = {"egms": "id"}
REQUIRED_PACKAGES: Final = {"sftp": "asyncssh"}
# Keys of the table whose names differ from the option of the importer.
OPTION_KEYS: Final = {"--window": "window_m", "--within": "within_m"}
MIB: Final = 1 << 20


def _list_files(source: SourceSection) -> list[tuple[str, str]]:
    """Return name and address of each file."""
    base = source.address.rstrip("/")
    if source.kind == "stac":
        return [("catalogue", source.address)]
    if source.kind in ROW_KINDS:
        return [(ROWS, source.address)]
    if source.kind == "sensorthings":
        # Numeric ids are written as they are, others in quotes.
        return [
            (stream, f"{base}/Datastreams({stream if stream.isdigit() else repr(stream)})") for stream in source.series
        ]
    if source.kind == "nevada":
        # Names of files relative to a plate contain it, such as P816.NA.tenv3.
        suffix = ".tenv3" if source.frame.startswith(("IGS", "ITRF")) else f".{source.frame}.tenv3"
        names = [f"{station}{suffix}" for station in source.stations]
        return [(name, f"{base}/{source.frame}/{name}") for name in names]
    if source.files:
        return [(name, f"{base}/{name}") for name in source.files]
    return [(Path(urlsplit(source.address).path).name or source.name, source.address)]


def describe_address(source: SourceSection) -> str:
    """Return the address of a source for people and for the database, without login and query."""
    if source.kind != SQL_KIND:
        return hide_query(source.address)
    url = make_url(source.address)
    server = f"{url.host or ''}:{url.port}" if url.port else url.host or ""
    return hide_query(f"{url.drivername}://{server}/{url.database or ''}")


def find_database_file(source: SourceSection) -> Path | None:
    """Return the file of a source that reads a SQLite file; None for another source."""
    if source.kind != SQL_KIND:
        return None
    url = make_url(source.address)
    return Path(url.database or "").absolute() if url.get_backend_name() == "sqlite" else None


def _find_host(source: SourceSection) -> str:
    if source.kind == SQL_KIND:
        return make_url(source.address).host or ""
    return urlsplit(source.address).hostname or ""


def make_fingerprint(source: SourceSection) -> str:
    """Return a checksum of the keys that determine which rows a source reads, and as what.

    If one of them changes, a stored position has no meaning any more.
    """
    keys = ("url", "database", "table", "query", "columns", "series", "station", "quantity", "position", "zone")
    text = source.model_dump_json(include={*keys, "time_format", "since"})
    return hashlib.sha256(text.encode()).hexdigest()


def make_row_query(source: SourceSection, state: FileState | None, now: datetime) -> RowQuery:
    """Return what to read from a table of a database.

    Args:
        state: Position that was reached; None to begin.
    """
    # InfluxDB returns times in UTC.
    zone = source.zone or ("UTC" if source.kind == INFLUXDB_KIND else None)
    return RowQuery(
        address=describe_address(source),
        columns=RowColumns(**source.columns),
        position=source.position or source.columns["time"],
        now=now,
        table=source.table,
        query=source.query,
        database=source.database,
        series=tuple(read_series(make_binding(source)).items()),
        station=source.station,
        quantity=source.quantity,
        unindexed=source.unindexed,
        zone=None if zone is None else ZoneInfo(zone),
        time_format=source.time_format,
        overlap_s=source.overlap_s,
        overlap_rows=source.overlap_rows,
        max_rows=source.most_rows,
        limit_s=source.limit_s,
        is_resumed=state is not None and state.etag == MORE,
        stored="" if state is None else state.modified,
    )


def make_request(
    source: SourceSection,
    file_states: Mapping[str, FileState],
    folder: Path,
    environ: Mapping[str, str],
    now: datetime | None = None,
) -> PollRequest:
    """Return the request of the worker that downloads.

    Args:
        now: Present, for a source that reads rows.

    Raises:
        MissingSettingError: The environment variable of the secret is not set.
    """
    secret = _require_secret(source, environ)
    wanted = []
    for name, url in _list_files(source):
        state = file_states.get(name)
        # A file that was rejected is downloaded again, also if the server did not change it.
        if state is None or state.reason is not None:
            wanted.append(WantedFile(name, url))
        else:
            wanted.append(WantedFile(name, url, state.etag, state.modified))
    # New files come first: if a poll is killed at its limit, the next one begins with the missing files.
    wanted.sort(key=lambda file: file.name in file_states)
    return PollRequest(
        kind=PROTOCOLS.get(source.kind, source.kind),
        wanted=tuple(wanted),
        folder=str(folder),
        hosts=(_find_host(source), *source.hosts),
        allow_private=source.private,
        max_file_bytes=int(source.most_mb * MIB),
        login=ServerCredentials(
            username=source.username,
            secret=secret,
            parameter=source.parameter or SECRET_PARAMETERS.get(source.kind, ""),
            key_file=str(Path(source.key_file).absolute()) if source.key_file else "",
            host_key=source.host_key,
            # The only scheme that InfluxDB 2 and 3 both accept for a token.
            scheme="Token" if source.kind == INFLUXDB_KIND else "Bearer",
        ),
        ca_file=source.ca_file,
        assets=tuple(source.assets.items()),
        known_items=tuple(file_states) if source.kind == "stac" else (),
        since=source.since,
        rows=make_row_query(source, file_states.get(ROWS), now) if source.kind in ROW_KINDS and now else None,
    )


def _require_secret(source: SourceSection, environ: Mapping[str, str]) -> str:
    secret = find_secret(environ, source.secret) if source.secret else ""
    if secret is None:
        raise MissingSettingError(f"source {source.name}: the environment variable {source.secret} is not set")
    return secret


def make_binding(source: SourceSection) -> Binding:
    """Return the series of a source. Their topic consists of the source and, for SensorThings, the Datastream."""
    return Binding(f"{source.name}/+", "sensorthings", series=tuple(source.series.items()))


def choose_reader(source: SourceSection) -> str:
    """Return the name of the reader of the files.

    Raises:
        ConfigError: No such reader exists, or a key that it requires is missing.
    """
    reader = source.reader or (WIDE if source.mapping else LONG)
    if reader not in list_readers():
        raise ConfigError(f"source {source.name}: format: expected one of {', '.join(list_readers())}, got {reader!r}")
    values = {
        "--mapping": source.mapping,
        "--set": source.set,
        "--direction": source.direction,
        "--unit": source.unit,
        "--station": source.station,
        "--quantity": source.quantity,
        "--variable": source.variable,
        "--mask": source.mask,
        "--window": source.window_m,
        "--within": source.within_m,
        "--time": source.time,
        "--stamp": source.stamp,
    }
    for option in list_readers()[reader].needs:
        if not values[option]:
            key = OPTION_KEYS.get(option, option.removeprefix("--"))
            raise ConfigError(f"source {source.name}: format {reader!r} needs the key {key}")
    return reader


def find_faults(
    sources: Iterable[SourceSection], sites: Collection[str], environ: Mapping[str, str]
) -> Iterator[ConfigError]:
    """Yield the faults of `[[source]]` tables that can be detected without contacting a server."""
    for source in sources:
        if source.site not in sites:
            yield ConfigError(f"source {source.name}: site {source.site!r} is not configured")
        package = find_package(source.address) if source.kind == SQL_KIND else REQUIRED_PACKAGES.get(source.kind)
        if package and not is_installed(package):
            yield ConfigError(f"source {source.name}: {describe_missing(package)}")
        for path in (source.key_file, source.ca_file, find_database_file(source)):
            if path and not os.access(path, os.R_OK):
                yield ConfigError(f"source {source.name}: {path} cannot be read")
        try:
            _require_secret(source, environ)
        except MissingSettingError as error:
            yield error
        try:
            if source.kind == "sensorthings" or source.kind in ROW_KINDS:
                read_series(make_binding(source))
            elif source.kind != "stac":
                choose_reader(source)
            if source.mapping:
                load_mapping(Path(source.mapping))
        except ConfigError as error:
            yield error


def make_options(source: SourceSection, site: Site) -> ImportOptions:
    """Return the options of the reader.

    Raises:
        ConfigError: The mapping cannot be used.
    """
    options = ImportOptions(
        mapping=load_mapping(Path(source.mapping)) if source.mapping else None,
        point_set=source.set or None,
        direction=source.direction or None,
        unit=source.unit or None,
        station=source.station or None,
        quantity=source.quantity or None,
        variable=source.variable or None,
        mask=source.mask or None,
        window_m=source.window_m,
        within_m=source.within_m,
        time=source.time or None,
        stamp=source.stamp or None,
    )
    return add_places(options, site)
