"""The way to a cluster of Dask: encrypted, one version on both sides, one connection a process, lost workers named."""

import importlib
import platform
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from monitor.api.errors import JobError, KilledError, NoWorkerError
from monitor.api.extras import explain_missing
from monitor.api.text import LABELLED_TEXT, Figure, Template, code_version, join
from monitor.api.worker import Request, Result, SandboxLimits, WorkerTask, compute

if TYPE_CHECKING:  # a machine of the cluster reads no service file
    from monitor.api.settings import ComputeSection

CONNECT_S: Final = 10.0  # to reach the scheduler
NO_WORKER_S: Final = 60.0  # a cluster without a worker for so long takes no job
POLL_S: Final = 1.0
TRIES: Final = 3  # workers that may be lost under a job before it fails (scheduler.allowed-failures of deploy/)
# what decides the last bit of a result, beside ourselves; what one side lacks is not compared
COMPARED: Final = ("numpy", "scipy", "torch", "statsmodels", "rasterio", "scikit-learn")
Versions = Mapping[str, str]
_DIFFERS: Final = Template("job.differs", "{name} is {ours} here and {theirs} there")
_ON: Final = Template("job.on", "{text} (on {address})")
_LOST: Final = Template("job.lost", "{n} workers of {address} were lost under it")
_NO_WORKER: Final = Template("job.no_worker", "no worker for {time}")
_NO_ANSWER: Final = Template("job.no_answer", "no worker answered within {time}")
_SAME: Final = Template("job.versions", "{different} ({host}); install the same on all machines")


@dataclass(frozen=True, slots=True)
class DaskCluster:
    """Where jobs run in place of this machine; the files are those of TLS, all three or none."""

    address: str
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    def run(self, task: WorkerTask[Request, Result], request: Request, limit_s: float, limits: SandboxLimits) -> Result:
        """Run a job on a worker and return what it answers.

        A worker that is lost while it runs is followed by another one, `TRIES` times.

        `limit_s`: of one try.

        Raises:
            NoWorkerError: no worker or scheduler answers, in one line.
            JobError: one line.
        """
        job, given = task.function, (task, request, limit_s, limits, list_versions())
        distributed = _import_distributed()
        for is_last in (False, True):  # a scheduler that was started anew knows nothing of the job: it gets it again
            try:
                client = _connect(self, distributed)
                answered: Result = _wait(job, client, client.submit(run_for, *given, pure=False), limit_s)
                return answered
            except JobError as error:
                raise type(error)(LABELLED_TEXT(name=job, text=_ON(text=error.problem, address=self.address))) from None
            except distributed.scheduler.KilledWorker as error:
                text = _LOST(n=error.allowed_failures + 1, address=self.address)
                raise JobError(LABELLED_TEXT(name=job, text=text)) from None
            except Exception as error:  # what a remote job raises can be anything
                _forget(self)
                is_away = isinstance(error, OSError | distributed.CancelledError)
                if is_last or not is_away or compute.is_stopping():
                    error_type = NoWorkerError if is_away else JobError
                    text = _ON(text=_explain(error), address=self.address)
                    raise error_type(LABELLED_TEXT(name=job, text=text)) from error
        raise AssertionError

    def run_each(self, answer: Callable[[Request], Result], questions: Sequence[Request]) -> Generator[Result]:
        """What `answer`, which runs a job here, gives for each; as many at once as the workers have threads."""
        with compute.recording_trouble(self):
            at_once = min(len(questions), self.count_threads())
        with ThreadPoolExecutor(at_once, "cluster") as threads:
            waiting = deque(threads.submit(answer, request) for request in questions)
            try:
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for one in waiting:
                    one.cancel()

    def count_threads(self) -> int:
        """How many jobs the workers take at once; at least 1. NoWorkerError where the scheduler does not answer."""
        try:
            return max(1, sum(map(int, _connect(self, _import_distributed()).nthreads().values())))
        except OSError as error:
            _forget(self)
            raise NoWorkerError(f"{self.address}: {_explain(error)}") from None


_clients: dict[DaskCluster, Any] = {}
_lock: Final = threading.Lock()


def find_cluster(plan: "ComputeSection") -> DaskCluster:
    """The cluster that `[compute]` names."""
    return DaskCluster(plan.dask, plan.dask_ca_file, plan.dask_cert_file, plan.dask_key_file)


