"""The demonstration: the service in a folder of its own, with a simulated slope that fails within a minute."""

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
PLAY_S: Final = 60.0  # duration of the last 18 hours of the record
SUMMARY_TASK: Final = "summary"  # the task that waits for all others
TOP_LEVEL: Final = 3  # red, which the slope reaches at the end of the climb
PATIENCE_S: Final = 60.0  # waiting ends if nothing changes for this long
TASK_LIMIT_S: Final = 900.0  # of a command or a job
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
    """The service of the demonstration: folder, addresses, process, and tasks that run beside it."""

    folder: Path
    broker_url: str
    page_url: str
    db_url: str
    service: subprocess.Popen[bytes]
    threads: list[threading.Thread] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    trouble: list[str] = field(default_factory=list)
    missing: str = ""  # packages that are not installed; their tasks are left out

    @property
    def config(self) -> str:
        """Path of the service file."""
        return str(self.folder / "slopeward.toml")


class DemoCount(TypedDict):
    """Results of a demonstration, counted in its database."""

    observations: int
    forecasts: dict[str, int]
    footprints: int
    scenes: int
    forecasters: dict[str, ForecasterWorth]
    anomaly_scores: int
    anomalies: dict[str, DetectorWorth]
    alerts: int
    top_level: int
    notifications: dict[str, int]  # number delivered and failed
    rejected: int
    degraded: bool
    trouble: list[str]
    missing: str
    page_url: str
    seconds: NotRequired[float]


def run_demo(
    *, once: bool, folder: Path | None, seed: int, print_line: PrintLine, clock: Callable[[], datetime]
) -> DemoCount:
    """Run the service with a simulated slope and return the results.

    Args:
        once: End by itself when everything was shown, instead of when the person ends it.
        folder: A new folder, which is kept. None: a temporary folder.
        seed: Seed of the simulated slope.
        print_line: Called with each line of progress.
        clock: Returns the present time.
    """
    started_s = time.monotonic()
    now = clock()
    model = plan_story(now, seed, DAYS, STEP, STATIONS)
    with start_installation(write_story_site(model), folder, print_line) as demo:
        password = _add_person(demo, now)
        print_line(f"web page: {demo.page_url}   (log in as demo, password {password})")
        (demo.folder / "truth.json").write_text(json.dumps(model.truth(), indent=1), encoding="utf-8")
        if not is_installed("torch"):
            demo.missing = describe_missing("torch")
            print_line(f"left out: {demo.missing}")
        else:
            _start_task(demo, "scene", lambda: _add_scene(demo, model, now))

        def finish() -> DemoCount:
            _wait_for_tasks(demo, _has_reached_top, PATIENCE_S if once else math.inf)
            results = count_results(demo)
            results["seconds"] = round(time.monotonic() - started_s, 1)
            if is_complete(results) and not demo.stop.is_set():
                _print_summary(demo, results, print_line, is_kept=folder is not None or not once)
            return results

        if once:
            _publish_slope(demo, model, now, print_line, follow=False)
            return finish()
        _start_task(demo, SUMMARY_TASK, finish)
        _publish_slope(demo, model, now, print_line, follow=True)
        print_line("press Ctrl-C to end the demo")
        while not demo.stop.wait(1.0) and demo.service.poll() is None:
            pass
        return count_results(demo)


