"""`slopeward sites`: the site files there are, one of them in full, and a first one that works."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from monitor.cli.identity import act_by_two, prove
from monitor.cli.session import ConfigOption, JsonOption, open_service, pick_site, print_json
from monitor.cli.site import proposing
from monitor.config.service import find_weaknesses, load_service, parse_site, scan_sites
from monitor.domain.alert import Actor
from monitor.domain.instants import spell_duration
from monitor.domain.site import Criterion, Site
from monitor.errors import ConfigError, NeedsSecondError, RefusedError
from monitor.series.bounds import declared_units

app = typer.Typer(help="List, show, start and change site files.", no_args_is_help=True)
proposing.register(app)
Name = Annotated[str, typer.Argument(help="Site id.")]


@app.command("list", epilog="Example: slopeward sites list --json")
def list_sites(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the site files; exit 3 when one cannot be used, 4 when there is none."""
    service = load_service(config)
    sites, failures = scan_sites(service.paths.sites)
    for site in sites:
        line = {"site": site.id, "name": site.name, "stations": len(site.stations), "criteria": len(site.criteria)}
        if as_json:
            print_json(line)
        else:
            print(f"{site.id}: {site.name}, {len(site.stations)} stations, {len(site.criteria)} criteria")
    for error in failures.values():
        typer.echo(str(error), err=True)
    if failures:
        raise typer.Exit(3)
    if not sites:
        raise typer.Exit(4)


