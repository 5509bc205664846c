"""The way from a job to its worker: the bounds of the configuration, and which files this worker needs."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from monitor.errors import JobError
from monitor.plugins import hooks
from monitor.worker import compute
from monitor.worker.compute import Cluster, Progress
from monitor.worker.records import Answered, Request, WorkerTask
from monitor.worker.sandbox import SandboxLimits


class ComputePlan(Protocol):
    """What `[compute]` of the service file says of workers."""

    @property
    def dask(self) -> str: ...  # noqa: D102 - as there
    @property
    def job_limit_s(self) -> float: ...  # noqa: D102
    @property
    def job_memory_gib(self) -> float: ...  # noqa: D102
    @property
    def job_file_gib(self) -> float: ...  # noqa: D102


def run_in_worker(
    plan: ComputePlan,
    task: WorkerTask[Request, Answered],
    request: Request,
    *,
    reads: Iterable[str | Path] = (),
    writes: Iterable[str | Path] = (),
    on_progress: Progress | None = None,
    gives_way: bool = False,
) -> Answered:
    """Run a job of the service as `[compute]` says; it sees the files below `reads` and `writes` alone.

    One that `gives_way` lets other workers come first.

    Raises:
        JobError: as `compute.run`.
    """
    terms = replace(make_terms(plan, reads, writes), gives_way=gives_way)
    return compute.run(task, request, plan.job_limit_s, on_progress, cluster=find_cluster(plan), terms=terms)


def run_all_in_workers(
    plan: ComputePlan,
    task: WorkerTask[Request, Answered],
    questions: Sequence[Request],
    *,
    reads: Iterable[str | Path] = (),
) -> Iterator[Answered]:
    """The same for many records; their answers in the order of the records."""
    return compute.run_all(task, questions, plan.job_limit_s, find_cluster(plan), make_terms(plan, reads))


def find_cluster(plan: ComputePlan) -> Cluster | None:
    """Return the cluster that `[compute]` names, or None if jobs run on this machine."""
    if not plan.dask:
        return None
    cluster: Cluster | None = hooks().compute_cluster(plan=plan)
    return cluster


def make_terms(plan: ComputePlan, reads: Iterable[str | Path] = (), writes: Iterable[str | Path] = ()) -> SandboxLimits:
    """What a worker of the service may take, read and write."""
    return SandboxLimits.bound(plan.job_memory_gib, plan.job_file_gib, reads, writes)


def refuse_unrequested(named: Iterable[str], requested: Collection[str], who: str = "the answer of the worker") -> None:
    """Refuse an answer that names what was no part of the question.

    Raises:
        JobError: the first such name.
    """
    if strange := {*named}.difference(requested):
        raise JobError(f"{who} names {min(strange)[:60]!r}, which is no part of the question")


def list_models(models: Path, site: str, checkpoints: Iterable[str | None]) -> list[str]:
    """What a worker reads of the models of a site.

    The folder, and not the files alone: the kernel takes a file that a training puts in the place of another while the
    worker runs for a new one.
    """
    return [str(models / site), *(file for path in checkpoints for file in list_checkpoint(path))]


def list_checkpoint(path: str | None) -> tuple[str, ...]:
    """The files of a checkpoint: weights, and the card beside them; none where there is no checkpoint."""
    return () if path is None else (path, *(str(Path(path).with_suffix(end)) for end in (".safetensors", ".json")))
