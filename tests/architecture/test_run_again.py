"""`tests/run.sh`: what fails twice fails the run; what passes alone is named; many failures are not tried again."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import take_turns

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
from pathlib import Path
import pytest
ONCE = Path(__file__).with_name("once")

def test_unsteady():
    if not ONCE.exists():
        ONCE.touch()
        raise AssertionError("the first time")

@pytest.mark.parametrize("k", range({broken}))
def test_broken(k):
    raise AssertionError("every time")
"""

BREAKS = """
from pathlib import Path
import pytest
BREAKS_OFF = {times}

@pytest.fixture
def report_breaks(request):
    def breaks(*_, **__):
        raise SystemExit("no hook may do this")
    marks = list(Path(__file__).parent.glob("mark*"))
    if len(marks) < BREAKS_OFF:
        Path(__file__).with_name(f"mark{{len(marks)}}").touch()
        request.config.hook.pytest_runtest_logreport = breaks

def test_it(report_breaks):
    pass

@pytest.mark.parametrize("k", range(20))
def test_others(k):
    pass
"""


def run(folder: Path, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "tests").mkdir()
    for name in ("run.sh", "broken_off.py"):
        shutil.copy(ROOT / "tests" / name, folder / "tests")
    (folder / "tests" / "test_it.py").write_text(tests)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return subprocess.run(
        [folder / "tests" / "run.sh", "-p", "xdist.plugin", "--rootdir", ".", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )


@pytest.mark.parametrize(("times", "code"), take_turns([(1, 0), (2, 3)], 0, of=2))
def test_a_run_that_pytest_broke_off_is_made_once_more(tmp_path: Path, times: int, code: int) -> None:
    done = run(tmp_path, BREAKS.format(times=times), "-n", "2", "--dist", "worksteal")
    said = done.stdout.partition("pytest broke off, mend before anything else:")[2]
    assert (done.returncode, "no hook may do this" in said) == (code, True), done.stdout
    assert ("21 passed" in done.stdout) == (times == 1)


@pytest.mark.parametrize(
    ("broken", "code", "said"),
    [
        (0, 0, "unsteady, mend before anything else:\ntests/test_it.py::test_unsteady"),
        (1, 1, "1 failed, 1 passed"),
        (10, 1, "11 failed"),
    ],
)
def test_only_what_fails_twice_fails(tmp_path: Path, broken: int, code: int, said: str) -> None:
    done = run(tmp_path, TESTS.format(broken=broken))
    assert (done.returncode, said in done.stdout) == (code, True), done.stdout
    assert ("once more, alone" in done.stdout) == (broken < 3)
