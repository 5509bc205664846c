"""Run jobs in sandboxed worker processes with one thread and a time limit.

A job is a function named by a `WorkerTask`. It takes a request and returns a result; with a second parameter it also
gets a function that reports progress. It opens no database. The worker is a fresh interpreter, not a fork, so that it
inherits no connection, lock or file of the service. It ends when the service ends, and has the limits of
`monitor.worker.sandbox`.

Service and worker exchange files in a temporary folder: `limits` and `request` from the service; `progress`, `result`
or `error`, and `missing` (restrictions that the system does not allow) from the worker. Files of a worker are not
trusted: they are opened without following links, limited in size, and read as JSON, field by field.
"""

import contextlib
import fcntl
import importlib
import inspect
import json
import logging
import math
import os
import pickle
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from monitor.errors import JobError, KilledError, NoWorkerError
from monitor.extras import explain_missing
from monitor.text.message import LABELLED_TEXT, Figure, Template
from monitor.text.reasons import describe_error
from monitor.worker import sandbox
from monitor.worker.garbage_collection import collection_paused, skip_collection_at_exit
from monitor.worker.records import Request, Result, WorkerTask, plain_to_record, record_to_plain
from monitor.worker.sandbox import SandboxLimits

STOPPING: Final = Template("job.stopping", "killed, the service is stopping")
_KILLED: Final = Template("job.killed", "killed at its limit of {seconds} s")
_NOT_STARTED: Final = Template("job.not_started", "not started, the service is stopping")
_NO_ROOM: Final = Template(
    "job.no_room", "its process could not be started: {problem}; make room in {folder} and in memory"
)
_AT_LIMIT: Final = Template("job.processor", "killed at its limit of {limit} of processor time (compute.job_limit)")
_BY_SIGNAL: Final = Template("job.signal", "killed by signal {n}")
_ENDED: Final = Template("job.ended", "ended with status {n}")
_MANY_BYTES: Final = Template("job.bytes", "answered {n} bytes, more than {most}")
_MANY_VALUES: Final = Template("job.values", "answered about {n} values, more than {most}")
_ODD_ANSWER: Final = Template("job.answer", "its answer cannot be read ({problem})")

MAX_RESULT_BYTES: Final = 256 * 1024 * 1024
# A value of a result takes as few as two bytes in the file, and up to 100 bytes in memory.
MAX_RESULT_VALUES: Final = 8_000_000
MAX_PROGRESS_BYTES: Final = 16 * 1024 * 1024
MAX_TEXT_BYTES: Final = 8192
FOLDER_PREFIX: Final = "slopeward-job-"
# A younger folder may belong to a service that has not locked it yet.
MIN_ABANDONED_AGE_S: Final = 60.0
GRACE_S: Final = 3.0
# The byte by which the service lets a waiting worker begin.
START: Final = b"b"
THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ONE_THREAD: Final = dict.fromkeys(THREAD_VARIABLES, "1")
# Settings of glibc: keep freed memory in the process. A training frees memory at each step and allocates it again at
# the next; returning it to the system in between took two fifths of the processor time. Blocks of more than 128 MiB are
# still returned at once.
KEEP_FREED_MEMORY: Final = {"MALLOC_MMAP_THRESHOLD_": "134217728", "MALLOC_TRIM_THRESHOLD_": "268435456"}
Progress = Callable[[dict[str, Any]], None]

log = logging.getLogger(__name__)


class Cluster(Protocol):
    """Machines that run jobs instead of this one."""

    @property
    def address(self) -> str:
        """Address of the cluster, for messages."""

    def run(self, task: WorkerTask[Request, Result], request: Request, limit_s: float, limits: SandboxLimits) -> Result:
        """Run a job on the cluster. See `run`."""

    def run_each(self, run_request: Callable[[Request], Result], requests: Sequence[Request]) -> Generator[Result]:
        """Call `run_request` for many requests in parallel and yield the results in the order of the requests.

        The cluster cannot interrupt a call that has started.
        """


_running: set[subprocess.Popen[bytes]] = set()
_lock: Final = threading.Lock()
_stopped = threading.Event()
# Missing restrictions that were logged; each is logged once.
_reported: set[str] = set()
# Why the latest job could not start, by the address of the cluster ("" for this machine). Empty if it could start.
_start_problems: dict[str, str] = {}


