"""Start and stop a broker: Mosquitto with a durable configuration, or one in Python for a demonstration."""

import contextlib
import fcntl
import getpass
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from monitor.broker import logins
from monitor.broker.access import SERVICE_USER, SOCKET, Access
from monitor.broker.broker_log import BrokerLog
from monitor.errors import BrokerError
from monitor.extras import require
from monitor.ingest.mqtt import BrokerSession
from monitor.ingest.payload_limits import PAYLOAD_LIMIT
from monitor.ingest.queue_saver import QueueSaver
from monitor.ingest.session_setup import create_sessions
from monitor.sites.records import Site
from monitor.worker.linux import end_with_parent
from monitor.worker.sandbox import clean_environment

log: Final = logging.getLogger(__name__)
# `QueueSaver` saves the queue soon after a change. Mosquitto also saves it at this interval, in case that fails.
AUTOSAVE_S: Final = 60
SETUP_SOCKET: Final = "setup.sock"  # in `broker.data`, while sessions are created
DATABASE: Final = "mosquitto.db"  # Mosquitto's default name
MOSQUITTO: Final = "SLOPEWARD_MOSQUITTO"
# Largest packet, with topic and properties. Mosquitto ends the connection of a client that sends a larger one.
_PACKET_BYTES: Final = PAYLOAD_LIMIT + (1 << 17)
_START_S: Final = 15.0
_STOP_S: Final = 15.0
# The kernel ends a killed process at once, unless the process waits for a device, such as a disk that does not answer.
_AWAIT_KILLED_S: Final = 5.0
# How long a service waits for another one that is just ending.
_PREDECESSOR_S: Final = 5.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_SOCKET_PATH_BYTES: Final = 107  # limit of Linux


def find_mosquitto() -> str | None:
    """Return the path of the Mosquitto binary, or None. Distributions install it into an sbin folder.

    The environment variable `SLOPEWARD_MOSQUITTO` can name another path, or `none` to run without Mosquitto.
    """
    configured = os.environ.get(MOSQUITTO)
    if configured:
        return None if configured == "none" else shutil.which(configured)
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")


def format_config(
    folder: Path, port: int, host: str = "127.0.0.1", *, anonymous: bool = False, setup_only: bool = False
) -> str:
    """Return a configuration of Mosquitto that keeps all sessions and messages over a restart and requires logins.

    Mosquitto's defaults drop the queue of a client beyond 1,000 messages and save it every 30 minutes.

    Instruments connect to a port. Their client id is the name of their login, so that no instrument can take over the
    session of another. The service connects to a Unix socket in its folder, which no other account can open. Both
    listeners share logins and access lists: with `per_listener_settings`, Mosquitto from 2.0.12 on drops messages for
    absent clients.

    Args:
        folder: Folder of the broker.
        port: Port for instruments.
        host: Address for instruments.
        anonymous: Whether instruments can connect without a login. They choose their client ids then.
        setup_only: Whether the broker has only a socket on which sessions are created, which neither instruments nor
            the core use.
    """
    user = f"user {getpass.getuser()}\n" if os.name == "posix" and os.geteuid() == 0 else ""
    home = folder.resolve()
    client_ids = "" if anonymous else "use_username_as_clientid true\n"
    if setup_only:
        listeners = f"listener 0 {SETUP_SOCKET}\n"
    else:
        listeners = (
            "# the service; opened first, so that it is there when the port is\n"
            f"listener 0 {SOCKET}\n"
            "# instruments\n"
            f"listener {port} {host}\n"
            f"{client_ids}"
        )
    return (
        '# written by slopeward at each start; to change it run a broker of your own (broker.mode = "external")\n'
        f"{user}"
        "persistence true\n"
        f"persistence_location {home}/\n"
        f"autosave_interval {AUTOSAVE_S}\n"
        "max_queued_messages 0\n"
        "max_queued_bytes 0\n"
        "max_inflight_messages 0\n"  # the session's Receive Maximum decides
        f"message_size_limit {PAYLOAD_LIMIT}\n"
        f"max_packet_size {_PACKET_BYTES}\n"
        "set_tcp_nodelay true\n"
        "log_dest stderr\n"
        "log_type error\nlog_type warning\nlog_type notice\n"
        "log_type debug\n"  # Mosquitto writes what it refuses to this log only
        f"allow_anonymous {'true' if anonymous else 'false'}\n"
        f"password_file {home / logins.PASSWORDS}\n"
        f"acl_file {home / logins.ACL}\n"
        f"{listeners}"
    )


