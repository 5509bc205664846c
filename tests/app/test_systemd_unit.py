"""Test the systemd unit in deploy/: it is valid, exposes little, and does not break the sandbox of workers."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "slopeward.service"
CALL_NUMBERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
# On the scale of `systemd-analyze security` from 0 to 10. A unit without restrictions has 9.6.
MAX_EXPOSURE = 2.0

if shutil.which("systemd-analyze") is None:
    pytest.skip("systemd is not installed", allow_module_level=True)

# Applies the system call filter of the unit to itself, then runs a program.
RUN_FILTERED = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
instructions = [(0x20, 0, 0, 0)]
for number in sys.argv[1].split(","): instructions += [(0x15, 0, 1, int(number)), (0x06, 0, 0, 0x7FFF0000)]
instructions.append((0x06, 0, 0, 0x00050000 | 1))
packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
program = ctypes.create_string_buffer(packed, len(packed))
head = ctypes.create_string_buffer(struct.pack("@HP", len(instructions), ctypes.addressof(program)), 16)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, head, 0, 0) == 0
os.execv(sys.executable, [sys.executable, "-c", sys.argv[2]])
"""
WORKER_PROGRAM = """
from monitor.worker import compute, linux, sandbox; from monitor.worker.records import WorkerTask
from monitor.app.checks.machine import is_synchronised
assert not linux.isolate_network(), "the unit forbids namespaces"
print(is_synchronised() is not None)
print(compute.run(sandbox.LIST_MISSING_RESTRICTIONS, None, 240))
print(compute.run(WorkerTask("nice_jobs:find", dict, dict), {}, 240))
"""


def test_unit_is_valid(tmp_path):
    unit = tmp_path / "slopeward.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text(), flags=re.MULTILINE))
    result = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (result.returncode, [line for line in result.stderr.splitlines() if "slopeward" in line]) == (0, [])


def test_exposure_of_the_unit_is_low():
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(UNIT)]
    result = subprocess.run(command, capture_output=True, text=True)
    match = re.search(r"Overall exposure level for slopeward.service: ([\d.]+)", result.stdout)
    if match is None:
        pytest.skip("this version of systemd rates installed units only")
    assert float(match.group(1)) <= MAX_EXPOSURE


def test_sandbox_of_workers_is_complete_with_the_filter_of_the_unit(tmp_path, monkeypatch):
    if not CALL_NUMBERS.exists() or subprocess.run(["unshare", "--map-user=1000", "true"]).returncode:
        pytest.skip("needs the numbers of system calls, and a user namespace to run as an ordinary user")
    (tmp_path / "nice_jobs.py").write_text(
        "import os\ndef find(payload): return {'nice': os.getpriority(os.PRIO_PROCESS, 0)}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    numbers = dict(re.findall(r"#define __NR_(\w+) (\d+)", CALL_NUMBERS.read_text()))
    allowed = ",".join(sorted(numbers[name] for name in list_allowed_calls(UNIT.read_text()) if name in numbers))
    as_user = ["unshare", "--map-user=1000", "--map-group=1000"]
    command = [*as_user, sys.executable, "-c", RUN_FILTERED, allowed, WORKER_PROGRAM]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout.splitlines() == ["True", "MissingRestrictions(missing=())", "{'nice': 10}"], result.stderr


def list_allowed_calls(unit: str) -> set[str]:
    """Return the names of the system calls that the filter of a unit allows."""
    text = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True).stdout
    sets: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("@"):
            members = sets.setdefault(line.strip(), [])
        elif line.startswith("    ") and sets and not line.lstrip().startswith("#"):
            members.append(line.strip())

    def expand(name: str) -> set[str]:
        return set().union(*map(expand, sets.get(name, []))) if name.startswith("@") else {name}

    allowed = expand("@default")
    for words in re.findall(r"^SystemCallFilter=(.*)$", unit, flags=re.MULTILINE):
        names = set().union(*map(expand, words.lstrip("~").split()))
        allowed = allowed - names if words.startswith("~") else allowed | names
    return allowed - {"unshare", "setns"}  # RestrictNamespaces=yes
