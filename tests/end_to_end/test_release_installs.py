"""A release installs from its wheels in a new environment without the sources.

test_bare_machine.py tests that the wheel works without the sources. `make release-check` installs the result of
`make release` for each Python of this machine, types every command of the tutorial, and runs the demonstration.
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
# Python versions on PATH, or installed beside this Python
PYTHONS = [path for minor in (11, 12, 13) if (path := shutil.which(f"python3.{minor}"))]
SIBLING_PYTHONS = sorted(map(str, Path(sys.base_prefix).parent.glob("3.1[123].*/bin/python3")))
EXTRAS = os.environ.get("SLOPEWARD_RELEASE_EXTRAS", "all")


class Person:
    """Types commands into a terminal, and passwords where a command prompts for them."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment

    def type(self, line: str, *answers: str, limit_s: float = 300.0) -> tuple[int, str]:
        """Run the command and return its exit status and output.

        `answers` are the passwords in the order of the prompts.
        """
        parent_fd, child_fd = pty.openpty()
        process = subprocess.Popen(
            ["bash", "-c", line],
            stdin=child_fd,
            stdout=child_fd,
            stderr=child_fd,
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(child_fd)
        output, remaining_answers, deadline_s = "", list(answers), time.monotonic() + limit_s
        while time.monotonic() < deadline_s:
            if select.select([parent_fd], [], [], 0.2)[0]:
                try:
                    chunk = os.read(parent_fd, 65536).decode(errors="replace")
                except OSError:
                    break  # the process has ended
                output += chunk
                if remaining_answers and re.search(r"([Pp]assword|Once more)[^\n]*: $", output):
                    os.write(parent_fd, f"{remaining_answers.pop(0)}\n".encode())
                    output += "\n"
            elif process.poll() is not None:
                break
        else:
            os.killpg(process.pid, signal.SIGKILL)
        os.close(parent_fd)
        return process.wait(30), output


def list_commands(document: str) -> list[str]:
    """Return the commands in the code blocks of a document. A command of several lines is one item."""
    blocks = re.findall(r"^```\n(.*?)^```", (REPOSITORY / document).read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in re.split(r"(?<!\\)\n", block) if line.strip()]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif("SLOPEWARD_RELEASE" not in os.environ, reason="make release-check names the folder of a release")
@pytest.mark.parametrize("python", SIBLING_PYTHONS or PYTHONS)
def test_release_installs_and_runs_the_tutorial_as_printed(python, tmp_path):
    venv, dist = tmp_path / "venv", Path(os.environ["SLOPEWARD_RELEASE"]).resolve()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SLOPEWARD", "VIRTUAL"))
    }
    if venv_folder := os.environ.get("SLOPEWARD_RELEASE_VENV"):  # an existing environment
        venv = Path(venv_folder)
    else:
        subprocess.run([python, "-m", "venv", venv], check=True, env=environment)
        arguments = ["-m", "pip", "install", "-q", "--find-links", dist, f"slopeward[{EXTRAS}]"]
        subprocess.run([venv / "bin/python", *arguments], check=True, env=environment)
    port, broker_port = free_port(), free_port()
    person = Person(
        tmp_path,
        environment
        | {
            "PATH": f"{venv}/bin{os.pathsep}{environment['PATH']}",
            "SLOPEWARD_WEB__PORT": str(port),  # the tutorial names these variables for ports that are in use
            "SLOPEWARD_BROKER__URL": f"mqtt://127.0.0.1:{broker_port}",
        },
    )
    service, login = None, ""
    try:
        for printed in list_commands("docs/tutorial/first-slope.md"):
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
            line = printed.replace("PASSWORD", login).replace("1883", str(broker_port))
            if line.startswith("slopeward alerts verify"):
                wait_for(lambda: "verify now" in person.type("slopeward alerts list")[1], 60, "question", pause_s=1)
            answers = [PASSWORDS[name] for name in reversed(re.findall(r"(?:add|--by) (ada|bo)\b", line))]
            if "users add" in line:
                answers.append(answers[-1])
            status, output = person.type(line, *answers)
            assert status == (3 if "--by ada" in line and "level set" in line else 0), (line, output)
            if line.startswith("mkdir"):
                person.folder = tmp_path / "watch"
            if "broker add" in line:
                login = re.search(r"password\W+(\S{12,})", output)[1]
            if "--recompute" in line:
                assert "equal bit for bit" in output
    finally:
        if service is not None:
            service.terminate()
            service.wait(60)
    person.folder = tmp_path
    del person.environment["SLOPEWARD_WEB__PORT"], person.environment["SLOPEWARD_BROKER__URL"]
    status, output = person.type("slopeward demo --once --json", limit_s=1500)
    assert status == 0, output[-3000:]
    assert json.loads([line for line in output.splitlines() if line.startswith("{")][-1])
