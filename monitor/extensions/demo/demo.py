"""The demonstration: the real service in a folder of its own, a slope that fails while one watches, and a count."""

import contextlib
import csv
import json
import math
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NotRequired, TypedDict

import numpy as np

from monitor.broker.access import HOW_TO_INSTALL
from monitor.broker.logins import lend_login
from monitor.config.service import PREFIX, load_service, parse_site
from monitor.domain.alert import COMMAND
from monitor.domain.alerts.headline import find_window
from monitor.domain.errors import JobError, PayloadError, SlopewardError, StoreBusyError
from monitor.domain.extras import describe_missing, is_installed
from monitor.domain.instants import format_duration, format_iso, parse
from monitor.domain.observation import SiteEvent
from monitor.domain.quantities import QUANTITIES, convert, split_suffix
from monitor.domain.topics import ROOT
from monitor.extensions.demo.publish import OutgoingMessage, PlayPace, Publisher, play, sample_to_message
from monitor.extensions.demo.scene import DRAW, DrawSceneRequest
from monitor.extensions.demo.slope import SITE_ID, SlopeModel
from monitor.extensions.demo.story import FAILS_AFTER, LIVE, plan_story, write_story_site
from monitor.extensions.demo.worth import (
    NETWORKS,
    DetectorWorth,
    ForecasterWorth,
    assess_detectors,
    assess_forecasters,
    print_worth,
)
from monitor.store.alerting.events import add_event
from monitor.store.alerting.outbox import count_states
from monitor.store.alerting.timeline import load_newest_movement
from monitor.store.database.engine import Database
from monitor.store.models.registry import load_models
from monitor.store.models.totals import count_issues, find_peak_level
from monitor.store.people.users import add_user
from monitor.store.service_state import find_stamp
from monitor.store.upkeep.backup import count_rows
from monitor.worker import compute

DAYS: Final = 45.0
STEP: Final = timedelta(minutes=30)
STATIONS: Final = 6
PLAY_S: Final = 60.0  # the last 18 hours take so long
# A busy machine is slow and still moves: nothing is given up that moves, and nothing is waited for that does not.
FAILURE: Final = "failure"  # the act that ends the story, half an hour after the present
SUMMARY: Final = "summary"  # that which waits for all others
PATIENCE_S: Final = 60.0  # nothing new for so long: it does not come
ACT_LIMIT_S: Final = 900.0  # a command or a job that takes so long hangs
CONFIG: Final = """\
# written by `slopeward demo`
[database]
url = "sqlite:///{folder}/slopeward.db"
[broker]
mode = "managed"
url = "mqtt://127.0.0.1:{broker_port}"
data = "{folder}/broker"
[paths]
sites = "{folder}/sites"
inbox = "{folder}/inbox"
models = "{folder}/models"
state = "{folder}/state"
[web]
port = {web_port}
[schedule]
evaluate_tick = "5s"
"""
PrintLine = Callable[[str], None]


@dataclass
class DemoInstallation:
    """Where the demonstration plays: its folder, its addresses, its service."""

    folder: Path
    broker_url: str
    page_url: str
    db_url: str
    service: subprocess.Popen[bytes]
    threads: list[threading.Thread] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    trouble: list[str] = field(default_factory=list)
    missing: str = ""  # what is not installed: its acts are left out, and that is said

    @property
    def config(self) -> str:
        """Path of the service file."""
        return str(self.folder / "slopeward.toml")


class DeliveredCount(TypedDict):
    """Notifications by what became of them."""

    delivered: int
    failed: int


class DemoCount(TypedDict):
    """What is in the database of a demonstration."""

    observations: int
    forecasts: dict[str, int]
    footprints: int
    scenes: int
    forecasters: dict[str, ForecasterWorth]
    anomaly_scores: int
    anomalies: dict[str, DetectorWorth]
    alerts: int
    top_level: int
    notifications: DeliveredCount
    rejected: int
    degraded: bool
    trouble: list[str]
    missing: str
    page_url: str
    seconds: NotRequired[float]


