"""Test the sandbox of workers: every attack of a compromised job fails with one line of error."""

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
from monitor.worker import compute, linux, sandbox
from monitor.worker.records import WorkerTask
from monitor.worker.sandbox import GIB, MIB, MissingRestrictions, SandboxLimits
from monitor.worker.service_jobs import list_model_paths
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
    errors = {}
    for name in ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG"):
        try: socket.socket(getattr(socket, name), socket.SOCK_SEQPACKET if name == "AF_ALG" else socket.SOCK_STREAM)
        except OSError as error: errors[name] = error.errno
        else: errors[name] = 0
    return {"errors": errors, "localhost": len(socket.getaddrinfo("localhost", 80)), "pair": len(socket.socketpair())}
def listen(payload):
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
def write_temporary(payload):
    import tempfile
    with tempfile.NamedTemporaryFile(delete=False) as file: file.write(bytes(payload["bytes"]))
    return {}
def spin(payload):
    while True: pass
def link(payload): os.symlink(payload["to"], payload["path"]); return {}
def read_priority(payload):
    group = Path("/proc/self/autogroup")
    return {"nice": os.getpriority(os.PRIO_PROCESS, 0), "group": group.read_text() if group.exists() else ""}
def signals(payload): os.kill(os.getppid(), signal.SIGUSR1); return {}
def limits(payload):
    import resource
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {"core": list(resource.getrlimit(resource.RLIMIT_CORE)), "capabilities": int(status["CapEff"], 16),
            "bounding_set": int(status["CapBnd"], 16), "no_new_privileges": int(status["NoNewPrivs"])}
class Evil:
    def __reduce__(self): return os.system, ("touch " + os.environ["HOME"] + "/owned",)
def write_result(content):
    # bypasses the code that writes results
    (Path(os.environ["TMPDIR"]) / "result").write_bytes(content)
    os._exit(0)
def return_pickle(payload): write_result(pickle.dumps({"x": Evil()}))
def return_bytes(payload): write_result(payload["content"])
def link_error(payload):
    folder = Path(os.environ["TMPDIR"])
    (folder / "error").symlink_to(payload["path"])
    os._exit(0)