def run(
    task: WorkerTask[Request, Result],
    request: Request,
    limit_s: float,
    on_progress: Progress | None = None,
    cluster: Cluster | None = None,
    limits: SandboxLimits = SandboxLimits(),  # noqa: B008  frozen
) -> Result:
    """Run a job and return its result.

    Args:
        limit_s: Seconds after which the process is terminated, then killed.
        on_progress: Called in this thread with each dictionary that the job reports. Not called for a job on a cluster.
        cluster: Runs the job on one of its machines, with the same limits.
        limits: What the process may read, write and use.

    Raises:
        JobError: The job failed, was killed at its limit, or returned an invalid result. The message has one line.
        NoWorkerError: The job could not start, because the cluster is unreachable or this machine has no room.
    """
    with recording_start_problem(cluster):
        if cluster is not None:
            return cluster.run(task, request, limit_s, limits)
        # A job has one thread, so its processor time cannot exceed its duration.
        limits = replace(limits, cpu_s=math.ceil(limit_s))
        return _run_here(task, request, limit_s, on_progress, limits)


@contextlib.contextmanager
def recording_start_problem(cluster: Cluster | None) -> Iterator[None]:
    """Record for `find_start_problem` whether a job could start on the cluster, or on this machine for None."""
    problem = ""
    try:
        yield
    except NoWorkerError as error:
        # Without the name of the job: all jobs wait for the same reason.
        problem = error.problem
        raise
    finally:
        _start_problems["" if cluster is None else cluster.address] = problem


def find_start_problem() -> str:
    """Return why the latest job of this process could not start, on the cluster or here; empty if it could."""
    return next((problem for problem in list(_start_problems.values()) if problem), "")


def _run_here(
    task: WorkerTask[Request, Result],
    request: Request,
    limit_s: float,
    on_progress: Progress | None,
    limits: SandboxLimits,
) -> Result:
    try:
        worker = _start(task.title)
    except OSError as error:
        raise _make_no_room_error(task.title, error) from error
    try:
        try:
            with (worker.folder / "request").open("wb") as file:
                pickle.dump({"job": task.function, "request": request}, file, protocol=5)
            (worker.folder / "limits").write_text(json.dumps(limits, default=record_to_plain), encoding="utf-8")
        except OSError as error:
            raise _make_no_room_error(task.title, error) from error
        assert worker.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # The worker has ended; `_wait` returns its status.
            worker.process.stdin.write(START)
            worker.process.stdin.flush()
        status = _wait(task.title, worker, time.monotonic() + limit_s, limit_s, on_progress)
        return _read_result(task, worker.folder, status, limits)
    finally:
        worker.end()


def _make_no_room_error(title: str, error: OSError) -> NoWorkerError:
    """Return the error for a folder or process that could not be created, for want of disk space or memory."""
    problem = error.strerror or str(error)
    return NoWorkerError(LABELLED_TEXT(name=title, text=_NO_ROOM(problem=problem, folder=tempfile.gettempdir())))


def is_stopping() -> bool:
    """Return whether the service is about to stop. A job that ends for this reason has not failed."""
    return _stopped.is_set()


def stop_all() -> None:
    """Kill all running jobs and start no more, because the service is about to stop."""
    _stopped.set()
    with _lock:
        for process in _running:
            _kill(process, signal.SIGKILL)


def allow_jobs() -> None:
    """Allow jobs again after `stop_all`, in a process that continues without the stopped service."""
    _stopped.clear()


