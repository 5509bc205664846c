"""Functions that commands share: options, service file, database, look-up of sites and stations, output."""

import functools
import inspect
import json
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, TypeVar, get_type_hints

import typer
from sqlalchemy import Connection

from monitor.canonical import canonical_json
from monitor.cli.nearest import suggest_nearest
from monitor.cli.rules import forbid_writing_by_rule
from monitor.errors import NotFoundError, RefusedError
from monitor.settings.service import ServiceConfig, load_service
from monitor.sites.files import scan_sites
from monitor.sites.queries.sites import load_sites_summary
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.storage.migrate import require_current
from monitor.text.instants import format_about, format_instants, format_iso, parse_duration_s, parse_time
from monitor.text.local_time import format_instant, use_zone
from monitor.text.reasons import describe_error
from monitor.text.rendering import translate

# A command that needs a site takes it as its first argument. A command that can do without one has the option `--site`.
SiteArgument = Annotated[str, typer.Argument(metavar="SITE", help="Site id.")]
SiteFilter = Annotated[str | None, typer.Option("--site", help="Only this site.")]
# Largest number of a row of the database, and largest seed of a random number generator.
LARGEST_ID: Final = 2**63 - 1
LARGEST_SEED: Final = 2**32 - 1
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most this many, newest first.")]
SinceOption = Annotated[str | None, typer.Option("--since", help="After this time, such as 2026-03-01T00:00Z.")]
UntilOption = Annotated[str | None, typer.Option("--until", help="Up to this time.")]
UtcOption = Annotated[bool, typer.Option("--utc", help="Show times in UTC. Default: the time zone of the site.")]
# Pause between two lines of progress.
PROGRESS_EVERY_S = 2.0
# A site without a reading for this long is a record of the past.
OLD_RECORD_S = 30 * 86400.0
# Exit status: done in part, for example because some rows were rejected.
EXIT_PARTLY = 3
# Exit status: nothing to do, or nothing valid.
EXIT_NOTHING = 4


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """The values of `--config` and `--json`."""

    config: Path | None = None
    as_json: bool = False


_OPTIONS: Final[ContextVar[CommandOptions]] = ContextVar("slopeward_options")
Value = TypeVar("Value")
Command = TypeVar("Command", bound=Callable[..., Any])
_CONFIG_HELP: Final = "Service file. Default: SLOPEWARD_CONFIG, else ./configs/slopeward.toml."
CONFIG: Final = inspect.Parameter(
    "config",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[Path | None, typer.Option("--config", help=_CONFIG_HELP)],
)
AS_JSON: Final = inspect.Parameter(
    "as_json",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--json", help="Print JSON lines on stdout.")],
)


def options() -> CommandOptions:
    """Return the values of `--config` and `--json` of the running command."""
    return _OPTIONS.get(CommandOptions())


class Commands(typer.Typer):
    """Commands with the options `--config` and `--json`, whose values `options` returns."""

    def command(
        self, name: str | None = None, *, takes_config: bool = True, takes_json: bool = True, **typer_options: Any
    ) -> Callable[[Command], Command]:
        """Register a command.

        A command that declares `config` itself keeps its own declaration. A command with many options has a dataclass
        as its only parameter; the fields are the options.
        """
        register = super().command(name, **typer_options)
        shared = [CONFIG] * takes_config + [AS_JSON] * takes_json

        def add(run: Command) -> Command:
            register(_add_shared_options(run, shared))
            return run

        return add


def _add_shared_options(run: Callable[..., Any], shared: list[inspect.Parameter]) -> Callable[..., Any]:
    """Return a function that runs a command and has the shared parameters as well. `options` returns their values."""
    parameters = list(inspect.signature(run, eval_str=True).parameters.values())
    dataclass_of_options: Any = None
    if len(parameters) == 1 and is_dataclass(parameters[0].annotation):
        dataclass_of_options = parameters[0].annotation
        parameters = _list_fields(dataclass_of_options)
    names = {parameter.name for parameter in parameters}
    added = [parameter for parameter in shared if parameter.name not in names]

    @functools.wraps(run)
    def call(**values: Any) -> Any:
        shared_values = {parameter.name: values.pop(parameter.name) for parameter in added}
        token = _OPTIONS.set(CommandOptions(**shared_values))
        try:
            return run(**values) if dataclass_of_options is None else run(dataclass_of_options(**values))
        finally:
            _OPTIONS.reset(token)

    call.__signature__ = inspect.Signature([*parameters, *added])  # type: ignore[attr-defined]
    return call


def _list_fields(dataclass_of_options: Any) -> list[inspect.Parameter]:
    annotations = get_type_hints(dataclass_of_options, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=annotations[field.name],
        )
        for field in fields(dataclass_of_options)
    ]