@app.command(epilog="Example: slopeward sites show north-bench")
def show(name: Name, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show a site as the service understands it: globs resolved, defaults filled in, units canonical."""
    from dataclasses import asdict

    site = pick_site(load_service(config), name)
    if as_json:
        print_json({k: v for k, v in asdict(site).items() if k != "source"})
        return
    print(f"{site.id}: {site.name} ({site.latitude}, {site.longitude}, {site.timezone}), version {site.version[:12]}")
    for level in site.levels:
        print(f"  level {level.number} {level.name}: {level.action or '(no action text)'}")
    for station in site.stations:
        series = ", ".join(f"{s.quantity} [{s.unit}] every {spell_duration(s.interval_s)}" for s in station.series)
        print(f"  station {station.id}{'' if station.on_slope else ' (control)'}: {series or 'no series'}")
    for criterion in site.criteria:
        bounds = _spell_bounds(site, criterion)
        print(f"  criterion {criterion.id} ({criterion.role}): {', '.join(criterion.stations)} {bounds}")
    for plan in site.movement.stages:
        every = f"judged every {spell_duration(plan.evaluate_every_s)}"
        forecast = f"forecast every {spell_duration(plan.forecast_every_s)}"
        print(f"  stage {plan.stage}: {every}, {forecast}: {plan.action or '(no action text)'}")
    for weakness in find_weaknesses(site):
        print(f"  ! {weakness}")


def _spell_bounds(site: Site, criterion: Criterion) -> str:
    parts, unit = [], declared_units(site)[criterion.id]
    for bound in criterion.thresholds:
        name = site.levels[bound.level].name
        side = f" over {bound.over:g}" if bound.over is not None else f" under {bound.under:g}" if bound.under else ""
        limit = f"{side} {unit}" if side and unit else side
        window = f" in {spell_duration(bound.window_s)}" if bound.window_s else ""
        chance = f" with a chance of more than {100 * bound.probability:g} %" if bound.probability else ""
        parts.append(name + limit + window + chance)
    return "; ".join(parts)


@app.command(epilog="Example: slopeward sites init north-bench")
def init(
    name: Name,
    config: ConfigOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; default in paths.sites.")] = None,
) -> None:
    """Write a commented site file that passes `slopeward check`; an existing file is never overwritten."""
    text = write_first_site(name)
    parse_site(text, name)  # says at once what is wrong with the name
    path = out or load_service(config).paths.sites / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} exists already; choose another name, or edit it") from None
    print(path)


@app.command(epilog="Example: slopeward sites retire north-bench --reason 'mine closed' --by 'A. Rossi'")
def retire(
    name: Name,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit log.")],
    by: Annotated[str | None, typer.Option("--by", help="Who decides.")] = None,
    second: Annotated[
        str | None, typer.Option("--second", help="Second person, while one of the two highest levels stands.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """End the watch over a site whose file was taken away; its history stays, core must be restarted."""
    from monitor.store.alerting.decisions import find_state
    from monitor.store.alerting.sites import load_sites_summary, mark_inactive
    from monitor.store.database.audit import add_audit
    from monitor.store.people.countersign import SharedAct
    from monitor.store.people.users import require_two

    service, db = open_service(config)
    sites, _ = scan_sites(service.paths.sites)
    if name in {site.id for site in sites}:
        raise RefusedError(f"the file of {name} is still in {service.paths.sites}; take it away first")
    who = prove(db, by, name)

    def do(c: Connection, other: Actor | None) -> None:
        known = {s.id: s for s in load_sites_summary(c)}
        if name not in known:
            raise RefusedError(f"{name} is not watched")
        state = find_state(c, name)
        if state is not None and state.level >= max(1, len(known[name].levels) - 2):
            level = known[name].levels[state.level]
            if other is None:
                raise NeedsSecondError(f"{name} stands at {level}: one person may not end the watch; name a second one")
            require_two(c, who, other, datetime.now(UTC))
        mark_inactive(c, name)
        detail = {"reason": reason, "second_by": None if other is None else other.name}
        add_audit(c, who, "retire_site", name, detail, datetime.now(UTC))

    def measure(c: Connection) -> int:
        state = find_state(c, name)
        return 0 if state is None else state.level

    act = SharedAct("retire_site", name, {})
    act_by_two(db, act, who, second, reason, f"slopeward sites retire {name}", do, measure)
    print(f"{name} is no longer watched; restart the service (or send it SIGHUP)")


def write_first_site(name: str) -> str:
    """The text of a first site file: two independent movers, a control, rain; every table explained."""
    return FIRST_SITE.replace("@ID@", name).replace("@NAME@", name.replace("-", " ").capitalize())


FIRST_SITE = """\
# @ID@: one file = one slope. Check it with `slopeward check`.
# Durations are written 15m, 6h, 7d. Thresholds are in canonical units: mm, mm/day, mrad, kPa, m.
# Change every number below: they are examples and prove nothing about this slope.

[site]
id = "@ID@"                            # also the second part of the MQTT topic
name = "@NAME@"
latitude = 46.2
longitude = 8.9
timezone = "UTC"                       # for people; everything stored is UTC

[levels]                               # ordered; 0 is the first
names = ["green", "yellow", "orange", "red"]
auto_lower = ["yellow"]                # the others fall by a person, with a reason
[levels.yellow]
action = "Inform the duty geologist"   # goes into page and message
review_every = "12h"
[levels.orange]
action = "Geologist on site"
review_every = "2h"
[levels.red]
action = "Close the road below the slope"
review_every = "30m"

[[station]]                            # publishes on slopeward/v1/@ID@/G1/obs
id = "G1"
latitude = 46.2011
longitude = 8.9022
height_m = 1410.0
azimuth_deg = 205.0                    # downslope direction of movement, from north
plunge_deg = 28.0                      # below the horizon
reference = "BASE-1"                   # stations that share a reference, logger or antenna are one witness
logger = "logger-1"
[[station.series]]
quantity = "displacement"              # east, north, up in mm
unit = "mm"
interval = "1h"
max_silence = "6h"                     # then a health alarm
noise_floor_mm = 1.5
verify_step_mm = 25.0                  # a jump beyond this asks for verification

[[station]]
id = "E1"                              # an extensometer on a logger of its own: the second witness
latitude = 46.2014
longitude = 8.9026
logger = "logger-2"
[[station.series]]
quantity = "crack_opening"
unit = "mm"
interval = "1h"
max_silence = "6h"
noise_floor_mm = 0.2

[[station]]
id = "C1"                              # stable ground: shows what the reference does
latitude = 46.2040
longitude = 8.9022
reference = "BASE-1"
logger = "logger-1"
on_slope = false
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "1h"
max_silence = "6h"

[[station]]
id = "R1"
logger = "logger-3"
[[station.series]]
quantity = "rain"
unit = "mm"
interval = "1h"
max_silence = "6h"
stamp = "interval_end"                 # or counter, event

[[criterion]]
kind = "velocity"
stations = ["G*"]                      # a glob leaves control stations out
direction = "downslope"
yellow = {over = 2.0, window = "7d"}   # mm/day
orange = {over = 20.0, window = "2d"}
red = {over = 100.0, window = "6h"}
min_sigma = 3.0                        # the velocity must be this many of its own standard errors
dwell = {hits = 3, of = 4, within = "6h"}   # distinct data epochs
recover = 0.6                          # falls below this share of the bound it crossed
valid_for = "12h"                      # how long a vote counts without new data
author = ""                            # who set these numbers
reason = ""                            # on what grounds

[[criterion]]
kind = "rate"
series = "E1.crack_opening"
yellow = {over = 2.0, window = "1d"}   # mm per day
orange = {over = 20.0, window = "12h"}
red = {over = 100.0, window = "6h"}

[[criterion]]
kind = "rain_sum"
series = "R1.rain"
yellow = {over = 60.0, window = "24h"} # mm
min_coverage = 0.8                     # a sum with less data may raise, never lower

[[criterion]]
kind = "inverse_velocity"              # when would it fail if the acceleration went on: advice, whatever it says
stations = ["G*"]
yellow = {within = "7d"}
orange = {within = "2d"}

[movement.progressive]                 # each stage of movement: how often to look, and what people do
every = "5m"
forecast_every = "1h"
action = "Look at the page of movement, every shift"

[fusion]
top_needs = 2                          # independent witnesses for the top level
hold_when_missing = "3d"               # then the duty person is notified: cannot see, decide

[forecast]
models = ["auto"]                      # baselines now; add "gru", "lstm", "graph-gru" when a year of data is there
horizons = ["1d", "7d", "30d"]
every = "6h"

[[recipient]]
name = "duty engineer"
channels = ["log"]                     # "email:duty@example.org", "apprise:DUTY_URL" (name of an environment variable)
levels = ["yellow", "orange", "red"]
escalate_after = "10m"                 # the next recipient is notified when nobody acknowledged
"""