@dataclass(frozen=True, slots=True)
class _WorkerProcess:
    process: subprocess.Popen[bytes]
    folder: Path
    lock_descriptor: int  # holds the lock of the folder

    def end(self) -> None:
        """Kill the process and all its children, and remove its folder."""
        _kill(self.process, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        with _lock:
            _running.discard(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self.lock_descriptor)


def _start(title: str) -> _WorkerProcess:
    folder, lock_descriptor = _make_locked_folder()
    try:
        with (folder / "stderr").open("wb") as stderr, _lock:
            if _stopped.is_set():
                raise JobError(LABELLED_TEXT(name=title, text=_NOT_STARTED()))
            environment = sandbox.clean_environment(os.environ)
            environment |= ONE_THREAD | KEEP_FREED_MEMORY | {"TMPDIR": str(folder)}
            process = subprocess.Popen(
                # -P: import nothing from the working folder
                [sys.executable, "-P", "-m", "monitor.worker.compute", str(folder)],
                # The pipe closes when the service ends, see `_exit_with_service`.
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=environment,
                start_new_session=True,
            )
            _running.add(process)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock_descriptor)
        raise
    return _WorkerProcess(process, folder, lock_descriptor)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder for files that workers write, and remove it afterwards.

    `remove_abandoned_folders` removes the folder of a process that was killed.
    """
    folder, lock_descriptor = _make_locked_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock_descriptor)


def _make_locked_folder() -> tuple[Path, int]:
    """Create a folder and lock it, so that `remove_abandoned_folders` of other services does not remove it."""
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    lock_descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock_descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return folder, lock_descriptor


def remove_abandoned_folders() -> int:
    """Remove folders that killed services of this account left, and return how many.

    A running service, this one or another, holds a lock on each of its folders.
    """
    count = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError):  # of another account, locked, or removed meanwhile
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                status = os.fstat(descriptor)
                if status.st_uid != os.geteuid() or time.time() - status.st_mtime < MIN_ABANDONED_AGE_S:
                    continue
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
                count += 1
            finally:
                os.close(descriptor)
    return count


def _wait(title: str, worker: _WorkerProcess, deadline_s: float, limit_s: float, on_progress: Progress | None) -> int:
    """Wait for the end of a worker and return its exit status. Report progress meanwhile."""
    process = worker.process
    reported_lines = 0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = process.wait(timeout=max(0.0, min(0.5, deadline_s - time.monotonic())))
            _report_progress(worker.folder, reported_lines, on_progress)
            if _stopped.is_set():
                raise KilledError(LABELLED_TEXT(name=title, text=STOPPING()))
            return status
        reported_lines = _report_progress(worker.folder, reported_lines, on_progress)
        if time.monotonic() >= deadline_s:
            _kill(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=GRACE_S)
            raise KilledError(LABELLED_TEXT(name=title, text=_KILLED(seconds=limit_s)))


def _report_progress(folder: Path, reported_lines: int, on_progress: Progress | None) -> int:
    """Report new lines of progress and return the number of all lines."""
    if on_progress is None:
        return reported_lines
    lines = _read_worker_file(folder / "progress", MAX_PROGRESS_BYTES).split(b"\n")[:-1]
    for line in lines[reported_lines:]:
        try:
            detail = json.loads(line)
        except (ValueError, RecursionError):
            detail = None
        if not isinstance(detail, dict):
            raise JobError("the job reported progress that is not a JSON object")
        on_progress(detail)
    return len(lines)


def _read_worker_file(path: Path, max_bytes: int, *, from_end: bool = False) -> bytes:
    """Read a regular file of a worker; empty if it is missing, a link or a special file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return b""
        if from_end:
            file.seek(max(0, status.st_size - max_bytes))
        return file.read(max_bytes)


