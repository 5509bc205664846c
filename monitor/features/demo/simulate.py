"""`slopeward demo simulate`: publish the readings of a simulated slope that creeps and fails."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from monitor.api.cli import LARGEST_SEED, Commands, print_result, read_service
from monitor.api.errors import ConfigError
from monitor.api.text import parse_duration_s

app = Commands()


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateArguments:
    """What `slopeward demo simulate` takes."""

    broker: Annotated[str, typer.Option("--broker", help="Address of the broker.")] = "mqtt://127.0.0.1:1883"
    speed: Annotated[
        float, typer.Option("--speed", min=0.001, max=1e9, help="Simulated seconds per second in the live part.")
    ] = 900.0
    days: Annotated[float, typer.Option("--days", min=1.0, max=36525.0, help="Length of the history.")] = 45.0
    seed: Annotated[int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Seed of the simulated slope.")] = 1
    stations: Annotated[int, typer.Option("--stations", min=1, max=1000, help="GNSS stations on the moving mass.")] = 6
    step: Annotated[str, typer.Option("--step", help="Interval between readings.")] = "20m"
    live: Annotated[str, typer.Option("--live", help="Length of the live part, sent at --speed.")] = "18h"
    truth: Annotated[Path | None, typer.Option("--truth", help="File for the true motion of the slope.")] = None
    site_file: Annotated[Path | None, typer.Option("--site-file", help="Write the site file here and end.")] = None
    readings: Annotated[
        Path | None, typer.Option("--readings", help="Write the readings of the tutorial (CSV) here and end.")
    ] = None
    follow: Annotated[bool, typer.Option("--follow", help="Continue in real time after the present.")] = False
    username: Annotated[
        str, typer.Option("--username", help="Login at the broker, with its password in SLOPEWARD_BROKER__PASSWORD.")
    ] = ""


@app.command(
    epilog="Example: slopeward demo simulate --broker mqtt://127.0.0.1:1883 --days 30 --site-file sites/sim.toml"
)
def simulate(given: SimulateArguments) -> None:
    """Publish the readings of a simulated slope to an MQTT broker, up to the present.

    The history is sent as fast as the broker acknowledges it, the live part at --speed. At the managed broker of this
    machine the command uses a temporary login. With --site-file it only writes the site file of the slope: put it into
    the folder of the site files, then repeat the command with the same options and without --site-file. With --readings
    it only writes the readings that the tutorial imports.
    """
    from monitor.features.demo.publish import PlayPace, Publisher, play, sample_to_message
    from monitor.features.demo.story import plan_story, write_story_site

    now = datetime.now(UTC)
    if given.readings is not None:
        from monitor.features.demo.story import write_readings

        count = write_readings(given.readings, now)
        line = f"{given.readings}: {count} readings of the slope that `slopeward init` declares"
        print_result({"file": str(given.readings), "readings": count}, line)
        return
    try:
        interval = timedelta(seconds=parse_duration_s(given.step))
        live = timedelta(seconds=parse_duration_s(given.live))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if not timedelta(seconds=1) <= interval <= timedelta(days=1) or live > timedelta(days=given.days):
        raise ConfigError("--step must be between 1s and 1d, and --live must not be longer than --days")
    model = plan_story(now, given.seed, given.days, interval, given.stations)
    if given.site_file is not None:
        given.site_file.write_text(write_story_site(model), encoding="utf-8")
        print_result({"file": str(given.site_file)}, str(given.site_file))
        return
    if given.truth is not None:
        given.truth.write_text(json.dumps(model.truth(), indent=1), encoding="utf-8")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with _take_login(given.broker, given.username) as login, Publisher(given.broker, *login) as publisher:
        published = play(
            map(sample_to_message, model.samples()),
            publisher,
            PlayPace(now - live, given.speed, given.follow),
            clock=lambda: datetime.now(UTC),
            stop=stop,
            on_history=lambda n: typer.echo(f"{n} messages of history acknowledged", err=True),
        )
        print(
            json.dumps(
                {
                    "history": published.history,
                    "live": published.live,
                    "acknowledged": publisher.count,
                    "until": str(published.until),
                }
            )
        )


@contextlib.contextmanager
def _take_login(broker: str, username: str) -> Iterator[tuple[str, str]]:
    """Yield the named login, or a temporary one if the address is that of the managed broker."""
    from monitor.api.broker import issue_temporary_login, parse_access
    from monitor.features.demo.slope import SITE_ID

    section = read_service().broker
    managed = parse_access(section.url)
    if username or parse_access(broker).target != managed.target:
        yield username, os.environ.get("SLOPEWARD_BROKER__PASSWORD", "")
        return
    with issue_temporary_login(section, SITE_ID, "simulator") as login:
        yield login