def run_demo(
    *, once: bool, folder: Path | None, seed: int, print_line: PrintLine, clock: Callable[[], datetime]
) -> DemoCount:
    """Show everything on a simulated slope; with `once` it ends by itself, else when the person ends it.

    Returns:
        What was counted in the database at the end.
    """
    began = time.monotonic()
    now = clock()
    model = plan_story(now, seed, DAYS, STEP, STATIONS)
    with open_stage({f"{SITE_ID}.toml": write_story_site(model)}, folder, print_line) as stage:
        password = _add_person(stage, now)
        print_line(f"page: {stage.page_url}   (to acknowledge: user demo, password {password})")
        (stage.folder / "truth.json").write_text(json.dumps(model.truth(), indent=1), encoding="utf-8")
        if not is_installed("torch"):
            stage.missing = describe_missing("torch")
            print_line(f"left out: {stage.missing}")
        else:
            _begin(stage, "scene", lambda: _drop_scene(stage, model, now))

        def conclude() -> DemoCount:
            complete = _wait_for_acts(stage, has_played, PATIENCE_S if once else math.inf)
            counted = count(stage)
            counted["seconds"] = round(time.monotonic() - began, 1)
            if complete:
                _print_summary(stage, counted, print_line, keeps=folder is not None or not once)
            return counted

        if once:
            _play(stage, model, now, print_line, follow=False)
            return conclude()
        _begin(stage, SUMMARY, conclude)  # the slope goes on meanwhile
        _play(stage, model, now, print_line, follow=True)
        _stay(stage, print_line)
        return count(stage)


def run_measured(
    data: Path, *, once: bool, folder: Path | None, print_line: PrintLine, clock: Callable[[], datetime]
) -> DemoCount:
    """Play measured series, moved in time so that they end now, and whatever scenes lie beside them.

    Args:
        data: folder with neutral long CSV or Parquet files, perhaps a `site.toml` that fits, perhaps scenes (a folder
            with `scene.toml`, or a GeoTIFF).
        once: end by itself.
        folder: where everything is kept; None = a temporary one.
        print_line: takes progress lines.
        clock: the present, aware UTC.

    Raises:
        PayloadError: nothing there can be read.
    """
    began, now = time.monotonic(), clock()
    rows = read_rows(data)
    live = 0.1 * (rows[-1].at - rows[0].at)
    own = data / "site.toml"
    site_text = own.read_text(encoding="utf-8") if own.is_file() else write_site(rows, live)
    site_id = parse_site(site_text, str(own) if own.is_file() else "site written for the data").id
    moved = [replace(r, at=r.at + (now - rows[-1].at)) for r in rows]
    with open_stage({f"{site_id}.toml": site_text}, folder, print_line) as stage:
        print_line(f"page: {stage.page_url}   (to acknowledge: user demo, password {_add_person(stage, now)})")
        print_line(
            f"{len(rows)} values of {rows[0].at:%Y-%m-%d} to {rows[-1].at:%Y-%m-%d}, moved by {now - rows[-1].at}"
        )
        scenes = _copy_scenes(data, stage.folder / "inbox" / site_id)
        with _open_publisher(stage, site_id) as publisher:
            play(
                rows_to_messages(moved, site_id),
                publisher,
                PlayPace(now - live, live.total_seconds() / PLAY_S),
                clock=clock,
                stop=stage.stop,
                on_history=lambda n: print_line(f"{n} messages of history; now the last tenth in {PLAY_S:g} s"),
            )
        _wait_for_rows(stage, len(rows))
        _begin(stage, "forecasts", lambda: _order(stage, "forecast", "run", site=site_id))
        if once:
            _wait_for_acts(stage, lambda counted: counted["forecasts"] and counted["scenes"] >= scenes, PATIENCE_S)
        else:
            _stay(stage, print_line)
        counted = count(stage)
        counted["seconds"] = round(time.monotonic() - began, 1)
    return counted