class _BrokerProcess(ABC):
    """A broker in a process of its own, in a folder with its log."""

    durable = False

    def __init__(self, folder: Path, port: int, host: str = "127.0.0.1") -> None:
        if host not in _LOOPBACK:
            raise BrokerError(
                f"a broker started by slopeward listens on loopback only, not on {host}; "
                'for the network set up Mosquitto with deploy/mosquitto.conf and broker.mode = "external"'
            )
        self.folder = Path(folder)
        self.port = port
        self.host = host
        self.log = BrokerLog(self.folder / "broker.log", self._note_change)
        self._process: subprocess.Popen[bytes] | None = None
        # A process that was killed and had not ended when `stop` returned.
        self._killed: subprocess.Popen[bytes] | None = None
        self._cancelled = threading.Event()

    @property
    def url(self) -> str:
        """Address for clients."""
        return f"mqtt://{self.host}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Process id; None if the broker does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def status(self) -> int | None:
        """Return code of the process; None while it runs, before its first start and after `stop`."""
        return None if self._process is None else self._process.poll()

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command that starts the broker."""

    def start(self, cancelled: threading.Event | None = None) -> None:
        """Start the broker and wait until it accepts connections.

        Args:
            cancelled: Set by another thread to end the start early.

        Raises:
            BrokerError: The port is in use, the program is not installed, it ended at once, an earlier broker was
                killed and has not ended, or the start was cancelled.
        """
        if self.is_alive():
            return
        self._cancelled = cancelled or threading.Event()
        self._check_killed_has_ended()
        self._end_orphan()
        if _accepts(self.host, self.port):
            raise BrokerError(
                f"port {self.port} of {self.host} is taken; stop what listens there, change broker.url, "
                'or set broker.mode = "external" to use it'
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._prepare_start()
        self._launch(self.command(), lambda: _accepts(self.host, self.port))

    @abstractmethod
    def _prepare_start(self) -> None:
        """Do what must be done before instruments can connect."""

    @abstractmethod
    def _note_change(self) -> None:
        """Handle that the broker has received something that it keeps."""

    def _launch(self, command: Sequence[str], is_ready: Callable[[], bool]) -> None:
        """Start the process and wait until it is ready.

        Raises:
            BrokerError: The process ended, or is not ready in time, an earlier one was killed and has not ended, or the
                start was cancelled.
        """
        self._check_killed_has_ended()
        self._check_cancelled()
        with self.log.open_pipe() as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                env=clean_environment(os.environ),
                start_new_session=True,  # Ctrl+C ends the service, which then stops the broker
                preexec_fn=end_with_parent,  # noqa: PLW1509 - a killed service must not leave a broker behind
            )
        self._process = process
        self._pid_file.write_text(str(process.pid), encoding="utf-8")
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and not self._cancelled.wait(0.05):
            if process.poll() is not None:
                self.log.close()
                raise BrokerError(f"the broker ended at once with status {process.returncode}: {self._last_line}")
            if is_ready():
                return
        self.stop()
        self._check_cancelled()
        raise BrokerError(f"the broker does not accept connections after {_START_S:g} s: {self._last_line}")

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise BrokerError("the start of the broker was cancelled")

    def _check_killed_has_ended(self) -> None:
        """Raise BrokerError if a killed process has not ended, because two brokers would write the same files."""
        if self._killed is not None and self._killed.poll() is None:
            raise BrokerError(_describe_killed(self._killed))
        self._killed = None

    @property
    def _last_line(self) -> str:
        return self.log.last_line or "no output"

    @property
    def _pid_file(self) -> Path:
        return self.folder / logins.PID_FILE

    def _end_orphan(self) -> None:
        """End the broker that a killed service left behind. It saves its queue, which the new broker loads.

        On Linux such a broker ends with the service. This is for other systems and for a broker that hangs. The process
        belongs to this folder if its id is stored there and its command contains `mark()`.
        """
        try:
            pid = int(self._pid_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if not logins.is_process(pid, self.mark()):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_S
        while time.monotonic() < deadline and not self._cancelled.wait(0.05):
            if not logins.is_process(pid, self.mark()):
                return
        self._check_cancelled()
        log.error("the broker that was left behind (pid %d) does not end and is killed", pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    @abstractmethod
    def mark(self) -> str:
        """Return an argument of the command that distinguishes this broker from any other."""

    def is_alive(self) -> bool:
        """Return whether the process runs and accepts connections."""
        return self.pid is not None and _accepts(self.host, self.port)

    def stop(self, timeout_s: float = _STOP_S) -> None:
        """Stop the broker, so that it saves its queue. Kill it if it does not end in time."""
        process = self._process
        self._process = None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                log.error("the broker did not end within %g s and is killed", timeout_s)  # noqa: TRY400
                process.kill()
                self._await_killed(process)
        self.log.close()

    def _await_killed(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until a killed process has ended, but not for long, because the loop of the supervisor waits too."""
        try:
            process.wait(_AWAIT_KILLED_S)
        except subprocess.TimeoutExpired:
            self._killed = process
            log.critical("%s", _describe_killed(process))


