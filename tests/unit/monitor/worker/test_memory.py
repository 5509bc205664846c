"""What a process built up at its start is looked through no more, nor while it starts, nor when it ends."""

import gc
import subprocess
import sys

import pytest

from monitor.worker.memory import spare_what_stays, without_looks

# a circle that tells when it is found
ENDS = """
import atexit, gc, sys
from monitor.worker import memory
class Circle:
    def __init__(self): self.me = self
    def __del__(self): print("found")
atexit.register(print, "said at the end")
if sys.argv[1:]: memory.end_without_cleanup()
Circle()
"""
STARTS = """
import gc
looks = []
gc.callbacks.append(lambda phase, told: looks.append(phase))
from monitor.cli.main import run_verb
run_verb(["run", "--help"])
print("looks", len(looks))
"""

FORGETS = """
import sys
from sqlalchemy import text
from monitor.store.database.engine import Database
from monitor.worker.memory import end_without_cleanup
end_without_cleanup()
database = Database(f"sqlite:///{sys.argv[1]}")
with database.write() as c:
    c.execute(text("CREATE TABLE one (k INTEGER)"))
"""


def say(program, *words):
    """The lines that a process of its own prints."""
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.splitlines()


def test_what_stays_is_left_out_of_later_looks():
    before = gc.get_threshold()
    kept = [[n] for n in range(1000)]
    frozen = gc.get_freeze_count()
    try:
        spare_what_stays()
        assert gc.get_freeze_count() >= frozen + len(kept)
    finally:
        gc.unfreeze()  # all that other tests of this process left would stay out of every look
        gc.set_threshold(*before)


def test_a_process_ends_without_a_look_and_does_what_it_was_asked_to_do_at_its_end():
    assert say(ENDS) == ["said at the end", "found"]
    assert say(ENDS, "spared") == ["said at the end"]


@pytest.mark.parametrize("looking", [True, False])
def test_looking_goes_on_as_it_was(looking):
    before = gc.isenabled()
    (gc.enable if looking else gc.disable)()
    try:
        with pytest.raises(ImportError), without_looks():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() is looking
    finally:
        (gc.enable if before else gc.disable)()


def test_a_verb_is_loaded_without_a_look():
    told = int(say(STARTS)[-1].removeprefix("looks "))
    assert told < 130, "two calls a look: they were more than 400"


def test_a_database_that_nobody_closed_is_one_file_when_the_process_has_ended(tmp_path):
    say(FORGETS, str(tmp_path / "one.db"))
    assert [path.name for path in tmp_path.iterdir()] == ["one.db"]
