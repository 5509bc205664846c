"""System calls of Linux that restrict the calling process: capabilities, network namespace, seccomp and Landlock.

The calling process must have one thread. No restriction can be removed afterwards, and child processes inherit all of
them. Functions that return a boolean return whether the system applied the restriction.
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
PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_SECCOMP: Final = 22
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

# linux/capability.h
CAPABILITY_VERSION_3: Final = 0x20080522
MAX_CAPABILITIES: Final = 64

# linux/sched.h
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000

# linux/seccomp.h
SECCOMP_MODE_FILTER: Final = 2
SECCOMP_RET_ALLOW: Final = 0x7FFF0000
SECCOMP_RET_ERRNO: Final = 0x00050000

# linux/filter.h, linux/bpf_common.h
BPF_LOAD: Final = 0x20
BPF_JUMP_IF_EQUAL: Final = 0x15
BPF_JUMP_IF_AT_LEAST: Final = 0x35
BPF_RETURN: Final = 0x06

# Offsets in `struct seccomp_data`. The first argument of `socket` is the address family.
OFFSET_CALL_NUMBER: Final = 0
OFFSET_ARCHITECTURE: Final = 4
OFFSET_FIRST_ARGUMENT: Final = 16

EACCES: Final = 13
AF_INET: Final = 2
AF_INET6: Final = 10
# Numbers from here on belong to a second table of system calls of x86-64.
X32_CALLS: Final = 0x40000000

# Machine: (AUDIT_ARCH, numbers of refused system calls). `socket` comes first, followed by calls that access other
# processes, create sockets without `socket` (io_uring), use keys of the kernel, or mainly enlarge the attack surface:
# socket, ptrace, process_vm_readv, process_vm_writev, pidfd_getfd, io_uring_setup, add_key, request_key, keyctl,
# unshare, setns, perf_event_open, bpf.
REFUSED_CALLS: Final[dict[str, tuple[int, tuple[int, ...]]]] = {
    "x86_64": (0xC000003E, (41, 101, 310, 311, 438, 425, 248, 249, 250, 272, 308, 298, 321)),
    "aarch64": (0xC00000B7, (198, 117, 270, 271, 438, 425, 217, 218, 219, 97, 268, 241, 280)),
}

# linux/landlock.h. The three system calls have the same numbers on all machines.
LANDLOCK_CREATE_RULESET: Final = 444
LANDLOCK_ADD_RULE: Final = 445
LANDLOCK_RESTRICT_SELF: Final = 446
LANDLOCK_CREATE_RULESET_VERSION: Final = 1
LANDLOCK_RULE_PATH_BENEATH: Final = 1
EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
REMOVE_DIR: Final = 1 << 4
REMOVE_FILE: Final = 1 << 5
MAKE_CHAR: Final = 1 << 6
MAKE_DIR: Final = 1 << 7
MAKE_REG: Final = 1 << 8
MAKE_BLOCK: Final = 1 << 11
REFER: Final = 1 << 13
TRUNCATE: Final = 1 << 14
IOCTL_DEV: Final = 1 << 15
# Version of Landlock: the file rights that it added.
FILE_RIGHTS_BY_VERSION: Final = {1: (1 << 13) - 1, 2: REFER, 3: TRUNCATE, 5: IOCTL_DEV}
TCP_SINCE_VERSION: Final = 4
SCOPES_SINCE_VERSION: Final = 6
BIND_TCP: Final = 1
CONNECT_TCP: Final = 2
SCOPE_ABSTRACT_SOCKETS: Final = 1
SCOPE_SIGNALS: Final = 2
# Rights that apply to a file; the others apply to folders only.
FILE_RIGHTS: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
READ_RIGHTS: Final = EXECUTE | READ_FILE | READ_DIR | IOCTL_DEV
# Links, sockets and devices cannot be created: the service reads the folder afterwards and must find plain files.
WRITE_RIGHTS: Final = READ_RIGHTS | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def end_with_parent() -> None:
    """Terminate this process when its parent ends, also if the parent is killed."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def hide_memory() -> bool:
    """Disable core dumps, and deny processes of the same user access to memory and environment through /proc."""
    return _prctl(PR_SET_DUMPABLE, 0)


def drop_capabilities() -> bool:
    """Drop all capabilities, and prevent set-user-id programs from giving them back."""
    is_set = _prctl(PR_SET_NO_NEW_PRIVS, 1)
    # These calls fail for users other than root, who have no capabilities.
    for number in range(MAX_CAPABILITIES):
        _prctl(PR_CAPBSET_DROP, number)
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    remaining = (ctypes.c_uint32 * 6)()
    try:
        # A systemd unit may forbid this call to a process without capabilities, so `capget` decides.
        _LIBC.capset(header, none)
        return is_set and _LIBC.capget(header, remaining) == 0 and not any(remaining)
    except AttributeError:  # not Linux
        return False