def run_for(
    task: WorkerTask[Request, Result], request: Request, limit_s: float, limits: SandboxLimits, versions: Versions
) -> Result:
    """Run a job for a service elsewhere, on a worker of its cluster: in a process of this machine, behind its walls.

    Raises:
        JobError: as `compute.run`.
        NoWorkerError: as `compute.run`, or this machine runs another version than the service.
    """
    if different := explain_versions(versions, list_versions()):
        raise NoWorkerError(
            LABELLED_TEXT(name=task.function, text=_SAME(different=different, host=socket.gethostname()))
        )
    return compute.run(task, request, limit_s, limits=limits)


def list_versions() -> dict[str, str]:
    """What must be the same on both sides for the same results; no library is imported."""
    found = {"slopeward": code_version(), "python": ".".join(platform.python_version_tuple()[:2])}
    for name in COMPARED:
        try:
            found[name] = version(name).partition("+")[0]  # a build for another accelerator computes the same here
        except PackageNotFoundError:
            continue
    return found


def explain_versions(ours: Versions, theirs: Versions) -> str:
    """One line on what differs; empty where nothing does.

    >>> explain_versions({"slopeward": "0.2.0", "numpy": "2.1"}, {"slopeward": "0.1.0", "torch": "2.8"})
    'slopeward is 0.2.0 here and 0.1.0 there'
    """
    different = [k for k in ours if theirs.get(k, ours[k]) != ours[k]]
    return join(_DIFFERS(name=k, ours=ours[k], theirs=theirs[k]) for k in different) if different else ""


def _import_distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ModuleNotFoundError as error:
        raise JobError(explain_missing(error) or str(error)) from None


def _connect(cluster: DaskCluster, distributed: Any) -> Any:
    with _lock:
        client = _clients.get(cluster)
        if client is None or client.status not in {"running", "connecting"}:
            names = ("tls_ca_file", "tls_client_cert", "tls_client_key")
            given = zip(names, (cluster.ca_file, cluster.cert_file, cluster.key_file), strict=True)
            is_encrypted = cluster.address.startswith("tls://")
            files = {name: file for name, file in given if file}  # without any: those of Dask's own settings
            security = distributed.Security(require_encryption=True, **files) if is_encrypted else None
            client = distributed.Client(
                cluster.address, timeout=CONNECT_S, security=security, set_as_default=False, name="slopeward"
            )
            _clients[cluster] = client
        return client


def _forget(cluster: DaskCluster) -> None:
    with _lock:
        client = _clients.pop(cluster, None)
    if client is not None:
        client.close(timeout=1.0)


def _wait(job: str, client: Any, future: Any, limit_s: float) -> Any:
    """The result, however long it waits for its turn, while there is a worker that could take it."""
    seen_s = time.monotonic()
    latest_s = seen_s + (TRIES + 1) * limit_s + NO_WORKER_S
    try:
        while True:
            try:
                return future.result(timeout=POLL_S)
            except TimeoutError:
                now_s = time.monotonic()
                if compute.is_stopping():
                    raise KilledError(LABELLED_TEXT(name=job, text=compute.STOPPING())) from None
                if client.status == "closed":
                    raise ConnectionError("the scheduler went away") from None
                if client.scheduler_info().get("workers"):
                    seen_s = now_s
                elif now_s - seen_s > NO_WORKER_S:
                    raise NoWorkerError(
                        LABELLED_TEXT(name=job, text=_NO_WORKER(time=Figure(NO_WORKER_S, "g", "s")))
                    ) from None
                if now_s > latest_s:
                    raise JobError(LABELLED_TEXT(name=job, text=_NO_ANSWER(time=Figure(limit_s, "g", "s")))) from None
    except BaseException:
        future.cancel()
        raise
    finally:  # else the cluster keeps the answer, and works it out anew where the worker that has it is lost
        future.release()


def _explain(error: BaseException) -> str:
    line = f"{type(error).__name__}: {' '.join(str(error).split())}"[:1000]
    if isinstance(error, AttributeError | ImportError | TypeError):  # it does not know what it was sent
        line += "; install the same version of slopeward and its packages on all machines of the cluster"
    return line
