"""`tests/run.sh`: what fails twice fails the run; what passes alone is named; many failures are not tried again."""

import shutil
import subprocess
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("broken", "code", "said"),
    [(0, 0, "unsteady, mend before anything else:\ntests/test_it.py::test_unsteady"), (1, 1, "1 failed, 1 passed"),
     (3, 1, "4 failed")],
)  # fmt: skip
def test_only_what_fails_twice_fails(tmp_path: Path, broken: int, code: int, said: str) -> None:
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "run.sh", tmp_path / "tests")
    (tmp_path / "tests" / "test_it.py").write_text(TESTS.format(broken=broken))
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    done = subprocess.run(
        [tmp_path / "tests" / "run.sh", "-p", "no:randomly", "--rootdir", "."],
        capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert (done.returncode, said in done.stdout) == (code, True), done.stdout
    assert ("once more, alone" in done.stdout) == (broken < 3)
