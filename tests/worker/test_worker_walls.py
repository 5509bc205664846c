"""Workers read files from outside: what a job that was taken over tries fails in one line, and the service goes on."""

import logging
import os
import platform
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

from monitor.errors import JobError
from monitor.worker import compute, kernel, sandbox
from monitor.worker.configured import list_models
from monitor.worker.records import WorkerTask
from monitor.worker.sandbox import GIB, MIB, MissingBounds, SandboxLimits
from tests.fixtures.waiting import REPOSITORY, wait_for

SECRET = "nobody-may-read-this"
BODY = """
import os, pickle, signal, socket, subprocess, sys
from pathlib import Path
def environment(payload): return {"names": sorted(os.environ), "text": str(dict(os.environ))}
def read(payload): return {"text": Path(payload["path"]).read_bytes().decode(errors="replace")}
def connect(payload):
    kind = socket.AF_UNIX if isinstance(payload["address"], str) else socket.AF_INET
    with socket.socket(kind) as s: s.connect(payload["address"]); s.sendall(b"stolen")
    return {}
def families(payload):
    found = {}
    for name in ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG"):
        try: socket.socket(getattr(socket, name), socket.SOCK_SEQPACKET if name == "AF_ALG" else socket.SOCK_STREAM)
        except OSError as error: found[name] = error.errno
        else: found[name] = 0
    return {"found": found, "localhost": len(socket.getaddrinfo("localhost", 80)), "pair": len(socket.socketpair())}
def wait(payload):
    with socket.create_server(("127.0.0.1", 0)): return {}
def fetch(payload): return {"code": subprocess.run([sys.executable, "-S", "-c", payload["code"]]).returncode}
def allocate(payload): return {"n": len(bytearray(payload["bytes"]))}
def native(payload):
    import numpy as np
    return {"n": int(np.ones(payload["bytes"], np.uint8).sum())}
def read_when_replaced(payload):
    import time
    Path(payload["ready"]).touch()
    while not Path(payload["go"]).exists(): time.sleep(0.02)
    return read(payload)
def write(payload):
    Path(payload["path"]).write_bytes(bytes(payload["bytes"]))
    return {}
def beside(payload):
    import tempfile
    with tempfile.NamedTemporaryFile(delete=False) as file: file.write(bytes(payload["bytes"]))
    return {}
def spin(payload):
    while True: pass
def link(payload): os.symlink(payload["to"], payload["path"]); return {}
def find_place(payload):
    group = Path("/proc/self/autogroup")
    return {"nice": os.getpriority(os.PRIO_PROCESS, 0), "group": group.read_text() if group.exists() else ""}
def signals(payload): os.kill(os.getppid(), signal.SIGUSR1); return {}
def limits(payload):
    import resource
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {"core": list(resource.getrlimit(resource.RLIMIT_CORE)), "rights": int(status["CapEff"], 16),
            "later": int(status["CapBnd"], 16), "no_new": int(status["NoNewPrivs"])}
class Evil:
    def __reduce__(self): return os.system, ("touch " + os.environ["HOME"] + "/owned",)
def evil(payload): leave(pickle.dumps({"x": Evil()}))
def leave(content):
    # what somebody answers who has taken this process over
    (Path(os.environ["TMPDIR"]) / "answer").write_bytes(content)
    os._exit(0)
def answer(payload): leave(payload["content"])
def mislead(payload):
    folder = Path(os.environ["TMPDIR"])
    (folder / "error").symlink_to(payload["path"])
    os._exit(0)
"""


@pytest.fixture(autouse=True)
def jobs(tmp_path, monkeypatch):
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "wall_jobs.py").write_text(BODY)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{REPOSITORY}")
    monkeypatch.setenv("SLOPEWARD_BROKER__PASSWORD", SECRET)
    monkeypatch.setenv("SIREN_URL", f"https://u:{SECRET}@siren.example")


@pytest.fixture
def listener():
    """A socket of the test that notes who came."""
    came = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept():
            while True:
                try:
                    other, _ = server.accept()
                except OSError:
                    return
                came.append(other.recv(100))
                other.close()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname(), came
        server.shutdown(socket.SHUT_RDWR)


def run(job, payload=None, limit_s=30, **terms):
    return compute.run(WorkerTask(f"wall_jobs:{job}", dict, dict), payload or {}, limit_s, terms=SandboxLimits(**terms))


def why(job, payload=None, limit_s=30, **terms):
    with pytest.raises(JobError) as caught:
        run(job, payload, limit_s, **terms)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_who_fetches_reaches_the_network_and_no_file_of_others(listener, tmp_path):
    address, came = listener
    folder, secret = tmp_path / "fetched", tmp_path / "configs.toml"
    folder.mkdir()
    secret.write_text(SECRET)
    terms = {"network": True, "reads": (str(tmp_path / "jobs"),), "writes": (str(folder),)}
    assert run("connect", {"address": address}, **terms) == {}
    wait_for(lambda: came == [b"stolen"])
    if platform.machine() in kernel.CALLS:
        opened = run("families", **terms)
        assert {name for name, error in opened["found"].items() if not error} == {"AF_INET", "AF_INET6"}
        assert set(opened["found"].values()) == {0, 13}  # refused, not unknown
        assert opened["localhost"]
    run("write", {"path": str(folder / "a"), "bytes": 3}, **terms)
    assert SECRET not in str(run("environment", **terms))
    if kernel.landlock_version():
        assert "PermissionError" in why("read", {"path": str(secret)}, **terms)
        assert "PermissionError" in why("write", {"path": str(tmp_path / "a"), "bytes": 3}, **terms)
    if kernel.landlock_version() >= kernel.TCP_SINCE:
        assert "PermissionError" in why("wait", **terms)


