"""What most verbs share: the configuration, the database at the right revision, one site by name, one way to answer."""

import functools
import inspect
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_type_hints

import typer
from sqlalchemy import Connection

from monitor.canonical import canonical_json
from monitor.cli.rules import close_by_rule
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

SiteOption = Annotated[str, typer.Option("--site", help="Site id.")]
LARGEST_ID: Final = 2**63 - 1  # of a row of the database
LARGEST_SEED: Final = 2**32 - 1
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many, newest first.")]
UtcOption = Annotated[bool, typer.Option("--utc", help="Times in UTC; else each in the zone of its site.")]
PROGRESS_EVERY_S = 2.0  # a person who waits wants a word at least so often
OLD_RECORD_S = 30 * 86400.0  # without a reading for so long, a site is a record and not a watch
EXIT_PARTLY = 3  # exit status: done in part, for example some rows went to the quarantine
EXIT_NOTHING = 4  # exit status: nothing to do, or nothing valid


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """What the options say that nearly every command has."""

    config: Path | None = None
    as_json: bool = False


_OPTIONS: Final[ContextVar[CommandOptions]] = ContextVar("slopeward_options")
Value = TypeVar("Value")
Command = TypeVar("Command", bound=Callable[..., Any])
_CONFIG_HELP: Final = "Service file; else SLOPEWARD_CONFIG, else ./configs/slopeward.toml."
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
    annotation=Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")],
)


def options() -> CommandOptions:
    """Those of the command that runs."""
    return _OPTIONS.get(CommandOptions())


class Commands(typer.Typer):
    """Commands that take `--config` and `--json` beside what they declare; `options` says what was given."""

    def command(
        self, name: str | None = None, *, takes_config: bool = True, takes_json: bool = True, **given: Any
    ) -> Callable[[Command], Command]:
        """Register a command; one that declares an option `config` of its own keeps that.

        One of many options takes them as one record: the fields of its only argument, a dataclass.
        """
        register = super().command(name, **given)
        shared = [CONFIG] * takes_config + [AS_JSON] * takes_json

        def add(run: Command) -> Command:
            register(_take_options(run, shared))
            return run

        return add


def _take_options(run: Callable[..., Any], shared: list[inspect.Parameter]) -> Callable[..., Any]:
    own = list(inspect.signature(run, eval_str=True).parameters.values())
    record: Any = own[0].annotation if len(own) == 1 and is_dataclass(own[0].annotation) else None
    own = own if record is None else _list_fields(record)
    added = [one for one in shared if all(one.name != other.name for other in own)]

    @functools.wraps(run)
    def call(**given: Any) -> Any:
        token = _OPTIONS.set(CommandOptions(**{one.name: given.pop(one.name) for one in added}))
        try:
            return run(**given) if record is None else run(record(**given))
        finally:
            _OPTIONS.reset(token)

    call.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    return call


def _list_fields(record: Any) -> list[inspect.Parameter]:
    kinds = get_type_hints(record, include_extras=True)
    return [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if one.default is MISSING else one.default,
            annotation=kinds[one.name],
        )
        for one in fields(record)
    ]


def read_service() -> ServiceConfig:
    """The configuration."""
    return load_service(options().config)


def open_service(config: Path | None = None) -> tuple[ServiceConfig, Database]:
    """Read the configuration and open the database, which must be at the revision of this program."""
    service = load_service(config) if config is not None else read_service()
    return service, open_database(service)


def open_site(site_id: str) -> tuple[ServiceConfig, Database, Site]:
    """What `open_service` gives, with the site of that id; raises what `pick_site` raises."""
    service, db = open_service()
    return service, db, pick_site(service, site_id)


def open_database(service: ServiceConfig | None = None, *, any_revision: bool = False) -> Database:
    """The configured database, at the schema this version needs unless any will do; close it, best by `with`.

    What the rule of the command does not allow is not written through it (`monitor.cli.rules`).
    """
    db = Database((service or read_service()).database.url)
    close_by_rule(db)
    try:
        if not any_revision:
            require_current(db)
    except BaseException:
        db.close()
        raise
    return db


def pick_site(config: ServiceConfig, site_id: str) -> Site:
    """The site of that id; NotFoundError names those there are, or why the file of this one cannot be used."""
    sites, failures = scan_sites(config.paths.sites)
    for site in sites:
        if site.id == site_id:
            return site
    for file, error in failures.items():
        if file.stem == site_id:
            raise error
    known = [s.id for s in sites]
    near = get_close_matches(site_id, known, 1)
    meant = f"; did you mean {near[0]}?" if near else ""
    there = f"there are: {', '.join(known)}" if known else "there is none: `slopeward sites init NAME` writes one"
    raise NotFoundError(f"no site {site_id!r} in {config.paths.sites}; {there}{meant}")


def read_sites(site_id: str | None = None) -> list[Site]:
    """The sites whose files can be used; each that cannot is a warning, or the error where it is the one asked for."""
    sites, failures = scan_sites(read_service().paths.sites)
    for file, error in failures.items():
        if file.stem == site_id:
            raise error
    warn(error.message for error in failures.values())
    return sites