def prefer_for_oom_kill() -> None:
    """Let Linux kill this process before the service if the machine runs out of memory."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800", encoding="ascii")


def isolate_network() -> bool:
    """Move to a new network namespace, in which even the loopback device is down."""
    user = os.getuid()
    group = os.getgid()
    if not hasattr(_LIBC, "unshare") or _LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        return False
    # Map the user and group to themselves. Without the maps all files seem to belong to nobody.
    for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with contextlib.suppress(OSError):
            Path(f"/proc/self/{name}").write_text(line, encoding="ascii")
    return True


def filter_system_calls(*, allow_internet_sockets: bool = False) -> bool:
    """Refuse sockets and system calls that access other processes (seccomp). Call `drop_capabilities` before.

    Args:
        allow_internet_sockets: Allow IPv4 and IPv6 sockets, which name resolution needs too, and no other family.
    """
    machine = platform.machine()
    if not sys.platform.startswith("linux") or machine not in REFUSED_CALLS or struct.calcsize("P") != 8:
        return False
    architecture, refused_calls = REFUSED_CALLS[machine]
    socket_call = refused_calls[0]
    if allow_internet_sockets:
        refused_calls = refused_calls[1:]
    # An instruction is (code, jump if true, jump if false, value). Jumps are counted from the next instruction.
    refuse = (BPF_RETURN, 0, 0, SECCOMP_RET_ERRNO | EACCES)
    check_architecture = [
        (BPF_LOAD, 0, 0, OFFSET_ARCHITECTURE),
        (BPF_JUMP_IF_EQUAL, 1, 0, architecture),
        refuse,
    ]
    check_socket_family = [
        (BPF_JUMP_IF_EQUAL, 0, 3, socket_call),
        (BPF_LOAD, 0, 0, OFFSET_FIRST_ARGUMENT),
        (BPF_JUMP_IF_EQUAL, 1, 0, AF_INET),
        (BPF_JUMP_IF_EQUAL, 0, 1, AF_INET6),
    ]
    if not allow_internet_sockets:
        check_socket_family = []
    comparisons = [(BPF_JUMP_IF_AT_LEAST, X32_CALLS), *((BPF_JUMP_IF_EQUAL, number) for number in refused_calls)]
    check_calls = []
    for index, (code, number) in enumerate(comparisons):
        # Jump over the remaining comparisons, the check of sockets and the "allow" instruction to "refuse".
        jump = len(comparisons) + len(check_socket_family) - index
        check_calls.append((code, jump, 0, number))
    instructions = [
        *check_architecture,
        (BPF_LOAD, 0, 0, OFFSET_CALL_NUMBER),
        *check_calls,
        *check_socket_family,
        (BPF_RETURN, 0, 0, SECCOMP_RET_ALLOW),
        refuse,
    ]
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    program = ctypes.create_string_buffer(packed, len(packed))
    header = struct.pack("@HP", len(instructions), ctypes.addressof(program))
    return _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.create_string_buffer(header, len(header)))


def landlock_version() -> int:
    """Return the version of Landlock in this kernel, 0 if it has none."""
    if not sys.platform.startswith("linux"):
        return 0
    version = _LIBC.syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), LANDLOCK_CREATE_RULESET_VERSION)
    return max(0, int(version))


def restrict_files(reads: Iterable[Path] | None, writes: Iterable[Path], *, allow_connections: bool = False) -> bool:
    """Restrict files to the given paths, and deny signals and access to processes outside (Landlock).

    Args:
        reads: Files and folders that may be read. None: all files may be read, and written as far as the user's
            permissions allow it.
        writes: Folders that may be read and written. Missing paths are skipped.
        allow_connections: Allow outgoing TCP connections. Listening is refused anyway.
    """
    version = landlock_version()
    if version == 0:
        return False
    supported = sum(rights for since, rights in FILE_RIGHTS_BY_VERSION.items() if since <= version)
    handled = supported if reads is not None else MAKE_CHAR | MAKE_BLOCK
    attributes = [handled]
    if version >= TCP_SINCE_VERSION:
        attributes.append(BIND_TCP if allow_connections else BIND_TCP | CONNECT_TCP)
    if version >= SCOPES_SINCE_VERSION:
        attributes.append(SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS)
    packed = struct.pack(f"={len(attributes)}Q", *attributes)
    ruleset = int(_LIBC.syscall(LANDLOCK_CREATE_RULESET, packed, ctypes.c_size_t(len(packed)), 0))
    if ruleset < 0:
        return False
    try:
        for rights, paths in ((READ_RIGHTS & handled, reads or ()), (WRITE_RIGHTS & handled, writes)):
            if rights and not all(_add_path_rule(ruleset, rights, path) for path in paths):
                return False
        return int(_LIBC.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0)) == 0
    finally:
        os.close(ruleset)


def _add_path_rule(ruleset: int, rights: int, path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return True  # The path is missing, so it needs no rule.
    try:
        rule = struct.pack("=Qi", rights if path.is_dir() else rights & FILE_RIGHTS, descriptor)
        return int(_LIBC.syscall(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, rule, 0)) == 0
    finally:
        os.close(descriptor)


def _prctl(option: int, value: int, pointer: object = 0) -> bool:
    try:
        arguments = [ctypes.c_ulong(value), pointer or ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)]
        return int(_LIBC.prctl(option, *arguments)) == 0
    except AttributeError:  # not Linux
        return False