def _kill(process: subprocess.Popen[bytes], signal_number: int) -> None:
    """Send a signal to a worker and its children, which are in a session of their own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal_number)


def _read_result(task: WorkerTask[Request, Result], folder: Path, status: int, limits: SandboxLimits) -> Result:
    title = task.title
    for line in _read_worker_file(folder / "missing", MAX_TEXT_BYTES).decode(errors="replace").splitlines():
        if line not in _reported:
            _reported.add(line)
            log.warning("%s", line)
    error_text = _read_worker_file(folder / "error", MAX_TEXT_BYTES).decode(errors="replace")
    if error_text:
        raise JobError(LABELLED_TEXT(name=title, text=" ".join(error_text.split())))
    path = folder / "result"
    if status != 0 or not path.exists():
        error_type = KilledError if status < 0 else JobError
        raise error_type(LABELLED_TEXT(name=title, text=_explain_end(folder, status, limits)))
    size_bytes = path.lstat().st_size
    if size_bytes > MAX_RESULT_BYTES:
        text = _MANY_BYTES(n=Figure(size_bytes, "d"), most=Figure(MAX_RESULT_BYTES, "d"))
        raise JobError(LABELLED_TEXT(name=title, text=text))
    content = _read_worker_file(path, MAX_RESULT_BYTES)
    value_count = sum(map(content.count, (b"[", b"{", b",")))
    if value_count > MAX_RESULT_VALUES:
        text = _MANY_VALUES(n=Figure(value_count, "d"), most=Figure(MAX_RESULT_VALUES, "d"))
        raise JobError(LABELLED_TEXT(name=title, text=text))
    try:
        return plain_to_record(task.result_type, json.loads(content), task.describe_reason)
    except Exception as error:  # untrusted values can cause any error
        raise JobError(LABELLED_TEXT(name=title, text=_ODD_ANSWER(problem=_format_error(error)))) from None


def _explain_end(folder: Path, status: int, limits: SandboxLimits) -> str:
    """Return why a worker ended without a result."""
    if status == -signal.SIGXCPU:
        return _AT_LIMIT(limit=Figure(limits.cpu_s, "g", "s"))
    stderr = _read_worker_file(folder / "stderr", MAX_TEXT_BYTES, from_end=True)
    lines = stderr.decode(errors="replace").strip().splitlines()
    for line in reversed(lines):
        explanation = sandbox.explain_limit(line, limits)
        if explanation is not None:
            return explanation
    end = _BY_SIGNAL(n=-status) if status < 0 else _ENDED(n=status)
    return LABELLED_TEXT(name=end, text=lines[-1][:300]) if lines else end


def call_function(job: str, request: Any, progress: Progress) -> Any:
    """Import the function of a job, call it and return its result."""
    module, _, name = job.partition(":")
    with collection_paused():
        function = getattr(importlib.import_module(module), name)
    if len(inspect.signature(function).parameters) > 1:
        return function(request, progress)
    return function(request)


def run_all(
    task: WorkerTask[Request, Result],
    requests: Sequence[Request],
    limit_s: float,
    cluster: Cluster | None = None,
    limits: SandboxLimits = SandboxLimits(),  # noqa: B008  frozen
) -> Iterator[Result]:
    """Run a job for each request and yield the results in the order of the requests.

    A cluster runs as many jobs at once as its workers have threads. This machine runs one after the other. The results
    are the same.

    Raises:
        JobError: The first job that failed, see `run`. Jobs behind it are not started.
    """
    results = run_each(task, requests, limit_s, cluster, limits)
    with contextlib.closing(results):
        for result in results:
            if isinstance(result, JobError):
                raise result
            yield result


def run_each(
    task: WorkerTask[Request, Result],
    requests: Sequence[Request],
    limit_s: float,
    cluster: Cluster | None = None,
    limits: SandboxLimits = SandboxLimits(),  # noqa: B008  frozen
) -> Generator[Result | JobError]:
    """Run a job for each request as `run_all` does, but yield the error of a failed job and continue."""

    def run_request(request: Request) -> Result | JobError:
        try:
            return run(task, request, limit_s, cluster=cluster, limits=limits)
        except JobError as error:
            return error

    if cluster is None or len(requests) < 2:
        yield from map(run_request, requests)
    else:
        yield from cluster.run_each(run_request, requests)


def _format_error(error: BaseException) -> str:
    """Return the type and text of an error in one line."""
    return f"{type(error).__name__}: {' '.join(describe_error(error).split())}"[:1000]


def _exit_with_service() -> None:
    """End this worker when its standard input closes, which happens when the service ends for any reason."""
    with contextlib.suppress(OSError):
        os.read(0, 1)
    os._exit(3)


def main(folder: Path) -> int:
    """Run the job of a worker process and return its exit status.

    The process is restricted before it reads its request. It writes a result, or an error of one line.
    """
    skip_collection_at_exit()
    with contextlib.suppress(OSError):  # a systemd unit may forbid it
        os.nice(10)  # Ingest and alarms come first.
    if os.read(0, 1) != START:
        return 3  # the service has ended
    limits = plain_to_record(SandboxLimits, json.loads((folder / "limits").read_text(encoding="utf-8")))
    if limits.is_low_priority:
        with contextlib.suppress(OSError):
            os.nice(10)
        # With autogroups Linux shares the processor between sessions, and the nice value of a process counts only
        # within its session.
        with contextlib.suppress(OSError):  # not Linux, or without autogroups
            Path("/proc/self/autogroup").write_text("10", encoding="ascii")
    sandbox.restrict_process(limits, folder)
    missing = sandbox.list_missing_restrictions().missing
    (folder / "missing").write_text("\n".join(missing), encoding="utf-8")
    threading.Thread(target=_exit_with_service, daemon=True).start()
    with (folder / "request").open("rb") as file:
        message = pickle.load(file)  # noqa: S301  written by the service that started this process
    (folder / "request").unlink()  # It may contain the password of a server.
    with (folder / "progress").open("ab", buffering=0) as lines:

        def progress(detail: dict[str, Any]) -> None:
            lines.write(json.dumps(detail).encode() + b"\n")

        try:
            result = call_function(message["job"], message["request"], progress)
            sandbox.check_file_limit()
            (folder / "result").write_text(json.dumps(result, default=record_to_plain), encoding="utf-8")
        except Exception as error:  # the service gets one line for any error
            line = _format_error(error)
            reason = explain_missing(error) or sandbox.explain_limit(line, limits) or line
            (folder / "error").write_text(reason, encoding="utf-8")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
