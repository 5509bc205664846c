"""The demonstration: the real service in a folder of its own, a slope that fails while one watches, and a count."""

import contextlib
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NotRequired, TypedDict

from monitor.api.broker import HOW_TO_INSTALL, issue_temporary_login
from monitor.api.database import Database, count_rows, find_heartbeat
from monitor.api.delivery import count_states
from monitor.api.errors import JobError, SlopewardError, StoreBusyError
from monitor.api.extras import describe_missing, is_installed
from monitor.api.queries.models import load_models
from monitor.api.queries.people import add_user
from monitor.api.settings import VARIABLE_PREFIX, load_service
from monitor.api.sites import TOPIC_ROOT
from monitor.api.worker import compute
from monitor.features.demo.publish import PlayPace, Publisher, play, sample_to_message
from monitor.features.demo.queries import count_issues, find_peak_level
from monitor.features.demo.scene import DRAW, DrawSceneRequest
from monitor.features.demo.slope import SITE_ID, SlopeModel
from monitor.features.demo.story import LIVE, plan_story, write_story_site
from monitor.features.demo.worth import (
    NETWORKS,
    DetectorWorth,
    ForecasterWorth,
    assess_detectors,
    assess_forecasters,
    print_worth,
)

DAYS: Final = 45.0
STEP: Final = timedelta(minutes=30)
STATIONS: Final = 6
PLAY_S: Final = 60.0  # the last 18 hours take so long
SUMMARY: Final = "summary"  # that which waits for all others
TOP_LEVEL: Final = 3  # red, which the slope reaches at the end of the climb
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
    notifications: dict[str, int]  # delivered and failed
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

    Returns what was counted in the database at the end.
    """
    began = time.monotonic()
    now = clock()
    model = plan_story(now, seed, DAYS, STEP, STATIONS)
    with open_stage(write_story_site(model), folder, print_line) as stage:
        password = _add_person(stage, now)
        print_line(f"web page: {stage.page_url}   (log in as demo, password {password})")
        (stage.folder / "truth.json").write_text(json.dumps(model.truth(), indent=1), encoding="utf-8")
        if not is_installed("torch"):
            stage.missing = describe_missing("torch")
            print_line(f"left out: {stage.missing}")
        else:
            _begin(stage, "scene", lambda: _drop_scene(stage, model, now))

        def conclude() -> DemoCount:
            _wait_for_acts(stage, _has_reached_top, PATIENCE_S if once else math.inf)
            counted = count(stage)
            counted["seconds"] = round(time.monotonic() - began, 1)
            if has_played(counted) and not stage.stop.is_set():
                _print_summary(stage, counted, print_line, keeps=folder is not None or not once)
            return counted

        if once:
            _play(stage, model, now, print_line, follow=False)
            return conclude()
        _begin(stage, SUMMARY, conclude)  # the slope goes on meanwhile
        _play(stage, model, now, print_line, follow=True)
        print_line("press Ctrl-C to end the demo")
        while not stage.stop.wait(1.0) and stage.service.poll() is None:
            pass
        return count(stage)


@contextlib.contextmanager
def open_stage(site_file: str, folder: Path | None, print_line: PrintLine) -> Iterator[DemoInstallation]:
    """A folder with configuration and site file, and the service running in it; both go away at the end."""
    home = Path(tempfile.mkdtemp(prefix="slopeward-demo-")) if folder is None else folder
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise SlopewardError(f"{folder} is not empty; name a new folder, a demonstration starts from nothing")
    home = home.absolute()
    (home / "sites").mkdir(parents=True, exist_ok=True)
    broker_port, web_port = free_port(), free_port(8080)
    text = CONFIG.format(folder=home, broker_port=broker_port, web_port=web_port)
    (home / "slopeward.toml").write_text(text, encoding="utf-8")
    (home / "sites" / f"{SITE_ID}.toml").write_text(site_file, encoding="utf-8")
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
    return {
        name: value for name, value in os.environ.items() if not (name.startswith(VARIABLE_PREFIX) and "__" in name)
    }


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
        stamp = find_heartbeat(c, "broker")
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


def has_played(counted: DemoCount) -> bool:
    """True when all acts have been seen that can be played with what is installed."""
    if not counted["missing"]:
        networks = all(name in counted["forecasters"] for name in NETWORKS)
        if not (networks and counted["footprints"] and "ae" in counted["anomalies"]):
            return False
    seen = bool(counted["observations"] and counted["forecasters"])
    return seen and counted["notifications"]["delivered"] > 0 and counted["top_level"] > 0


def _has_reached_top(counted: DemoCount) -> bool:
    """Return whether the summary can be printed: all acts have been played, and the slope has reached red.

    Without PyTorch no act lasts longer than the climb, so the summary would name a level on the way.
    """
    return has_played(counted) and counted["top_level"] >= TOP_LEVEL


def wait_until(
    poll: Callable[[], tuple[Any, Any]], patience_s: float, stage: DemoInstallation, pause_s: float = 0.5
) -> bool:
    """Poll until something is there; False when nothing has moved for so long, or service or person has ended it."""
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
        print_line(f"{messages} messages of {DAYS:g} days are stored; playing the last 18 hours in {PLAY_S:g} s")
        if follow:
            print_line("press Ctrl-C to end the demo")
        if not stage.missing:
            _begin(stage, "detector", lambda: _order(stage, "anomalies", "train", "--detector", "ae"))

    def at_present() -> None:
        print_line("the slope has reached the present; computing forecasts with all models")
        _begin(stage, "forecasts", lambda: _forecast(stage))

    with (
        issue_temporary_login(load_service(stage.config, {}).broker, SITE_ID, "demo") as login,
        Publisher(stage.broker_url, *login) as publisher,
    ):
        # an instrument whose clock knows no zone: it is kept aside with its reason, never guessed
        publisher.publish(
            f"{TOPIC_ROOT}/{SITE_ID}/R1/obs", b'{"time": "2026-01-01T00:00:00", "rain_mm": 1.2}', "broken"
        )
        play(
            map(sample_to_message, model.samples()),
            publisher,
            PlayPace(now - LIVE, speed, follow),
            clock=lambda: datetime.now(UTC),
            stop=stage.stop,
            on_history=after_history,
            on_present=at_present,
        )


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


def _forecast(stage: DemoInstallation) -> None:
    """The baselines at once, then the networks, which the service has trained by itself, and what all erred before."""
    _order(stage, "forecast", "run")
    if stage.missing:
        return
    begun = time.monotonic()
    lacking = [*NETWORKS]
    while lacking and not stage.stop.wait(1.0):
        with contextlib.suppress(StoreBusyError), Database(stage.db_url) as db:
            trained = {one.kind for one in db.run_read(load_models, site=SITE_ID)}
            lacking = [name for name in NETWORKS if name not in trained]
        if time.monotonic() > begun + ACT_LIMIT_S:
            raise JobError(f"the service trained no {', '.join(lacking)} in {ACT_LIMIT_S:.0f} s")
    _order(stage, "forecast", "run")
    _order(stage, "anomalies", "score")
    _order(stage, "forecast", "hindcast")


def _order(stage: DemoInstallation, *words: str) -> None:
    """Run a verb of the command line as a person would."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "monitor.cli.main", *words, "--site", SITE_ID, "--config", stage.config],
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
                found = find_heartbeat(c, "core")
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
        raise SlopewardError(f"the service did not start: {lines[-1] if lines else 'no output'}")


