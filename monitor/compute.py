"""The one seam to heavy work: a job runs in a process of its own, with one thread, and is killed at its limit.

A job is a function named ``"module:function"`` that takes a payload (a dict of plain values and numpy arrays) and
gives a dict back; when it takes a second argument, that is a function for progress. It opens no database. The child is
a fresh interpreter, not a fork: it inherits no connection, lock or file of the service, and ends when the service ends.
"""

import contextlib
import importlib
import inspect
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from monitor.errors import JobError
from monitor.extras import explain_missing

RESULT_LIMIT_BYTES: Final = 256 * 1024 * 1024
GRACE_S: Final = 3.0
CONNECT_S: Final = 10.0  # to reach a Dask scheduler
LIBRARIES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ONE_THREAD: Final = dict.fromkeys(LIBRARIES, "1")
Progress = Callable[[dict[str, Any]], None]

_running: set[subprocess.Popen[bytes]] = set()
_lock: Final = threading.Lock()
_stopped = threading.Event()


def run(
    job: str, payload: Mapping[str, Any], limit_s: float, on_progress: Progress | None = None, dask: str = ""
) -> dict[str, Any]:
    """Run a job to its end and return what it answers.

    Args:
        job: ``"module:function"``.
        payload: what the function gets; plain values and numpy arrays.
        limit_s: seconds after which the process is terminated, then killed.
        on_progress: called in this thread with each dict the job reports (a local job only).
        dask: address of a Dask scheduler that runs the job instead.

    Raises:
        JobError: it failed, was killed at its limit, or answered what cannot be read; one line.
    """
    if dask:
        return _run_on_dask(dask, job, payload, limit_s)
    with tempfile.TemporaryDirectory(prefix="slopeward-job-") as name:
        folder = Path(name)
        with (folder / "payload").open("wb") as file:
            pickle.dump({"job": job, "payload": dict(payload)}, file, protocol=5)
        status = _run_process(job, folder, limit_s, on_progress)
        return _read_answer(job, folder, status)


def is_stopping() -> bool:
    """Whether the service is about to end: a job that was cut off by that has not failed."""
    return _stopped.is_set()


def stop_all() -> None:
    """Kill every running job and start no more; the service is about to end."""
    _stopped.set()
    with _lock:
        for process in _running:
            _kill(process, signal.SIGKILL)


def _run_process(job: str, folder: Path, limit_s: float, on_progress: Progress | None) -> int:
    deadline = time.monotonic() + limit_s
    with (folder / "stderr").open("wb") as stderr:
        with _lock:
            if _stopped.is_set():
                raise JobError(f"{job}: not started, the service is stopping")
            process = subprocess.Popen(
                [sys.executable, "-m", "monitor.compute", str(folder)],
                stdin=subprocess.PIPE,  # the leash: its end tells the child that the service is gone
                stdout=subprocess.DEVNULL, stderr=stderr, env={**os.environ, **ONE_THREAD}, start_new_session=True,
            )  # fmt: skip
            _running.add(process)
        try:
            return _wait(job, process, folder, deadline, limit_s, on_progress)
        finally:
            _kill(process, signal.SIGKILL)
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
            with _lock:
                _running.discard(process)


def _wait(
    job: str,
    process: subprocess.Popen[bytes],
    folder: Path,
    deadline: float,
    limit_s: float,
    on_progress: Progress | None,
) -> int:
    seen = 0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = process.wait(timeout=max(0.0, min(0.5, deadline - time.monotonic())))
            _report(folder, seen, on_progress)
            if _stopped.is_set():
                raise JobError(f"{job}: killed, the service is stopping")
            return status
        seen = _report(folder, seen, on_progress)
        if time.monotonic() >= deadline:
            _kill(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=GRACE_S)
            raise JobError(f"{job}: killed at its limit of {limit_s:g} s")


def _report(folder: Path, seen: int, on_progress: Progress | None) -> int:
    """Hand over the progress lines that were completed since the last look."""
    path = folder / "progress"
    if on_progress is None or not path.exists():
        return seen
    lines = path.read_bytes().split(b"\n")[:-1]
    for line in lines[seen:]:
        on_progress(json.loads(line))
    return len(lines)


def _kill(process: subprocess.Popen[bytes], number: int) -> None:
    # its own session: whatever the job started goes with it
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _read_answer(job: str, folder: Path, status: int) -> dict[str, Any]:
    if (folder / "error").exists():
        raise JobError(f"{job}: {(folder / 'error').read_text(encoding='utf-8')}")
    answer = folder / "answer"
    if status != 0 or not answer.exists():
        why = f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
        lines = (folder / "stderr").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise JobError(f"{job}: {why}{': ' + lines[-1][:300] if lines else ''}")
    if answer.stat().st_size > RESULT_LIMIT_BYTES:
        raise JobError(f"{job}: answered {answer.stat().st_size} bytes, more than {RESULT_LIMIT_BYTES}")
    with answer.open("rb") as file:
        result = pickle.load(file)  # noqa: S301  written by our own child into our own folder
    if not isinstance(result, dict):
        raise JobError(f"{job}: answered {type(result).__name__}, expected a dict")
    return result


def call(job: str, payload: dict[str, Any], progress: Progress) -> Any:
    """Import the job's function and call it."""
    module, _, name = job.partition(":")
    function = getattr(importlib.import_module(module), name)
    if len(inspect.signature(function).parameters) > 1:
        return function(payload, progress)
    return function(payload)


def _run_on_dask(address: str, job: str, payload: Mapping[str, Any], limit_s: float) -> dict[str, Any]:
    """The same on a Dask worker, which starts the process of the job on its own machine and ends it at its limit."""
    try:
        distributed = importlib.import_module("distributed")
    except ModuleNotFoundError as error:
        raise JobError(explain_missing(error) or _one_line(error)) from None
    try:
        with distributed.Client(address, timeout=CONNECT_S) as client:
            future = client.submit(run, job, dict(payload), limit_s, pure=False, retries=0)
            try:
                result: dict[str, Any] = future.result(timeout=limit_s + GRACE_S + CONNECT_S)
            except TimeoutError:
                future.cancel()
                raise JobError(f"{job}: no worker of {address} answered within {limit_s:g} s") from None
    except JobError as error:
        raise JobError(f"{error} (on {address})") from None
    except Exception as error:  # what a remote job raises can be anything
        raise JobError(f"{job} on {address}: {_one_line(error)}") from error
    return result


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:1000]


def _follow_leash() -> None:
    # stdin ends when the service does, however it died
    with contextlib.suppress(OSError):
        os.read(0, 1)
    os._exit(3)


def main(folder: Path) -> int:
    """Life of the child: read the payload, do the job, leave the answer or one line that says why not."""
    threading.Thread(target=_follow_leash, daemon=True).start()
    os.nice(10)  # ingest and alarms come first
    with (folder / "payload").open("rb") as file:
        task = pickle.load(file)  # noqa: S301  written by the service that started this process
    with (folder / "progress").open("ab", buffering=0) as lines:

        def progress(detail: dict[str, Any]) -> None:
            lines.write(json.dumps(detail).encode() + b"\n")

        try:
            result = call(task["job"], task["payload"], progress)
            with (folder / "answer.part").open("wb") as part:
                pickle.dump(result, part, protocol=5)
            (folder / "answer.part").rename(folder / "answer")
        except Exception as error:  # whatever it was, the service gets one line
            (folder / "error").write_text(explain_missing(error) or _one_line(error), encoding="utf-8")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
