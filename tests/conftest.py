"""Real servers for every test: PostgreSQL, Mosquitto and the measured data, each started or found once per worker."""

import contextlib
import gc
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers

from monitor.store.database.engine import Database
from monitor.store.schema.tables import metadata
from monitor.worker import compute
from monitor.worker.compute import LIBRARIES
from tests.data.servers.file_server import run_here

# a busy machine is slow and still right: no example has a time limit
settings.register_profile("untimed", deadline=None, max_examples=100 if os.environ.get("SLOPEWARD_SOAK") else 40)
settings.load_profile("untimed")
# it would read each of a thousand modules for constants, in every worker
providers._get_local_constants = lambda: providers._local_constants

gc.disable()  # until all tests are collected: hardly anything of what is made up to then goes away
gc.set_threshold(50_000, 20, 20)

# one thread a process, as the workers have it: more only wait for each other where the machine is shared
for library in LIBRARIES:
    os.environ.setdefault(library, "1")


def find_fast_folder() -> Path:
    """Memory where there is enough, else the disk.

    A database of PostgreSQL is 300 files, made and removed 500 times in a run: on a disk that takes ten times the
    processor time and a second a test. SQLite waits for the disk at each of ten thousand commits. A killed server finds
    its files either way.
    """
    memory = Path("/dev/shm")
    fits = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 << 30
    return memory if fits and not os.statvfs(memory).f_flag & os.ST_NOEXEC else Path("/tmp")


os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(find_fast_folder()))

