"""The one seam to heavy work: a job runs in a process of its own, with one thread, and is killed at its limit.

A job is a function named by a `WorkerTask`: it takes one record and gives one back; when it takes a second argument,
that is a function for progress. It opens no database. The child is a fresh interpreter, not a fork: it inherits no
connection, lock or file of the service, and ends when the service ends. It works within the bounds of `sandbox`.
What it answers is not trusted: JSON, from its own files only, read field by field as the record that was agreed.
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
from monitor.worker.memory import end_without_cleanup, without_looks
from monitor.worker.records import Answered, Request, WorkerTask, read_record, record_to_plain
from monitor.worker.sandbox import SandboxLimits

STOPPING: Final = Template("job.stopping", "killed, the service is stopping")
_KILLED: Final = Template("job.killed", "killed at its limit of {seconds} s")
RESULT_LIMIT_BYTES: Final = 256 * 1024 * 1024
MOST_VALUES: Final = 8_000_000  # of an answer: each takes up to 100 bytes once it is read, and as few as two before
FOLDER: Final = "slopeward-job-"
YOUNG_S: Final = 60.0  # a folder of that age may be one whose service has not locked it yet
PROGRESS_LIMIT_BYTES: Final = 16 * 1024 * 1024
TEXT_LIMIT_BYTES: Final = 8192
GRACE_S: Final = 3.0
BEGIN: Final = b"b"
LIBRARIES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ONE_THREAD: Final = dict.fromkeys(LIBRARIES, "1")
# glibc: what a network frees at a step it takes again at the next; giving it back between the two took two fifths of a
# training's processor time. What takes more than 128 MiB at once goes back at once, and all when the process ends.
KEEP_FREED: Final = {"MALLOC_MMAP_THRESHOLD_": "134217728", "MALLOC_TRIM_THRESHOLD_": "268435456"}
_NOT_STARTED: Final = Template("job.not_started", "not started, the service is stopping")
_NO_ROOM: Final = Template(
    "job.no_room", "its process could not be started: {problem}; make room in {folder} and in memory"
)
_AT_BOUND: Final = Template("job.processor", "killed at its bound of {limit} of processor time (compute.job_limit)")
_BY_SIGNAL: Final = Template("job.signal", "killed by signal {n}")
_ENDED: Final = Template("job.ended", "ended with status {n}")
_MANY_BYTES: Final = Template("job.bytes", "answered {n} bytes, more than {most}")
_MANY_VALUES: Final = Template("job.values", "answered about {n} values, more than {most}")
_ODD_ANSWER: Final = Template("job.answer", "its answer cannot be read ({problem})")
Progress = Callable[[dict[str, Any]], None]


class Cluster(Protocol):
    """Machines that run jobs in place of this one."""

    @property
    def address(self) -> str:
        """Where it is, for people."""

    def run(
        self, task: WorkerTask[Request, Answered], request: Request, limit_s: float, terms: SandboxLimits
    ) -> Answered:
        """As `run`."""

    def run_each(self, answer: Callable[[Request], Answered], questions: Sequence[Request]) -> Generator[Answered]:
        """The answers in the order of the questions, many at once; one that is begun has `answer` alone to end it."""


log = logging.getLogger(__name__)

_running: set[subprocess.Popen[bytes]] = set()
_lock: Final = threading.Lock()
_stopped = threading.Event()
_reported: set[str] = set()  # which walls are missing is said once
_troubles: dict[str, str] = {}  # by cluster, "" is this machine: why the last job could not begin there


def run(
    task: WorkerTask[Request, Answered],
    request: Request,
    limit_s: float,
    on_progress: Progress | None = None,
    cluster: Cluster | None = None,
    terms: SandboxLimits = SandboxLimits(),  # noqa: B008  frozen
) -> Answered:
    """Run a job to its end and return what it answers.

    Args:
        limit_s: seconds after which the process is terminated, then killed.
        on_progress: called in this thread with each dict the job reports (a local job only).
        cluster: runs the job instead, behind the same walls on one of its machines.
        terms: what the process may read, write and take.

    Raises:
        JobError: it failed, was killed at its limit, or answered what is not the record agreed; one line.
        NoWorkerError: it could not begin, for want of a cluster or of room on this machine.
    """
    with noted(cluster):
        if cluster is not None:
            return cluster.run(task, request, limit_s, terms)
        terms = replace(terms, cpu_s=math.ceil(limit_s))  # jobs have one thread
        return _run_here(task, request, limit_s, on_progress, terms)


@contextlib.contextmanager
def noted(cluster: Cluster | None) -> Iterator[None]:
    """For `find_trouble`: whether a job can begin there."""
    trouble = ""
    try:
        yield
    except NoWorkerError as error:
        # which job it was says nothing to people: all of them wait
        trouble = error.problem
        raise
    finally:
        _troubles["" if cluster is None else cluster.address] = trouble


def find_trouble() -> str:
    """Why the last job of this process could not begin, on the cluster or here; empty where it could."""
    return next(filter(None, list(_troubles.values())), "")


def _run_here(
    task: WorkerTask[Request, Answered],
    request: Request,
    limit_s: float,
    on_progress: Progress | None,
    terms: SandboxLimits,
) -> Answered:
    job = task.function
    try:
        child = _start(job)
    except OSError as error:
        raise _explain_no_room(job, error) from error
    try:
        try:
            with (child.folder / "asked").open("wb") as file:
                pickle.dump({"job": job, "asked": request}, file, protocol=5)
            (child.folder / "terms").write_text(json.dumps(terms, default=record_to_plain), encoding="utf-8")
        except OSError as error:
            raise _explain_no_room(job, error) from error
        assert child.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: `_wait` says so
            child.process.stdin.write(BEGIN)
            child.process.stdin.flush()
        status = _wait(job, child, time.monotonic() + limit_s, limit_s, on_progress)
        return _read_answer(task, child.folder, status, terms)
    finally:
        child.end()


def _explain_no_room(job: str, error: OSError) -> NoWorkerError:
    """The folder or the process of a job could not be made: the disk of temporary files, memory, processes."""
    problem = error.strerror or str(error)
    return NoWorkerError(LABELLED_TEXT(name=job, text=_NO_ROOM(problem=problem, folder=tempfile.gettempdir())))


def is_stopping() -> bool:
    """Whether the service is about to end: a job that was cut off by that has not failed."""
    return _stopped.is_set()


def stop_all() -> None:
    """Kill every running job and start no more; the service is about to end."""
    _stopped.set()
    with _lock:
        for process in _running:
            _kill(process, signal.SIGKILL)


def allow_jobs() -> None:
    """Let jobs start again after `stop_all`, in a process that goes on without the stopped service."""
    _stopped.clear()


@dataclass(frozen=True, slots=True)
class _WorkerProcess:
    process: subprocess.Popen[bytes]
    folder: Path
    lock: int  # an open file, locked as long as the service lives

    def end(self) -> None:
        """Kill it with all that it started, and remove its folder."""
        _kill(self.process, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        with _lock:
            _running.discard(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self.lock)


def _start(job: str) -> _WorkerProcess:
    folder, lock = _make_folder()
    try:
        with (folder / "stderr").open("wb") as stderr, _lock:
            if _stopped.is_set():
                raise JobError(LABELLED_TEXT(name=job, text=_NOT_STARTED()))
            environment = sandbox.clean_environment(os.environ) | ONE_THREAD | KEEP_FREED | {"TMPDIR": str(folder)}
            process = subprocess.Popen(
                # -P: not from the working folder
                [sys.executable, "-P", "-m", "monitor.worker.compute", str(folder)],
                stdin=subprocess.PIPE,  # the leash: its end tells the child that the service is gone
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=environment,
                start_new_session=True,
            )
            _running.add(process)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
        raise
    return _WorkerProcess(process, folder, lock)


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for what workers leave; that of a process that was killed goes with `sweep_folders`."""
    folder, lock = _make_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _make_folder() -> tuple[Path, int]:
    """A folder, and the lock that keeps `sweep_folders` of other services away from it."""
    folder = Path(tempfile.mkdtemp(prefix=FOLDER))
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return folder, lock


