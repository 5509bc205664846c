"""What Linux is asked for directly: rights given up for good, a network of one's own, filters of calls and of files.

Each function gives up something of the calling process, which must have one thread, and returns whether the system
allowed that. Nothing here can be taken back, and all of it is handed down to whatever the process starts.
"""

import contextlib
import ctypes
import os
import platform
import signal
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

# linux/prctl.h
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 22, 24
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 38, 47
CAP_AMBIENT_CLEAR_ALL: Final = 4
CAPABILITY_VERSION_3: Final = 0x20080522
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000

# linux/seccomp.h, linux/filter.h
SECCOMP_MODE_FILTER: Final = 2
RET_ALLOW, RET_ERRNO = 0x7FFF0000, 0x00050000
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
EACCES: Final = 13
FIRST_ARGUMENT: Final = 16  # where it stands in what a filter sees; of a socket it is the family
INET, INET6 = 2, 10
X32: Final = 0x40000000  # numbers of a second table of x86-64
# machine -> (AUDIT_ARCH, numbers of: a socket of any family, calls that look into or enter other processes, rings that
# make sockets past the filter, keys of the kernel, and doors that only widen what may be attacked)
CALLS: Final[dict[str, tuple[int, tuple[int, ...]]]] = {
    # socket, ptrace, process_vm_readv, process_vm_writev, pidfd_getfd, io_uring_setup, add_key, request_key, keyctl,
    # unshare, setns, perf_event_open, bpf
    "x86_64": (0xC000003E, (41, 101, 310, 311, 438, 425, 248, 249, 250, 272, 308, 298, 321)),
    "aarch64": (0xC00000B7, (198, 117, 270, 271, 438, 425, 217, 218, 219, 97, 268, 241, 280)),
}

# linux/landlock.h; the three calls have one number on all machines
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
RULE_PATH: Final = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = 1, 2, 4, 8, 16, 32
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = 64, 128, 256, 512, 1024, 2048, 4096
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
FILES_SINCE: Final = {1: (1 << 13) - 1, 2: REFER, 3: TRUNCATE, 5: IOCTL_DEV}  # version of Landlock -> rights it knows
TCP_SINCE, SCOPES_SINCE = 4, 6
BIND, BIND_AND_CONNECT, ABSTRACT_SOCKETS_AND_SIGNALS = 1, 3, 3
OF_A_FILE: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
READING: Final = EXECUTE | READ_FILE | READ_DIR | IOCTL_DEV
# no link, socket or device: what others read afterwards is what it looks like
WRITING: Final = READING | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def end_with_parent() -> None:
    """End when the process that started this one ends, however that happens."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def hide_memory() -> bool:
    """Neither leave a core dump nor let processes of the same user read memory and environment by /proc."""
    return _prctl(PR_SET_DUMPABLE, 0)


def renounce_rights() -> bool:
    """Give up all capabilities; no program started from now on has more rights than this process (set-user-id)."""
    done = _prctl(PR_SET_NO_NEW_PRIVS, 1)
    for number in range(64):  # those of root; nobody else has any, and the call fails
        _prctl(PR_CAPBSET_DROP, number)
    _prctl(PR_CAP_AMBIENT, CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    none, held = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    try:
        _LIBC.capset(header, none)  # a unit may forbid the call to a process that has none
        return done and _LIBC.capget(header, held) == 0 and not any(held)
    except AttributeError:  # not Linux
        return False


def offer_to_end_first() -> None:
    """Let the kernel end this process, and not the service, where memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800", encoding="ascii")


def leave_network() -> bool:
    """Move to a network of its own, in which not even the loopback device is up."""
    user, group = os.getuid(), os.getgid()
    if not hasattr(_LIBC, "unshare") or _LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        return False
    # the same names as before; without that all files seem to be nobody's
    for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with contextlib.suppress(OSError):
            Path(f"/proc/self/{name}").write_text(line, encoding="ascii")
    return True


def filter_calls(*, sockets: bool = False) -> bool:
    """Refuse sockets of every family, and calls that reach into other processes; needs `renounce_rights` before.

    Args:
        sockets: allow sockets of the internet (IPv4 and IPv6), which names are looked up by too, and no other ones.
    """
    machine = platform.machine()
    if not sys.platform.startswith("linux") or machine not in CALLS or struct.calcsize("P") != 8:
        return False
    architecture, refused = CALLS[machine]
    make_socket, refused = refused[0], refused[1:] if sockets else refused
    steps = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, RET_ERRNO | EACCES), (LOAD, 0, 0, 0)]
    tests = [(AT_LEAST, X32), *((EQUAL, number) for number in refused)]
    of_sockets = [(EQUAL, 0, 3, make_socket), (LOAD, 0, 0, FIRST_ARGUMENT), (EQUAL, 1, 0, INET), (EQUAL, 0, 1, INET6)]
    of_sockets = of_sockets if sockets else []
    left = len(tests) + len(of_sockets)  # jumps are counted from the step after
    steps += [(code, left - i, 0, number) for i, (code, number) in enumerate(tests)] + of_sockets
    steps += [(RETURN, 0, 0, RET_ALLOW), (RETURN, 0, 0, RET_ERRNO | EACCES)]
    text = b"".join(struct.pack("=HBBI", *step) for step in steps)
    program = ctypes.create_string_buffer(text, len(text))
    head = struct.pack("@HP", len(steps), ctypes.addressof(program))
    return _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.create_string_buffer(head, len(head)))


def landlock_version() -> int:
    """The version of Landlock that the kernel has; 0 where there is none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, int(_LIBC.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)))


def lock_files(reads: Iterable[Path] | None, writes: Iterable[Path], *, connects: bool = False) -> bool:
    """Open, run and write files below the given folders alone; signal and look into no process outside (Landlock).

    Args:
        reads: files and folders that may be read; None: all, and written as far as their rights go.
        writes: folders that may be written too. What is not there is passed over.
        connects: allow connections by TCP; nobody can be waited for all the same.
    """
    version = landlock_version()
    if version == 0:
        return False
    known = sum(rights for since, rights in FILES_SINCE.items() if since <= version)
    handled = known if reads is not None else MAKE_CHAR | MAKE_BLOCK
    words = [handled]
    if version >= TCP_SINCE:
        words.append(BIND if connects else BIND_AND_CONNECT)
    if version >= SCOPES_SINCE:
        words.append(ABSTRACT_SOCKETS_AND_SIGNALS)
    attributes = struct.pack(f"={len(words)}Q", *words)
    rules = int(_LIBC.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    if rules < 0:
        return False
    try:
        for rights, paths in ((READING & handled, reads or ()), (WRITING & handled, writes)):
            if rights and not all(_allow(rules, rights, path) for path in paths):
                return False
        return int(_LIBC.syscall(RESTRICT_SELF, rules, 0)) == 0
    finally:
        os.close(rules)


def _allow(rules: int, rights: int, path: Path) -> bool:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return True  # not there: nothing to allow
    try:
        rule = struct.pack("=Qi", rights if path.is_dir() else rights & OF_A_FILE, place)
        return int(_LIBC.syscall(ADD_RULE, rules, RULE_PATH, rule, 0)) == 0
    finally:
        os.close(place)


def _prctl(option: int, value: int, pointer: object = 0) -> bool:
    try:
        words = [ctypes.c_ulong(value), pointer or ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)]
        return int(_LIBC.prctl(option, *words)) == 0
    except AttributeError:  # not Linux
        return False