def test_the_environment_holds_no_secret():
    answer = run("environment")
    assert SECRET not in answer["text"]
    allowed = {"SLOPEWARD_DEVICE", "SLOPEWARD_PLUGINS", "SLOPEWARD_PLUGIN_RESULTS"}
    assert {n for n in answer["names"] if n.startswith("SLOPEWARD")} <= allowed
    assert "PATH" in answer["names"]


@pytest.mark.skipif(not kernel.landlock_version(), reason="this kernel has no Landlock")
def test_the_environment_and_memory_of_the_service_are_not_read_by_proc():
    assert "PermissionError" in why("read", {"path": f"/proc/{os.getpid()}/environ"})
    assert "PermissionError" in why("read", {"path": f"/proc/{os.getpid()}/mem"})


def test_a_service_hides_its_memory_from_its_own_user(tmp_path):
    """Without Landlock: the core says itself that nobody of its user may look into it; root may, with its rights."""
    code = "import sys; from monitor.worker import kernel; kernel.hide_memory(); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as service:
        assert service.stdout.readline() == b"1\n"
        assert "PermissionError" in why("read", {"path": f"/proc/{service.pid}/environ"}, walls=("network", "calls"))
        service.stdin.close()


@pytest.mark.parametrize("walls", [("network", "calls", "files"), ("network",), ("calls",), ("files",)])
def test_nothing_is_reached_by_network(listener, walls):
    address, came = listener
    if walls == ("files",) and kernel.landlock_version() < kernel.TCP_SINCE:
        pytest.skip("this Landlock knows no network")
    said = why("connect", {"address": address}, walls=walls)
    assert "PermissionError" in said or "Network is unreachable" in said
    code = f"import socket; socket.create_connection({address!r}).sendall(b'stolen')"
    assert run("fetch", {"code": code}, walls=walls)["code"] != 0, "what a job starts is behind the same walls"
    assert came == []


def test_a_socket_of_the_database_is_not_reached_either(tmp_path):
    """A PostgreSQL on this machine takes the user of the service without a password, by a socket that is a file."""
    path = str(tmp_path / "s.5432")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        assert "PermissionError" in why("connect", {"address": path})


def test_without_walls_the_service_says_so_and_goes_on(listener, caplog, monkeypatch):
    _, came = listener
    monkeypatch.setattr(compute, "_reported", set())
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            answer = compute.run(sandbox.DESCRIBE_SANDBOX, None, 30, terms=SandboxLimits(walls=()))
    assert answer == MissingBounds((sandbox.OPEN_FILES, sandbox.OPEN_NETWORK))
    assert [r.message for r in caplog.records] == [sandbox.OPEN_FILES, sandbox.OPEN_NETWORK]
    assert SECRET not in run("environment", walls=())["text"]
    assert came == []


def test_where_namespaces_are_forbidden_the_filter_of_calls_stands(listener, tmp_path):
    if shutil.which("unshare") is None or subprocess.run(["unshare", "--map-root-user", "true"]).returncode:
        pytest.skip("needs a user namespace to forbid further ones in")
    address, came = listener
    code = (
        "from monitor.worker import compute, kernel, sandbox; from monitor.worker.records import WorkerTask\n"
        "from monitor.errors import JobError\n"
        "assert not kernel.leave_network()\n"
        "print(compute.run(sandbox.DESCRIBE_SANDBOX, None, 30))\n"
        f"try: print(compute.run(WorkerTask('wall_jobs:connect', dict, dict), {{'address': {address!r}}}, 30))\n"
        "except JobError as error: print(error)\n"
    )
    shell = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
    words = ["unshare", "--map-root-user", "sh", "-c", shell, "sh", sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "MissingBounds(missing=())",
        "wall_jobs:connect: PermissionError: [Errno 13] Permission denied",
    ], done.stderr
    assert came == []


def test_no_rights_and_no_core_dump():
    assert run("limits") == {"core": [0, 0], "rights": 0, "later": 0, "no_new": 1}


@pytest.mark.parametrize("job", ["allocate", "native"])
def test_more_memory_than_its_bound_is_one_line(job):
    said = why(job, {"bytes": 600 * MIB}, memory_bytes=512 * MIB)
    assert said == f"wall_jobs:{job}: needs more memory than its bound of 0.5 GiB (compute.job_memory_gib)"
    assert run(job, {"bytes": 600 * MIB}, memory_bytes=2 * GIB) == {"n": 600 * MIB}


