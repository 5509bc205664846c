"""The unit in deploy/: systemd understands it, it gives little away, and what it forbids does not break the workers."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "slopeward.service"
NUMBERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
MOST_EXPOSED = 2.0  # of ten; systemd says 9.6 of a unit that forbids nothing

if shutil.which("systemd-analyze") is None:
    pytest.skip("systemd is not installed", allow_module_level=True)

# In a process of its own: forbids what the unit forbids, then does what is asked.
BEHIND_THE_FILTER = """
import ctypes, os, struct, sys
allowed, libc = [int(n) for n in sys.argv[1].split(",")], ctypes.CDLL(None)
steps = [(0x20, 0, 0, 0)]
for number in allowed: steps += [(0x15, 0, 1, number), (0x06, 0, 0, 0x7FFF0000)]
text = b"".join(struct.pack("=HBBI", *step) for step in [*steps, (0x06, 0, 0, 0x00050000 | 1)])
program = ctypes.create_string_buffer(text, len(text))
head = ctypes.create_string_buffer(struct.pack("@HP", len(text) // 8, ctypes.addressof(program)), 16)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, head, 0, 0) == 0
os.execv(sys.executable, [sys.executable, "-c", sys.argv[2]])
"""
WORK = """
from monitor.worker import compute, kernel, sandbox; from monitor.worker.records import WorkerTask
from monitor.app.checks.machine import is_synchronised
assert not kernel.leave_network(), "the unit forbids namespaces"
print(is_synchronised() is not None)
print(compute.run(sandbox.DESCRIBE_SANDBOX, None, 240))
print(compute.run(WorkerTask("nice_jobs:find", dict, dict), {}, 240))
"""


def test_systemd_understands_every_line(tmp_path):
    unit = tmp_path / "slopeward.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text(), flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "slopeward" in line]) == (0, [])


def test_the_unit_gives_little_away():
    words = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(UNIT)]
    done = subprocess.run(words, capture_output=True, text=True)
    exposed = re.search(r"Overall exposure level for slopeward.service: ([\d.]+)", done.stdout)
    if exposed is None:
        pytest.skip("this systemd judges no unit that is not installed")
    assert float(exposed.group(1)) <= MOST_EXPOSED


def test_workers_keep_their_walls_behind_the_filter_of_the_unit(tmp_path, monkeypatch):
    if not NUMBERS.exists() or subprocess.run(["unshare", "--map-user=1000", "true"]).returncode:
        pytest.skip("needs the numbers of the calls, and a user namespace to be nobody in particular")
    (tmp_path / "nice_jobs.py").write_text(
        "import os\ndef find(payload): return {'nice': os.getpriority(os.PRIO_PROCESS, 0)}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    known = dict(re.findall(r"#define __NR_(\w+) (\d+)", NUMBERS.read_text()))
    allowed = ",".join(sorted(known[name] for name in list_allowed(UNIT.read_text()) if name in known))
    words = ["unshare", "--map-user=1000", "--map-group=1000", sys.executable, "-c", BEHIND_THE_FILTER, allowed, WORK]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["True", "MissingBounds(missing=())", "{'nice': 10}"], done.stderr


def list_allowed(unit: str) -> set[str]:
    """Names of the calls that the filter of a unit lets through."""
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
