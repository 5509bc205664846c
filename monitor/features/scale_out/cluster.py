"""Run jobs on a Dask cluster.

A process has one connection to a cluster. A job is rejected if versions that affect its result differ on both sides.
"""

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

if TYPE_CHECKING:  # a machine of the cluster has no service file
    from monitor.api.settings import ComputeSection

CONNECT_TIMEOUT_S: Final = 10.0
# A job fails after this time without any worker.
NO_WORKER_TIMEOUT_S: Final = 60.0
POLL_S: Final = 1.0
# Workers that may be lost while they run a job before it fails, as `allowed-failures` of the scheduler in deploy/.
ALLOWED_FAILURES: Final = 3
# Packages that affect the last bit of a result. A package that one side lacks is not compared.
COMPARED_PACKAGES: Final = ("numpy", "scipy", "torch", "statsmodels", "rasterio", "scikit-learn")
Versions = Mapping[str, str]
_DIFFERS: Final = Template("job.differs", "{name} is {ours} here and {theirs} there")
_ON: Final = Template("job.on", "{text} (on {address})")
_LOST: Final = Template("job.lost", "{n} workers of {address} were lost under it")
_NO_WORKER: Final = Template("job.no_worker", "no worker for {time}")
_NO_ANSWER: Final = Template("job.no_answer", "no worker answered within {time}")
_DIFFERENT_VERSIONS: Final = Template("job.versions", "{different} ({host}); install the same on all machines")


@dataclass(frozen=True, slots=True)
class DaskCluster:
    """Address of a Dask scheduler, and the files of TLS: all three or none."""

    address: str
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    def run(self, task: WorkerTask[Request, Result], request: Request, limit_s: float, limits: SandboxLimits) -> Result:
        """Run a job on a worker and return its result.

        If the worker is lost, another one runs the job again, up to `ALLOWED_FAILURES` times. If the scheduler was
        restarted, the job is submitted once more.

        Args:
            limit_s: Time limit of one attempt.

        Raises:
            NoWorkerError: The scheduler is unreachable or has no worker.
            JobError: The job failed. The message has one line.
        """
        job = task.title
        distributed = _import_distributed()
        for is_last in (False, True):
            try:
                client = _connect(self, distributed)
                future = client.submit(run_on_worker, task, request, limit_s, limits, list_versions(), pure=False)
                result: Result = _wait(job, client, future, limit_s)
                return result
            except JobError as error:
                raise type(error)(LABELLED_TEXT(name=job, text=_ON(text=error.problem, address=self.address))) from None
            except distributed.scheduler.KilledWorker as error:
                text = _LOST(n=error.allowed_failures + 1, address=self.address)
                raise JobError(LABELLED_TEXT(name=job, text=text)) from None
            except Exception as error:  # a remote job can raise any error
                _disconnect(self)
                is_unreachable = isinstance(error, OSError | distributed.CancelledError)
                if is_last or not is_unreachable or compute.is_stopping():
                    error_type = NoWorkerError if is_unreachable else JobError
                    text = _ON(text=_describe_error(error), address=self.address)
                    raise error_type(LABELLED_TEXT(name=job, text=text)) from error
        raise AssertionError

    def run_each(self, run_request: Callable[[Request], Result], requests: Sequence[Request]) -> Generator[Result]:
        """Call `run_request` for each request, as many at once as the workers have threads. Yield results in order."""
        with compute.recording_start_problem(self):
            max_threads = min(len(requests), self.count_threads())
        with ThreadPoolExecutor(max_threads, "cluster") as executor:
            futures = deque(executor.submit(run_request, request) for request in requests)
            try:
                while futures:
                    yield futures.popleft().result()
            finally:
                for future in futures:
                    future.cancel()

    def count_threads(self) -> int:
        """Return how many jobs the workers run at once, at least 1.

        Raises:
            NoWorkerError: The scheduler is unreachable.
        """
        try:
            return max(1, sum(map(int, _connect(self, _import_distributed()).nthreads().values())))
        except OSError as error:
            _disconnect(self)
            raise NoWorkerError(f"{self.address}: {_describe_error(error)}") from None


_clients: dict[DaskCluster, Any] = {}
_lock: Final = threading.Lock()


def make_cluster(settings: "ComputeSection") -> DaskCluster:
    """Return the cluster that `[compute]` names."""
    return DaskCluster(settings.dask, settings.dask_ca_file, settings.dask_cert_file, settings.dask_key_file)


