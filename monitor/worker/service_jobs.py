"""Run a job of the service within the limits of `[compute]`, with access to the files that it needs."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from monitor.errors import JobError
from monitor.plugins import hooks
from monitor.worker import compute
from monitor.worker.compute import Cluster, Progress
from monitor.worker.records import Request, Result, WorkerTask
from monitor.worker.sandbox import SandboxLimits


class ComputeSettings(Protocol):
    """The settings of `[compute]` that concern workers. See `monitor.settings.service.ComputeSection`."""

    @property
    def dask(self) -> str:
        """Address of the Dask scheduler; empty to run jobs on this machine."""

    @property
    def job_limit_s(self) -> float:
        """Time after which a job is killed."""

    @property
    def job_memory_gib(self) -> float:
        """Address space of a job."""

    @property
    def job_file_gib(self) -> float:
        """Size of the largest file that a job may write."""


def run_in_worker(
    settings: ComputeSettings,
    task: WorkerTask[Request, Result],
    request: Request,
    *,
    reads: Iterable[str | Path] = (),
    writes: Iterable[str | Path] = (),
    on_progress: Progress | None = None,
    is_low_priority: bool = False,
) -> Result:
    """Run a job with access only to the files below `reads` and `writes`, and return its result.

    A job with `is_low_priority` lets other workers run first.

    Raises:
        JobError: see `compute.run`.
    """
    limits = replace(make_limits(settings, reads, writes), is_low_priority=is_low_priority)
    return compute.run(task, request, settings.job_limit_s, on_progress, cluster=make_cluster(settings), limits=limits)


def run_all_in_workers(
    settings: ComputeSettings,
    task: WorkerTask[Request, Result],
    requests: Sequence[Request],
    *,
    reads: Iterable[str | Path] = (),
) -> Iterator[Result]:
    """Run a job for each request and yield the results in the order of the requests.

    Raises:
        JobError: see `compute.run_all`.
    """
    limits = make_limits(settings, reads)
    return compute.run_all(task, requests, settings.job_limit_s, make_cluster(settings), limits)


def make_cluster(settings: ComputeSettings) -> Cluster | None:
    """Return the cluster that `[compute]` names, or None if jobs run on this machine."""
    if not settings.dask:
        return None
    cluster: Cluster | None = hooks().compute_cluster(settings=settings)
    return cluster


def make_limits(
    settings: ComputeSettings, reads: Iterable[str | Path] = (), writes: Iterable[str | Path] = ()
) -> SandboxLimits:
    """Return the limits of a job from `[compute]`."""
    return SandboxLimits.from_gib(settings.job_memory_gib, settings.job_file_gib, reads, writes)


def reject_unrequested(
    names: Iterable[str], requested: Collection[str], source: str = "the answer of the worker"
) -> None:
    """Reject a result that contains a name that was not requested.

    Args:
        names: Names in the result.
        requested: Names in the request.
        source: Subject of the error message.

    Raises:
        JobError: Names the first such name.
    """
    unrequested = set(names).difference(requested)
    if unrequested:
        raise JobError(f"{source} names {min(unrequested)[:60]!r}, which was not requested")


def list_model_paths(models: Path, site: str, checkpoints: Iterable[str | None]) -> list[str]:
    """Return the paths that a worker needs to read the models of a site.

    They include the folder of the site: if a training replaces a checkpoint while the worker runs, a rule for the old
    file alone would not cover the new one.
    """
    return [str(models / site), *(file for path in checkpoints for file in list_checkpoint_files(path))]


def list_checkpoint_files(path: str | None) -> tuple[str, ...]:
    """Return the checkpoint with its weights and its model card; empty for None."""
    if path is None:
        return ()
    return (path, *(str(Path(path).with_suffix(suffix)) for suffix in (".safetensors", ".json")))
