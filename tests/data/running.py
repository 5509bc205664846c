"""Run the service as a user does: `slopeward run` as a child process with its own folder."""

import contextlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.error import URLError
from urllib.request import urlopen

import paho.mqtt.client as mqtt
from sqlalchemy import text

from monitor.cli.main import run_command
from monitor.errors import SlopewardError
from monitor.storage.engine import Database
from monitor.storage.service_state import find_heartbeat
from tests.fixtures.waiting import REPOSITORY, free_port

# Hides Mosquitto in all folders where the tests may have installed it, as on a fresh machine.
HIDE = """
for place in $(echo "$PATH" | tr : ' ') /usr/sbin /usr/local/sbin /opt/homebrew/sbin; do
    if [ -e "$place/mosquitto" ]; then mount --bind /dev/null "$place/mosquitto" || exit 99; fi
done
exec "$@"
"""


def hide_mosquitto() -> list[str]:
    """Return a command prefix that hides Mosquitto from the command, in a mount namespace if the machine permits it."""
    find_command = [
        sys.executable,
        "-c",
        "from monitor.ingest.broker_process import find_mosquitto; print(find_mosquitto())",
    ]
    for unshare in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        words = [*unshare, "sh", "-c", HIDE, "sh"]
        with contextlib.suppress(FileNotFoundError):
            result = subprocess.run(
                [*words, *find_command], capture_output=True, text=True, check=False, cwd=REPOSITORY
            )
            if result.stdout.strip() == "None":
                return words
    return ["env", "SLOPEWARD_MOSQUITTO=none"]