def _copy_scenes(data: Path, inbox: Path) -> int:
    """Put scene folders and GeoTIFFs into the inbox; returns how many."""
    found = [p for p in sorted(data.iterdir()) if (p / "scene.toml").is_file() or p.suffix.lower() in {".tif", ".tiff"}]
    inbox.mkdir(parents=True, exist_ok=True)
    for path in found:
        if path.is_dir():
            shutil.copytree(path, inbox / f".{path.name}")
            (inbox / f".{path.name}").rename(inbox / path.name)
        else:
            shutil.copy(path, inbox / path.name)
    return len(found)


def _stay(stage: DemoInstallation, print_line: PrintLine) -> None:
    print_line("Ctrl-C ends the demonstration")
    while not stage.stop.wait(1.0) and stage.service.poll() is None:
        pass


@contextlib.contextmanager
def open_stage(site_files: dict[str, str], folder: Path | None, print_line: PrintLine) -> Iterator[DemoInstallation]:
    """A folder with configuration and site files, and the service running in it; both go away at the end."""
    home = Path(tempfile.mkdtemp(prefix="slopeward-demo-")) if folder is None else folder
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise SlopewardError(f"{folder} is not empty; name a new folder, a demonstration starts from nothing")
    home = home.absolute()
    (home / "sites").mkdir(parents=True, exist_ok=True)
    broker_port, web_port = free_port(), free_port(8080)
    text = CONFIG.format(folder=home, broker_port=broker_port, web_port=web_port)
    (home / "slopeward.toml").write_text(text, encoding="utf-8")
    for name, site in site_files.items():
        (home / "sites" / name).write_text(site, encoding="utf-8")
    with (home / "service.log").open("wb") as log:
        service = subprocess.Popen(
            [sys.executable, "-P", "-m", "monitor.cli.main", "run", "--config", str(home / "slopeward.toml")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=read_own_environment(),
        )
    stage = DemoInstallation(
        home,
        f"mqtt://127.0.0.1:{broker_port}",
        f"http://127.0.0.1:{web_port}",
        f"sqlite:///{home}/slopeward.db",
        service,
    )
    print_line(f"folder: {home}   log: {home / 'service.log'}")
    try:
        _wait_for_service(stage)
        yield stage
    finally:
        stage.stop.set()
        compute.stop_all()
        for thread in stage.threads:
            thread.join(5.0)
        service.terminate()
        try:
            service.wait(20.0)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()
        if folder is None:
            shutil.rmtree(home, ignore_errors=True)


def read_own_environment() -> dict[str, str]:
    """The environment without keys of a service file: those of another installation are not the demonstration's."""
    return {name: value for name, value in os.environ.items() if not (name.startswith(PREFIX) and "__" in name)}


def free_port(wish: int = 0) -> int:
    """A free port of loopback; the wished one when nobody listens there."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", wish))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def count(stage: DemoInstallation) -> DemoCount:
    """Count what is in the database."""
    with Database(stage.db_url) as db, db.read() as c:
        rows, sent = count_rows(c), count_states(c)
        stamp = find_stamp(c, "broker")
        return {
            "observations": rows["observation"],
            "forecasts": count_issues(c),
            "footprints": rows["scene_footprint"],
            "scenes": rows["scene"],
            "forecasters": assess_forecasters(c),
            "anomaly_scores": rows["anomaly"],
            "anomalies": assess_detectors(c),
            "alerts": rows["alert"],
            "top_level": find_peak_level(c),
            "notifications": {
                "delivered": sent.get("delivered", 0) + sent.get("confirmed", 0),
                "failed": sent.get("failed_final", 0) + sent.get("failed_retry", 0),
            },
            "rejected": rows["rejected_message"],
            "degraded": bool(stamp and not stamp[1].get("durable", True)),
            "trouble": stage.trouble,
            "missing": stage.missing,
            "page_url": stage.page_url,
        }


def is_complete(counted: DemoCount) -> bool:
    """True when a newcomer has seen everything there is to see: every kind of network among it."""
    return has_played(counted) and not counted["missing"]


def has_played(counted: DemoCount) -> bool:
    """True when all acts have been seen that can be played with what is installed."""
    if not counted["missing"]:
        networks = all(name in counted["forecasters"] for name in NETWORKS)
        if not (networks and counted["footprints"] and "ae" in counted["anomalies"]):
            return False
    seen = bool(counted["observations"] and counted["forecasters"])
    return seen and counted["notifications"]["delivered"] > 0 and counted["top_level"] > 0


def wait_until(
    poll: Callable[[], tuple[Any, Any]], patience_s: float, stage: DemoInstallation, pause_s: float = 0.5
) -> bool:
    """Poll until something is there; False when nothing has moved for long, or the service or the person has ended it.

    Args:
        poll: gives whether it is there, and anything that changes while the work goes on.
        patience_s: seconds without a change after which it is given up.
        stage: where it happens.
        pause_s: seconds between two looks.
    """
    moved_at, before = time.monotonic(), None
    while time.monotonic() - moved_at < patience_s and not stage.stop.is_set() and stage.service.poll() is None:
        with contextlib.suppress(StoreBusyError):
            there, now = poll()
            if there:
                return True
            if now != before:
                moved_at, before = time.monotonic(), now
        stage.stop.wait(pause_s)
    return False


# ---- the acts ----------------------------------------------------------------------------------------------------
def _play(stage: DemoInstallation, model: SlopeModel, now: datetime, print_line: PrintLine, *, follow: bool) -> None:
    speed = LIVE.total_seconds() / PLAY_S

    def after_history(messages: int) -> None:
        _wait_for_rows(stage, messages)
        print_line(f"{messages} messages of {DAYS:g} days are in the database; now the last 18 hours in {PLAY_S:g} s")
        if follow:
            print_line("Ctrl-C ends the demonstration")
        if not stage.missing:
            _begin(stage, "detector", lambda: _order(stage, "anomalies", "train", "--detector", "ae"))

    def at_present() -> None:
        print_line("the slope has reached the present; all models forecast it")
        _begin(stage, "forecasts", lambda: _forecast(stage))
        if follow:
            _begin(stage, FAILURE, lambda: _note_failure(stage, now + FAILS_AFTER, print_line))

    with _open_publisher(stage, SITE_ID) as publisher:
        # an instrument whose clock knows no zone: it is kept aside with its reason, never guessed
        publisher.publish(f"{ROOT}/{SITE_ID}/R1/obs", b'{"time": "2026-01-01T00:00:00", "rain_mm": 1.2}', "broken")
        play(
            map(sample_to_message, model.samples()),
            publisher,
            PlayPace(now - LIVE, speed, follow),
            clock=lambda: datetime.now(UTC),
            stop=stage.stop,
            on_history=after_history,
            on_present=at_present,
        )


@contextlib.contextmanager
def _open_publisher(stage: DemoInstallation, site_id: str) -> Iterator[Publisher]:
    """An instrument of the site with a login of its own."""
    with (
        lend_login(load_service(stage.config, {}).broker, site_id, "demo") as login,
        Publisher(stage.broker_url, *login) as publisher,
    ):
        yield publisher


def _begin(stage: DemoInstallation, name: str, act: Callable[[], object]) -> None:
    """Run an act beside the play; what goes wrong in it is counted as trouble, never hidden."""

    def run() -> None:
        try:
            act()
        except (SlopewardError, OSError, subprocess.SubprocessError) as error:
            if not stage.stop.is_set():
                stage.trouble.append(f"{name}: {error}")

    thread = threading.Thread(target=run, name=name, daemon=True)
    stage.threads.append(thread)
    thread.start()


def _drop_scene(stage: DemoInstallation, model: SlopeModel, now: datetime) -> None:
    name = f"scene-{now:%Y%m%dT%H%M}"
    taken_at = now - timedelta(hours=2)
    drawing = DrawSceneRequest(stage.folder / "drawn" / name, model.seed, model.longitude, model.latitude, taken_at)
    compute.run(DRAW, drawing, ACT_LIMIT_S)
    inbox = stage.folder / "inbox" / SITE_ID
    inbox.mkdir(parents=True, exist_ok=True)
    (stage.folder / "drawn" / name).rename(inbox / name)


def _note_failure(stage: DemoInstallation, failed_at: datetime, print_line: PrintLine) -> None:
    """Once the slope has failed, say so on its page, beside the window that was believed."""
    if stage.stop.wait((failed_at - datetime.now(UTC)).total_seconds()):
        return
    db = Database(stage.db_url)
    try:
        with db.write() as c:
            windows = [m["window"] for m in load_newest_movement(c, SITE_ID, failed_at) if m["window"]]
            trusted = [w for w in windows if w["trusted"]]
            first = find_window(trusted, "window_from", "window_to", "")
            text = f"the simulated slope failed at {failed_at:%H:%M} UTC"
            if first:
                low, high, middle = (parse(first[k]) for k in ("window_from", "window_to", "window_mid"))
                text += f"; its failure window was {low:%H:%M} to {high:%H:%M}, middle {middle:%H:%M}"
            add_event(c, SiteEvent(SITE_ID, failed_at, failed_at, "failure", text), failed_at, "demo", via=COMMAND)
    finally:
        db.close()
    print_line(text)


def _forecast(stage: DemoInstallation) -> None:
    """The baselines at once, then the networks, which the service has trained by itself, and what all erred before."""
    _order(stage, "forecast", "run")
    if stage.missing:
        return
    begun = time.monotonic()
    while (lacking := _list_untrained(stage)) and not stage.stop.wait(1.0):
        if time.monotonic() > begun + ACT_LIMIT_S:
            raise JobError(f"the service trained no {', '.join(lacking)} in {ACT_LIMIT_S:.0f} s")
    _order(stage, "forecast", "run")
    _order(stage, "anomalies", "score")
    _order(stage, "forecast", "hindcast")


def _list_untrained(stage: DemoInstallation) -> list[str]:
    with contextlib.suppress(StoreBusyError), Database(stage.db_url) as db:
        trained = {one.kind for one in db.run_read(load_models, site=SITE_ID)}
        return [name for name in NETWORKS if name not in trained]
    return [*NETWORKS]


def _order(stage: DemoInstallation, *words: str, site: str = SITE_ID) -> None:
    """Run a verb of the command line as a person would."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "monitor.cli.main", *words, "--site", site, "--config", stage.config],
        capture_output=True,
        text=True,
        check=False,
        timeout=ACT_LIMIT_S,
        env=read_own_environment(),
    )
    if done.returncode and not stage.stop.is_set():
        raise JobError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")


