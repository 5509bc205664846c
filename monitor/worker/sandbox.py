"""Restrict a worker process: no secrets in its environment, no network, no capabilities, and limits on resources.

A worker parses files from outside with large libraries written in C. If a crafted file takes the worker over, the
attacker can read no secret and reach no other process or machine. `list_missing_restrictions` returns the restrictions
that the system did not allow.
"""

import contextlib
import errno
import os
import resource
import signal
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from monitor.worker import linux
from monitor.worker.records import WorkerTask

MIB: Final = 1 << 20
GIB: Final = 1 << 30
DEVICE: Final = "SLOPEWARD_DEVICE"
# Environment variables of a worker: paths of programs, libraries and their tables, and locale.
ALLOWED_VARIABLES: Final = frozenset(
    {
        "PATH",
        "HOME",
        "LANG",
        "LANGUAGE",
        "TZ",
        "VIRTUAL_ENV",
        "LD_LIBRARY_PATH",
        "GDAL_DATA",
        "PROJ_DATA",
        "PROJ_LIB",
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONUSERBASE",
        "PYTHONNOUSERSITE",
        "PYTHONUTF8",
        "PYTHONHASHSEED",
        # Which plugins to load: a worker cannot test plugins itself.
        "SLOPEWARD_PLUGINS",
        "SLOPEWARD_PLUGIN_RESULTS",
        "PYTHONWARNINGS",
        "PYTHONDONTWRITEBYTECODE",
        "CUDA_VISIBLE_DEVICES",
        "NVIDIA_VISIBLE_DEVICES",
        DEVICE,
    }
)
# LC_* belongs to the locale. The others select kernels of linear algebra: with different kernels a worker would round
# differently from its parent.
ALLOWED_PREFIXES: Final = ("LC_", "OPENBLAS_", "MKL_CBWR", "NPY_")
# Files of the system that Python and its libraries read, without configuration, state or home folders.
SYSTEM_PATHS: Final = (
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/proc",
    "/sys",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
)
# Files that name resolution and verification of certificates read.
NETWORK_PATHS: Final = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
)
WRITABLE_DEVICES: Final = ("/dev/null", "/dev/nvidia*", "/dev/dri")
CPU_GRACE_S: Final = 5
NETWORK_NOT_RESTRICTED: Final = (
    "workers can reach the network: this system allows neither network namespaces nor filters of system calls"
)
FILES_NOT_RESTRICTED: Final = (
    "workers can read all files of this user: this kernel has no Landlock (Linux 5.13 or newer has)"
)
CAPABILITIES_NOT_DROPPED: Final = "workers keep the capabilities of this user: this system does not allow dropping them"
OUT_OF_MEMORY_TEXTS: Final = (
    "can't allocate memory",
    "cannot allocate memory",
    "unable to allocate",
    "failed to map segment",
    "bad_alloc",
    "out of memory",
)

# State of this worker process.
_missing_restrictions: list[str] = []
_is_write_cut_short = False


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Limits of a worker process.

    Attributes:
        memory_bytes: Address space; 0 for no limit.
        file_bytes: Size of a file that it writes.
        cpu_s: Processor time; 0 for no limit.
        reads: Files and folders that it may read beside Python and its libraries; None for all.
        writes: Folders that it may read and write beside its temporary folder.
        restrictions: Restrictions to apply. Omit some in a test, or to find the restriction that breaks a library.
        can_use_network: Whether it may make TCP connections. Only workers that download files need this.
        is_low_priority: Whether other workers run first.
    """

    memory_bytes: int = 8 * GIB
    file_bytes: int = 16 * GIB
    cpu_s: int = 0
    reads: tuple[str, ...] | None = None
    writes: tuple[str, ...] = ()
    restrictions: tuple[str, ...] = ("network", "calls", "files")
    can_use_network: bool = False
    is_low_priority: bool = False

    @classmethod
    def from_gib(
        cls, memory_gib: float, file_gib: float, reads: Iterable[str | Path] = (), writes: Iterable[str | Path] = ()
    ) -> "SandboxLimits":
        """Return limits from values in GiB, as in `[compute]`."""
        return cls(
            memory_bytes=int(memory_gib * GIB),
            file_bytes=int(file_gib * GIB),
            reads=tuple(sorted(map(str, reads))),
            writes=tuple(sorted(map(str, writes))),
        )


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a program that reads files from outside may have: none contains a secret.

    >>> clean_environment({"PATH": "/bin", "OPENBLAS_CORETYPE": "Zen", "SLOPEWARD_SMTP__PASSWORD": "s", "URL": "s"})
    {'PATH': '/bin', 'OPENBLAS_CORETYPE': 'Zen'}
    """
    return {
        name: value for name, value in environ.items() if name in ALLOWED_VARIABLES or name.startswith(ALLOWED_PREFIXES)
    }