def _wait_for_rows(stage: DemoInstallation, rows: int) -> None:
    def poll() -> tuple[bool, int]:
        found = count(stage)["observations"]
        return found >= rows, found

    wait_until(poll, PATIENCE_S, stage)


def _wait_for_acts(stage: DemoInstallation, is_seen: Callable[[DemoCount], Any], patience_s: float) -> bool:
    """Until all is seen and no act goes on, or nothing moves any more; whether all was seen."""

    def poll() -> tuple[bool, Any]:
        if any(thread.is_alive() for thread in stage.threads if thread.name != SUMMARY):
            return False, time.monotonic()  # an act that goes on is a movement: it ends by its own limit
        counted = count(stage)
        return bool(is_seen(counted)), counted

    return wait_until(poll, patience_s, stage, 1.0)


def _print_summary(stage: DemoInstallation, counted: DemoCount, print_line: PrintLine, *, keeps: bool) -> None:
    print_line(
        f"done in {counted['seconds']:.0f} s: the level rose to {counted['top_level']}, "
        f"{counted['notifications']['delivered']} messages were delivered"
    )
    print_worth(counted["forecasters"], counted["anomalies"], print_line)
    if counted["degraded"]:
        print_line(f"  degraded: the broker is not durable; {HOW_TO_INSTALL}")
    if not keeps:
        print_line("run the demo without --once to use the web page, or with --folder DIR to keep the database")
        return
    print_line(f"while the demo runs: {stage.page_url}, forecasts at {stage.page_url}/sites/{SITE_ID}/forecasts")
    print_line(
        f"      database {stage.folder / 'slopeward.db'}, by sqlite3 or any SQL client; the view latest_forecast"
    )