_PORTS = random.SystemRandom()
LEAST_CEILING_S = 60.0
# a day's number, the same in each worker
TURN = int(os.environ.setdefault("SLOPEWARD_TURN", str(time.time_ns() // 86_400_000_000_000)))

POSTGRESQL_BIN = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_report_header() -> str:
    """Which networks this run walks, so that the same ones can be asked for again."""
    return f"networks take turns: {TURN % 3} of 0, 1, 2 (SLOPEWARD_TURN; make soak: all)"


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around pytest-randomly: what it has shuffled is put in order here
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Let half of the workers begin with the tests that mostly wait while the others compute: no long one comes last.

    xdist's worksteal hands each worker one piece of the list, in order, and lets the idle take from the tails. Of those
    that wait, the ones that ask for most time come first: three minutes begun at the end would be three minutes more.
    The others stay together by module: one worker starts their Chromium, not each.
    """
    yield
    if idle := _list_idle(items):
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in idle])
        items[:] = [item for item in items if item.nodeid not in idle]
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers == 1:
        return
    waiting = sorted((item for item in items if item.get_closest_marker("slow")), key=_ceiling_s, reverse=True)
    rest = [item for item in items if not item.get_closest_marker("slow")]
    who_wait = (workers + 1) // 2
    long = [item for item in waiting if _ceiling_s(item)]
    shares = [long[k::who_wait] for k in range(who_wait)]
    modules: dict[Path, list[pytest.Item]] = {}
    for item in waiting[len(long) :]:
        modules.setdefault(item.path, []).append(item)
    for module in sorted(modules.values(), key=len, reverse=True):
        min(shares, key=len).extend(module)
    ordered: list[pytest.Item] = []
    for k in range(workers):
        size = len(items) // workers + (k >= workers - len(items) % workers)
        first = shares[k] if k < who_wait else []
        take = max(0, size - len(first))
        ordered += [*first, *rest[:take]]
        del rest[:take]
    items[:] = ordered + rest


@pytest.hookimpl(tryfirst=True)  # in each worker after it has collected, and in the process that hands the tests out
def pytest_runtestloop() -> None:
    """What imports and collection made stays; looking through it again and again is a fifth of many small objects."""
    gc.freeze()
    gc.enable()


def _ceiling_s(item: pytest.Item) -> float:
    """The time limit that a test asks for itself, s; 0: the common one does."""
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark else 0.0


def _list_idle(items: Iterable[pytest.Item]) -> set[str]:
    """The cases of tests marked `turns` that are not tried today: each law is, by a third of what it holds for."""
    laws: dict[str, list[str]] = {}
    for item in items:
        if item.get_closest_marker("turns"):
            laws.setdefault(item.nodeid.partition("[")[0], []).append(item.nodeid)
    return {one for law, cases in laws.items() for one in set(cases) - set(take_turns(cases, zlib.crc32(law.encode())))}


def absent(what: str) -> None:
    """Skip with a reason on a laptop; fail where CI promises that everything is there."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI is set")
    pytest.skip(f"{what} is missing")


def take_turns(names: Iterable[str], law: int, of: int = 3) -> list[str]:
    """A third of what a law holds for, another one each day and for each `law`; all of it in `make soak`."""
    return [n for k, n in enumerate(sorted(names)) if os.environ.get("SLOPEWARD_SOAK") or (k + law + TURN) % of == 0]


def free_port() -> int:
    """A TCP port of loopback that nobody listens on.

    It lies below those that the system lends to outgoing connections: none of them takes it before the server does.
    Chance that no seed repeats: workers and checkouts draw at the same time.
    """
    while True:
        port = _PORTS.randrange(12_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_for(
    condition: Callable[[], object], timeout_s: float = LEAST_CEILING_S, what: str = "condition", pause_s: float = 0.02
) -> Any:
    """Poll until the condition is true and return its value; fail the test when it never is.

    The ceiling measures nothing and is a minute at least, so that a busy machine fails no test. Who wants to say that
    something comes soon takes the time and asserts it.
    """
    timeout_s = max(timeout_s, LEAST_CEILING_S)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(pause_s)
    return pytest.fail(f"waited {timeout_s:g} s in vain for {what}")


@pytest.fixture
def without_walls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of workers are done in this process, in tests of what comes of them."""
    monkeypatch.setattr(compute, "run", run_here)


@pytest.fixture(autouse=True)
def jobs_may_start() -> Iterator[None]:
    """A service that a test stopped in its own process lets no job start there; the tests behind it want theirs."""
    yield
    if (compute := sys.modules.get("monitor.worker.compute")) is not None:
        compute._stopped.clear()


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """Torch on one thread; neither that nor a demand for determinism is left to the tests behind."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=False)


# ---- measured data ---------------------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def measured() -> Callable[[str], Path]:
    """`measured("outang/monitoring_data.csv")`: a path of the measured data, or a skip (a failure in CI).

    Paths are looked up below SLOPEWARD_DATA (default ../shared/data), there also below timeseries/ and imagery/.
    """
    root = Path(os.environ.get("SLOPEWARD_DATA", REPOSITORY.parent / "shared" / "data"))

    def find(path: str) -> Path:
        for folder in (root, root / "timeseries", root / "imagery"):
            if (folder / path).exists():
                return folder / path
        absent(f"measured data {path} (SLOPEWARD_DATA={root})")
        raise AssertionError

    return find


# ---- PostgreSQL ------------------------------------------------------------------------------------------------
class PostgresServer:
    """A throw-away cluster on a free port of loopback; its clock zone is one that nobody should rely on."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.port = free_port()
        self._data = folder / "cluster"
        self._bin = POSTGRESQL_BIN[0]
        self._as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self.user = "postgres" if os.geteuid() == 0 else os.environ.get("USER", "postgres")
        if self._as_user:
            shutil.chown(folder, "postgres")
        self._call(
            "initdb", "-D", str(self._data), "--locale=C", "--encoding=UTF8", "-A", "trust", "-U", self.user, "-N"
        )
        settings = {
            "timezone": "America/Denver",
            "log_timezone": "America/Denver",
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "fsync": "on" if durable else "off",
            "full_page_writes": "on" if durable else "off",
            "max_wal_size": "128MB",
        }
        (self._data / "postgresql.auto.conf").write_text("".join(f"{k} = '{v}'\n" for k, v in settings.items()))
        self.start()

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self._as_user, str(self._bin / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            timeout=120,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr or done.stdout}")

    def start(self) -> None:
        """Start the cluster and wait until it answers."""
        self._call("pg_ctl", "-D", str(self._data), "-w", "-l", str(self._data / "log"), "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop the cluster."""
        self._call("pg_ctl", "-D", str(self._data), "-w", "-m", mode, "stop")

    def url(self, name: str) -> str:
        """The URL of a database of this cluster."""
        return f"postgresql+psycopg://{quote(self.user)}@127.0.0.1:{self.port}/{name}"

    def execute(self, *statements: str) -> None:
        """Run statements outside of any transaction in the maintenance database."""
        import psycopg

        with psycopg.connect(f"postgresql://{self.user}@127.0.0.1:{self.port}/postgres", autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]

    def copy(self, template: str, prefix: str) -> str:
        """Make a database like another one; returns its name. Files are copied: half the work of the default."""
        name = f"{prefix}_{uuid.uuid4().hex[:12]}"
        strategy = "STRATEGY FILE_COPY" if int(self._bin.parent.name) >= 15 else ""
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} {strategy}")
        return name


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One cluster per worker, with a database `template_slopeward` that holds the schema."""
    if not POSTGRESQL_BIN:
        absent("PostgreSQL")
    folder = find_fast_folder() / f"slopeward-pg-{uuid.uuid4().hex[:8]}"  # pytest's own are closed to user postgres
    folder.mkdir(mode=0o755)
    server = PostgresServer(folder)
    try:
        server.execute("CREATE DATABASE template_slopeward")
        create_schema(server.url("template_slopeward"))
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


# ---- databases -------------------------------------------------------------------------------------------------
def create_schema(url: str) -> None:
    """Bring an empty database to the present schema, by the migrations where they exist."""
    database = Database(url)
    try:
        try:
            from monitor.store.upkeep.migrate import upgrade
        except ImportError:
            metadata.create_all(database.engine)
        else:
            upgrade(database)
    finally:
        database.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    create_schema(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A SQLite database with the schema, of this test alone."""
    path = tmp_path / "slopeward.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgresql_url(postgresql: PostgresServer) -> Iterator[str]:
    """A PostgreSQL database with the schema, of this test alone."""
    name = postgresql.copy("template_slopeward", "t")
    yield postgresql.url(name)
    postgresql.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


DATABASES = ["sqlite", "postgresql"] if os.environ.get("SLOPEWARD_SOAK") else ["sqlite"]
ON_SQLITE = pytest.mark.parametrize("database_url", DATABASES, indirect=True)
"""For a test of what is decided outside of SQL: what it asks of the store its neighbours hold on both databases.

`make soak` (SLOPEWARD_SOAK) runs it on both.
"""
STORY_ON_SQLITE = pytest.mark.parametrize("filled_database", DATABASES, indirect=True)
"""The same for a test over the filled story."""
BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.server)]
ON_BOTH = pytest.mark.parametrize("database_url", BOTH, indirect=True)
"""For a test of SQL that differs, or of locks, in a folder whose other tests take SQLite alone."""
STORY_ON_BOTH = pytest.mark.parametrize("filled_database", BOTH, indirect=True)
"""The same for a test over the filled story."""