class ManagedBroker(_BrokerProcess):
    """Mosquitto with a durable configuration. Its folder contains configuration, logins, sessions, messages and log.

    Args:
        folder: Folder that no other account may read.
        port: Port for instruments.
        host: Loopback address for instruments.
        anonymous: Whether instruments can connect without a login.
        find_sites: Return the sites, whose decoders and channels use topics.
        find_sessions: Return the sessions of the service. They exist before instruments can connect.
    """

    durable = True

    def __init__(
        self,
        folder: Path,
        port: int,
        host: str = "127.0.0.1",
        *,
        anonymous: bool = False,
        find_sites: Callable[[], Sequence[Site]] = lambda: (),
        find_sessions: Callable[[], Sequence[BrokerSession]] = lambda: (),
    ) -> None:
        super().__init__(folder, port, host)
        self._anonymous = anonymous
        self._find_sites = find_sites
        self._find_sessions = find_sessions
        self.book = logins.LoginBook(self.folder)
        self.saver = QueueSaver(self.folder / DATABASE, self._request_save)

    def start(self, cancelled: threading.Event | None = None) -> None:
        """Create the sessions of the service, then start the broker for instruments."""
        if self.is_alive():
            return
        super().start(cancelled)
        self.saver.start()

    def stop(self, timeout_s: float = _STOP_S) -> None:
        """Stop the broker, which saves its queue."""
        self.saver.stop()
        super().stop(timeout_s)

    def _prepare_start(self) -> None:
        """Run the broker without the listener for instruments and create the sessions of the service.

        Mosquitto opens listeners only when it starts, so it is started twice.
        """
        sessions = self._find_sessions()
        if not sessions:
            return
        self._launch(self._write_config(setup_only=True), lambda: _accepts_unix(self.folder / SETUP_SOCKET))
        try:
            create_sessions(self._access(SETUP_SOCKET), sessions, self.folder)
        finally:
            super().stop()
            (self.folder / SETUP_SOCKET).unlink(missing_ok=True)

    def _access(self, socket_name: str) -> Access:
        return Access(
            username=SERVICE_USER, password=self.book.service_password(), socket=os.fspath(self.folder / socket_name)
        )

    def _note_change(self) -> None:
        self.saver.note_change()

    def _request_save(self) -> None:
        process = self._process
        if process is not None:
            process.send_signal(signal.SIGUSR1)

    def command(self) -> list[str]:
        """Write configuration and logins, and return the command that starts the broker with them."""
        return self._write_config(setup_only=False)

    def _write_config(self, *, setup_only: bool) -> list[str]:
        """Write configuration and logins, and return the command that starts the broker with them."""
        program = find_mosquitto()
        if program is None:
            raise BrokerError(
                'mosquitto is not installed; install it, name a broker (broker.mode = "external"), or for a '
                'demonstration set broker.mode = "demo"'
            )
        is_open = self.prepare()
        if is_open and not setup_only:
            log.warning("the broker accepts readings of anybody on this machine; see `slopeward doctor`")
        # A killed broker leaves its socket behind.
        (self.folder / (SETUP_SOCKET if setup_only else SOCKET)).unlink(missing_ok=True)
        text = format_config(self.folder, self.port, self.host, anonymous=is_open, setup_only=setup_only)
        Path(self.mark()).write_text(text, encoding="utf-8")
        return [program, "-c", self.mark()]

    def prepare(self) -> bool:
        """Write logins and access list for the current sites. Return True if no login is required.

        Raises:
            BrokerError: The path of the folder is too long for a socket.
        """
        path = os.fspath(self.folder / SOCKET)
        if len(path.encode()) > _SOCKET_PATH_BYTES:
            raise BrokerError(
                f"broker.data: {path} is longer than the {_SOCKET_PATH_BYTES} bytes that a socket's path may have; "
                "name a folder with a shorter path"
            )
        return self.book.prepare(self._find_sites(), self._anonymous)

    def reload(self) -> None:
        """Apply changed site files while instruments stay connected. The core must not be connected.

        The sessions subscribe to new topics before instruments get the right to publish on them.
        """
        self.prepare()
        try:
            create_sessions(self._access(SOCKET), self._find_sessions(), self.folder)
        finally:
            self.book.reload_broker()

    def mark(self) -> str:
        """Return the path of the configuration."""
        return str((self.folder / logins.CONFIG).resolve())