def read_service() -> ServiceConfig:
    """Load the service file that the running command names."""
    return load_service(options().config)


def open_service(config: Path | None = None) -> tuple[ServiceConfig, Database]:
    """Load the service file and open the database, whose schema must be current."""
    service = load_service(config) if config is not None else read_service()
    return service, open_database(service)


def open_site(site_id: str) -> tuple[ServiceConfig, Database, Site]:
    """Load the service file, open the database and find a site. Raises what `pick_site` raises."""
    service, db = open_service()
    return service, db, pick_site(service, site_id)


def open_database(service: ServiceConfig | None = None, *, any_revision: bool = False) -> Database:
    """Open the configured database; use it in a `with` statement.

    It is read-only unless the rule of the running command allows writing (`monitor.cli.rules`).

    Args:
        service: The service file; None to load it.
        any_revision: Accept a schema of another version.
    """
    db = Database((service or read_service()).database.url)
    forbid_writing_by_rule(db)
    try:
        if not any_revision:
            require_current(db)
    except BaseException:
        db.close()
        raise
    return db


def pick_site(config: ServiceConfig, site_id: str) -> Site:
    """Return a site by its id.

    Raises:
        NotFoundError: There is no such site. The message names all sites and the most similar one.
        ConfigError: The file of the site cannot be used.
    """
    sites, failures = scan_sites(config.paths.sites)
    for site in sites:
        if site.id == site_id:
            return site
    for file, error in failures.items():
        if file.stem == site_id:
            raise error
    ids = [site.id for site in sites]
    advice = f"there are: {', '.join(ids)}" if ids else "there is none: `slopeward sites init NAME` writes one"
    raise NotFoundError(f"no site {site_id!r} in {config.paths.sites}; {advice}{suggest_nearest(site_id, ids)}")


def require_station(site_id: str, station: str, stations: Collection[str]) -> None:
    """Check that a site has a station.

    Args:
        site_id: The site.
        station: The id that a person gave.
        stations: Ids of the stations of the site.

    Raises:
        NotFoundError: The site has no such station. The message names all stations and the most similar one.
    """
    if station not in stations:
        names = ", ".join(stations) or "none"
        hint = suggest_nearest(station, stations)
        raise NotFoundError(f"{site_id} has no station {station!r}; there are: {names}{hint}")


def read_sites(site_id: str | None = None) -> list[Site]:
    """Return the sites whose files can be used, and print a warning for each other file.

    Raises:
        ConfigError: The file of the site `site_id` cannot be used.
    """
    sites, failures = scan_sites(read_service().paths.sites)
    for file, error in failures.items():
        if file.stem == site_id:
            raise error
    warn(error.message for error in failures.values())
    return sites


def check_site(c: Connection, site_id: str | None, results: object = None) -> None:
    """Check that a site has a file or a history. A retired site has a history only.

    Args:
        c: A connection.
        site_id: The site; None is not checked.
        results: What was found for the site. A site with results exists, so the check costs no query.

    Raises:
        NotFoundError: The site is unknown. The message names the existing sites.
    """
    if results or site_id is None or any(site.id == site_id for site in load_sites_summary(c, active_only=False)):
        return
    pick_site(read_service(), site_id)


def put_site_in_force(db: Database, site: Site, reason: str, now: datetime) -> Site:
    """Put a site file into force and return the declaration in force.

    A file that could make a high level harder to reach needs approval. It does not come into force, and a note is
    printed.
    """
    from monitor.alerts.acts.change_control import explain_refusal, explain_unread, load_into_force

    in_force = db.run_write(load_into_force, site, "slopeward", reason, now)
    if in_force.loosens:
        print_note(explain_refusal(in_force, f"the file of {site.id}"))
    if in_force.unread:
        print_note(explain_unread(in_force))
    return in_force.site


def print_hint_if_record_is_old(db: Database, site: Site, now: datetime) -> None:
    """Print how to evaluate the past if the newest reading of a site is too old to count today."""
    from monitor.alerts.queries.evaluations import load_newest
    from monitor.text.instants import from_epoch_s

    newest_readings = db.run_read(load_newest, site.id, now)
    observed_s = [reading.observed_s for reading in newest_readings.values()]
    interval_s = max((spec.interval_s for s in site.stations for spec in s.series), default=0.0)
    if not observed_s:
        return
    age_s = now.timestamp() - max(observed_s)
    if age_s <= max(OLD_RECORD_S, 3.0 * interval_s):
        return
    last = format_iso(from_epoch_s(max(observed_s)))[:19] + "Z"
    age = format_about(age_s)
    print_note(f"the last reading of {site.id} is of {last}, {age} ago: too old to count today")
    print_note(f"  what would have been decided then: slopeward evaluate {site.id} --at {last} --known observed")
    print_note(f"  the whole record: slopeward backtest --site {site.id} --known observed")