@pytest.fixture(name="database_url", params=BOTH)
def on_both_databases(request: pytest.FixtureRequest) -> str:
    """URL of an own database with the schema; the test runs once on SQLite and once on PostgreSQL."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=BOTH)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an own database without any table, for tests of the migrations."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    server: PostgresServer = request.getfixturevalue("postgresql")
    name = f"e_{uuid.uuid4().hex[:12]}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    yield server.url(name)
    server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open database with the schema, on SQLite and on PostgreSQL."""
    opened = Database(database_url)
    yield opened
    opened.close()


Fill = Callable[[Database], Any]


@pytest.fixture(scope="session")
def templates(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, Fill], tuple[str, Any]]:
    """`templates("sqlite", fill)`: the file or database that `fill` has filled, and what it returned; made once."""
    made: dict[tuple[str, Fill], tuple[str, Any]] = {}

    def find(kind: str, fill: Fill) -> tuple[str, Any]:
        if (kind, fill) not in made:
            if kind == "sqlite":
                name = str(tmp_path_factory.mktemp("filled") / "filled.db")
                url = f"sqlite:///{name}"
            else:
                server: PostgresServer = request.getfixturevalue("postgresql")
                name = f"template_{len(made)}"
                server.execute(f"CREATE DATABASE {name}")
                url = server.url(name)
            create_schema(url)
            database = Database(url)
            made[kind, fill] = (name, fill(database))
            database.close()
        return made[kind, fill]

    return find


