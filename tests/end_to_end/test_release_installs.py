"""A release as who gets it meets it: the wheels, in an environment of their own, away from the sources.

That the wheel runs away from the sources: test_bare_machine.py. `make release-check` installs what `make release` has
built for each Python of this machine and runs there what the tutorial prints, word by word, and the demonstration.
"""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.fixtures.waiting import REPOSITORY, free_port, wait_for

PASSWORDS = {"ada": "three words and a hill", "bo": "another slope with larches"}
# those on PATH, or that lie beside this one
PYTHONS = [path for minor in (11, 12, 13) if (path := shutil.which(f"python3.{minor}"))]
BESIDE = sorted(map(str, Path(sys.base_prefix).parent.glob("3.1[123].*/bin/python3")))
EXTRAS = os.environ.get("SLOPEWARD_RELEASE_EXTRAS", "all")


class Person:
    """Who types what is printed into a terminal, and passwords where they are asked for."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment

    def type(self, line: str, *answers: str, limit_s: float = 300.0) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            ["bash", "-c", line],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        said, waiting, until = "", list(answers), time.monotonic() + limit_s
        while time.monotonic() < until:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    part = os.read(ours, 65536).decode(errors="replace")
                except OSError:
                    break  # it has ended
                said += part
                if waiting and re.search(r"([Pp]assword|Once more)[^\n]*: $", said):
                    os.write(ours, f"{waiting.pop(0)}\n".encode())
                    said += "\n"
            elif process.poll() is not None:
                break
        else:
            os.killpg(process.pid, signal.SIGKILL)
        os.close(ours)
        return process.wait(30), said


def list_lines(document: str) -> list[str]:
    """The commands of its blocks, those of several lines in one piece."""
    blocks = re.findall(r"^```\n(.*?)^```", (REPOSITORY / document).read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in re.split(r"(?<!\\)\n", block) if line.strip()]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif("SLOPEWARD_RELEASE" not in os.environ, reason="make release-check names the folder of a release")
@pytest.mark.parametrize("python", BESIDE or PYTHONS)
def test_a_release_installs_and_does_what_the_tutorial_prints(python, tmp_path):
    venv, dist = tmp_path / "venv", Path(os.environ["SLOPEWARD_RELEASE"]).resolve()
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "SLOPEWARD", "VIRTUAL"))}
    if made := os.environ.get("SLOPEWARD_RELEASE_VENV"):  # one that is there already
        venv = Path(made)
    else:
        subprocess.run([python, "-m", "venv", venv], check=True, env=keep)
        words = ["-m", "pip", "install", "-q", "--find-links", dist, f"slopeward[{EXTRAS}]"]
        subprocess.run([venv / "bin/python", *words], check=True, env=keep)
    port, door = free_port(), free_port()
    person = Person(
        tmp_path,
        keep
        | {
            "PATH": f"{venv}/bin{os.pathsep}{keep['PATH']}",
            "SLOPEWARD_WEB__PORT": str(port),  # as the tutorial says where another program has them
            "SLOPEWARD_BROKER__URL": f"mqtt://127.0.0.1:{door}",
        },
    )
    service, login = None, ""
    try:
        for printed in list_lines("docs/tutorial/first-slope.md"):
            if shutil.which(printed.split()[0]) is None and printed.split()[0] in {"sqlite3", "mosquitto_pub"}:
                continue
            if printed == "slopeward run":
                with (tmp_path / "log").open("wb") as log:
                    service = subprocess.Popen(
                        [venv / "bin/slopeward", "run"],
                        cwd=person.folder,
                        env=person.environment,
                        stdout=log,
                        stderr=log,
                    )
                wait_for(lambda: person.type("slopeward alerts list")[1].strip()[:1] == "1", 240, "alert", pause_s=3)
                continue
            line = printed.replace("PASSWORD", login).replace("1883", str(door))
            answers = [PASSWORDS[one] for one in reversed(re.findall(r"(?:add|--by) (ada|bo)\b", line))]
            if "users add" in line:
                answers.append(answers[-1])
            status, said = person.type(line, *answers)
            assert status == (3 if "--by ada" in line and "level set" in line else 0), (line, said)
            if line.startswith("mkdir"):
                person.folder = tmp_path / "watch"
            if "broker add" in line:
                login = re.search(r"password\W+(\S{12,})", said)[1]
            if "--recompute" in line:
                assert "equal bit for bit" in said
    finally:
        if service is not None:
            service.terminate()
            service.wait(60)
    person.folder = tmp_path
    del person.environment["SLOPEWARD_WEB__PORT"], person.environment["SLOPEWARD_BROKER__URL"]
    status, said = person.type("slopeward demo --once --json", limit_s=1500)
    assert status == 0, said[-3000:]
    assert json.loads([line for line in said.splitlines() if line.startswith("{")][-1])