def test_a_file_larger_than_its_bound_is_one_line(tmp_path):
    path = tmp_path / "large"
    said = why("write", {"path": str(path), "bytes": 3 * MIB}, file_bytes=2 * MIB)
    assert said.startswith("wall_jobs:write: writes a file larger than its bound of 0.00195312 GiB")
    assert path.stat().st_size <= 2 * MIB
    assert "larger than its bound" in why("beside", {"bytes": 3 * MIB}, file_bytes=2 * MIB)


def test_processor_time_is_bounded_by_the_kernel_too(monkeypatch):
    monkeypatch.setattr(compute.time, "monotonic", lambda: 0.0)  # a service that no longer looks at its clock
    assert why("spin", limit_s=1) == "wall_jobs:spin: killed at its bound of 1 s of processor time (compute.job_limit)"


@pytest.mark.skipif(not kernel.landlock_version(), reason="this kernel has no Landlock")
def test_only_the_files_of_the_job_are_read_and_written(tmp_path):
    inbox, out, other = tmp_path / "inbox", tmp_path / "out", tmp_path / "other"
    for folder in (inbox, out, other):
        folder.mkdir()
        (folder / "a").write_text("a")
    (inbox / "b").symlink_to(other / "a")
    terms = {"reads": (str(inbox), str(tmp_path / "absent")), "writes": (str(out),)}
    assert run("read", {"path": str(inbox / "a")}, **terms) == {"text": "a"}
    run("write", {"path": str(out / "new"), "bytes": 9}, **terms)
    run("beside", {"bytes": 9}, **terms)
    for path in (other / "a", inbox / "b"):
        assert "PermissionError" in why("read", {"path": str(path)}, **terms)
    for path in (other / "a", inbox / "a", tmp_path / "new"):
        assert "PermissionError" in why("write", {"path": str(path), "bytes": 9}, **terms)
    # what others read afterwards is no link to somewhere else
    assert "PermissionError" in why("link", {"path": str(out / "picture.png"), "to": str(other / "a")}, **terms)
    assert (other / "a").read_text() == "a"


def test_a_model_that_is_trained_anew_while_a_worker_runs_is_read(tmp_path):
    models, out = tmp_path / "models", tmp_path / "out"
    (models / "north").mkdir(parents=True)
    out.mkdir()
    weights, beside = models / "north" / "a.safetensors", models / "north" / ".a.tmp"
    weights.write_text("old")

    def train():
        while not (out / "ready").exists():
            time.sleep(0.02)
        beside.write_text("new")
        beside.replace(weights)
        (out / "go").touch()

    thread = threading.Thread(target=train)
    thread.start()
    payload = {"path": str(weights), "ready": str(out / "ready"), "go": str(out / "go")}
    reads = tuple(list_models(models, "north", [str(weights)]))
    assert run("read_when_replaced", payload, reads=reads, writes=(str(out),)) == {"text": "new"}
    thread.join()


def test_a_worker_that_gives_way_comes_after_the_others():
    own = os.getpriority(os.PRIO_PROCESS, 0)
    first, last = (run("find_place", gives_way=gives_way) for gives_way in (False, True))
    assert [first["nice"], last["nice"]] == [min(19, own + 10), min(19, own + 20)]
    if first["group"]:  # Linux that shares by sessions
        assert [found["group"].split()[-1] for found in (first, last)] == ["0", "10"]


@pytest.mark.skipif(kernel.landlock_version() < kernel.SCOPES_SINCE, reason="this Landlock scopes no signals")
def test_the_service_is_not_signalled():
    assert "PermissionError" in why("signals")


def test_an_answer_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "its answer cannot be read (" in why("evil")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "JSONDecodeError"),
        (b"\x80\x05\x95", "UnicodeDecodeError"),
        (b"[" * 200_000, "RecursionError"),
        (b'{"missing": ' + b"9" * 10_000 + b"}", "ValueError"),
        (b'{"missing": [1, 2]}', "missing[0]: expected a text, got int"),
        (b'{"missing": [' + b"1," * 2_000_000 + b"1]}", "missing[0]: expected a text, got int"),
        (b'{"missing": {"a": "b"}}', "missing: expected a list, got dict"),
        (b"{}", "missing: is missing"),
        (b'{"missing": [], "a\\nb": 1}', "the answer: unknown key 'a\\nb'"),
        (b'{"missing": [], "' + b"k" * 100_000 + b'": 1}', "the answer: unknown key 'kkk"),
        (b"null", "the answer: expected an object, got NoneType"),
    ],
)
def test_an_answer_that_is_not_the_record_agreed_is_one_short_line(content, told):
    with pytest.raises(JobError) as caught:
        compute.run(WorkerTask("wall_jobs:answer", dict, MissingBounds), {"content": content}, 60)
    said = str(caught.value)
    assert told in said
    assert "\n" not in said
    assert len(said) < 1200


def test_a_link_in_place_of_its_words_shows_nothing_of_the_service(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    assert why("mislead", {"path": str(secret)}) == "wall_jobs:mislead: ended with status 0"