def restrict_process(limits: SandboxLimits, folder: Path) -> None:
    """Apply the limits to this process until it ends. It must have one thread.

    Args:
        folder: The temporary folder of the process, which it may write.
    """
    _missing_restrictions.clear()
    linux.prefer_for_oom_kill()
    reads = None if limits.reads is None else [*_list_python_paths(), *map(Path, limits.reads)]
    if reads is not None and limits.can_use_network:
        reads += map(Path, NETWORK_PATHS)
    devices = [path for pattern in WRITABLE_DEVICES for path in Path("/").glob(pattern[1:])]
    writes = [folder, *devices, *map(Path, limits.writes)]
    is_isolated = not limits.can_use_network and "network" in limits.restrictions and linux.isolate_network()
    if not linux.drop_capabilities():
        _missing_restrictions.append(CAPABILITIES_NOT_DROPPED)
    restricts_files = "files" in limits.restrictions
    if not (restricts_files and linux.restrict_files(reads, writes, allow_connections=limits.can_use_network)):
        _missing_restrictions.append(FILES_NOT_RESTRICTED)
    filters_calls = "calls" in limits.restrictions
    is_filtered = filters_calls and linux.filter_system_calls(allow_internet_sockets=limits.can_use_network)
    if not (is_filtered or is_isolated or limits.can_use_network):
        _missing_restrictions.append(NETWORK_NOT_RESTRICTED)
    linux.hide_memory()
    _limit_resource(resource.RLIMIT_CORE, 0)
    _limit_resource(resource.RLIMIT_FSIZE, limits.file_bytes)
    # The default action of this signal would kill the process. With a handler, the write fails with an error.
    signal.signal(signal.SIGXFSZ, _note_write_cut_short)
    if limits.cpu_s:
        _limit_resource(resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + CPU_GRACE_S)
    if has_memory_limit(limits, os.environ):
        _limit_resource(resource.RLIMIT_AS, limits.memory_bytes)


def has_memory_limit(limits: SandboxLimits, environ: Mapping[str, str]) -> bool:
    """Return whether the address space is limited.

    It is not limited on an accelerator, because its driver maps far more memory than it uses.
    """
    is_on_cpu = environ.get(DEVICE, "cpu").strip().lower() in {"", "cpu"}
    return is_on_cpu and limits.memory_bytes > 0


@dataclass(frozen=True, slots=True)
class MissingRestrictions:
    """One line for each restriction that the system does not allow."""

    missing: tuple[str, ...]


def list_missing_restrictions(_: None = None) -> MissingRestrictions:
    """Return the restrictions that are missing in this process."""
    return MissingRestrictions(tuple(_missing_restrictions))


LIST_MISSING_RESTRICTIONS: Final = WorkerTask(
    "monitor.worker.sandbox:list_missing_restrictions", type(None), MissingRestrictions
)


def explain_limit(text: str, limits: SandboxLimits) -> str | None:
    """Return a message if a limit caused this error, otherwise None.

    >>> explain_limit("MemoryError: Unable to allocate 3. GiB for an array", SandboxLimits())
    'needs more memory than its bound of 8 GiB (compute.job_memory_gib)'
    """
    lower_text = text.lower()
    if lower_text.startswith("memoryerror") or any(part in lower_text for part in OUT_OF_MEMORY_TEXTS):
        return f"needs more memory than its bound of {limits.memory_bytes / GIB:g} GiB (compute.job_memory_gib)"
    if "file too large" in lower_text:
        return f"writes a file larger than its bound of {limits.file_bytes / GIB:g} GiB (compute.job_file_gib)"
    return None


def check_file_limit() -> None:
    """Raise an error if a write exceeded the limit, because some libraries ignore the failed write.

    Raises:
        OSError: with `errno.EFBIG`.
    """
    if _is_write_cut_short:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))


def _note_write_cut_short(*_: object) -> None:
    global _is_write_cut_short  # noqa: PLW0603 - a signal handler has no other place
    _is_write_cut_short = True


def _list_python_paths() -> list[Path]:
    """Return what Python itself reads: libraries of the system, its own folders and this program."""
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    paths = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, *sys.path, *libraries}
    folders = [
        *map(Path, SYSTEM_PATHS),
        *(Path(path) for path in sorted(paths) if path),
        Path(__file__).parents[2],
    ]
    package_folders = [folder for folder in folders if folder.name in {"site-packages", "dist-packages"}]
    packages = [package for folder in package_folders for package in _list_folder(folder)]
    # Some installers link packages from a shared store.
    return [*folders, *(package.resolve() for package in packages if package.is_symlink())]


def _list_folder(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _limit_resource(kind: int, soft: int, hard: int | None = None) -> None:
    """Set a resource limit, unless a stricter one is in force."""
    before = resource.getrlimit(kind)[1]
    values = [soft, soft if hard is None else hard]
    if before != resource.RLIM_INFINITY:
        values = [min(value, before) for value in values]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(kind, (values[0], values[1]))