class DemoBroker(_BrokerProcess):
    """Broker of the package amqtt for a demonstration. It loses sessions and messages when it ends."""

    def command(self) -> list[str]:
        """Return the command that starts the module of the demonstration broker."""
        return [sys.executable, "-P", "-m", "monitor.broker.demo_broker", "--port", str(self.port), "--host", self.host]

    def _prepare_start(self) -> None:
        """Do nothing: this broker loses its sessions anyway."""

    def _note_change(self) -> None:
        """Do nothing: this broker saves nothing."""

    def mark(self) -> str:
        """Return the port, which no other broker uses meanwhile."""
        return str(self.port)


def open_broker(
    mode: str,
    folder: Path,
    host: str,
    port: int,
    *,
    anonymous: bool = False,
    find_sites: Callable[[], Sequence[Site]] = lambda: (),
    find_sessions: Callable[[], Sequence[BrokerSession]] = lambda: (),
) -> ManagedBroker | DemoBroker | None:
    """Return the broker for `broker.mode`; None for an external one.

    Raises:
        BrokerError: The mode is unknown, or the package of the demonstration broker is not installed.
    """
    match mode:
        case "external":
            return None
        case "managed":
            return ManagedBroker(
                folder, port, host, anonymous=anonymous, find_sites=find_sites, find_sessions=find_sessions
            )
        case "demo":
            require("amqtt", BrokerError)
            return DemoBroker(folder, port, host)
    raise BrokerError(f"broker.mode: expected managed, external or demo, got {mode!r}")


@contextlib.contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Reserve the folder of a broker. A second service would end the broker of the first as one that was left behind.

    Raises:
        BrokerError: Another service uses the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "service.lock").open("a+", encoding="utf-8") as file:
        deadline = time.monotonic() + _PREDECESSOR_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    file.seek(0)
                    raise BrokerError(
                        f"{folder}: another service runs with this broker (pid {file.read().strip() or 'unknown'}); "
                        "stop it, or give this one a folder, a port and a database of its own"
                    ) from None
                time.sleep(0.2)
        with contextlib.suppress(OSError):  # the service starts even if the disk is full
            os.truncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        yield


def _describe_killed(process: subprocess.Popen[bytes]) -> str:
    return (
        f"the broker (process {process.pid}) was killed and has not ended. It probably waits for a disk that does not "
        "answer; check the disk"
    )


def _accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def _accepts_unix(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
    return True