def call_verb(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `slopeward` in this process, which saves a second of imports in a new process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(folder):
        status = run_command(list(words))
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def run_line(folder: Path, line: str) -> str:
    """Return the output of a documented command. Those of `slopeward` run in this process unless they need a shell."""
    if line.startswith("slopeward ") and not set(line.partition("#")[0]) & set("|<>;&`"):
        words = shlex.split(os.path.expandvars(line).replace("\\\n", " "), comments=True)
        done = call_verb(folder, *words[1:])
    else:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        words = ["bash", "-ec", line]
        done = subprocess.run(words, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout + done.stderr


def hurry_services(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which a service trains for one epoch and scores few forecasts (tests/data/hurried)."""
    places = [str(REPOSITORY / "tests/data/hurried"), *environ.get("PYTHONPATH", str(REPOSITORY)).split(os.pathsep)]
    return {**environ, "PYTHONPATH": os.pathsep.join(places)}


class Service:
    """`slopeward run` on an external broker. `kill` ends the whole process group."""

    program = (sys.executable, "-m", "monitor.cli.main")

    def __init__(
        self,
        folder: Path,
        database_url: str,
        broker_url: str,
        sites: dict[str, str],
        tick: str = "1s",
        *,
        page: bool = True,
        broker: Path | None = None,
    ) -> None:
        self.folder, self.port, self.page = folder, free_port(), page
        self.database = Database(database_url)  # for queries of the tests
        self._launched_at = datetime.now(UTC)
        (folder / "sites").mkdir(parents=True, exist_ok=True)
        for name, source in sites.items():
            (folder / "sites" / f"{name}.toml").write_text(source)
        self.config = folder / "slopeward.toml"
        mode = 'mode = "external"' if broker is None else f'mode = "managed"\ndata = "{broker}"'
        self.config.write_text(
            f'[database]\nurl = "{database_url}"\n[broker]\n{mode}\nurl = "{broker_url}"\n'
            f'[paths]\nsites = "{folder}/sites"\ninbox = "{folder}/inbox"\nmodels = "{folder}/models"\n'
            f'[web]\nport = {self.port}\n[schedule]\nevaluate_tick = "{tick}"\n'
        )
        self.process: subprocess.Popen[bytes] | None = None
        self._log = (folder / "service.log").open("ab")

    def start(self, timeout_s: float = 120.0) -> float:
        """Start, and wait until the core is healthy and subscribed. Return the seconds until it was healthy."""
        started_s = time.monotonic()
        process = self.launch()
        while not (self.healthy() if self.page else self._is_stamped()):
            if time.monotonic() - started_s > timeout_s or process.poll() is not None:
                raise TimeoutError(f"the service did not come up:\n{self.log()[-3000:]}")
            time.sleep(0.05)
        healthy_after_s = time.monotonic() - started_s
        while self.page and not self.listening():
            if time.monotonic() - started_s > timeout_s:
                raise TimeoutError(f"the service does not listen:\n{self.log()[-3000:]}")
            time.sleep(0.05)
        return healthy_after_s

    def launch(self) -> subprocess.Popen[bytes]:
        """Start without waiting, and return the process of the supervisor."""
        self._launched_at = datetime.now(UTC)
        self.process = subprocess.Popen(
            [*self.program, "run", "--config", str(self.config), *([] if self.page else ["--no-web"])],
            stdout=self._log,
            stderr=self._log,
            cwd=self.folder,
            start_new_session=True,
            env=dict(os.environ),
        )
        return self.process

    def kill_supervisor(self) -> None:
        """Send SIGKILL to the supervisor alone. Its children end when they detect its end."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)

    @property
    def group(self) -> int:
        """Process group of the supervisor and all its children."""
        assert self.process is not None
        return self.process.pid

    def find_child(self, module: str) -> int | None:
        """Return the process id of the child of the supervisor that runs a module, or None."""
        result = subprocess.run(["pgrep", "-P", str(self.group), "-f", module], capture_output=True, text=True)
        return int(result.stdout.split()[0]) if result.stdout else None

    def list_queued_s(self) -> dict[str, float]:
        """Return the seconds that each thread of the group waited for a processor; empty except on Linux."""
        waited_s = {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # the process has just ended
                if os.getpgid(int(process.name)) == self.group:
                    for statistics in process.glob("task/*/schedstat"):
                        waited_s[statistics.parent.name] = int(statistics.read_text().split()[1]) / 1e9
        return waited_s

    @property
    def running(self) -> bool:
        """Whether the service was started and not ended since."""
        return self.process is not None

    def healthy(self) -> bool:
        """Return whether /health responds with status 200."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/health", timeout=20) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def _is_stamped(self) -> bool:
        """Return whether the core of this start has stored a heartbeat with a connection to the broker."""
        try:
            with self.database.read() as c:
                heartbeat = find_heartbeat(c, "core")
        except SlopewardError:  # the database is being created
            return False
        return (
            heartbeat is not None
            and heartbeat[0] > self._launched_at
            and all(heartbeat[1]["ingest"]["connected"].values())
        )

    def listening(self) -> bool:
        """Return whether the broker has confirmed the subscriptions, so that later messages are received."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/health", timeout=20) as answer:
                status = json.load(answer)["ingest"]
        except (URLError, OSError):
            return False
        return bool(status and all(status["connected"].values()))

    def stop(self, timeout_s: float = 60.0) -> int:
        """Send SIGTERM, wait, and return the exit status."""
        assert self.process is not None
        self.process.terminate()
        status = self.process.wait(timeout_s)
        self.process = None
        return status

    def kill(self) -> None:
        """Send SIGKILL to every process of the service."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(60)
            self.process = None

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `slopeward` with this configuration."""
        words = (*words, "--config", str(self.config))
        if self.program == Service.program:
            return call_verb(self.folder, *words)
        return subprocess.run(  # program of another environment
            [*self.program, *words], capture_output=True, text=True, timeout=120, check=False, cwd=self.folder
        )

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query on the database of the service."""
        with self.database.read() as c:
            return [tuple(row) for row in c.execute(text(sql))]

    def log(self) -> str:
        """Return the output of the service."""
        return (self.folder / "service.log").read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._log.close()
        self.database.close()


def publish(broker_url: str, messages: Sequence[tuple[str, Any]], version: int = 5) -> None:
    """Publish at QoS 1 and wait for all acknowledgements. `version` 4 is MQTT 3.1.1, 5 is MQTT 5."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTProtocolVersion(version))
    host, port = broker_url.removeprefix("mqtt://").split(":")
    client.connect(host, int(port))
    client.loop_start()
    try:
        for info in [client.publish(topic, json.dumps(body), qos=1) for topic, body in messages]:
            info.wait_for_publish(30)
    finally:
        client.disconnect()
        client.loop_stop()