def sweep_folders() -> int:
    """Remove what killed services of this account left of their jobs; returns how many folders.

    A living service holds a lock on each folder of its own, also one beside ours.
    """
    swept = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        with contextlib.suppress(OSError):  # of another account, locked, or gone meanwhile
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                found = os.fstat(lock)
                if found.st_uid != os.geteuid() or time.time() - found.st_mtime < YOUNG_S:
                    continue
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
                swept += 1
            finally:
                os.close(lock)
    return swept


def _wait(job: str, child: _WorkerProcess, deadline: float, limit_s: float, on_progress: Progress | None) -> int:
    process, folder, seen = child.process, child.folder, 0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = process.wait(timeout=max(0.0, min(0.5, deadline - time.monotonic())))
            _report(folder, seen, on_progress)
            if _stopped.is_set():
                raise KilledError(LABELLED_TEXT(name=job, text=STOPPING()))
            return status
        seen = _report(folder, seen, on_progress)
        if time.monotonic() >= deadline:
            _kill(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=GRACE_S)
            raise KilledError(LABELLED_TEXT(name=job, text=_KILLED(seconds=limit_s)))


def _report(folder: Path, seen: int, on_progress: Progress | None) -> int:
    if on_progress is None:
        return seen
    lines = _read_own(folder / "progress", PROGRESS_LIMIT_BYTES).split(b"\n")[:-1]
    for line in lines[seen:]:
        try:
            detail = json.loads(line)
        except (ValueError, RecursionError):
            detail = None
        if not isinstance(detail, dict):
            raise JobError("the job wrote a line of progress that is none")
        on_progress(detail)
    return len(lines)