@pytest.fixture
def open_copy(
    request: pytest.FixtureRequest, templates: Callable[[str, Fill], tuple[str, Any]], tmp_path: Path
) -> Iterator[Callable[[str, Fill], tuple[Database, Any]]]:
    """`open_copy("sqlite", fill)`: a database of this test alone as `fill` has filled it, and what `fill` returned."""
    opened: list[Database] = []
    copies: list[str] = []

    def open_one(kind: str, fill: Fill) -> tuple[Database, Any]:
        name, told = templates(kind, fill)
        if kind == "sqlite":
            path = tmp_path / f"filled{len(opened) or ''}.db"
            shutil.copy(name, path)
            opened.append(Database(f"sqlite:///{path}"))
        else:
            server: PostgresServer = request.getfixturevalue("postgresql")
            copies.append(server.copy(name, "f"))
            opened.append(Database(server.url(copies[-1])))
        return opened[-1], told

    yield open_one
    for database in opened:
        database.close()
    for name in copies:
        request.getfixturevalue("postgresql").execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def filled_template(templates: Callable[[str, Fill], tuple[str, Any]]) -> Callable[[str], tuple[str, dict[str, Any]]]:
    """`filled_template("sqlite")`: a file or database with the story of tests/data/filled.py, and the story's ids."""

    def find(kind: str) -> tuple[str, dict[str, Any]]:
        from tests.data.filled import fill

        return templates(kind, fill)

    return find


@pytest.fixture
def filled_sqlite_url(filled_template: Callable[[str], tuple[str, dict[str, Any]]], tmp_path: Path) -> str:
    """A SQLite database with the story of tests/data/filled.py, of this test alone."""
    path = tmp_path / "filled.db"
    shutil.copy(filled_template("sqlite")[0], path)
    return f"sqlite:///{path}"


@pytest.fixture
def filled_postgresql_url(
    filled_template: Callable[[str], tuple[str, dict[str, Any]]], postgresql: PostgresServer
) -> Iterator[str]:
    """A PostgreSQL database with the story of tests/data/filled.py, of this test alone."""
    name = postgresql.copy(filled_template("postgresql")[0], "f")
    yield postgresql.url(name)
    postgresql.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(params=BOTH)
def filled_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An open database with the story of tests/data/filled.py, on SQLite and on PostgreSQL."""
    opened = Database(str(request.getfixturevalue(f"filled_{request.param}_url")))
    yield opened
    opened.close()


@pytest.fixture
def filled_ids(
    filled_database: Database, filled_template: Callable[[str], tuple[str, dict[str, Any]]]
) -> dict[str, Any]:
    """The ids of the story in `filled_database`, by the names that tests like."""
    return filled_template(filled_database.engine.dialect.name)[1]


# ---- Mosquitto -------------------------------------------------------------------------------------------------
class MosquittoServer:
    """A broker that keeps sessions and queues over a restart; `stop` is clean, `kill` is not."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._config = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\n{'user root' if os.geteuid() == 0 else ''}\n"
            f"persistence true\npersistence_location {folder}/\nautosave_interval 2\n"
            "max_queued_messages 0\nmax_queued_bytes 0\nmax_inflight_messages 0\nset_tcp_nodelay true\nlog_type error\n"
        )

    @property
    def pid(self) -> int:
        """Of the running broker."""
        assert self._process is not None
        return self._process.pid

    def configure(self, name: str, value: object) -> None:
        """Give a setting another value, as an operator does; it counts from the next start on."""
        text = self._config.read_text()
        self._config.write_text(re.sub(rf"^{name} .*$", f"{name} {value}", text, flags=re.MULTILINE))

    def start(self) -> None:
        """Start and wait until the port answers."""
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self._process = subprocess.Popen([program, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        wait_for(self._answers, what="Mosquitto")

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """Stop cleanly: sessions and queues are written."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def kill(self) -> None:
        """Stop at once: what was not saved yet is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None

    def restart(self) -> None:
        """Stop cleanly and start again on the same port."""
        self.stop()
        self.start()


@pytest.fixture
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MosquittoServer]:
    """A real broker of this test alone, durable and restartable."""
    if not (shutil.which("mosquitto") or Path("/usr/sbin/mosquitto").exists()):
        absent("Mosquitto")
    server = MosquittoServer(tmp_path_factory.mktemp("mosquitto"))
    server.start()
    yield server
    server.stop()


# ---- nothing may stay behind -----------------------------------------------------------------------------------
@pytest.fixture
def no_thread_left() -> Iterator[None]:
    """Fail the test when it leaves a thread running."""
    before = set(threading.enumerate())
    yield
    wait_for(lambda: set(threading.enumerate()) <= before, 5.0, "threads to end")
