"""Test the settings of the garbage collector in long-lived and short processes."""

import gc
import subprocess
import sys

import pytest

from monitor.worker.garbage_collection import collection_paused, freeze_startup_objects

# Leaves an object in a reference cycle, which the collector finalizes at the end of the process.
CYCLE_AT_EXIT = """
import atexit, gc, sys
from monitor.worker import garbage_collection
class Cycle:
    def __init__(self): self.me = self
    def __del__(self): print("finalized")
atexit.register(print, "exit handler")
if sys.argv[1:]: garbage_collection.skip_collection_at_exit()
Cycle()
"""
START_OF_A_COMMAND = """
import gc
phases = []
gc.callbacks.append(lambda phase, info: phases.append(phase))
from monitor.cli.main import run_command
run_command(["run", "--help"])
print("phases", len(phases))
"""
OPEN_DATABASE_AT_EXIT = """
import sys
from sqlalchemy import text
from monitor.storage.engine import Database
from monitor.worker.garbage_collection import skip_collection_at_exit
skip_collection_at_exit()
database = Database(f"sqlite:///{sys.argv[1]}")
with database.write() as c:
    c.execute(text("CREATE TABLE example (k INTEGER)"))
"""


def run_program(program, *arguments):
    """Run a program and return the lines that it prints."""
    result = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert not result.stderr
    return result.stdout.splitlines()


def test_startup_objects_are_excluded_from_collections():
    before = gc.get_threshold()
    startup_objects = [[n] for n in range(1000)]
    frozen = gc.get_freeze_count()
    gc.disable()  # as in a process that the supervisor starts
    try:
        freeze_startup_objects()
        assert gc.isenabled()
        assert gc.get_freeze_count() >= frozen + len(startup_objects)
    finally:
        gc.enable()
        gc.unfreeze()  # objects of other tests in this process must be collected again
        gc.set_threshold(*before)


def test_skipped_collection_at_exit_still_runs_exit_handlers():
    assert run_program(CYCLE_AT_EXIT) == ["exit handler", "finalized"]
    assert run_program(CYCLE_AT_EXIT, "skip") == ["exit handler"]


@pytest.mark.parametrize("is_enabled", [True, False])
def test_paused_collector_returns_to_its_previous_state(is_enabled):
    before = gc.isenabled()
    (gc.enable if is_enabled else gc.disable)()
    try:
        with pytest.raises(ImportError), collection_paused():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() is is_enabled
    finally:
        (gc.enable if before else gc.disable)()


@pytest.mark.soak
def test_command_starts_almost_without_collections():
    phases = int(run_program(START_OF_A_COMMAND)[-1].removeprefix("phases "))
    assert phases < 130, "each collection has two phases; without the pause there are more than 400"


def test_open_sqlite_database_leaves_one_file_at_exit(tmp_path):
    run_program(OPEN_DATABASE_AT_EXIT, str(tmp_path / "example.db"))
    assert [path.name for path in tmp_path.iterdir()] == ["example.db"]