"""


@pytest.fixture(autouse=True)
def jobs(tmp_path, monkeypatch):
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "sandbox_jobs.py").write_text(BODY)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{REPOSITORY}")
    monkeypatch.setenv("SLOPEWARD_BROKER__PASSWORD", SECRET)
    monkeypatch.setenv("SIREN_URL", f"https://u:{SECRET}@siren.example")


@pytest.fixture
def listener():
    """Yield the address of a server and the list of messages that it has received."""
    received = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept():
            while True:
                try:
                    other, _ = server.accept()
                except OSError:
                    return
                received.append(other.recv(100))
                other.close()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname(), received
        server.shutdown(socket.SHUT_RDWR)


def run_job(job, payload=None, limit_s=30, **limits):
    task = WorkerTask(f"sandbox_jobs:{job}", dict, dict)
    return compute.run(task, payload or {}, limit_s, limits=SandboxLimits(**limits))


def run_failing_job(job, payload=None, limit_s=30, **limits):
    """Run a job that fails and return its error."""
    with pytest.raises(JobError) as caught:
        run_job(job, payload, limit_s, **limits)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_worker_that_downloads_reaches_the_network_but_no_other_files(listener, tmp_path):
    address, received = listener
    folder, secret = tmp_path / "fetched", tmp_path / "configs.toml"
    folder.mkdir()
    secret.write_text(SECRET)
    limits = {"can_use_network": True, "reads": (str(tmp_path / "jobs"),), "writes": (str(folder),)}
    assert run_job("connect", {"address": address}, **limits) == {}
    wait_for(lambda: received == [b"stolen"])
    if platform.machine() in linux.REFUSED_CALLS:
        result = run_job("families", **limits)
        assert {name for name, error in result["errors"].items() if not error} == {"AF_INET", "AF_INET6"}
        assert set(result["errors"].values()) == {
            0,
            13,
        }  # 13 is EACCES: the filter refuses these families, and the kernel supports them
        assert result["localhost"]
    run_job("write", {"path": str(folder / "a"), "bytes": 3}, **limits)
    assert SECRET not in str(run_job("environment", **limits))
    if linux.landlock_version():
        assert "PermissionError" in run_failing_job("read", {"path": str(secret)}, **limits)
        assert "PermissionError" in run_failing_job("write", {"path": str(tmp_path / "a"), "bytes": 3}, **limits)
    if linux.landlock_version() >= linux.TCP_SINCE_VERSION:
        assert "PermissionError" in run_failing_job("listen", **limits)


def test_environment_contains_no_secret():
    result = run_job("environment")
    assert SECRET not in result["text"]
    allowed = {"SLOPEWARD_DEVICE", "SLOPEWARD_PLUGINS", "SLOPEWARD_PLUGIN_RESULTS"}
    assert {name for name in result["names"] if name.startswith("SLOPEWARD")} <= allowed
    assert "PATH" in result["names"]


@pytest.mark.skipif(not linux.landlock_version(), reason="this kernel has no Landlock")
def test_environment_and_memory_of_the_service_cannot_be_read_through_proc():
    assert "PermissionError" in run_failing_job("read", {"path": f"/proc/{os.getpid()}/environ"})
    assert "PermissionError" in run_failing_job("read", {"path": f"/proc/{os.getpid()}/mem"})


def test_service_hides_its_memory_from_its_own_user(tmp_path):
    """Without Landlock, `hide_memory` of the service protects it, except against root with its capabilities."""
    code = "import sys; from monitor.worker import linux; linux.hide_memory(); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as service:
        assert service.stdout.readline() == b"1\n"
        assert "PermissionError" in run_failing_job(
            "read", {"path": f"/proc/{service.pid}/environ"}, restrictions=("network", "calls")
        )
        service.stdin.close()


@pytest.mark.parametrize("restrictions", [("network", "calls", "files"), ("network",), ("calls",), ("files",)])
def test_network_is_unreachable(listener, restrictions):
    address, received = listener
    if restrictions == ("files",) and linux.landlock_version() < linux.TCP_SINCE_VERSION:
        pytest.skip("this version of Landlock does not restrict the network")
    error = run_failing_job("connect", {"address": address}, restrictions=restrictions)
    assert "PermissionError" in error or "Network is unreachable" in error
    code = f"import socket; socket.create_connection({address!r}).sendall(b'stolen')"
    assert run_job("fetch", {"code": code}, restrictions=restrictions)["code"] != 0, "children inherit the restrictions"
    assert received == []


def test_unix_socket_of_the_database_is_unreachable(tmp_path):
    """PostgreSQL on this machine may accept the user of the service without a password through a Unix socket."""
    path = str(tmp_path / "s.5432")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        assert "PermissionError" in run_failing_job("connect", {"address": path})


def test_missing_restrictions_are_logged_once_and_jobs_still_run(listener, caplog, monkeypatch):
    _, received = listener
    monkeypatch.setattr(compute, "_reported", set())
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            result = compute.run(sandbox.LIST_MISSING_RESTRICTIONS, None, 30, limits=SandboxLimits(restrictions=()))
    assert result == MissingRestrictions((sandbox.FILES_NOT_RESTRICTED, sandbox.NETWORK_NOT_RESTRICTED))
    assert [record.message for record in caplog.records] == [
        sandbox.FILES_NOT_RESTRICTED,
        sandbox.NETWORK_NOT_RESTRICTED,
    ]
    assert SECRET not in run_job("environment", restrictions=())["text"]
    assert received == []


def test_system_call_filter_blocks_the_network_if_namespaces_are_forbidden(listener, tmp_path):
    if shutil.which("unshare") is None or subprocess.run(["unshare", "--map-root-user", "true"]).returncode:
        pytest.skip("needs a user namespace to forbid further ones in")
    address, received = listener
    code = (
        "from monitor.worker import compute, linux, sandbox; from monitor.worker.records import WorkerTask\n"
        "from monitor.errors import JobError\n"
        "assert not linux.isolate_network()\n"
        "print(compute.run(sandbox.LIST_MISSING_RESTRICTIONS, None, 30))\n"
        f"try: print(compute.run(WorkerTask('sandbox_jobs:connect', dict, dict), {{'address': {address!r}}}, 30))\n"
        "except JobError as error: print(error)\n"
    )
    shell = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
    command = ["unshare", "--map-root-user", "sh", "-c", shell, "sh", sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout.splitlines() == [
        "MissingRestrictions(missing=())",
        "connect: PermissionError: [Errno 13] Permission denied",
    ], result.stderr
    assert received == []


def test_worker_has_no_capabilities_and_no_core_dump():
    assert run_job("limits") == {"core": [0, 0], "capabilities": 0, "bounding_set": 0, "no_new_privileges": 1}


@pytest.mark.parametrize("job", ["allocate", "native"])
def test_exceeded_memory_limit_is_one_line(job):
    error = run_failing_job(job, {"bytes": 600 * MIB}, memory_bytes=512 * MIB)
    assert error == f"{job}: needs more memory than its bound of 0.5 GiB (compute.job_memory_gib)"
    assert run_job(job, {"bytes": 600 * MIB}, memory_bytes=2 * GIB) == {"n": 600 * MIB}


def test_exceeded_file_limit_is_one_line(tmp_path):
    path = tmp_path / "large"
    error = run_failing_job("write", {"path": str(path), "bytes": 3 * MIB}, file_bytes=2 * MIB)
    assert error.startswith("write: writes a file larger than its bound of 0.00195312 GiB")
    assert path.stat().st_size <= 2 * MIB
    assert "larger than its bound" in run_failing_job("write_temporary", {"bytes": 3 * MIB}, file_bytes=2 * MIB)


def test_linux_limits_processor_time_too(monkeypatch):
    monkeypatch.setattr(compute.time, "monotonic", lambda: 0.0)  # the service never reaches its own limit
    assert (
        run_failing_job("spin", limit_s=1) == "spin: killed at its limit of 1 s of processor time (compute.job_limit)"
    )


@pytest.mark.skipif(not linux.landlock_version(), reason="this kernel has no Landlock")
def test_only_files_of_the_job_can_be_read_and_written(tmp_path):
    inbox, out, other = tmp_path / "inbox", tmp_path / "out", tmp_path / "other"
    for folder in (inbox, out, other):
        folder.mkdir()
        (folder / "a").write_text("a")
    (inbox / "b").symlink_to(other / "a")
    limits = {"reads": (str(inbox), str(tmp_path / "absent")), "writes": (str(out),)}
    assert run_job("read", {"path": str(inbox / "a")}, **limits) == {"text": "a"}
    run_job("write", {"path": str(out / "new"), "bytes": 9}, **limits)
    run_job("write_temporary", {"bytes": 9}, **limits)
    for path in (other / "a", inbox / "b"):
        assert "PermissionError" in run_failing_job("read", {"path": str(path)}, **limits)
    for path in (other / "a", inbox / "a", tmp_path / "new"):
        assert "PermissionError" in run_failing_job("write", {"path": str(path), "bytes": 9}, **limits)
    # The service reads this folder afterwards, so a link could lead it elsewhere.
    assert "PermissionError" in run_failing_job(
        "link", {"path": str(out / "picture.png"), "to": str(other / "a")}, **limits
    )
    assert (other / "a").read_text() == "a"


def test_model_that_is_replaced_while_a_worker_runs_can_be_read(tmp_path):
    models, out = tmp_path / "models", tmp_path / "out"
    (models / "north").mkdir(parents=True)
    out.mkdir()
    weights = models / "north" / "a.safetensors"
    new_weights = models / "north" / ".a.tmp"
    weights.write_text("old")

    def train():
        while not (out / "ready").exists():
            time.sleep(0.02)
        new_weights.write_text("new")
        new_weights.replace(weights)
        (out / "go").touch()

    thread = threading.Thread(target=train)
    thread.start()
    payload = {"path": str(weights), "ready": str(out / "ready"), "go": str(out / "go")}
    reads = tuple(list_model_paths(models, "north", [str(weights)]))
    assert run_job("read_when_replaced", payload, reads=reads, writes=(str(out),)) == {"text": "new"}
    thread.join()


def test_low_priority_worker_runs_after_the_others():
    service_nice = os.getpriority(os.PRIO_PROCESS, 0)
    usual = run_job("read_priority")
    low = run_job("read_priority", is_low_priority=True)
    assert [usual["nice"], low["nice"]] == [min(19, service_nice + 10), min(19, service_nice + 20)]
    if usual["group"]:  # Linux with autogroups
        assert [result["group"].split()[-1] for result in (usual, low)] == ["0", "10"]


@pytest.mark.skipif(linux.landlock_version() < linux.SCOPES_SINCE_VERSION, reason="this Landlock scopes no signals")
def test_worker_cannot_signal_the_service():
    assert "PermissionError" in run_failing_job("signals")


def test_pickled_result_is_rejected_without_running_its_code(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "its answer cannot be read (" in run_failing_job("return_pickle")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("content", "text"),
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
def test_result_of_another_type_is_one_short_line_of_error(content, text):
    with pytest.raises(JobError) as caught:
        compute.run(WorkerTask("sandbox_jobs:return_bytes", dict, MissingRestrictions), {"content": content}, 60)
    error = str(caught.value)
    assert text in error
    assert "\n" not in error
    assert len(error) < 1200


def test_link_instead_of_an_error_file_reveals_nothing_of_the_service(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    assert run_failing_job("link_error", {"path": str(secret)}) == "link error: ended with status 0"