def run_on_worker(
    task: WorkerTask[Request, Result], request: Request, limit_s: float, limits: SandboxLimits, versions: Versions
) -> Result:
    """Run a job in a sandboxed process of this worker machine. The service calls this through Dask.

    Args:
        versions: Versions on the machine of the service.

    Raises:
        JobError: See `compute.run`.
        NoWorkerError: See `compute.run`. Also raised if versions on this machine differ.
    """
    different = describe_differences(versions, list_versions())
    if different:
        text = _DIFFERENT_VERSIONS(different=different, host=socket.gethostname())
        raise NoWorkerError(LABELLED_TEXT(name=task.title, text=text))
    return compute.run(task, request, limit_s, limits=limits)


def list_versions() -> dict[str, str]:
    """Return the versions that must be equal on both sides for equal results. The packages are not imported."""
    versions = {"slopeward": code_version(), "python": ".".join(platform.python_version_tuple()[:2])}
    for name in COMPARED_PACKAGES:
        try:
            # The part behind "+" names the accelerator of a build, which does not affect results on a processor.
            versions[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            continue
    return versions


def describe_differences(ours: Versions, theirs: Versions) -> str:
    """Describe versions that differ in one line; empty if none do.

    >>> describe_differences({"slopeward": "0.2.0", "numpy": "2.1"}, {"slopeward": "0.1.0", "torch": "2.8"})
    'slopeward is 0.2.0 here and 0.1.0 there'
    """
    different = [name for name in ours if theirs.get(name, ours[name]) != ours[name]]
    if not different:
        return ""
    return join(_DIFFERS(name=name, ours=ours[name], theirs=theirs[name]) for name in different)


def _import_distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ModuleNotFoundError as error:
        raise JobError(explain_missing(error) or str(error)) from None


def _connect(cluster: DaskCluster, distributed: Any) -> Any:
    with _lock:
        client = _clients.get(cluster)
        if client is None or client.status not in {"running", "connecting"}:
            files = {
                "tls_ca_file": cluster.ca_file,
                "tls_client_cert": cluster.cert_file,
                "tls_client_key": cluster.key_file,
            }
            # Without files, Dask uses those of its own configuration.
            files = {name: file for name, file in files.items() if file}
            is_encrypted = cluster.address.startswith("tls://")
            security = distributed.Security(require_encryption=True, **files) if is_encrypted else None
            client = distributed.Client(
                cluster.address, timeout=CONNECT_TIMEOUT_S, security=security, set_as_default=False, name="slopeward"
            )
            _clients[cluster] = client
        return client


def _disconnect(cluster: DaskCluster) -> None:
    with _lock:
        client = _clients.pop(cluster, None)
    if client is not None:
        client.close(timeout=1.0)


def _wait(job: str, client: Any, future: Any, limit_s: float) -> Any:
    """Wait for the result of a job while the cluster has a worker.

    Raises:
        NoWorkerError: The cluster had no worker for `NO_WORKER_TIMEOUT_S`.
        ConnectionError: The scheduler is gone.
        JobError: The service stops, or no attempt ended in time.
    """
    has_worker_s = time.monotonic()
    deadline_s = has_worker_s + (ALLOWED_FAILURES + 1) * limit_s + NO_WORKER_TIMEOUT_S
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
                    has_worker_s = now_s
                elif now_s - has_worker_s > NO_WORKER_TIMEOUT_S:
                    text = _NO_WORKER(time=Figure(NO_WORKER_TIMEOUT_S, "g", "s"))
                    raise NoWorkerError(LABELLED_TEXT(name=job, text=text)) from None
                if now_s > deadline_s:
                    raise JobError(LABELLED_TEXT(name=job, text=_NO_ANSWER(time=Figure(limit_s, "g", "s")))) from None
    except BaseException:
        future.cancel()
        raise
    finally:
        # Otherwise the cluster keeps the result, and computes it again if the worker that stores it is lost.
        future.release()


def _describe_error(error: BaseException) -> str:
    line = f"{type(error).__name__}: {' '.join(str(error).split())}"[:1000]
    if isinstance(error, AttributeError | ImportError | TypeError):  # typical for code of another version
        line += "; install the same version of slopeward and its packages on all machines of the cluster"
    return line