def check_site(c: Connection, site_id: str | None, found: object = None) -> None:
    """Refuse a site that has no file and never was watched, unless something of it was found.

    Raises NotFoundError: it is unknown; the sites there are are named. One that is retired is known by its history.
    """
    if found or site_id is None or any(s.id == site_id for s in load_sites_summary(c, active_only=False)):
        return
    pick_site(read_service(), site_id)


def take_site(db: Database, site: Site, reason: str, now: datetime) -> Site:
    """The declaration in force once a file was read: it, unless it could loosen a high level unapproved."""
    from monitor.alerts.acts.change_control import explain_refusal, explain_unread, load_into_force

    taken = db.do(load_into_force, site, "slopeward", reason, now)
    if taken.loosens:
        print_note(explain_refusal(taken, f"the file of {site.id}"))
    if taken.unread:
        print_note(explain_unread(taken))
    return taken.site


def point_to_the_past(db: Database, site: Site, now: datetime) -> None:
    """Say where an old record is looked at: nothing of it can count today, and no forecast begins from it."""
    from monitor.alerts.queries.evaluations import load_newest
    from monitor.text.instants import from_epoch_s

    found = db.run_read(load_newest, site.id, now)
    newest = [n.observed_s for n in found.values()]
    interval_s = max((spec.interval_s for s in site.stations for spec in s.series), default=0.0)
    if not newest or now.timestamp() - max(newest) <= max(OLD_RECORD_S, 3.0 * interval_s):
        return
    last = format_iso(from_epoch_s(max(newest)))[:19] + "Z"
    age = format_about(now.timestamp() - max(newest))
    print_note(f"the last reading of {site.id} is of {last}, {age} ago: too old to count today")
    print_note(f"  what would have been decided then: slopeward evaluate --site {site.id} --at {last} --known observed")
    print_note(f"  the whole record: slopeward backtest --site {site.id} --known observed")


def find_zones(c: Connection, *, utc: bool) -> Callable[[str], str]:
    """By site, the zone that its times are shown in; for the service itself that of `[web] timezone`."""
    if utc:
        return lambda _site: "UTC"
    zones = {site.id: site.timezone for site in load_sites_summary(c, active_only=False)}
    own = read_service().web.timezone
    return lambda site: zones.get(site, own)


def translate_in_zone(text: str | None, zone: str) -> str:
    """A message with its times in a zone; what a person wrote as it is."""
    with use_zone(zone):
        return str(translate(text or ""))


def format_in_zone(at: datetime | str | None, zone: str) -> str:
    """An instant of a table or of a view in a zone, or a dash."""
    return "-" if at is None else format_instant(parse_time(at) if isinstance(at, str) else at, zone)


def print_json(value: Any) -> None:
    """One JSON object on one line of stdout."""
    print(json.dumps(value, ensure_ascii=False, default=str))


def print_if_json(value: Any) -> bool:
    """One JSON object on one line of stdout where `--json` was given; whether it was."""
    if as_json := options().as_json:
        print_json(value)
    return as_json


def show(facts: Mapping[str, Any], line: str) -> None:
    """Print one result: `line`, or with `--json` the facts as one JSON object, with their instants as text."""
    print(canonical_json(format_instants(facts)) if options().as_json else line)


def show_in_order(facts: Mapping[str, Any], line: str) -> None:
    """One result on stdout, its keys in the order that they have."""
    if not print_if_json(facts):
        print(line)


def print_note(line: str) -> None:
    """One line for people, on stderr."""
    print(line, file=sys.stderr)


def require_any(found: object, line: str) -> None:
    """Say that nothing was found, and end with the status for it; nothing where something was."""
    if not found:
        print_note(line)
        raise typer.Exit(EXIT_NOTHING)


@contextmanager
def exit_on(*nothing: type[Exception]) -> Iterator[None]:
    """Where an error says that there is nothing to work on: say it, and end with the status for that."""
    try:
        yield
    except nothing as error:
        print_note(describe_error(error))
        raise typer.Exit(EXIT_NOTHING) from None


def warn(warnings: Iterable[object]) -> None:
    """What a person should know of a result, on stderr."""
    for warning in warnings:
        print_note(f"warning: {warning}")


def read_option(option: str, read: Callable[[str], Value], text: str, hint: str = "") -> Value:
    """What an option says, by what reads its kind of value; raises RefusedError."""
    try:
        return read(text)
    except ValueError as error:
        raise RefusedError(f"{option}: {error}{hint}") from error


def read_duration_s(option: str, text: str) -> float:
    """The seconds that an option says, such as `4h`; raises RefusedError."""
    return read_option(option, parse_duration_s, text)


def read_instant(option: str, text: str) -> datetime:
    """The instant that an option says, with its zone; raises RefusedError."""
    return read_option(option, parse_time, text, "; for example 2026-03-01T06:00:00Z")


def shows_progress() -> bool:
    """Whether stderr is a terminal. A log file or a program that reads stderr gets messages only."""
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