def _read_own(path: Path, most: int, *, end: bool = False) -> bytes:
    try:
        place = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(place, "rb") as file:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            return b""
        if end:
            file.seek(max(0, os.fstat(place).st_size - most))
        return file.read(most)


def _kill(process: subprocess.Popen[bytes], number: int) -> None:
    # its own session: whatever the job started goes with it
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _read_answer(task: WorkerTask[Request, Answered], folder: Path, status: int, terms: SandboxLimits) -> Answered:
    job = task.function
    for line in _read_own(folder / "missing", TEXT_LIMIT_BYTES).decode(errors="replace").splitlines():
        if line not in _reported:
            _reported.add(line)
            log.warning("%s", line)
    if error_text := _read_own(folder / "error", TEXT_LIMIT_BYTES):
        raise JobError(LABELLED_TEXT(name=job, text=" ".join(error_text.decode(errors="replace").split())))
    answer = folder / "answer"
    if status != 0 or not answer.exists():
        raise (KilledError if status < 0 else JobError)(
            LABELLED_TEXT(name=job, text=_explain_end(folder, status, terms))
        )
    if answer.lstat().st_size > RESULT_LIMIT_BYTES:
        size, most = Figure(answer.lstat().st_size, "d"), Figure(RESULT_LIMIT_BYTES, "d")
        raise JobError(LABELLED_TEXT(name=job, text=_MANY_BYTES(n=size, most=most)))
    content = _read_own(answer, RESULT_LIMIT_BYTES)
    if (values := sum(map(content.count, (b"[", b"{", b",")))) > MOST_VALUES:
        text = _MANY_VALUES(n=Figure(values, "d"), most=Figure(MOST_VALUES, "d"))
        raise JobError(LABELLED_TEXT(name=job, text=text))
    try:
        return read_record(task.answers, json.loads(content), task.describe_reason)
    except Exception as error:  # bytes of somebody else can fail in any way
        raise JobError(LABELLED_TEXT(name=job, text=_ODD_ANSWER(problem=_one_line(error)))) from None