def find_zones(c: Connection, *, utc: bool) -> Callable[[str], str]:
    """Return a function that returns the time zone of a site, and `[web] timezone` for the service itself."""
    if utc:
        return lambda _site: "UTC"
    zones = {site.id: site.timezone for site in load_sites_summary(c, active_only=False)}
    zone_of_service = read_service().web.timezone
    return lambda site: zones.get(site, zone_of_service)


def translate_in_zone(text: str | None, zone: str) -> str:
    """Translate a message with its times in a time zone. A text written by a person is returned unchanged."""
    with use_zone(zone):
        return str(translate(text or ""))


def format_in_zone(at: datetime | str | None, zone: str) -> str:
    """Format an instant in a time zone; a dash for None."""
    return "-" if at is None else format_instant(parse_time(at) if isinstance(at, str) else at, zone)


def print_json(value: Any) -> None:
    """Print a value as JSON on one line of stdout."""
    print(json.dumps(value, ensure_ascii=False, default=str))


def print_if_json(value: Any) -> bool:
    """Print a value as JSON if `--json` was given. Return whether it was."""
    if as_json := options().as_json:
        print_json(value)
    return as_json


def print_result(facts: Mapping[str, Any], line: str) -> None:
    """Print one result: `line`, or with `--json` the facts as one JSON object with sorted keys."""
    print(canonical_json(format_instants(facts)) if options().as_json else line)


def print_result_in_order(facts: Mapping[str, Any], line: str) -> None:
    """Print one result: `line`, or with `--json` the facts as one JSON object.

    The keys keep the order of `facts`.
    """
    if not print_if_json(facts):
        print(line)


def print_note(line: str) -> None:
    """Print a line for people on stderr."""
    print(line, file=sys.stderr)


def require_any(results: object, line: str) -> None:
    """Print a line and exit with status 4 if there are no results."""
    if not results:
        print_note(line)
        raise typer.Exit(EXIT_NOTHING)


@contextmanager
def exit_on(*error_types: type[Exception]) -> Iterator[None]:
    """Print errors of the given types and exit with status 4, because there is nothing to work on."""
    try:
        yield
    except error_types as error:
        print_note(describe_error(error))
        raise typer.Exit(EXIT_NOTHING) from None


def warn(warnings: Iterable[object]) -> None:
    """Print warnings about a result on stderr."""
    for warning in warnings:
        print_note(f"warning: {warning}")


def read_option(option: str, read: Callable[[str], Value], text: str, hint: str = "") -> Value:
    """Parse the value of an option.

    Args:
        option: Name of the option, for the error.
        read: The parser; raises ValueError.
        text: The value.
        hint: End of the error, such as an example.

    Raises:
        RefusedError: The value cannot be parsed.
    """
    try:
        return read(text)
    except ValueError as error:
        raise RefusedError(f"{option}: {error}{hint}") from error


def read_duration_s(option: str, text: str) -> float:
    """Parse a duration such as `4h` into seconds. Raises RefusedError."""
    return read_option(option, parse_duration_s, text)


def read_instant(option: str, text: str) -> datetime:
    """Parse a time with its zone. Raises RefusedError."""
    return read_option(option, parse_time, text, "; for example 2026-03-01T06:00:00Z")


class Period(NamedTuple):
    """The values of `--since` (exclusive) and `--until` (inclusive). None means unbounded."""

    from_at: datetime | None
    to_at: datetime | None


def read_period(since: str | None, until: str | None) -> Period:
    """Parse `--since` and `--until`, each a time with its zone.

    Raises:
        RefusedError: A time cannot be parsed, or the period is empty.
    """
    from_at = None if since is None else read_instant("--since", since)
    to_at = None if until is None else read_instant("--until", until)
    if from_at is not None and to_at is not None and to_at <= from_at:
        raise RefusedError("--until must be after --since")
    return Period(from_at, to_at)


def shows_progress() -> bool:
    """Return whether stderr is a terminal. Progress is not written to a log file or to a program that reads stderr."""
    return sys.stderr.isatty()


def make_progress_printer() -> Callable[[str, float], None]:
    """Return a function that prints a progress line on a terminal, at most one per `PROGRESS_EVERY_S`."""
    if not shows_progress():
        return lambda _stage, _share: None
    last_s = time.monotonic()

    def print_share(stage: str, share: float) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= PROGRESS_EVERY_S:
            print_note(f"{stage} {share:.0%}")
            last_s = now_s

    return print_share