@contextlib.contextmanager
def start_installation(site_file: str, folder: Path | None, print_line: PrintLine) -> Iterator[DemoInstallation]:
    """Write configuration and site file, and run the service. A temporary folder is removed at the end."""
    home = Path(tempfile.mkdtemp(prefix="slopeward-demo-")) if folder is None else folder
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise SlopewardError(f"{folder} is not empty; name a new folder")
    home = home.absolute()
    (home / "sites").mkdir(parents=True, exist_ok=True)
    broker_port, web_port = find_free_port(), find_free_port(8080)
    text = CONFIG.format(folder=home, broker_port=broker_port, web_port=web_port)
    (home / "slopeward.toml").write_text(text, encoding="utf-8")
    (home / "sites" / f"{SITE_ID}.toml").write_text(site_file, encoding="utf-8")
    with (home / "service.log").open("wb") as log:
        service = subprocess.Popen(
            [sys.executable, "-P", "-m", "monitor.cli.main", "run", "--config", str(home / "slopeward.toml")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=make_environment(),
        )
    demo = DemoInstallation(
        home,
        f"mqtt://127.0.0.1:{broker_port}",
        f"http://127.0.0.1:{web_port}",
        f"sqlite:///{home}/slopeward.db",
        service,
    )
    print_line(f"folder: {home}   log: {home / 'service.log'}")
    try:
        _wait_for_service(demo)
        yield demo
    finally:
        demo.stop.set()
        compute.stop_all()
        for thread in demo.threads:
            thread.join(5.0)
        service.terminate()
        try:
            service.wait(20.0)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()
        if folder is None:
            shutil.rmtree(home, ignore_errors=True)


def make_environment() -> dict[str, str]:
    """Return the environment without settings of another installation."""
    return {
        name: value for name, value in os.environ.items() if not (name.startswith(VARIABLE_PREFIX) and "__" in name)
    }


def find_free_port(preferred: int = 0) -> int:
    """Return a free port of loopback: the preferred one if it is free."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def count_results(demo: DemoInstallation) -> DemoCount:
    """Count the results in the database."""
    with Database(demo.db_url) as db, db.read() as c:
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
            "trouble": demo.trouble,
            "missing": demo.missing,
            "page_url": demo.page_url,
        }


def is_complete(results: DemoCount) -> bool:
    """Return whether there are results of everything that the installed packages can show."""
    if not results["missing"]:
        networks = all(name in results["forecasters"] for name in NETWORKS)
        if not (networks and results["footprints"] and "ae" in results["anomalies"]):
            return False
    has_forecasts = bool(results["observations"] and results["forecasters"])
    return has_forecasts and results["notifications"]["delivered"] > 0 and results["top_level"] > 0


def _has_reached_top(results: DemoCount) -> bool:
    """Return whether the summary can be printed: everything was shown, and the slope has reached red.

    Without PyTorch no task lasts longer than the acceleration, so the summary would name a level before red.
    """
    return is_complete(results) and results["top_level"] >= TOP_LEVEL


def wait_until(
    poll: Callable[[], tuple[Any, Any]], patience_s: float, demo: DemoInstallation, pause_s: float = 0.5
) -> bool:
    """Poll until a condition is met and return True. Return False if nothing changes, or the demonstration ends.

    Args:
        poll: Returns whether the condition is met, and a value that changes while there is progress.
        patience_s: Waiting ends when the value has not changed for this long.
        demo: The service of the demonstration.
        pause_s: Pause between two polls.
    """
    changed_at_s = time.monotonic()
    previous = None
    while time.monotonic() - changed_at_s < patience_s and not demo.stop.is_set() and demo.service.poll() is None:
        with contextlib.suppress(StoreBusyError):
            is_met, progress = poll()
            if is_met:
                return True
            if progress != previous:
                changed_at_s = time.monotonic()
                previous = progress
        demo.stop.wait(pause_s)
    return False


# ---- tasks -------------------------------------------------------------------------------------------------------
def _publish_slope(
    demo: DemoInstallation, model: SlopeModel, now: datetime, print_line: PrintLine, *, follow: bool
) -> None:
    speed = LIVE.total_seconds() / PLAY_S

    def after_history(messages: int) -> None:
        _wait_for_rows(demo, messages)
        print_line(f"{messages} messages of {DAYS:g} days are stored; sending the last 18 hours in {PLAY_S:g} s")
        if follow:
            print_line("press Ctrl-C to end the demo")
        if not demo.missing:
            _start_task(demo, "detector", lambda: _run_command(demo, "anomalies", "train", "--detector", "ae"))

    def at_present() -> None:
        print_line("the slope has reached the present; computing forecasts with all models")
        _start_task(demo, "forecasts", lambda: _forecast(demo))

    with (
        issue_temporary_login(load_service(demo.config, {}).broker, SITE_ID, "demo") as login,
        Publisher(demo.broker_url, *login) as publisher,
    ):
        # A time without a zone: the message is rejected with its reason.
        publisher.publish(
            f"{TOPIC_ROOT}/{SITE_ID}/R1/obs", b'{"time": "2026-01-01T00:00:00", "rain_mm": 1.2}', "broken"
        )
        play(
            map(sample_to_message, model.samples()),
            publisher,
            PlayPace(now - LIVE, speed, follow),
            clock=lambda: datetime.now(UTC),
            stop=demo.stop,
            on_history=after_history,
            on_present=at_present,
        )


def _start_task(demo: DemoInstallation, name: str, task: Callable[[], object]) -> None:
    """Run a task in a thread. Its errors are collected in `trouble`."""

    def run() -> None:
        try:
            task()
        except (SlopewardError, OSError, subprocess.SubprocessError) as error:
            if not demo.stop.is_set():
                demo.trouble.append(f"{name}: {error}")

    thread = threading.Thread(target=run, name=name, daemon=True)
    demo.threads.append(thread)
    thread.start()


def _add_scene(demo: DemoInstallation, model: SlopeModel, now: datetime) -> None:
    name = f"scene-{now:%Y%m%dT%H%M}"
    taken_at = now - timedelta(hours=2)
    drawing = DrawSceneRequest(demo.folder / "drawn" / name, model.seed, model.longitude, model.latitude, taken_at)
    compute.run(DRAW, drawing, TASK_LIMIT_S)
    inbox = demo.folder / "inbox" / SITE_ID
    inbox.mkdir(parents=True, exist_ok=True)
    (demo.folder / "drawn" / name).rename(inbox / name)


def _forecast(demo: DemoInstallation) -> None:
    """Compute simple forecasts at once. After the service has trained the networks, compute all and score the past."""
    _run_command(demo, "forecast", "run")
    if demo.missing:
        return
    started_s = time.monotonic()
    lacking = [*NETWORKS]
    while lacking and not demo.stop.wait(1.0):
        with contextlib.suppress(StoreBusyError), Database(demo.db_url) as db:
            trained = {model.kind for model in db.run_read(load_models, site=SITE_ID)}
            lacking = [name for name in NETWORKS if name not in trained]
        if time.monotonic() > started_s + TASK_LIMIT_S:
            raise JobError(f"the service trained no {', '.join(lacking)} in {TASK_LIMIT_S:.0f} s")
    _run_command(demo, "forecast", "run")
    _run_command(demo, "anomalies", "score")
    _run_command(demo, "forecast", "hindcast")


def _run_command(demo: DemoInstallation, *words: str) -> None:
    """Run a command of `slopeward` for the site of the demonstration."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "monitor.cli.main", *words, SITE_ID, "--config", demo.config],
        capture_output=True,
        text=True,
        check=False,
        timeout=TASK_LIMIT_S,
        env=make_environment(),
    )
    if done.returncode and not demo.stop.is_set():
        raise JobError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")