def _explain_end(folder: Path, status: int, terms: SandboxLimits) -> str:
    lines = _read_own(folder / "stderr", TEXT_LIMIT_BYTES, end=True).decode(errors="replace").strip().splitlines()
    if status == -signal.SIGXCPU:
        return _AT_BOUND(limit=Figure(terms.cpu_s, "g", "s"))
    if found := next(filter(None, (sandbox.explain(line, terms) for line in reversed(lines))), None):
        return found
    why = _BY_SIGNAL(n=-status) if status < 0 else _ENDED(n=status)
    return LABELLED_TEXT(name=why, text=lines[-1][:300]) if lines else why


def call(job: str, request: Any, progress: Progress) -> Any:
    """Import the job's function and call it."""
    module, _, name = job.partition(":")
    with without_looks():
        function = getattr(importlib.import_module(module), name)
    if len(inspect.signature(function).parameters) > 1:
        return function(request, progress)
    return function(request)


def run_all(
    task: WorkerTask[Request, Answered],
    questions: Sequence[Request],
    limit_s: float,
    cluster: Cluster | None = None,
    terms: SandboxLimits = SandboxLimits(),  # noqa: B008  frozen
) -> Iterator[Answered]:
    """Run the same job on many records; their answers in the order of the records.

    On a cluster as many run at once as its workers have threads, here one after the other. The answers are the same.

    Raises:
        JobError: as `run`, for the first that failed; those behind it are not begun.
    """
    answers = run_each(task, questions, limit_s, cluster, terms)
    with contextlib.closing(answers):
        for answer in answers:
            if isinstance(answer, JobError):
                raise answer
            yield answer


def run_each(
    task: WorkerTask[Request, Answered],
    questions: Sequence[Request],
    limit_s: float,
    cluster: Cluster | None = None,
    terms: SandboxLimits = SandboxLimits(),  # noqa: B008  frozen
) -> Generator[Answered | JobError]:
    """As `run_all`, where one that fails ends no other: its error stands in the place of its answer."""

    def answer(request: Request) -> Answered | JobError:
        try:
            return run(task, request, limit_s, cluster=cluster, terms=terms)
        except JobError as error:
            return error

    if cluster is None or len(questions) < 2:
        yield from map(answer, questions)
    else:
        yield from cluster.run_each(answer, questions)


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(describe_error(error).split())}"[:1000]


def _follow_leash() -> None:
    # stdin ends when the service does, however it died
    with contextlib.suppress(OSError):
        os.read(0, 1)
    os._exit(3)


def main(folder: Path) -> int:
    """Life of the child: go behind the walls, read what is asked, do the job, leave the answer or one line why not."""
    end_without_cleanup()
    with contextlib.suppress(OSError):  # a unit may forbid it
        os.nice(10)  # ingest and alarms come first
    if os.read(0, 1) != BEGIN:
        return 3  # the service is gone
    terms = read_record(SandboxLimits, json.loads((folder / "terms").read_text(encoding="utf-8")))
    if terms.gives_way:  # behind the other workers too, and of its session where Linux shares by sessions
        with contextlib.suppress(OSError):
            os.nice(10)
        with contextlib.suppress(OSError):  # another system, or Linux without it
            Path("/proc/self/autogroup").write_text("10", encoding="ascii")
    sandbox.wall_in(terms, folder)
    (folder / "missing").write_text("\n".join(sandbox.describe().missing), encoding="utf-8")
    threading.Thread(target=_follow_leash, daemon=True).start()
    with (folder / "asked").open("rb") as file:
        task = pickle.load(file)  # noqa: S301  written by the service that started this process
    (folder / "asked").unlink()  # it may hold the login of a server
    with (folder / "progress").open("ab", buffering=0) as lines:

        def progress(detail: dict[str, Any]) -> None:
            lines.write(json.dumps(detail).encode() + b"\n")

        try:
            result = call(task["job"], task["asked"], progress)
            sandbox.check_files()
            (folder / "answer").write_text(json.dumps(result, default=record_to_plain), encoding="utf-8")
        except Exception as error:  # whatever it was, the service gets one line
            line = _one_line(error)
            reason = explain_missing(error) or sandbox.explain(line, terms) or line
            (folder / "error").write_text(reason, encoding="utf-8")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
