"""What a `[[source]]` table comes to: which files lie where, what a server is shown, and how the files are read."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from monitor.api.errors import ConfigError, MissingSettingError
from monitor.api.extras import describe_missing, is_installed
from monitor.api.files import ImportOptions
from monitor.api.ingest import load_mapping
from monitor.api.queries.ingest import LONG, WIDE, add_places, list_readers, read_series
from monitor.api.settings import SourceSection, find_secret
from monitor.api.sites import Binding, Site
from monitor.features.sources.fetch import PollRequest, ServerCredentials, WantedFile
from monitor.features.sources.queries import FileState

FETCHERS = {"nevada": "http", "egms": "http"}  # patterns are files by HTTP
TOKEN = {"egms": "id"}  # parameter of the address that holds the token
PACKAGES = {"sftp": "asyncssh"}
MIB = 1 << 20


def _name_files(source: SourceSection) -> list[tuple[str, str]]:
    base = source.address.rstrip("/")
    if source.kind == "stac":
        return [("catalogue", source.address)]
    if source.kind == "sensorthings":
        return [(one, f"{base}/Datastreams({one if one.isdigit() else repr(one)})") for one in source.series]
    if source.kind == "nevada":  # plates are called by it: P816.NA.tenv3
        end = ".tenv3" if source.frame.startswith(("IGS", "ITRF")) else f".{source.frame}.tenv3"
        return [(f"{s}{end}", f"{base}/{source.frame}/{s}{end}") for s in source.stations]
    if source.files:
        return [(name, f"{base}/{name}") for name in source.files]
    return [(Path(urlsplit(source.address).path).name or source.name, source.address)]


def make_request(
    source: SourceSection, known: Mapping[str, FileState], folder: Path, environ: Mapping[str, str]
) -> PollRequest:
    """What the worker that fetches is asked; raises MissingSettingError: a secret that the table names is not there."""
    secret = _require_secret(source, environ)
    host = urlsplit(source.address).hostname or ""
    key_file = str(Path(source.key_file).absolute()) if source.key_file else ""
    wanted = []
    for name, url in _name_files(source):
        state = known.get(name)
        if state is None or state.reason is not None:  # what was refused is looked at again
            wanted.append(WantedFile(name, url))
        else:
            wanted.append(WantedFile(name, url, state.etag, state.modified))
    return PollRequest(
        FETCHERS.get(source.kind, source.kind),
        # what is stored comes last: where a look is ended at its limit, the next one begins with what is missing
        tuple(sorted(wanted, key=lambda one: one.name in known)),
        str(folder),
        (host, *source.hosts),
        source.private,
        int(source.most_mb * MIB),
        ServerCredentials(
            source.username, secret, source.parameter or TOKEN.get(source.kind, ""), key_file, source.host_key
        ),
        source.ca_file,
        tuple(source.assets.items()),
        tuple(known) if source.kind == "stac" else (),
        source.since,
    )


def _require_secret(source: SourceSection, environ: Mapping[str, str]) -> str:
    found = find_secret(environ, source.secret) if source.secret else ""
    if found is None:
        raise MissingSettingError(f"source {source.name}: the environment variable {source.secret} is not set")
    return found


def make_binding(source: SourceSection) -> Binding:
    """The decoder of Observations; its topic is the name of the source and of the Datastream."""
    return Binding(f"{source.name}/+", "sensorthings", series=tuple(source.series.items()))


def find_form(source: SourceSection) -> str:
    """The reader of its files; raises ConfigError where there is none of that name, or an option is missing."""
    form = source.form or (WIDE if source.mapping else LONG)
    if form not in list_readers():
        raise ConfigError(f"source {source.name}: format: expected one of {', '.join(list_readers())}, got {form!r}")
    given = {
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
    for option in list_readers()[form].needs:
        if not given[option]:
            raise ConfigError(f"source {source.name}: format {form!r} needs the key {KEYS.get(option, option[2:])}")
    return form


KEYS = {"--window": "window_m", "--within": "within_m"}


def find_faults(
    sources: Iterable[SourceSection], sites: Collection[str], environ: Mapping[str, str]
) -> Iterator[ConfigError]:
    """What keeps sources from working, as far as it can be known without a look at a server; one each."""
    for one in sources:
        if one.site not in sites:
            yield ConfigError(f"source {one.name}: site {one.site!r} is not configured")
        package = PACKAGES.get(one.kind)
        if package is not None and not is_installed(package):
            yield ConfigError(f"source {one.name}: {describe_missing(package)}")
        for path in (one.key_file, one.ca_file):
            if path and not os.access(path, os.R_OK):
                yield ConfigError(f"source {one.name}: {path} cannot be read")
        try:
            _require_secret(one, environ)
        except MissingSettingError as error:
            yield error
        try:
            if one.kind == "sensorthings":
                read_series(make_binding(one))
            elif one.kind != "stac":
                find_form(one)
            if one.mapping:
                load_mapping(Path(one.mapping))
        except ConfigError as error:
            yield error


def make_options(source: SourceSection, site: Site) -> ImportOptions:
    """How the files are to be read; raises ConfigError where the mapping cannot be used."""
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
