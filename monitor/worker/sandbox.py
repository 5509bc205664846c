"""The walls around a worker: no secrets in its environment, no network, no rights, and bounds on what it may take.

A worker reads files that come from outside by large libraries written in C. Whoever finds a hole in one of them with a
bent raster shall find nothing to steal behind it, and no way out. What the system does not allow is told (`describe`).
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

from monitor.worker import kernel
from monitor.worker.records import WorkerTask

MIB, GIB = 1 << 20, 1 << 30
# All that a worker gets of the environment: where programs, libraries and their tables lie, and how to spell.
KEPT: Final = frozenset(
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
        # whether plugins are loaded, and which ones work: a worker cannot try them
        "SLOPEWARD_PLUGINS",
        "SLOPEWARD_PLUGIN_RESULTS",
        "PYTHONWARNINGS",
        "PYTHONDONTWRITEBYTECODE",
        "CUDA_VISIBLE_DEVICES",
        "NVIDIA_VISIBLE_DEVICES",
        "SLOPEWARD_DEVICE",
    }
)
# and what chooses the kernels of its arithmetic: with others a worker rounds otherwise than who asked
KEPT_BEGIN: Final = ("LC_", "OPENBLAS_", "MKL_CBWR", "NPY_")
DEVICE: Final = "SLOPEWARD_DEVICE"
# What Python and its libraries read of the system, beside their own folders; no configuration, no state, no homes.
SYSTEM: Final = (
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
# what finding the address of a name and checking a certificate take
RESOLVER: Final = (
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
DEVICES: Final = ("/dev/null", "/dev/nvidia*", "/dev/dri")
CPU_GRACE_S: Final = 5
OPEN_NETWORK: Final = "workers can reach the network: no network of their own and no filter of calls is allowed here"
OPEN_FILES: Final = "workers can read all files of this user: this kernel has no Landlock (Linux 5.13 or newer has)"
OPEN_RIGHTS: Final = "workers keep the rights of this user: this system does not let them be given up"
NO_MEMORY: Final = (
    "can't allocate memory",
    "cannot allocate memory",
    "unable to allocate",
    "failed to map segment",
    "bad_alloc",
    "out of memory",
)

_missing: list[str] = []  # of the walls around this very process
_cut_short: list[bool] = []  # a write of this process met the bound


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What a worker may take."""

    memory_bytes: int = 8 * GIB  # address space; 0: not bounded
    file_bytes: int = 16 * GIB  # of one file that it writes
    cpu_s: int = 0  # processor time; 0: not bounded
    reads: tuple[str, ...] | None = None  # files and folders it may read beside Python and its libraries; None: all
    writes: tuple[str, ...] = ()  # folders it may read and write, beside its own
    # which ones are asked for; for tests, and to find out which one is in the way of something
    walls: tuple[str, ...] = ("network", "calls", "files")
    network: bool = False  # it may reach the network, and nothing else: the one kind of worker that fetches files
    gives_way: bool = False  # other workers come first

    @classmethod
    def bound(
        cls, memory_gib: float, file_gib: float, reads: Iterable[str | Path] = (), writes: Iterable[str | Path] = ()
    ) -> "SandboxLimits":
        """What a job may take, read and write, by the bounds of `[compute]`."""
        return cls(
            memory_bytes=int(memory_gib * GIB),
            file_bytes=int(file_gib * GIB),
            reads=tuple(sorted(map(str, reads))),
            writes=tuple(sorted(map(str, writes))),
        )


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a program that reads files from outside may know of the environment: nothing secret.

    >>> clean_environment({"PATH": "/bin", "OPENBLAS_CORETYPE": "Zen", "SLOPEWARD_SMTP__PASSWORD": "s", "URL": "s"})
    {'PATH': '/bin', 'OPENBLAS_CORETYPE': 'Zen'}
    """
    return {name: value for name, value in environ.items() if name in KEPT or name.startswith(KEPT_BEGIN)}


def wall_in(terms: SandboxLimits, folder: Path) -> None:
    """Put the walls around this process, which must have one thread; they stay until it ends."""
    _missing.clear()
    kernel.offer_to_end_first()
    reads = None if terms.reads is None else [*_list_own(), *map(Path, terms.reads)]
    if reads is not None and terms.network:
        reads += map(Path, RESOLVER)
    devices = [path for pattern in DEVICES for path in Path("/").glob(pattern[1:])]
    writes = [folder, *devices, *map(Path, terms.writes)]
    alone = not terms.network and "network" in terms.walls and kernel.leave_network()
    if not kernel.renounce_rights():
        _missing.append(OPEN_RIGHTS)
    if not ("files" in terms.walls and kernel.lock_files(reads, writes, connects=terms.network)):
        _missing.append(OPEN_FILES)
    filtered = "calls" in terms.walls and kernel.filter_calls(sockets=terms.network)
    if not (filtered or alone or terms.network):
        _missing.append(OPEN_NETWORK)
    kernel.hide_memory()
    _bound(resource.RLIMIT_CORE, 0)
    _bound(resource.RLIMIT_FSIZE, terms.file_bytes)
    signal.signal(signal.SIGXFSZ, lambda *_: _cut_short.append(True))  # the write then fails like any other
    if terms.cpu_s:
        _bound(resource.RLIMIT_CPU, terms.cpu_s, terms.cpu_s + CPU_GRACE_S)
    if memory_bytes(terms, os.environ):
        _bound(resource.RLIMIT_AS, terms.memory_bytes)


def memory_bytes(terms: SandboxLimits, environ: Mapping[str, str]) -> int:
    """The address space that holds, 0: none does, as the driver of an accelerator maps far more than it uses."""
    return terms.memory_bytes if environ.get(DEVICE, "cpu").strip().lower() in {"", "cpu"} else 0


@dataclass(frozen=True, slots=True)
class MissingBounds:
    """Lines on the walls that do not stand."""

    missing: tuple[str, ...]


def describe(_: None = None) -> MissingBounds:
    """The job that says which walls do not stand around its own process."""
    return MissingBounds(tuple(_missing))


DESCRIBE_SANDBOX: Final = WorkerTask("monitor.worker.sandbox:describe", type(None), MissingBounds)


def explain(text: str, terms: SandboxLimits) -> str | None:
    """The line for an error that a bound made; None where it was another one.

    >>> explain("MemoryError: Unable to allocate 3. GiB for an array", SandboxLimits())
    'needs more memory than its bound of 8 GiB (compute.job_memory_gib)'
    """
    low = text.lower()
    if low.startswith("memoryerror") or any(words in low for words in NO_MEMORY):
        return f"needs more memory than its bound of {terms.memory_bytes / GIB:g} GiB (compute.job_memory_gib)"
    if "file too large" in low:
        return f"writes a file larger than its bound of {terms.file_bytes / GIB:g} GiB (compute.job_file_gib)"
    return None


def check_files() -> None:
    """Fail where a write met the bound: libraries swallow that, or say no more than that they failed.

    Raises:
        OSError: as the system said it.
    """
    if _cut_short:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))


def _list_own() -> list[Path]:
    """What Python itself reads: the system's libraries, its own folders, and this program."""
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    own = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, *sys.path, *libraries}
    folders = [*map(Path, SYSTEM), *(Path(one) for one in sorted(own) if one), Path(__file__).parents[2]]
    # packages may be links to a store of an installer
    packages = [one for folder in folders if folder.name in {"site-packages", "dist-packages"} for one in _list(folder)]
    return [*folders, *(one.resolve() for one in packages if one.is_symlink())]


def _list(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _bound(what: int, most: int, hard: int | None = None) -> None:
    # what is bounded more strictly from outside stays so
    before = resource.getrlimit(what)[1]
    limits = [most, most if hard is None else hard]
    if before != resource.RLIM_INFINITY:
        limits = [min(limit, before) for limit in limits]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(what, (limits[0], limits[1]))