def _add_person(stage: DemoInstallation, now: datetime) -> str:
    password = secrets.token_urlsafe(9)
    with Database(stage.db_url) as db, db.write() as c:
        add_user(c, "demo", password, "operator", now)
    return password


def _wait_for_service(stage: DemoInstallation) -> None:
    def is_running() -> bool:
        if not (stage.folder / "slopeward.db").exists():
            return False
        try:
            with Database(stage.db_url) as db, db.read() as c:
                found = find_stamp(c, "core")
        except SlopewardError:
            return False
        # before ingest has subscribed, a new broker session would keep nothing for it
        return found is not None and all(found[1]["ingest"]["connected"].values())

    def poll() -> tuple[bool, Any]:
        # while it starts it writes its log and lays out its database
        written = (stage.folder / "service.log", stage.folder / "slopeward.db")
        return is_running(), [path.stat().st_size for path in written if path.exists()]

    if not wait_until(poll, PATIENCE_S, stage, 0.2):
        lines = (stage.folder / "service.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise SlopewardError(f"the service did not start: {lines[-1] if lines else 'it said nothing'}")


def _wait_for_rows(stage: DemoInstallation, rows: int) -> None:
    """Until so many readings are in the database, or no more come."""

    def poll() -> tuple[bool, int]:
        found = count(stage)["observations"]
        return found >= rows, found

    wait_until(poll, PATIENCE_S, stage)


def _wait_for_acts(stage: DemoInstallation, is_seen: Callable[[DemoCount], Any], patience_s: float) -> bool:
    """Until all is seen and no act goes on, or nothing moves any more; whether all was seen."""

    def poll() -> tuple[bool, Any]:
        if any(thread.is_alive() for thread in stage.threads if thread.name not in {FAILURE, SUMMARY}):
            return False, time.monotonic()  # an act that goes on is a movement: it ends by its own limit
        counted = count(stage)
        return bool(is_seen(counted)), counted

    return wait_until(poll, patience_s, stage, 1.0)


def _print_summary(stage: DemoInstallation, counted: DemoCount, print_line: PrintLine, *, keeps: bool) -> None:
    """Say what ran beside each other, and where to look."""
    print_line(
        f"done in {counted['seconds']:.0f} s: level {counted['top_level']} was reached, "
        f"{counted['notifications']['delivered']} messages were delivered"
    )
    print_worth(counted["forecasters"], counted["anomalies"], print_line)
    if counted["degraded"]:
        print_line(f"  degraded: the broker is not durable; {HOW_TO_INSTALL}")
    if not keeps:
        print_line("look: run it without --once for the page, or with --folder DIR to keep the database")
        return
    print_line(f"look: page {stage.page_url} while it runs; forecasts {stage.page_url}/sites/{SITE_ID}/forecasts")
    print_line(
        f"      database {stage.folder / 'slopeward.db'}, by sqlite3 or any SQL client; the view latest_forecast"
    )


NEEDED: Final = ("time", "station", "quantity", "value")
# epochs in a velocity window of the written site file
WINDOW: Final = 10


@dataclass(frozen=True, slots=True)
class Row:
    """One measured value; `name` carries the unit as its suffix."""

    at: datetime
    station: str
    name: str
    value: float
    sigma: float | None


def read_rows(folder: Path) -> list[Row]:
    """All neutral long CSV and Parquet files of a folder, in time order.

    Raises:
        PayloadError: no such file, or a row that cannot be read; names file and row.
    """
    rows: list[Row] = []
    for path in sorted([*folder.glob("*.csv"), *folder.glob("*.parquet")]):
        for number, record in enumerate(_read_records(path), 2):
            try:
                row = _read_row(record)
            except (KeyError, ValueError, TypeError) as error:
                raise PayloadError("bad_row", f"{path.name}, row {number}: {error}") from None
            if row is not None:
                rows.append(row)
    if not rows:
        raise PayloadError("no_data", f"{folder} holds no neutral file (CSV or Parquet with {', '.join(NEEDED)})")
    return sorted(rows, key=lambda r: (r.at, r.station, r.name))


def _read_records(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet

        yield from pyarrow.parquet.read_table(path).to_pylist()
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in NEEDED if name not in (reader.fieldnames or ())]
        if missing:
            raise PayloadError(
                "no_column", f"{path.name}: column {missing[0]!r} is missing; needed: {', '.join(NEEDED)}"
            )
        yield from reader


def _read_row(record: dict[str, Any]) -> Row | None:
    if record["value"] in ("", None):
        return None  # a missing value says nothing
    value = float(record["value"])
    if not math.isfinite(value):
        return None
    at = record["time"] if isinstance(record["time"], datetime) else parse(str(record["time"]))
    if at.tzinfo is None:
        raise ValueError("time without zone")
    split = split_suffix(str(record["quantity"]))
    if split is None or split[0] not in QUANTITIES:
        raise ValueError(f"quantity {record['quantity']!r} is not a known one with a unit suffix (displacement_mm)")
    sigma = record.get("sigma")
    return Row(
        at, str(record["station"]), str(record["quantity"]), value, float(sigma) if sigma not in ("", None) else None
    )


def rows_to_messages(rows: Sequence[Row], site: str) -> Iterator[OutgoingMessage]:
    """Messages as a logger would send them, one per station and epoch."""
    groups: dict[tuple[datetime, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.at, row.station].append(row)
    for number, ((at, station), group) in enumerate(groups.items()):
        payload: dict[str, Any] = {"time": format_iso(at), **{r.name: r.value for r in group}}
        sigma = {r.name: r.sigma for r in group if r.sigma is not None}
        if sigma:
            payload["sigma"] = sigma
        yield OutgoingMessage(at, f"{ROOT}/{site}/{station}/obs", json.dumps(payload).encode(), str(number))


def write_site(rows: Sequence[Row], live: timedelta) -> str:
    """A site file for these series; its bounds are quantiles of the record itself, and it says so.

    Args:
        rows: in time order.
        live: the part that is played; silence shorter than it is no alarm.
    """
    series: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        series[row.station, row.name].append(row)
    lines = [
        "# written for measured series: their own quantiles are the bounds; it shows the way, and proves nothing",
        f'[site]\nid = "{SITE_ID}"\nname = "Measured series, moved to the present"\nlatitude = 0.0\nlongitude = 0.0',
    ]
    speeds, slowest_s = [], 0.0
    for station in dict.fromkeys(r.station for r in rows):
        lines.append(f'\n[[station]]\nid = "{station}"\nlogger = "{station}"')
        names = [n for s, n in series if s == station]
        for name in names:
            quantity, unit = split_suffix(name) or ("", "")
            if quantity.startswith("displacement_") and quantity != names_first(names):
                continue  # east, north and up are one declared series
            interval_s = _interval_s(series[station, name])
            declared = "displacement" if quantity in COMPONENTS else quantity
            lines.append(
                f'[[station.series]]\nquantity = "{declared}"\nunit = "{unit}"\n'
                f'interval = "{format_duration(interval_s)}"\n'
                f'max_silence = "{format_duration(round(max(3 * interval_s, 1.2 * live.total_seconds())))}"'
            )
            if declared.startswith("displacement"):
                slowest_s = max(slowest_s, interval_s)
                speeds += _speeds([(r.at, convert(r.value, unit, "mm")) for r in series[station, name]])
    lines.append(_write_criterion(speeds, slowest_s, live))
    return "\n".join(lines)


COMPONENTS: Final = ("displacement_east", "displacement_north", "displacement_up")


def names_first(names: Sequence[str]) -> str:
    """The first displacement among the names of a station's series, without its unit."""
    found = [s[0] for n in names if (s := split_suffix(n)) is not None and s[0].startswith("displacement")]
    return found[0] if found else ""


def _interval_s(rows: Sequence[Row]) -> float:
    gaps = [(b.at - a.at).total_seconds() for a, b in pairwise(rows) if b.at > a.at]
    return max(1.0, float(round(float(np.median(gaps))))) if gaps else 86400.0


def _speeds(points: Sequence[tuple[datetime, float]]) -> list[float]:
    """Absolute least-squares velocities, mm/day, over every window of WINDOW epochs."""
    if len(points) <= WINDOW:
        return []
    days = np.array([(at - points[0][0]).total_seconds() / 86400.0 for at, _ in points])
    values = np.array([v for _, v in points])
    t = np.lib.stride_tricks.sliding_window_view(days, WINDOW)
    y = np.lib.stride_tricks.sliding_window_view(values, WINDOW)
    t = t - t.mean(axis=1, keepdims=True)
    spread = (t**2).sum(axis=1)
    slopes = (t * y).sum(axis=1)[spread > 0] / spread[spread > 0]
    return [abs(float(v)) for v in slopes]


def _write_criterion(speeds: Sequence[float], interval_s: float, live: timedelta) -> str:
    recipient = '\n[[recipient]]\nname = "duty engineer"\nchannels = ["log"]\n'
    forecast = '\n[forecast]\nmodels = ["auto"]\nhorizons = ["1d", "7d"]\nevery = "1m"\n\n[anomaly]\nevery = "1m"\n'
    if not speeds:
        return forecast + recipient
    bounds = [max(1e-3, float(np.quantile(speeds, q))) for q in (0.90, 0.97, 0.995)]
    window = format_duration(WINDOW * interval_s)
    text = '\n[[criterion]]\nkind = "velocity"\nstations = ["*"]\ndirection = "norm"\nmin_sigma = 0.0\n'
    for level, bound in zip(("yellow", "orange", "red"), bounds, strict=True):
        text += f'{level} = {{over = {bound:.6g}, window = "{window}"}}\n'
    text += (
        f'dwell = {{hits = 2, of = 3}}\nvalid_for = "{format_duration(round(1.2 * live.total_seconds()))}"\n'
        'author = "demo"\nreason = "90, 97 and 99.5 % quantiles of the velocities of this very record"\n'
    )
    return text + forecast + recipient
