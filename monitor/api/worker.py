"""Work in child processes and on other machines."""

from monitor.worker import (
    compute,  # module: runs jobs in worker processes, with time and memory limits
)
from monitor.worker.child_process import (
    ChildProcess,  # a process that computes for this one and sends lines back
    SendLine,  # type of a function that sends a value to the parent process
)
from monitor.worker.compute import (
    Cluster,  # interface of machines that run jobs instead of this one
    is_stopping,  # return whether the service is about to stop
)
from monitor.worker.records import (
    RecordError,  # a plain value does not fit its record; names its path
    Request,  # type variable: request of a task
    Result,  # type variable: result of a task
    WorkerTask,  # a function that runs in a worker, with the types of its request and result
    plain_to_record,  # build a record from plain values, strictly checked; raises RecordError
    record_to_plain,  # convert a record or datetime into plain values for JSON
)
from monitor.worker.sandbox import (
    GIB,  # bytes in a gibibyte
    LIST_MISSING_RESTRICTIONS,  # task that returns which restrictions of workers the system does not allow
    SandboxLimits,  # limits of a worker: memory, files, processor time, readable paths
    clean_environment,  # return the environment variables that a worker may have, without secrets
)
from monitor.worker.scene_lock import (
    lock_scene_results,  # context manager: lock a site's scene results; yields False if locked elsewhere
)
from monitor.worker.service_jobs import (
    list_checkpoint_files,  # return the files of a model checkpoint; empty for None
    list_model_paths,  # return the files and folders of models that a worker may read
    reject_unrequested,  # raise JobError if a worker's result names something not requested
    run_all_in_workers,  # run a task in workers for many records; results in their order
    run_in_worker,  # run a task in a sandboxed worker process; raises JobError
)

__all__ = [
    "GIB",
    "LIST_MISSING_RESTRICTIONS",
    "ChildProcess",
    "Cluster",
    "RecordError",
    "Request",
    "Result",
    "SandboxLimits",
    "SendLine",
    "WorkerTask",
    "clean_environment",
    "compute",
    "is_stopping",
    "list_checkpoint_files",
    "list_model_paths",
    "lock_scene_results",
    "plain_to_record",
    "record_to_plain",
    "reject_unrequested",
    "run_all_in_workers",
    "run_in_worker",
]
