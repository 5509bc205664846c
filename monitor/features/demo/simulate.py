"""`slopeward demo simulate`: a slope that creeps, is rained upon, fails, and says so over MQTT."""

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

from monitor.api.cli import LARGEST_SEED, Commands, read_service, show
from monitor.api.errors import ConfigError
from monitor.api.text import parse_duration_s

app = Commands()


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateArguments:
    """What `slopeward demo simulate` takes."""

    broker: Annotated[str, typer.Option("--broker", help="Where to publish.")] = "mqtt://127.0.0.1:1883"
    speed: Annotated[
        float, typer.Option("--speed", min=0.001, max=1e9, help="Simulated seconds per second, live part.")
    ] = 900.0
    days: Annotated[float, typer.Option("--days", min=1.0, max=36525.0, help="Length of the history.")] = 45.0
    seed: Annotated[int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Same seed, same slope.")] = 1
    stations: Annotated[int, typer.Option("--stations", min=1, max=1000, help="GNSS stations on the mass.")] = 6
    step: Annotated[str, typer.Option("--step", help="Sampling interval.")] = "20m"
    live: Annotated[str, typer.Option("--live", help="Last part of the record, played at --speed.")] = "18h"
    truth: Annotated[Path | None, typer.Option("--truth", help="Write what really happens here.")] = None
    site_file: Annotated[Path | None, typer.Option("--site-file", help="Write the site file here, then end.")] = None
    readings: Annotated[
        Path | None, typer.Option("--readings", help="Write the tutorial's readings (CSV) here, then end.")
    ] = None
    follow: Annotated[bool, typer.Option("--follow", help="Go on in real time when the present is reached.")] = False
    username: Annotated[
        str, typer.Option("--username", help="Password: SLOPEWARD_BROKER__PASSWORD; else a login of its own.")
    ] = ""


@app.command(
    epilog="Example: slopeward demo simulate --broker mqtt://127.0.0.1:1883 --days 30 --site-file sites/sim.toml"
)
def simulate(given: SimulateArguments) -> None:
    """Publish history as fast as the broker takes it, then the acceleration up to the present; nothing in the future.

    At the managed broker of this machine it takes a login for as long as it runs, where its account may.
    With --site-file it only writes the site file that fits (load it first, then simulate with the same options); with
    --readings only the readings that the tutorial ingests.
    """
    from monitor.features.demo.publish import PlayPace, Publisher, play, sample_to_message
    from monitor.features.demo.story import plan_story, write_story_site

    now = datetime.now(UTC)
    if given.readings is not None:
        from monitor.features.demo.story import write_readings

        count = write_readings(given.readings, now)
        line = f"{given.readings}: {count} readings of the slope that `slopeward sites init` declares"
        show({"file": str(given.readings), "readings": count}, line)
        return
    try:
        interval, part = (
            timedelta(seconds=parse_duration_s(given.step)),
            timedelta(seconds=parse_duration_s(given.live)),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if not timedelta(seconds=1) <= interval <= timedelta(days=1) or part > timedelta(days=given.days):
        raise ConfigError("--step must lie between 1s and 1d, and --live must not be longer than --days")
    model = plan_story(now, given.seed, given.days, interval, given.stations)
    if given.site_file is not None:
        given.site_file.write_text(write_story_site(model), encoding="utf-8")
        show({"file": str(given.site_file)}, str(given.site_file))
        return
    if given.truth is not None:
        given.truth.write_text(json.dumps(model.truth(), indent=1), encoding="utf-8")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with _take_login(given.broker, given.username) as login, Publisher(given.broker, *login) as publisher:
        played = play(
            map(sample_to_message, model.samples()),
            publisher,
            PlayPace(now - part, given.speed, given.follow),
            clock=lambda: datetime.now(UTC),
            stop=stop,
            on_history=lambda n: typer.echo(f"{n} messages of history acknowledged", err=True),
        )
        print(
            json.dumps(
                {
                    "history": played.history,
                    "live": played.live,
                    "acknowledged": publisher.count,
                    "until": str(played.until),
                }
            )
        )


@contextlib.contextmanager
def _take_login(broker: str, username: str) -> Iterator[tuple[str, str]]:
    """The login that was named; else one at the managed broker, if that is the one at this address."""
    from monitor.api.broker import issue_temporary_login, parse_access
    from monitor.features.demo.slope import SITE_ID

    section = read_service().broker
    own = parse_access(section.url)
    if username or parse_access(broker).target != own.target:
        yield username, os.environ.get("SLOPEWARD_BROKER__PASSWORD", "")
        return
    with issue_temporary_login(section, SITE_ID, "simulator") as login:
        yield login