def _add_person(demo: DemoInstallation, now: datetime) -> str:
    password = secrets.token_urlsafe(9)
    with Database(demo.db_url) as db, db.write() as c:
        add_user(c, "demo", password, "operator", now)
    return password


def _wait_for_service(demo: DemoInstallation) -> None:
    def is_running() -> bool:
        if not (demo.folder / "slopeward.db").exists():
            return False
        try:
            with Database(demo.db_url) as db, db.read() as c:
                heartbeat = find_heartbeat(c, "core")
        except SlopewardError:
            return False
        # Before ingest has subscribed, the broker keeps no messages for it.
        return heartbeat is not None and all(heartbeat[1]["ingest"]["connected"].values())

    def poll() -> tuple[bool, Any]:
        # During its start the service writes its log and creates its database.
        written = (demo.folder / "service.log", demo.folder / "slopeward.db")
        return is_running(), [path.stat().st_size for path in written if path.exists()]

    if not wait_until(poll, PATIENCE_S, demo, 0.2):
        lines = (demo.folder / "service.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise SlopewardError(f"the service did not start: {lines[-1] if lines else 'no output'}")


def _wait_for_rows(demo: DemoInstallation, rows: int) -> None:
    def poll() -> tuple[bool, int]:
        stored = count_results(demo)["observations"]
        return stored >= rows, stored

    wait_until(poll, PATIENCE_S, demo)


def _wait_for_tasks(demo: DemoInstallation, has_shown: Callable[[DemoCount], Any], patience_s: float) -> bool:
    """Wait until everything was shown and no task runs. Return False if nothing changes any more."""

    def poll() -> tuple[bool, Any]:
        if any(thread.is_alive() for thread in demo.threads if thread.name != SUMMARY_TASK):
            # A running task is progress. It ends by its own limit.
            return False, time.monotonic()
        results = count_results(demo)
        return bool(has_shown(results)), results

    return wait_until(poll, patience_s, demo, 1.0)


def _print_summary(demo: DemoInstallation, results: DemoCount, print_line: PrintLine, *, is_kept: bool) -> None:
    print_line(
        f"done in {results['seconds']:.0f} s: the level rose to {results['top_level']}, "
        f"{results['notifications']['delivered']} messages were delivered"
    )
    print_worth(results["forecasters"], results["anomalies"], print_line)
    if results["degraded"]:
        print_line(f"  degraded: the broker is not durable; {HOW_TO_INSTALL}")
    if not is_kept:
        print_line("run the demo without --once to use the web page, or with --folder DIR to keep the database")
        return
    print_line(f"while the demo runs: {demo.page_url}, forecasts at {demo.page_url}/sites/{SITE_ID}/forecasts")
    print_line(
        f"      database {demo.folder / 'slopeward.db'}; slopeward forecast show {SITE_ID} --config {demo.config}"
    )
